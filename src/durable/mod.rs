//! Files that survive a crash: those of an output directory go through here. (The store of `dedup` and the account file of
//! an API key still write their own.)
//!
//! ```text
//!  fs          the few file operations, behind a trait; `Disk` is the operating system's
//!  sim         the simulated disk of the tests: stops, torn writes, a full disk, a failed sync, loss of power
//!  envelope    a small file that is replaced as a whole: kind, version, checksum, JSON
//!  journal     a file that lines are appended to, each with its checksum
//!  sequential  a file as a stream of bytes
//! ```
//!
//! What is not synced may be gone, or there in part, after a loss of power; a name is durable once its directory is
//! synced. A sync that failed is never taken for done, nor tried again: what the file holds then is unknown.

pub(crate) mod envelope;
mod error;
mod fs;
pub(crate) mod journal;
mod sequential;
#[cfg(test)]
pub(crate) mod sim;

pub use error::DurableError;
pub(crate) use fs::{Disk, Fs, FsFile, held_by, only_a_file};
pub(crate) use journal::Lines;
pub(crate) use sequential::Sequential;
