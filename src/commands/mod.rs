//! What each command does that is more than a run of the pipeline: one file or folder a command.
//!
//! `cli` reads the arguments and calls these; they build on `pipeline` (how a cluster is reached, how a stop comes
//! through, the two halves) and on the rooms below.

mod bench;
mod check;
mod demo;
mod group;
mod options;
mod replay_dead_letters;
mod tail;
mod verify;

pub use bench::{Bench, Measured, bench};
pub use check::{CheckReport, check};
pub use demo::{broker, demo};
pub use group::group;
pub use options::{
    BenchOptions, BrokerOptions, CheckOptions, DemoOptions, GroupAction, ResetTo, TailFrom,
    TailOptions, VerifyOptions,
};
pub use replay_dead_letters::replay_dead_letters;
pub use tail::tail;
pub use verify::verify;

pub use crate::verify::{Outcome, Report as Proof};
