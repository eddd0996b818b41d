//! `stockflow verify`.

use std::path::PathBuf;

use clap::Args;

use super::common::{FormatArgument, KafkaArguments};
use crate::commands::VerifyOptions;
use crate::config::Override;

const EXAMPLES: &str = "\
Examples:
  stockflow verify ConsumedTrades                  one directory
  stockflow verify host-a/trades host-b/trades     the directories of all members, together
  stockflow verify ConsumedTrades -b kafka:9092    ask the brokers, too
  stockflow verify ConsumedTrades --offline        ask no broker, whatever names some
  stockflow verify ConsumedTrades --format json";

/// Prove that CSV directories hold every record once
///
/// Reads the offset index and every file: each offset of a partition's range must be there once, and every row as it was
/// written. What is not is named by file, partition and offset. The brokers are asked about a batch whose commit was in
/// doubt when the consumer was killed; and wherever Kafka.BootstrapServers is set (flag, file, environment) about where
/// the topic ends, and about every offset without a row: whether there is a record, or none (markers, aborted
/// transactions, compaction).
///
/// Exit codes: 0 proven; 1 something is missing, doubled or edited; 3 it cannot be decided.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Output directories
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,
    /// Ask no broker, whatever names some
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    kafka: KafkaArguments,
    #[command(flatten)]
    format: FormatArgument,
}

impl Arguments {
    pub(super) fn options(&self) -> VerifyOptions {
        VerifyOptions {
            directories: self.directories.clone(),
            offline: self.offline,
            format: self.format.get(),
        }
    }

    pub(super) fn overrides(&self) -> Vec<Override> {
        self.kafka.overrides().collect()
    }
}
