//! `stockflow check`.

use clap::Args;

use super::common::{FormatArgument, KafkaArguments, one};
use crate::commands::CheckOptions;
use crate::config::Override;

const EXAMPLES: &str = "\
Examples:
  stockflow check                                  everything that appsettings.json names
  stockflow check --offline                        the configuration alone, without any connection
  stockflow check -b kafka:9092 -t stock-trades --format json";

/// Try what a run needs: configuration, brokers, topic, group, directories, API key
///
/// Tries one thing after the other and says of each that fails what is wrong and what to do. The API key is tried with
/// one request, which counts. Exit code 1 when a check failed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Look at the configuration alone, without any connection
    #[arg(long)]
    offline: bool,
    /// Directory of the CSV files [Output.Directory]
    #[arg(long, value_name = "DIR")]
    out: Option<String>,
    #[command(flatten)]
    kafka: KafkaArguments,
    #[command(flatten)]
    format: FormatArgument,
}

impl Arguments {
    pub(super) fn options(&self) -> CheckOptions {
        CheckOptions {
            offline: self.offline,
            format: self.format.get(),
        }
    }

    pub(super) fn overrides(&self) -> Vec<Override> {
        let out = one("Output.Directory", "--out", self.out.as_ref());
        out.into_iter().chain(self.kafka.overrides()).collect()
    }
}
