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
mod bench;
mod beyond;
mod check;
mod commits;
mod consume;
mod demo;
mod error;
mod flight;
mod group;
mod held;
mod holes;
mod intake;
mod keys;
mod known;
mod late;
mod letters;
mod limits;
pub mod options;
mod pace;
mod progress;
mod publish;
mod publisher;
mod reach;
mod rebalance;
mod replay_letters;
mod run;
mod sealing;
mod session;
mod settings;
mod sole;
mod stop;
mod stopped;
mod summary;
mod tail;
mod tally;
mod together;
mod transaction;
mod unlooked;
mod verify;
mod watchdog;
mod withheld;
mod writer;

pub use bench::{Bench, Measured, bench};
pub use check::{CheckReport, check};
pub use demo::{broker, demo};
pub use error::{Fault, PipelineError};
pub use group::group;
pub use keys::give_terminal_back;
pub use run::{consume, produce, run};
pub use stop::Stop;
pub use summary::Summary;
pub use tail::tail;
pub use verify::verify;

pub use crate::sink::verify::{Outcome, Report as Proof};

/// How a command ended: what it did, and what went wrong if something did.
#[derive(Debug)]
pub struct Report {
    /// What was done, also when it failed.
    pub summary: Summary,
    /// What went wrong.
    pub error: Option<PipelineError>,
}
