//! What can go wrong in a pipeline, and what it means for the exit code.

use std::{io, time::Duration};

use crate::{
    admin::AdminError,
    broker::BrokerError,
    consumer::ConsumeError,
    dedup::DedupError,
    producer::{DeliveryError, SendError, TransactionError},
    sink::SinkError,
    source::{ErrorClass, SourceError},
    wire::{cluster::ClusterError, error::ErrorCode},
};

/// What an error means for whoever started the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It failed while running: exit code 1.
    Running,
    /// The configuration cannot work: exit code 78.
    Configuration,
}

/// Why a pipeline ended early.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The cluster cannot be asked, or refuses.
    #[error("{source}{}", hint(source))]
    Cluster {
        /// What the cluster, or the way there, says.
        #[from]
        source: ClusterError,
    },
    /// The topic for dead letters cannot be used.
    #[error("Output.DeadLetterTopic: {source}")]
    DeadLetterTopic {
        /// What the cluster says of it.
        source: ClusterError,
    },
    /// No broker could be reached for too long.
    #[error(
        "no broker could be reached for {} s: {reason}",
        after.as_secs()
    )]
    Unreachable {
        /// For how long.
        after: Duration,
        /// What the last attempt said, and what to look at.
        reason: String,
    },
    /// The transactional id had no coordinator for too long.
    #[error("{source}; given up after {} s", after.as_secs())]
    NoCoordinator {
        /// For how long.
        after: Duration,
        /// What the brokers said last.
        source: ClusterError,
    },
    /// Market data cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An event was not taken.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Events were not acknowledged.
    #[error(
        "{events} events were not acknowledged{}: {source}",
        .first.as_deref().map(|event| format!(", first {event}")).unwrap_or_default()
    )]
    Delivery {
        /// How many.
        events: u64,
        /// The first of them: its TradeId and symbol.
        first: Option<String>,
        /// What became of it.
        source: DeliveryError,
    },
    /// A transaction cannot be committed.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// A group cannot be looked at or changed.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The group cannot be joined, read or committed to.
    #[error(transparent)]
    Consumer(#[from] ConsumeError),
    /// Partitions stand at data that cannot be read.
    #[error("{}{first}", others(*.more))]
    Unreadable {
        /// What stopped the first of them, and how to go past it.
        first: String,
        /// How many others there are.
        more: usize,
    },
    /// Offsets were committed that are beyond the end of their partition's log.
    #[error("{first}{}; what was read from there on is written and committed", others_beyond(*.more))]
    BeyondTheEnd {
        /// Which offset of which partition, and where reading went on.
        first: String,
        /// How many others there are.
        more: usize,
    },
    /// It cannot be known which events are on the topic already.
    #[error(transparent)]
    Dedup(DedupError),
    /// The group does not take a commit, and will not.
    #[error(
        "group {group}: offsets of topic {topic}, partition {partition}, cannot be committed: {code}{}",
        size_of(*code, *metadata)
    )]
    Commit {
        /// The group's id.
        group: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What the broker said.
        code: ErrorCode,
        /// How long the metadata was that went with the offset, in bytes.
        metadata: usize,
    },
    /// Rows cannot be made durable.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The embedded broker cannot start.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A setting that cannot work.
    #[error("{0}")]
    Setting(String),
    /// A file or directory of ours cannot be used.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, and on what.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// The stop took longer than it may.
    #[error(
        "the stop did not finish within {} ms (ShutdownTimeoutMs); the next start repeats what was not acknowledged or committed",
        after.as_millis()
    )]
    StopTooSlow {
        /// How long it was given.
        after: Duration,
    },
    /// A part of the program ended in a way that it never should.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl From<DedupError> for PipelineError {
    fn from(error: DedupError) -> Self {
        match error {
            DedupError::Cluster(source) => source.into(),
            other => Self::Dedup(other),
        }
    }
}

impl PipelineError {
    /// What it means for the exit code.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Setting(_) => Fault::Configuration,
            Self::Source(error) => match error.class() {
                ErrorClass::WrongKey | ErrorClass::Configuration => Fault::Configuration,
                ErrorClass::Retriable | ErrorClass::Symbol | ErrorClass::Stop => Fault::Running,
            },
            Self::Sink(
                SinkError::BoundElsewhere { .. }
                | SinkError::Copied { .. }
                | SinkError::Settings(_),
            ) => Fault::Configuration,
            _ => Fault::Running,
        }
    }
}

/// How long the metadata is that is too long.
fn size_of(code: ErrorCode, metadata: usize) -> String {
    match code {
        ErrorCode::OFFSET_METADATA_TOO_LARGE | ErrorCode::INVALID_COMMIT_OFFSET_SIZE => {
            format!("; it has to take {metadata} bytes, better 4096")
        }
        _ => String::new(),
    }
}

fn others(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(
            "{} partitions have stopped at data that cannot be read (see above); the first: ",
            more + 1
        ),
    }
}

fn others_beyond(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(" (and so for {more} other partitions, see above)"),
    }
}

/// What a person without a cluster may want to know.
fn hint(error: &ClusterError) -> &'static str {
    match error {
        ClusterError::Call(error) if !error.possibly_sent() => {
            " (Kafka.BootstrapServers says where the brokers are; without one, `stockflow demo` shows how all works)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_is_too_long_names_its_size_and_the_brokers_setting() {
        let refused = |code| {
            let error = PipelineError::Commit {
                group: "g".to_owned(),
                topic: "t".to_owned(),
                partition: 3,
                code,
                metadata: 117,
            };
            error.to_string()
        };
        let text = refused(ErrorCode::OFFSET_METADATA_TOO_LARGE);
        for part in ["offset.metadata.max.bytes", "117 bytes", "partition 3"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!refused(ErrorCode::INVALID_GROUP_ID).contains("117"));
    }
}
