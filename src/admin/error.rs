//! Why a question about groups has no answer, or a change was not made.

use crate::{
    consumer::ConsumeError,
    wire::{
        cluster::ClusterError,
        error::{CallError, ErrorCode},
    },
};

/// Why a question about groups has no answer, or a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The cluster cannot be asked, or refuses.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Offsets cannot be read.
    #[error(transparent)]
    Offsets(#[from] ConsumeError),
    /// There is no such group.
    #[error("there is no group {group}; `stockflow group list` shows those that there are")]
    NoGroup {
        /// The group's id.
        group: String,
    },
    /// The group has members.
    #[error(
        "group {group} is active ({state}, {members} members): its members would undo the change with their next commit. Stop them first; one that was killed leaves the group when its session ends (Kafka.SessionTimeoutMs, 45 s by default)"
    )]
    Active {
        /// The group's id.
        group: String,
        /// What the coordinator calls its state.
        state: String,
        /// How many members it has.
        members: usize,
    },
    /// The coordinator refuses.
    #[error("group {group}: {api} was refused: {code}")]
    Refused {
        /// The group's id.
        group: String,
        /// Which API.
        api: &'static str,
        /// What it said.
        code: ErrorCode,
    },
    /// A partition's offset was not moved.
    #[error(
        "group {group}: the offset of topic {topic}, partition {partition}, was not moved: {code}"
    )]
    NotMoved {
        /// The group's id.
        group: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What the coordinator said.
        code: ErrorCode,
    },
    /// The file or value that says where to go makes no sense.
    #[error("{0}")]
    Target(String),
}

impl From<CallError> for AdminError {
    fn from(error: CallError) -> Self {
        Self::Cluster(error.into())
    }
}

impl AdminError {
    /// Whether trying again later may help.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Cluster(error) => error.is_retriable(),
            Self::Refused { code, .. } => code.remedy() != crate::wire::error::Remedy::None,
            _ => false,
        }
    }
}
