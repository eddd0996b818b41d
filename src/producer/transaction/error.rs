//! Why a transaction cannot be committed.

use crate::wire::error::ErrorCode;
use std::sync::Arc;
use std::time::Duration;

/// Why a transaction cannot be committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Another producer took over, or the transaction took longer than it may.
    #[error(
        "another producer has taken over transactional id {id} (Kafka.TransactionalId), or a transaction took longer than the brokers allow: {code}; what was not committed is aborted"
    )]
    Fenced {
        /// The transactional id.
        id: Arc<str>,
        /// What the coordinator said.
        code: ErrorCode,
    },
    /// Nobody said whether it is committed.
    #[error(
        "transactional id {id} (Kafka.TransactionalId): the transaction's coordinator has not said for {} ms whether the transaction is committed (it is asked for Kafka.MessageTimeoutMs, and not for long when the program is stopped meanwhile); last answer: {cause}. The next start finds out, and publishes again what is not",
        away.as_millis()
    )]
    Unanswered {
        /// The transactional id.
        id: Arc<str>,
        /// For how long there has been no answer.
        away: Duration,
        /// What came instead of it.
        cause: Arc<str>,
    },
    /// The coordinator refuses.
    #[error("transactional id {id} (Kafka.TransactionalId): {code}")]
    Refused {
        /// The transactional id.
        id: Arc<str>,
        /// What the coordinator said.
        code: ErrorCode,
    },
}

impl TransactionError {
    /// What it means for the transactions of `id` that a broker said `code`.
    pub fn new(id: &Arc<str>, code: ErrorCode) -> Self {
        let id = Arc::clone(id);
        match code {
            ErrorCode::PRODUCER_FENCED
            | ErrorCode::INVALID_PRODUCER_EPOCH
            | ErrorCode::INVALID_PRODUCER_ID_MAPPING
            | ErrorCode::INVALID_TXN_STATE => Self::Fenced { id, code },
            code => Self::Refused { id, code },
        }
    }
}
