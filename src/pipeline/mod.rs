//! Wires a produce, consume or run pipeline, and stops it: the only room that sees both halves.
//!
//! ```text
//!  produce   source ──► known (what is on the topic already) ──► producer          publish, publisher, transaction, flight, known
//!  consume   consumer ──► sink, on threads of its own; flush ──► commit            consume, session, intake, commits, rebalance, writer
//!  run       both, side by side; demo: with a broker and a market of their own      run, demo
//! ```
//!
//! A stop (Ctrl-C, SIGTERM, a key) is asked for through [`Stop`]: intake ends, what is under way is drained, made durable
//! and committed, the group is left; all under one deadline, `ShutdownTimeoutMs`.

mod begin;
mod beyond;
mod commits;
pub(crate) mod consume;
pub(crate) mod error;
mod flight;
mod held;
mod intake;
mod keys;
mod late;
pub(crate) mod letters;
mod limits;
mod options;
mod pace;
mod progress;
mod publish;
mod publisher;
mod reach;
mod rebalance;
mod run;
mod sealing;
mod session;
pub(crate) mod settings;
mod sole;
mod stop;
mod stopped;
pub(crate) mod summary;
mod tally;
mod together;
mod transaction;
mod unlooked;
mod watchdog;
mod withheld;
mod writer;

pub(crate) use consume::{ConsumerTask, as_sink};
pub(crate) use letters::{NOTE, OFFSET, PARTITION, REASON, TOPIC};
pub use options::{ConsumeOptions, Format, Month, ProduceOptions, RunOptions, SourceOptions};
pub(crate) use publish::{PublishOptions, publish_from};
pub(crate) use reach::{Reach, Told};
pub(crate) use run::report;
pub(crate) use summary::{Published, Replayed, Written};

pub use error::{Fault, PipelineError};

pub use keys::give_terminal_back;
pub use run::{consume, produce, run};
pub use stop::Stop;
pub use summary::Summary;

/// How a command ended: what it did, and what went wrong if something did.
/// How a command ended: what it did, and what went wrong if something did.
#[derive(Debug)]
pub struct Report {
    /// What was done, also when it failed.
    pub summary: Summary,
    /// What went wrong.
    pub error: Option<PipelineError>,
}
