//! Transactions (KIP-98): what was sent counts at once, or not at all, and another producer with the same id is fenced.
//!
//! ```text
//!  begin: InitProducerId ──► batches ──► end: EndTxn ──► batches …
//!                       └─► add: AddPartitionsToTxn ─┘   (before a partition's first batch, first version only)
//! ```
//!
//! `machine` decides which version is spoken and what may be sent. Every question is asked until its answer is certain;
//! asking again changes nothing. Only the end of a transaction has a time limit: whether it was carried out is then left
//! to the next start, whose InitProducerId finishes or aborts it.

mod coordinator;
mod error;
mod machine;

use crate::wire::cluster::{Cluster, ClusterError};
use crate::wire::error::ErrorCode;
use crate::wire::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnTopic, EndTxnRequest,
    EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, KeepingEndTxnRequest,
    RaisingEndTxnRequest,
};
use coordinator::{Away, Coordinator, NoAnswer, QUIET};
pub use error::TransactionError;
use machine::Machine;
pub(super) use machine::{Protocol, Turn};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sequence::ProducerEpoch;

/// The longest time that brokers allow a transaction by default (`transaction.max.timeout.ms`).
const LONGEST: Duration = Duration::from_secs(900);

/// A producer's transactions, one after the other.
#[derive(Debug)]
pub(super) struct Transaction {
    cluster: Arc<Cluster>,
    id: Arc<str>,
    /// How long the end of a transaction is asked for.
    limit: Duration,
    machine: Mutex<Machine>,
    away: Away,
}

impl Transaction {
    /// Takes over the id: a transaction of a former producer is aborted, and that producer fenced. One transaction may
    /// take twice the `limit` (`Kafka.MessageTimeoutMs`) within which its batches are acknowledged and its end is answered.
    ///
    /// # Errors
    /// A refusal, and what a second of trying did not help against: whoever starts says so and decides how long to try.
    pub(super) async fn begin(
        cluster: Arc<Cluster>,
        id: Arc<str>,
        limit: Duration,
    ) -> Result<Self, ClusterError> {
        let time = limit.saturating_mul(2).min(LONGEST);
        let request = InitProducerIdRequest {
            transactional_id: Some((&*id).into()),
            transaction_timeout_ms: i32::try_from(time.as_millis()).unwrap_or(i32::MAX),
            ..Default::default()
        };
        let judge = |answer: InitProducerIdResponse| {
            let producer = ProducerEpoch {
                id: answer.producer_id,
                epoch: answer.producer_epoch,
            };
            ErrorCode::check(answer.error_code).map(|()| producer)
        };
        let away = Away::default();
        let started = Instant::now();
        let producer = {
            let mut coordinator = Coordinator::new(&cluster, &id, &away);
            loop {
                match coordinator.ask_once(&request, &judge).await {
                    Ok(producer) => break producer,
                    Err(error) if error.is_retriable() && started.elapsed() < QUIET => {
                        tracing::debug!(%error, "no producer id for transactions yet");
                        coordinator.pause().await;
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let machine = Machine::new(producer, cluster.transaction_version());
        tracing::debug!(%id, protocol = ?machine.protocol(), "transactions begin");
        Ok(Self {
            cluster,
            id,
            limit,
            machine: Mutex::new(machine),
            away,
        })
    }

    /// What the present transaction's batches are to be stamped with.
    pub(super) fn producer(&self) -> ProducerEpoch {
        self.machine.lock().producer()
    }

    /// How the present transaction's batches are written.
    pub(super) fn protocol(&self) -> Protocol {
        self.machine.lock().protocol()
    }

    /// What may be done with a partition's batches now.
    pub(super) fn turn(&self, partition: i32) -> Turn {
        self.machine.lock().turn(partition)
    }

    /// Notes that a batch of the partition is about to be sent.
    pub(super) fn sent(&self, partition: i32) {
        self.machine.lock().takes_part(&[partition]);
    }

    /// For how long the coordinator has had no answer, and what came instead.
    pub(super) fn away(&self) -> Option<(Duration, Arc<str>)> {
        self.away.look()
    }

    /// Lets partitions take part in the transaction.
    pub(super) async fn add(&self, topic: &str, partitions: &[i32]) -> Result<(), ErrorCode> {
        let producer = self.producer();
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: (&*self.id).into(),
            v3_and_below_producer_id: producer.id,
            v3_and_below_producer_epoch: producer.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.into(),
                partitions: partitions.to_vec(),
            }],
        };
        let judge = |answer: AddPartitionsToTxnResponse| {
            let codes = answer
                .results_by_topic_v3_and_below
                .iter()
                .flat_map(|topic| &topic.results_by_partition)
                .map(|result| result.partition_error_code);
            // One code stands for all: partitions beside a refused one are not attempted.
            let attempted = |code: &i16| *code != ErrorCode::OPERATION_NOT_ATTEMPTED.0;
            ErrorCode::check(codes.filter(attempted).find(|code| *code != 0).unwrap_or(0))
        };
        match self.coordinator().ask(&request, &judge, None).await {
            Ok(()) => {
                self.machine.lock().takes_part(partitions);
                Ok(())
            }
            Err(NoAnswer::Refused(code)) => Err(code),
            // It is asked without a limit; batches that wait for it have theirs.
            Err(NoAnswer::Away) => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        }
    }

    /// Commits or aborts; nothing may be on its way. Given up while it was asked for, it may be asked for again, the same
    /// way; the other way, it does nothing.
    ///
    /// # Errors
    /// [`TransactionError`].
    pub(super) async fn end(&self, committed: bool) -> Result<(), TransactionError> {
        let (producer, protocol) = {
            let mut machine = self.machine.lock();
            if !machine.end(committed) {
                return Ok(());
            }
            (machine.producer(), machine.protocol())
        };
        let request = EndTxnRequest {
            transactional_id: (&*self.id).into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed,
        };
        let judge = |answer: EndTxnResponse| {
            ErrorCode::check(answer.error_code).map(|()| {
                (answer.producer_id >= 0).then_some(ProducerEpoch {
                    id: answer.producer_id,
                    epoch: answer.producer_epoch,
                })
            })
        };
        let until = Some(Instant::now() + self.limit);
        let mut coordinator = self.coordinator();
        let answer = match protocol {
            Protocol::First => {
                let request = KeepingEndTxnRequest::new(request);
                coordinator.ask(&request, &judge, until).await
            }
            Protocol::Second => {
                let request = RaisingEndTxnRequest::new(request);
                coordinator.ask(&request, &judge, until).await
            }
        };
        match answer {
            Ok(next) => {
                let level = self.cluster.transaction_version();
                self.machine.lock().ended(next, level);
                Ok(())
            }
            Err(NoAnswer::Refused(code)) => Err(TransactionError::new(&self.id, code)),
            Err(NoAnswer::Away) => Err(self.unanswered()),
        }
    }

    /// What it means that nobody said whether a transaction is committed.
    pub(super) fn unanswered(&self) -> TransactionError {
        let (away, cause) = self
            .away()
            .unwrap_or_else(|| (Duration::ZERO, "none came".into()));
        TransactionError::Unanswered {
            id: Arc::clone(&self.id),
            away,
            cause,
        }
    }

    fn coordinator(&self) -> Coordinator<'_> {
        Coordinator::new(&self.cluster, &self.id, &self.away)
    }
}
