//! `stockflow broker`.

use clap::Args;

use crate::commands::BrokerOptions;
use crate::config::HostPort;

const EXAMPLES: &str = "\
Examples:
  stockflow broker                                 on 127.0.0.1:9092
  stockflow broker --listen 0.0.0.0:9092 --advertise devbox:9092
  stockflow produce --source simulated --count 10  in another terminal";

/// The embedded broker alone, for development
///
/// Serves Kafka's protocol from memory: what was published is gone when it stops.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where it listens; port 0 is any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: HostPort,
    /// What clients are told to connect to [default: where it listens]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<HostPort>,
}

impl Arguments {
    pub(super) fn options(&self) -> BrokerOptions {
        BrokerOptions {
            listen: self.listen.clone(),
            advertise: self.advertise.clone(),
        }
    }
}
