//! `stockflow demo`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::common::FormatArgument;
use crate::commands::DemoOptions;
use crate::config::HostPort;

const EXAMPLES: &str = "\
Examples:
  stockflow demo                                   until stopped
  stockflow demo --events 10000 --out demo-trades
  stockflow demo --seconds 5 --format json";

/// See it work: no Kafka, no key, no network
///
/// Starts an embedded broker and a simulated market, publishes its trades and writes them to CSV files.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Stop after N events [default: until stopped]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "seconds")]
    events: Option<u64>,
    /// Stop after N seconds [default: until stopped]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    seconds: Option<u64>,
    /// Directory of the CSV files [default: a fresh stockflow-demo-…]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where the broker listens [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<HostPort>,
    #[command(flatten)]
    format: FormatArgument,
}

impl Arguments {
    pub(super) fn options(&self) -> DemoOptions {
        DemoOptions {
            events: self.events,
            duration: self.seconds.map(Duration::from_secs),
            out: self.out.clone(),
            listen: self.listen.clone(),
            format: self.format.get(),
        }
    }
}
