//! What became of a record: one shared outcome a batch, and a handle a record that costs a reference count.

use crate::wire::error::ErrorCode;
use std::sync::{Arc, OnceLock};
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

/// What became of a batch, known once and for all its records at the same time.
#[derive(Debug)]
pub(super) struct BatchOutcome {
    partition: i32,
    result: OnceLock<Result<Option<i64>, DeliveryError>>,
    known: Notify,
}

impl BatchOutcome {
    pub(super) fn new(partition: i32) -> Arc<Self> {
        Arc::new(Self {
            partition,
            result: OnceLock::new(),
            known: Notify::new(),
        })
    }

    /// Notes the outcome and wakes all who wait for it. The first one counts.
    pub(super) fn resolve(&self, result: Result<Option<i64>, DeliveryError>) {
        if self.result.set(result).is_ok() {
            self.known.notify_waiters();
        }
    }

    pub(super) async fn wait(&self) -> &Result<Option<i64>, DeliveryError> {
        loop {
            // Registered before looking, so that an outcome between the two is not missed.
            let known = self.known.notified();
            if let Some(result) = self.result.get() {
                return result;
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
        self.batch.result.get().map(|result| self.of(result))
    }

    /// Waits for the outcome: at most `Kafka.MessageTimeoutMs`, and as long as the last attempt takes.
    ///
    /// # Errors
    /// [`DeliveryError`], which says whether the record may have been written.
    pub async fn wait(&self) -> Result<Acknowledged, DeliveryError> {
        self.of(self.batch.wait().await)
    }

    /// Whether both records travel in the same batch, and so have the same outcome.
    pub fn same_batch(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.batch, &other.batch)
    }

    fn of(
        &self,
        result: &Result<Option<i64>, DeliveryError>,
    ) -> Result<Acknowledged, DeliveryError> {
        match result {
            Ok(base) => Ok(Acknowledged {
                partition: self.batch.partition,
                offset: base.map(|base| base.saturating_add(i64::from(self.index))),
            }),
            Err(error) => Err(error.clone()),
        }
    }
}
