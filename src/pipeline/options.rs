//! What a command was asked to do beside what the configuration says: things that make sense for one run only.

use std::path::PathBuf;

use crate::config::AutoOffsetReset;

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
