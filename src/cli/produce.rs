//! `stockflow produce`.

use clap::Args;

use super::common::{FormatArgument, KafkaArguments, SourceArguments};
use crate::config::Override;
use crate::pipeline::ProduceOptions;

const EXAMPLES: &str = "\
Examples:
  stockflow produce --symbol AAPL,IBM              poll two symbols until stopped
  stockflow produce --symbol IBM --once            poll once
  stockflow produce --source simulated --count 1000 --seed 7
  stockflow produce --symbol IBM --from-month 2025-01 --to-month 2025-06
  stockflow produce --source replay --input days/ --speed 60
  stockflow produce --source replay --input day.json -b kafka:9092 -t stock-trades";

/// Read market data and publish it
///
/// Reads market data from a source and publishes each closed bar as one event, once: an event that is on the topic
/// already is passed over.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    /// Stop after N events
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    kafka: KafkaArguments,
    #[command(flatten)]
    format: FormatArgument,
}

impl Arguments {
    pub(super) fn options(&self) -> ProduceOptions {
        ProduceOptions {
            source: self.source.options(),
            count: self.count,
            format: self.format.get(),
        }
    }

    pub(super) fn overrides(&self) -> Vec<Override> {
        self.source
            .overrides()
            .chain(self.kafka.overrides())
            .collect()
    }
}
