//! What ends a consumer, or a call of it, for good. Trouble that passes is retried and logged, and never gets here.

use std::{io, sync::Arc};

use crate::wire::{
    cluster::ClusterError,
    error::{CallError, ErrorCode},
    messages::DecodeError,
    records::RecordsError,
};

/// Why the consumer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The cluster refuses, or lacks the topic.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The coordinator refuses this member for good.
    #[error("group {group}: {api} was refused: {code}{}", advice(*code))]
    Group {
        /// The group's id.
        group: String,
        /// Which API.
        api: &'static str,
        /// What the broker said.
        code: ErrorCode,
    },
    /// The member id could not be stored, so it must not be used.
    #[error(
        "group {group}: the member id cannot be stored, and without it a restart could not end this membership: {source}"
    )]
    Remember {
        /// The group's id.
        group: String,
        /// What the hook said.
        source: io::Error,
    },
    /// The group's leader sent an assignment that is none.
    #[error(
        "group {group}: the group's leader sent an assignment that cannot be read ({source}); does a program that is no consumer lead the group?"
    )]
    Assignment {
        /// The group's id.
        group: String,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The broker refuses a partition for good.
    #[error("topic {topic}, partition {partition}: {api} was refused: {code}")]
    Partition {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// Which API.
        api: &'static str,
        /// What the broker said.
        code: ErrorCode,
    },
    /// The topic was deleted, and made again under its name.
    #[error(
        "topic {topic} was deleted and made again while it was read (topic id {wanted}, now {found})"
    )]
    MadeAnew {
        /// The topic.
        topic: Arc<str>,
        /// The id of the topic that was read.
        wanted: uuid::Uuid,
        /// The id of the one that has its name now.
        found: uuid::Uuid,
    },
    /// Record data cannot be read, however often it is fetched.
    #[error(
        "topic {topic}, partition {partition}: the data at offset {offset} cannot be read: {source}; {}",
        origin(source)
    )]
    Corrupt {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The position at which it stands.
        offset: i64,
        /// Where the log goes on behind what cannot be read, where that is known.
        past: Option<i64>,
        /// What is wrong with the bytes.
        source: RecordsError,
    },
    /// The broker cannot read its own data.
    #[error(
        "topic {topic}, partition {partition}: the broker cannot read its data at offset {offset}: {code}; the log segment is damaged"
    )]
    Damaged {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The position at which it stands.
        offset: i64,
        /// What the broker said.
        code: ErrorCode,
    },
    /// The broker answers with data that does not bring the partition forward.
    #[error(
        "topic {topic}, partition {partition}: stuck at offset {offset}: the broker answers with {bytes} bytes in which no whole batch reaches beyond it, though brokers send the first one whole, however large it is (KIP-74): the length that is written there is damaged, or this service does not keep to that"
    )]
    Stuck {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The position at which it stands.
        offset: i64,
        /// How much data came.
        bytes: usize,
    },
}

/// What stopped a partition, and that one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The partition.
    pub partition: i32,
    /// The position at which it stands.
    pub offset: i64,
    /// Where the log goes on behind what cannot be read, where that is known.
    pub past: Option<i64>,
}

impl ConsumeError {
    /// Whether it is about the data of one partition, and all others can be read on.
    pub fn unreadable(&self) -> Option<Unreadable> {
        let (partition, offset, past) = match *self {
            Self::Corrupt {
                partition,
                offset,
                past,
                ..
            } => (partition, offset, past),
            Self::Damaged {
                partition, offset, ..
            }
            | Self::Stuck {
                partition, offset, ..
            } => (partition, offset, None),
            _ => return None,
        };
        Some(Unreadable {
            partition,
            offset,
            past,
        })
    }
}

impl From<CallError> for ConsumeError {
    fn from(error: CallError) -> Self {
        Self::Cluster(error.into())
    }
}

/// Where bad data comes from.
fn origin(error: &RecordsError) -> &'static str {
    match error {
        RecordsError::Length { .. } | RecordsError::Crc { .. } => {
            "the log segment on the broker is damaged, or something between here and there changes bytes"
        }
        RecordsError::Contradiction { .. } => {
            "no checksum covers that: something between here and there changes bytes, or the log was truncated (an unclean leader election, a disk that was put back) and is not the one that was read. Start again first; where it was truncated, `stockflow group reset --to earliest` reads anew what the log holds"
        }
        RecordsError::Magic { .. } => "the broker keeps it as it was written",
        RecordsError::UnknownCodec { .. }
        | RecordsError::Decompress { .. }
        | RecordsError::Header { .. }
        | RecordsError::Record { .. } => {
            "the batch's checksum is right, so this is how its producer made it"
        }
    }
}

/// What to do about a refusal, where the code's meaning does not say it.
fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::INCONSISTENT_GROUP_PROTOCOL => {
            "; either the other members have no assignor in common with this one (see Kafka.PartitionAssignmentStrategy and their partition.assignment.strategy), or this is the name of a share group or a streams group, which take no other members: take another Kafka.GroupId (-g)"
        }
        ErrorCode::UNSUPPORTED_VERSION => "; set Kafka.GroupProtocol to classic or auto",
        // A group that is not there is made; so one is, and of another type.
        ErrorCode::GROUP_ID_NOT_FOUND => {
            "; one of another type has the name, or it would have been made: take another Kafka.GroupId (-g) where that is a share group or a streams group, else set Kafka.GroupProtocol to classic or auto"
        }
        ErrorCode::INVALID_SESSION_TIMEOUT => "; change Kafka.SessionTimeoutMs",
        ErrorCode::FENCED_INSTANCE_ID => "; give each process a Kafka.GroupInstanceId of its own",
        ErrorCode::INVALID_GROUP_ID => "; change Kafka.GroupId",
        _ => "",
    }
}
