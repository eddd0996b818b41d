//! `stockflow consume`.

use std::path::PathBuf;

use clap::Args;

use super::common::{FormatArgument, KafkaArguments, SinkArguments};
use crate::config::Override;
use crate::pipeline::ConsumeOptions;

const EXAMPLES: &str = "\
Examples:
  stockflow consume --out trades                   follow the topic until stopped
  stockflow consume --until-end --format json      read what is there, then stop
  stockflow consume --set Output.Publish=atomic    files are seen when they are whole
  stockflow consume --set Output.RollSeconds=3600 --set Output.Compression=zstd
  stockflow consume -b kafka:9092 -t stock-trades -g archive --from latest
  stockflow consume --out trades --replay-dead-letters repaired.ndjson";

/// Read events and write CSV files
///
/// Reads events as a member of a consumer group and writes them to CSV files, one a day. Offsets are committed only
/// after their rows are durable, so a restart neither loses nor doubles a row.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    sink: SinkArguments,
    /// Stop after exactly N records, and commit exactly those
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Put repaired dead letters through again instead of reading the topic, without a broker: lines of a dead letters file
    /// with value (base64) or value_text repaired; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["count", "until_end", "from"])]
    replay_dead_letters: Option<PathBuf>,
    #[command(flatten)]
    kafka: KafkaArguments,
    #[command(flatten)]
    format: FormatArgument,
}

impl Arguments {
    pub(super) fn options(&self) -> ConsumeOptions {
        ConsumeOptions {
            until_end: self.sink.until_end,
            count: self.count,
            from: self.sink.from(),
            replay: self.replay_dead_letters.clone(),
            format: self.format.get(),
        }
    }

    pub(super) fn overrides(&self) -> Vec<Override> {
        self.sink
            .overrides()
            .chain(self.kafka.overrides())
            .collect()
    }
}
