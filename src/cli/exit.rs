//! How the program ends, as a number that scripts and supervisors understand.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, also after a requested stop that drained in time.
    Done,
    /// Failed while running, or a stop that took too long.
    Failed,
    /// Wrong usage.
    Usage,
    /// It cannot be decided (`verify`).
    Undecided,
    /// Wrong configuration (`EX_CONFIG` of sysexits.h).
    Configuration,
    /// Stopped at once by a second Ctrl-C or SIGTERM (128 + SIGINT).
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Undecided => 3,
            Exit::Configuration => 78,
            Exit::Interrupted => 130,
        })
    }
}
