//! What a command was asked to do, apart from the configuration and from what the two halves are asked to do.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::HostPort;
use crate::pipeline::Format;

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

/// What `tail` was asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TailOptions {
    /// Where to begin; `None` is at the last few.
    pub from: Option<TailFrom>,
    /// Show so many of what is there, at least 1, and end; `None` shows the last few and follows.
    pub count: Option<u64>,
    /// Follow although there is a count.
    pub follow: bool,
    /// The only partition to show; of dead letters, the one that the record was in.
    pub partition: Option<i32>,
    /// Dead letters instead of events.
    pub dead_letters: bool,
    /// How they are printed.
    pub format: Format,
}

/// Where `tail` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailFrom {
    /// With the first that is there.
    Earliest,
    /// With what comes.
    Latest,
    /// At this offset of each partition.
    Offset(i64),
    /// With the first that is not older, in milliseconds since 1970.
    Since(i64),
}

/// What `verify` was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// The output directories, one at least.
    pub directories: Vec<PathBuf>,
    /// Ask no broker, whatever the configuration names.
    pub offline: bool,
    /// How the result is printed.
    pub format: Format,
}

/// What `check` was asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Look at the configuration alone, without any connection.
    pub offline: bool,
    /// How the result is printed.
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
    /// Measure publishing.
    pub produce: bool,
    /// Measure reading into CSV files.
    pub consume: bool,
    /// How many events; at least 1.
    pub count: u64,
    /// Events a second; `None` is as fast as possible.
    pub rate: Option<f64>,
    /// The topic was named: it is used as it is, and stays.
    pub keep_topic: bool,
    /// How the result is printed.
    pub format: Format,
}

/// What `group` was asked to do, with the group and topic of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupAction {
    /// Which groups there are.
    List,
    /// Members and lag.
    Describe,
    /// Move the group's offsets of the topic.
    Reset {
        /// Where to.
        to: ResetTo,
        /// The only partition that is moved.
        partition: Option<i32>,
        /// Whether to do it, instead of saying what would be done.
        execute: bool,
    },
    /// Remove the group with its offsets.
    Delete,
}

/// Where `group reset` goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// To the first record that is there.
    Earliest,
    /// Behind the last record.
    Latest,
    /// To this offset.
    Offset(i64),
    /// To the first record that is not older, in milliseconds since 1970.
    Since(i64),
    /// So many records forwards, or backwards where negative.
    Shift(i64),
    /// To the first record that is not older than this time ago.
    Ago(Duration),
    /// Each partition to an offset of its own: lines of `topic,partition,offset`, as Kafka's own tool exports them.
    File(PathBuf),
}
