//! What became of a record: one shared outcome a batch, and a handle a record that costs a reference count.

use crate::wire::error::ErrorCode;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::Notify;

/// Where a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The partition.
    pub partition: i32,
    /// The record's offset; `None` when the broker only says that it already has the batch.
    pub offset: Option<i64>,
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// `Kafka.MessageTimeoutMs` ran out.
    #[error(
        "topic {topic}, partition {partition}: not acknowledged within Kafka.MessageTimeoutMs{}; last answer: {cause}",
        in_doubt(*.possibly_written)
    )]
    TimedOut {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// Whether the record may be in the topic all the same.
        possibly_written: bool,
        /// What kept it from being acknowledged, as far as it is known.
        cause: Arc<str>,
    },
    /// The broker refuses the batch, and will again.
    #[error(
        "topic {topic}, partition {partition}: refused{}: {code}{}",
        in_doubt(*.possibly_written),
        .detail.as_deref().map(|detail| format!("; {detail}")).unwrap_or_default()
    )]
    Refused {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The broker's reason.
        code: ErrorCode,
        /// What the broker, or this client, has to say beyond the code.
        detail: Option<Arc<str>>,
        /// Whether an earlier attempt may have been written all the same.
        possibly_written: bool,
    },
    /// The producer stopped before the record was acknowledged.
    #[error("topic {topic}, partition {partition}: the producer stopped before this was acknowledged{}", in_doubt(*.possibly_written))]
    Stopped {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// Whether the record may be in the topic all the same.
        possibly_written: bool,
    },
    /// The producer cannot go on at all: fenced by another one, or not allowed to write.
    #[error("topic {topic}, partition {partition}: the producer cannot go on{}: {code}", in_doubt(*.possibly_written))]
    Fatal {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The broker's reason.
        code: ErrorCode,
        /// Whether the record may be in the topic all the same.
        possibly_written: bool,
    },
}

const fn in_doubt(possibly_written: bool) -> &'static str {
    if possibly_written {
        " (it may have been written)"
    } else {
        " (it was not written)"
    }
}

impl DeliveryError {
    /// Whether the record may be in the topic all the same: look it up before offering it again.
    pub fn possibly_written(&self) -> bool {
        match self {
            Self::TimedOut {
                possibly_written, ..
            }
            | Self::Refused {
                possibly_written, ..
            }
            | Self::Stopped {
                possibly_written, ..
            }
            | Self::Fatal {
                possibly_written, ..
            } => *possibly_written,
        }
    }
}

/// What became of records that were written together: the base offset where it is known.
pub(super) type PartResult = Result<Option<i64>, DeliveryError>;

/// A part of a batch: from which of its records on, and what became of them.
type Part = (i32, PartResult);

/// What became of a batch, known once and for all its records at the same time; of one that was split, by part.
#[derive(Debug)]
pub(super) struct BatchOutcome {
    partition: i32,
    /// The parts whose outcome is known while others' is not.
    waiting: Mutex<Vec<Part>>,
    parts: OnceLock<Vec<Part>>,
    decided: OnceLock<Instant>,
    known: Notify,
}

impl BatchOutcome {
    pub(super) fn new(partition: i32) -> Arc<Self> {
        Arc::new(Self {
            partition,
            waiting: Mutex::default(),
            parts: OnceLock::new(),
            decided: OnceLock::new(),
            known: Notify::new(),
        })
    }

    /// Notes the outcome of the records from the `first` on. With the `last` part all is known, and all who wait are
    /// woken.
    pub(super) fn resolve(&self, first: i32, last: bool, result: PartResult) {
        let mut waiting = self.waiting.lock();
        waiting.push((first, result));
        if last {
            self.decided.get_or_init(Instant::now);
        }
        if last && self.parts.set(std::mem::take(&mut *waiting)).is_ok() {
            self.known.notify_waiters();
        }
    }

    pub(super) async fn wait(&self) -> &[(i32, PartResult)] {
        loop {
            // Registered before looking, so that an outcome between the two is not missed.
            let known = self.known.notified();
            if let Some(parts) = self.parts.get() {
                return parts;
            }
            known.await;
        }
    }
}

/// A promise about one record. Cheap to keep, to clone and to drop; dropping it does not call the record back.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(super) batch: Arc<BatchOutcome>,
    pub(super) index: i32,
}

impl Delivery {
    /// The partition that the record goes to.
    pub fn partition(&self) -> i32 {
        self.batch.partition
    }

    /// The outcome, if it is known already.
    pub fn outcome(&self) -> Option<Result<Acknowledged, DeliveryError>> {
        self.batch.parts.get().map(|parts| self.of(parts))
    }

    /// Waits for the outcome: at most `Kafka.MessageTimeoutMs`, and as long as the last attempt takes.
    ///
    /// # Errors
    /// [`DeliveryError`], which says whether the record may have been written.
    pub async fn wait(&self) -> Result<Acknowledged, DeliveryError> {
        self.of(self.batch.wait().await)
    }

    /// When the outcome became known, if it is.
    pub fn decided(&self) -> Option<Instant> {
        self.batch.decided.get().copied()
    }

    /// Of a record that is a batch of its own.
    #[cfg(test)]
    pub(crate) fn promised(partition: i32) -> Self {
        Self {
            batch: BatchOutcome::new(partition),
            index: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn decide(&self, result: PartResult) {
        self.batch.resolve(0, true, result);
    }

    fn of(&self, parts: &[Part]) -> Result<Acknowledged, DeliveryError> {
        // Parts are resolved in order.
        let behind = parts.partition_point(|(first, _)| *first <= self.index);
        match behind.checked_sub(1).and_then(|part| parts.get(part)) {
            Some((first, Ok(base))) => Ok(Acknowledged {
                partition: self.batch.partition,
                offset: base.map(|base| base.saturating_add(i64::from(self.index - first))),
            }),
            Some((_, Err(error))) => Err(error.clone()),
            // The first part begins with the first record.
            None => Ok(Acknowledged {
                partition: self.batch.partition,
                offset: None,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_split_batch_have_outcomes_of_their_own() {
        let batch = BatchOutcome::new(2);
        let of = |index| Delivery {
            batch: Arc::clone(&batch),
            index,
        };
        batch.resolve(0, false, Ok(Some(10)));
        assert_eq!(of(0).outcome(), None, "not all is known");
        batch.resolve(3, true, Ok(Some(20)));
        let offsets: Vec<_> = [0, 2, 3, 5]
            .map(|index| of(index).outcome().unwrap().unwrap().offset)
            .into();
        assert_eq!(offsets, [Some(10), Some(12), Some(20), Some(22)]);
    }
}
