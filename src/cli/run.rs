//! `stockflow run`.

use clap::Args;

use super::common::{FormatArgument, KafkaArguments, SinkArguments, SourceArguments};
use crate::config::Override;
use crate::pipeline::RunOptions;

const EXAMPLES: &str = "\
Examples:
  stockflow run --symbol AAPL,IBM --out trades     until a key, Ctrl-C or SIGTERM
  stockflow run --source simulated --rate 100 --count 5000
  stockflow run -c appsettings.json --no-stop-on-key";

/// Produce and consume in one process
///
/// Publishes market data and writes the events of the topic to CSV files, in one process. In the foreground of a
/// terminal any key stops it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    sink: SinkArguments,
    /// Stop after N events
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Keys do not stop it
    #[arg(long)]
    no_stop_on_key: bool,
    #[command(flatten)]
    kafka: KafkaArguments,
    #[command(flatten)]
    format: FormatArgument,
}

impl Arguments {
    pub(super) fn options(&self) -> RunOptions {
        RunOptions {
            source: self.source.options(),
            count: self.count,
            until_end: self.sink.until_end,
            from: self.sink.from(),
            stop_on_key: !self.no_stop_on_key,
            format: self.format.get(),
        }
    }

    pub(super) fn overrides(&self) -> Vec<Override> {
        let source = self.source.overrides().chain(self.sink.overrides());
        source.chain(self.kafka.overrides()).collect()
    }
}
