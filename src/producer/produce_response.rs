//! What a broker's answer to a batch means for the batch. Pure.
//!
//! The one question that decides about doubles is whether an error can follow the append. Brokers append first and wait
//! for the replicas after, so every error of the waiting leaves it open, and so does every error not listed here.

use super::sequence::{Refusal, Verdict};
use crate::wire::error::{CallError, ErrorCode, Remedy};
use crate::wire::messages::PartitionProduceResponse;

/// An answer, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sorted {
    /// What became of the batch.
    pub(super) verdict: Verdict,
    /// Whether the leader has to be looked up again.
    pub(super) stale: bool,
    /// Whether what is in the way takes milliseconds, and asking again may come as soon.
    pub(super) soon: bool,
    /// Whether the producer as a whole is finished.
    pub(super) fatal: Option<ErrorCode>,
}

impl From<Verdict> for Sorted {
    fn from(verdict: Verdict) -> Self {
        Self {
            verdict,
            stale: false,
            soon: false,
            fatal: None,
        }
    }
}

/// Sorts what the broker said about a partition's batch.
pub(super) fn of_answer(answer: &PartitionProduceResponse) -> Sorted {
    let code = match ErrorCode::check(answer.error_code) {
        Ok(()) => {
            return Verdict::Written((answer.base_offset >= 0).then_some(answer.base_offset))
                .into();
        }
        Err(code) => code,
    };
    match code {
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Verdict::Written(None).into(),
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID => {
            Verdict::OutOfOrder.into()
        }
        ErrorCode::CORRUPT_MESSAGE
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::THROTTLING_QUOTA_EXCEEDED => {
            Verdict::NotWritten(code.to_string().into()).into()
        }
        // The markers of the transaction before are being written (KIP-890): brokers look before they append.
        ErrorCode::CONCURRENT_TRANSACTIONS => Sorted {
            soon: true,
            ..Verdict::NotWritten(code.to_string().into()).into()
        },
        // Said behind the append, too, but only of a topic that was deleted meanwhile: what was written is gone with it. (A
        // broker that waits for replicas of a partition which it no longer hosts says NOT_LEADER_OR_FOLLOWER as long as
        // the cluster's metadata has the topic.)
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Sorted {
            stale: true,
            ..Verdict::NotWritten(code.to_string().into()).into()
        },
        ErrorCode::INVALID_PRODUCER_EPOCH
        | ErrorCode::PRODUCER_FENCED
        | ErrorCode::INVALID_TXN_STATE
        | ErrorCode::INVALID_PRODUCER_ID_MAPPING
        | ErrorCode::TRANSACTION_ABORTABLE
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => Sorted {
            fatal: Some(code),
            ..refused(code, answer)
        },
        ErrorCode::MESSAGE_TOO_LARGE
        | ErrorCode::RECORD_LIST_TOO_LARGE
        | ErrorCode::INVALID_TOPIC_EXCEPTION
        | ErrorCode::INVALID_RECORD
        | ErrorCode::INVALID_TIMESTAMP
        | ErrorCode::INVALID_REQUEST
        | ErrorCode::POLICY_VIOLATION
        | ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
        | ErrorCode::UNSUPPORTED_VERSION => refused(code, answer),
        _ => Sorted {
            stale: code.remedy() == Remedy::RefreshMetadata,
            ..Verdict::Unknown(code.to_string().into()).into()
        },
    }
}

fn refused(code: ErrorCode, answer: &PartitionProduceResponse) -> Sorted {
    let of_record = answer
        .record_errors
        .iter()
        .find_map(|record| record.batch_index_error_message.as_deref());
    let detail = of_record
        .or(answer.error_message.as_deref())
        .map(Into::into);
    Verdict::Refused(Refusal { code, detail }).into()
}

/// The answer left this batch out.
pub(super) fn unanswered() -> Sorted {
    Verdict::Unknown("the broker's answer leaves the partition out".into()).into()
}

/// Sorts what it means for a batch that its request has no answer.
pub(super) fn of_failure(error: &CallError) -> Sorted {
    let cause = error.to_string().into();
    let verdict = if error.possibly_sent() {
        Verdict::Unknown(cause)
    } else {
        Verdict::NotWritten(cause)
    };
    Sorted {
        verdict,
        stale: true,
        soon: false,
        fatal: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: ErrorCode) -> Sorted {
        of_answer(&PartitionProduceResponse {
            error_code: code.0,
            base_offset: -1,
            ..Default::default()
        })
    }

    #[test]
    fn success_and_its_repetition_are_written() {
        let written = of_answer(&PartitionProduceResponse {
            base_offset: 17,
            ..Default::default()
        });
        assert_eq!(written.verdict, Verdict::Written(Some(17)));
        let again = answer(ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
        assert_eq!(again.verdict, Verdict::Written(None));
    }

    #[test]
    fn errors_that_may_follow_the_append_leave_it_open() {
        for code in [
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::REQUEST_TIMED_OUT,
            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            ErrorCode::UNKNOWN_SERVER_ERROR,
            ErrorCode::KAFKA_STORAGE_ERROR,
            ErrorCode(9_999),
        ] {
            assert!(
                matches!(answer(code).verdict, Verdict::Unknown(_)),
                "{code}"
            );
        }
        assert!(answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).stale);
        let before = answer(ErrorCode::NOT_ENOUGH_REPLICAS);
        assert!(matches!(before.verdict, Verdict::NotWritten(_)));
    }

    #[test]
    fn brokers_look_at_the_transaction_before_they_append() {
        let before = answer(ErrorCode::CONCURRENT_TRANSACTIONS);
        assert!(matches!(before.verdict, Verdict::NotWritten(_)) && before.soon);
        let over = answer(ErrorCode::TRANSACTION_ABORTABLE);
        assert!(matches!(over.verdict, Verdict::Refused(_)) && over.fatal.is_some());
    }

    #[test]
    fn a_topic_that_is_not_there_holds_nothing_and_is_looked_up() {
        let gone = answer(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert!(matches!(gone.verdict, Verdict::NotWritten(_)) && gone.stale);
    }

    #[test]
    fn a_fenced_producer_is_finished() {
        assert_eq!(
            answer(ErrorCode::INVALID_PRODUCER_EPOCH).fatal,
            Some(ErrorCode::INVALID_PRODUCER_EPOCH)
        );
        assert_eq!(answer(ErrorCode::MESSAGE_TOO_LARGE).fatal, None);
    }

    #[test]
    fn what_was_not_sent_was_not_written() {
        let unsent = of_failure(&CallError::UnknownNode { node: 3 });
        assert!(matches!(unsent.verdict, Verdict::NotWritten(_)) && unsent.stale);
        let lost = of_failure(&CallError::Disconnected {
            address: "b:1".into(),
            api: "Produce",
            reason: "reset".into(),
        });
        assert!(matches!(lost.verdict, Verdict::Unknown(_)));
    }
}
