//! What a command was asked to do beside what the configuration says: things that make sense for one run only.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{AutoOffsetReset, HostPort};
pub use crate::source::alpha_vantage::Month;

/// What a source was asked to do, beside what the configuration says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceOptions {
    /// One poll of each symbol, then stop.
    pub once: bool,
    /// Publish events that are on the topic already, too.
    pub republish: bool,
    /// Replay by the events' own times, so many times as fast; above 0.
    pub speed: Option<f64>,
    /// Fill back these months, first and last, then stop.
    pub months: Option<(Month, Month)>,
}

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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProduceOptions {
    /// What the source was asked to do.
    pub source: SourceOptions,
    /// Stop after so many events; at least 1.
    pub count: Option<u64>,
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
    /// Instead of reading the topic: repaired dead letters that become rows, a file or `-`.
    pub replay: Option<PathBuf>,
    /// How the summary is printed.
    pub format: Format,
}

/// What `run` was asked to do: the union of both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunOptions {
    /// What the source was asked to do.
    pub source: SourceOptions,
    /// Stop after so many events; at least 1.
    pub count: Option<u64>,
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
