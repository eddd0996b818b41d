//! `stockflow bench`.

use clap::Args;

use super::common::{FormatArgument, KafkaArguments};
use crate::commands::BenchOptions;
use crate::config::Override;

const EXAMPLES: &str = "\
Examples:
  stockflow bench --produce                        a million events, as fast as they go
  stockflow bench --produce --consume              and how fast they are read into CSV files
  stockflow bench --consume -t stock-trades        how fast what is there is read
  stockflow bench --produce --rate 1000 --count 10000 --set Kafka.LingerMs=0
  stockflow bench --produce --set Kafka.CompressionType=zstd --format json";

/// Put load on a Kafka and measure
///
/// Publishes events of a simulated market and says how many a second were acknowledged, and after which time; reads them
/// into CSV files and says how many rows a second became durable and committed. Makes a topic stockflow-bench-… with
/// three partitions and removes it at the end, unless -t names one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Measure publishing
    #[arg(long, required_unless_present = "consume")]
    produce: bool,
    /// Measure reading into CSV files, in a temporary directory, with the settings of `consume`; with -t what is on that topic
    #[arg(long)]
    consume: bool,
    /// How many events
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Events a second; without it as fast as possible
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    #[command(flatten)]
    kafka: KafkaArguments,
    #[command(flatten)]
    format: FormatArgument,
}

impl Arguments {
    pub(super) fn options(&self) -> BenchOptions {
        BenchOptions {
            produce: self.produce,
            consume: self.consume,
            count: self.count,
            rate: self.rate.map(f64::from),
            keep_topic: self.kafka.names_topic(),
            format: self.format.get(),
        }
    }

    pub(super) fn overrides(&self) -> Vec<Override> {
        self.kafka.overrides().collect()
    }
}
