//! `stockflow consume`.

use clap::Args;

use super::common::{FormatArgument, KafkaArguments, SinkArguments};
use crate::config::Override;
use crate::pipeline::options::ConsumeOptions;

const EXAMPLES: &str = "\
Examples:
  stockflow consume --out trades                   follow the topic until stopped
  stockflow consume --until-end --format json      read what is there, then stop
  stockflow consume --set Output.RollSeconds=3600 --set Output.Compression=zstd --set Output.Publish=atomic
                                                   a file an hour, seen when it is whole, and compressed
  stockflow consume -b kafka:9092 -t stock-trades -g archive --from latest";

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
