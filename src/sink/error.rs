//! What can go wrong in the sink, said so that the reader knows what to do next.

use std::io;
use std::path::{Path, PathBuf};

use super::rows::LetterError;
use crate::durable::DurableError;
use crate::event::BadRecord;

/// An error of the sink. After an [`Io`](Self::Io) or [`Edited`](Self::Edited) one nothing more is accepted: drop the
/// sink and open the directory again; nothing that was not durable was ever offered for committing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The disk refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process writes into the directory.
    #[error(
        "{} is in use by another stockflow process{}; stop it, or choose another directory with --out",
        path.display(),
        holder.map_or_else(String::new, |id| format!(" (process id {id})"))
    )]
    Locked {
        /// The output directory.
        path: PathBuf,
        /// The other process, where it has said so.
        holder: Option<u32>,
    },
    /// The directory holds rows of another cluster, topic or group.
    #[error(
        "{} holds the {what} {bound}, and this run is for {what} {wanted}; choose another directory with --out",
        path.display()
    )]
    BoundElsewhere {
        /// The output directory.
        path: PathBuf,
        /// `cluster`, `topic` or `group`.
        what: &'static str,
        /// What the directory belongs to.
        bound: String,
        /// What this run is for.
        wanted: String,
    },
    /// A setting that the sink cannot work with.
    #[error("{0}")]
    Settings(String),
    /// A file of the directory is not as it was left.
    #[error(
        "{} was edited by someone else: {found}; put it back as it was, or start a new directory with --out \
         (nothing was changed)",
        path.display()
    )]
    Edited {
        /// The file.
        path: PathBuf,
        /// What is different.
        found: String,
    },
    /// Something that holds no rows stands in place of a file.
    #[error(
        "{} is {what} now, no regular file: someone put that there instead of the file of rows. Move it away and put the \
         file back, or start a new directory with --out (nothing was changed)",
        path.display()
    )]
    Replaced {
        /// Where the file was.
        path: PathBuf,
        /// `a directory`, say.
        what: &'static str,
    },
    /// Somebody has made a file under the name that one of ours is about to get.
    #[error(
        "{} is there, and is not of stockflow, which has rows to publish under that name; move it away (nothing was changed)",
        path.display()
    )]
    NameTaken {
        /// The file.
        path: PathBuf,
    },
    /// No directory that was written by this program.
    #[error("{} is no directory of stockflow: it has no .stockflow/checkpoint", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// A state file cannot be read.
    #[error("{} is damaged ({found}); restore it from a copy, or start a new directory with --out", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// Another directory has the same id, and wrote for the same group: rows would be doubled.
    #[error(
        "partition {partition} of topic {topic}: group {group} has a commit of batch {batch} of this directory, which \
         never made that batch of it: {} is a copy of a directory that has gone on since, or has been copied. Go on with \
         the one that is up to date, or take a new one with --out; after `stockflow group reset` this one can be used \
         again (nothing was changed)",
        path.display()
    )]
    Copied {
        /// The output directory.
        path: PathBuf,
        /// The topic.
        topic: String,
        /// The group.
        group: String,
        /// The partition.
        partition: i32,
        /// The batch that was committed.
        batch: u64,
    },
    /// A record is not a trade, and bad records are to stop the run.
    #[error(
        "topic {topic}, partition {partition}, offset {offset}: {reason} (Output.BadRecords is fail)"
    )]
    BadRecord {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
        /// Why it is no trade.
        reason: BadRecord,
    },
    /// Dead letters cannot be kept where they are to go.
    #[error("{0}")]
    DeadLetters(LetterError),
    /// The outcome of the last batch's commit has to be found out before the directory can be used without the brokers.
    #[error(
        "{} was not closed: whether its last batch counts is for the brokers to say; start `stockflow consume --until-end` \
         once, which finds out",
        path.display()
    )]
    Unresolved {
        /// The output directory.
        path: PathBuf,
    },
    /// The sink was used out of order.
    #[error("the sink was used out of order: {0}")]
    OutOfOrder(String),
}

impl From<DurableError> for SinkError {
    fn from(error: DurableError) -> Self {
        match error {
            DurableError::Io {
                action,
                path,
                source,
            } => Self::Io {
                action,
                path,
                source,
            },
            DurableError::Damaged { path, found } => Self::Damaged { path, found },
        }
    }
}

impl From<serde_json::Error> for SinkError {
    /// What is written is made here, so that it has no form in JSON is a mistake of this program.
    fn from(error: serde_json::Error) -> Self {
        Self::OutOfOrder(error.to_string())
    }
}

impl SinkError {
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

    pub(super) fn edited(path: &Path, found: impl Into<String>) -> Self {
        Self::Edited {
            path: path.to_owned(),
            found: found.into(),
        }
    }

    /// A file that is longer or shorter than it was left.
    pub(super) fn edited_length(path: &Path, found: u64, left: u64) -> Self {
        Self::edited(path, format!("it is {found} bytes long and was {left}"))
    }

    pub(crate) fn damaged(path: &Path, found: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            found: found.into(),
        }
    }
}
