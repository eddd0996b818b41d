//! What can go wrong with a file that must survive a crash.

use std::io;
use std::path::{Path, PathBuf};

/// An error of a crash-safe file. The rooms that keep such files add what the user can do about it.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file does not hold what was written to it.
    #[error("{} is damaged ({found})", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
}

impl DurableError {
    pub(crate) fn io<'p>(
        action: &'static str,
        path: &'p Path,
    ) -> impl FnOnce(io::Error) -> Self + 'p {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, found: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            found: found.into(),
        }
    }
}
