//! Wires a produce, consume or run pipeline, and stops it: the only room that sees both halves.
//!
//! ```text
//!  produce/   source ──► dedup (what is on the topic already) ──► producer
//!  consume/   consumer ──► sink, on a thread of its own; flush ──► commit
//!  run        both, side by side
//! ```
//!
//! A stop (Ctrl-C, SIGTERM, a key) is asked for through [`Stop`]: intake ends, what is under way is drained, made durable
//! and committed, the group is left; all under one deadline, `ShutdownTimeoutMs`.

pub(crate) mod consume;
pub(crate) mod error;
mod open_file_limit;
mod options;
mod produce;
mod progress;
mod reachability;
mod run;
pub(crate) mod settings;
mod stop;
mod stop_on_key;
pub(crate) mod summary;

pub(crate) use consume::{ConsumerTask, NOTE, OFFSET, PARTITION, REASON, TOPIC, as_sink};
pub use options::{ConsumeOptions, Format, Month, ProduceOptions, RunOptions, SourceOptions};
pub(crate) use produce::{PublishOptions, publish_from};
pub(crate) use reachability::{Reachability, Told};
pub(crate) use run::report;
pub(crate) use summary::{Published, Replayed, Written};

pub use error::{Fault, PipelineError};

pub use run::{consume, produce, run};
pub use stop::Stop;
pub use stop_on_key::give_terminal_back;
pub use summary::Summary;

/// How a command ended: what it did, and what went wrong if something did.
#[derive(Debug)]
pub struct Report {
    /// What was done, also when it failed.
    pub summary: Summary,
    /// What went wrong.
    pub error: Option<PipelineError>,
}
