//! Why it cannot be known which events the topic already holds.

use std::{io, path::PathBuf};

use crate::consumer::ConsumeError;
use crate::wire::cluster::ClusterError;

/// An error of the look at what is published already. Nothing is published after one, because it could be there twice.
#[derive(Debug, thiserror::Error)]
pub enum DedupError {
    /// The cluster cannot be asked, or refuses.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The topic cannot be read.
    #[error(transparent)]
    Read(#[from] ConsumeError),
    /// Records of the topic cannot be decoded: they may be the events that are to be published.
    #[error(
        "{source}; it cannot be checked which events are on the topic already, so nothing is published; --republish publishes without checking"
    )]
    Unreadable {
        /// Where it cannot be read.
        source: ConsumeError,
    },
    /// The ids of published events cannot be kept.
    #[error("cannot keep what is published in {} (State.Directory): {source}", directory.display())]
    Store {
        /// `State.Directory`.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
