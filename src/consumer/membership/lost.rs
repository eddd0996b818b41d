//! Why a membership ended.

use crate::wire::error::ErrorCode;

/// Why a membership ended without our doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// The coordinator no longer knows this member or its generation.
    Refused(ErrorCode),
    /// No heartbeat was answered for `Kafka.SessionTimeoutMs`: the group has gone on without us by now.
    SessionExpired,
    /// The group gave partitions to others that we had not given up.
    TakenAway,
}

impl std::fmt::Display for LostReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(code) => code.fmt(f),
            Self::SessionExpired => {
                f.write_str("no heartbeat was answered for Kafka.SessionTimeoutMs")
            }
            Self::TakenAway => {
                f.write_str("the group gave partitions to other members while we had them")
            }
        }
    }
}
