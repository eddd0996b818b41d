//! What a command was asked to do beside what the configuration says: things that make sense for one run only.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{AutoOffsetReset, HostPort};

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object, on the last line.
    Json,
}

/// What `produce` was asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceOptions {
    /// One poll of each symbol, then stop.
    pub once: bool,
    /// Stop after so many events; at least 1.
    pub count: Option<u64>,
    /// Publish events that are on the topic already, too.
    pub republish: bool,
    /// How the summary is printed.
    pub format: Format,
}

/// What `consume` was asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumeOptions {
    /// Stop at the last stable offsets that were seen at the start.
    pub until_end: bool,
    /// Stop after exactly so many records; at least 1.
    pub count: Option<u64>,
    /// Given only as `--from`: where a group without offsets begins. `Kafka.AutoOffsetReset` then says the same; that it
    /// stands here too allows a warning when the group has offsets.
    pub from: Option<AutoOffsetReset>,
    /// How the summary is printed.
    pub format: Format,
}

/// What `run` was asked to do: the union of both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// One poll of each symbol, then stop.
    pub once: bool,
    /// Stop after so many events; at least 1.
    pub count: Option<u64>,
    /// Publish events that are on the topic already, too.
    pub republish: bool,
    /// Stop at the last stable offsets that were seen at the start.
    pub until_end: bool,
    /// As for [`ConsumeOptions::from`].
    pub from: Option<AutoOffsetReset>,
    /// Whether any key stops it, in the foreground of a terminal.
    pub stop_on_key: bool,
    /// How the summary is printed.
    pub format: Format,
}

/// What `demo` was asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DemoOptions {
    /// Stop after so many events; at least 1. Never together with `duration`.
    pub events: Option<u64>,
    /// Stop after this time.
    pub duration: Option<Duration>,
    /// Where the files are written; `None` is a fresh directory.
    pub out: Option<PathBuf>,
    /// Where the broker listens; `None` is a free port of the loopback.
    pub listen: Option<HostPort>,
    /// How the summary is printed.
    pub format: Format,
}

/// What `broker` was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerOptions {
    /// Where it listens; port 0 is any free one.
    pub listen: HostPort,
    /// What clients are told to connect to; `None` is the address it listens on.
    pub advertise: Option<HostPort>,
}

/// What `bench` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchOptions {
    /// How many events; at least 1.
    pub count: u64,
    /// Events a second; `None` is as fast as possible.
    pub rate: Option<f64>,
    /// The topic was named: it is used as it is, and stays.
    pub keep_topic: bool,
    /// How the result is printed.
    pub format: Format,
}
