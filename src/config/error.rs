//! What can be wrong with a configuration, one sentence for each mistake.
//!
//! Problems are collected, never thrown at the first: a person mends the file once. No message carries the value of a
//! secret, and none carries the value of a key that we do not know (it may be a misspelt secret).

use std::fmt;
use std::path::PathBuf;

use super::layers::Origin;

/// One mistake in the configuration: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A configuration file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A configuration file is larger than a configuration can be.
    #[error("{}: more than {limit} bytes: not a configuration file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// A configuration file is not JSON (with comments and trailing commas).
    #[error("{origin}: not valid JSON: {message}")]
    Syntax {
        /// File and line.
        origin: Origin,
        /// What is wrong with it, with the column.
        message: String,
    },
    /// A key that a section of ours does not have.
    #[error("{key} ({origin}): there is no such key; the nearest is {nearest}")]
    UnknownKey {
        /// The path as written.
        key: String,
        /// Where it was written.
        origin: Origin,
        /// The path that was probably meant.
        nearest: String,
    },
    /// `--set` or a flag names a section that does not exist.
    #[error("{key} ({origin}): there is no such section; the nearest key is {nearest}")]
    UnknownSection {
        /// The path as written.
        key: String,
        /// Where it was written.
        origin: Origin,
        /// The path that was probably meant.
        nearest: String,
    },
    /// A value that its key cannot take.
    #[error("{key} ({origin}): {reason}")]
    Invalid {
        /// The key's path.
        key: String,
        /// Where the value was written.
        origin: Origin,
        /// What was found and what is expected.
        reason: String,
    },
    /// A value that this version of the program cannot honour.
    #[error("{key} ({origin}): this version does not have {what} yet; remove the setting")]
    NotYet {
        /// The key's path.
        key: String,
        /// Where the value was written.
        origin: Origin,
        /// The setting or the value that is missing.
        what: String,
    },
    /// One key, given twice in one layer.
    #[error(
        "{first_key} ({first}) and {second_key} ({second}) are the same setting: keep one of them"
    )]
    Twice {
        /// The first spelling.
        first_key: String,
        /// Where it was written.
        first: Origin,
        /// The second spelling.
        second_key: String,
        /// Where that was written.
        second: Origin,
    },
    /// A key that the command needs has no usable value.
    #[error("{key} ({origin}): {reason}")]
    Needed {
        /// The key's path.
        key: String,
        /// Where the value that does not do comes from.
        origin: Origin,
        /// What is missing and how to give it.
        reason: String,
    },
}

/// Everything that is wrong with a configuration, together.
#[derive(Debug)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Each mistake; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrong configuration")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
