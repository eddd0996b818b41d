//! `stockflow verify`.

use std::path::PathBuf;

use clap::Args;

use super::common::{FormatArgument, KafkaArguments};
use crate::config::Override;
use crate::pipeline::options::VerifyOptions;

const EXAMPLES: &str = "\
Examples:
  stockflow verify ConsumedTrades                  one directory
  stockflow verify host-a/trades host-b/trades     the directories of all members of a group, together
  stockflow verify ConsumedTrades --format json

Exit codes: 0 proven; 1 something is missing, doubled or edited; 3 it cannot be decided.";

/// Prove that CSV directories hold every record once
///
/// Reads the offset index and every file: each offset between the first and the last must be there once, and every row
/// as it was written. What is not is named by file, partition and offset. The brokers are asked only about a batch
/// whose commit was in doubt when the consumer was killed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Output directories
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,
    #[command(flatten)]
    kafka: KafkaArguments,
    #[command(flatten)]
    format: FormatArgument,
}

impl Arguments {
    pub(super) fn options(&self) -> VerifyOptions {
        VerifyOptions {
            directories: self.directories.clone(),
            format: self.format.get(),
        }
    }

    pub(super) fn overrides(&self) -> Vec<Override> {
        self.kafka.overrides().collect()
    }
}
