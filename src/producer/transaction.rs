//! Transactions (KIP-98): what was sent counts at once, or not at all, and another producer with the same id is fenced.
//!
//! ```text
//!  begin: InitProducerId ──► add: AddPartitionsToTxn, before a partition's first batch ──► end: EndTxn ──► add …
//! ```
//!
//! The protocol of the first version is spoken, which brokers with transactions of the second (KIP-890) serve as well. Every
//! question is asked until its answer is certain; asking again changes nothing.

use crate::wire::cluster::{Backoff, Cluster, ClusterError, Lane};
use crate::wire::error::{CallError, ErrorCode, Remedy};
use crate::wire::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, EndTxnRequest, InitProducerIdRequest,
    Request,
};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sequence::ProducerEpoch;

/// The longest time that brokers allow a transaction by default (`transaction.max.timeout.ms`).
const LONGEST: Duration = Duration::from_secs(900);

/// The pauses before asking again. The markers of the transaction before are written within milliseconds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// For how long nothing is said of a coordinator that has no answer: an election takes less.
const QUIET: Duration = Duration::from_secs(1);

/// How often it is said again.
const REMIND: Duration = Duration::from_secs(60);

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

/// A producer's transactions, one after the other.
#[derive(Debug)]
pub(super) struct Transaction {
    cluster: Arc<Cluster>,
    id: Arc<str>,
    pub(super) producer: ProducerEpoch,
    /// The partitions that take part in the present one.
    added: Mutex<BTreeSet<i32>>,
}

impl Transaction {
    /// Takes over the id: a transaction of a former producer is aborted, and that producer fenced. One transaction may
    /// take `time`.
    ///
    /// # Errors
    /// A refusal, and what a second of trying did not help against: whoever starts says so and decides how long to try.
    pub(super) async fn begin(
        cluster: Arc<Cluster>,
        id: Arc<str>,
        time: Duration,
    ) -> Result<Self, ClusterError> {
        let request = InitProducerIdRequest {
            transactional_id: Some((&*id).into()),
            transaction_timeout_ms: i32::try_from(time.min(LONGEST).as_millis())
                .unwrap_or(i32::MAX),
            ..Default::default()
        };
        let ask = |answer: crate::wire::messages::InitProducerIdResponse| {
            let producer = ProducerEpoch {
                id: answer.producer_id,
                epoch: answer.producer_epoch,
            };
            ErrorCode::check(answer.error_code).map(|()| producer)
        };
        let started = Instant::now();
        let mut coordinator = Coordinator::new(&cluster, &id);
        let producer = loop {
            match coordinator.ask_once(&request, &ask).await {
                Ok(producer) => break producer,
                Err(error) if error.is_retriable() && started.elapsed() < QUIET => {
                    tracing::debug!(%error, "no producer id for transactions yet");
                    coordinator.pause().await;
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Self {
            cluster,
            id,
            producer,
            added: Mutex::default(),
        })
    }

    /// Whether a batch of the partition may be sent.
    pub(super) fn has(&self, partition: i32) -> bool {
        self.added.lock().contains(&partition)
    }

    /// Lets partitions take part in the transaction.
    pub(super) async fn add(&self, topic: &str, partitions: &[i32]) -> Result<(), ErrorCode> {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: (&*self.id).into(),
            v3_and_below_producer_id: self.producer.id,
            v3_and_below_producer_epoch: self.producer.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.into(),
                partitions: partitions.to_vec(),
            }],
        };
        let ask = |answer: crate::wire::messages::AddPartitionsToTxnResponse| {
            let codes = answer
                .results_by_topic_v3_and_below
                .iter()
                .flat_map(|topic| &topic.results_by_partition)
                .map(|result| result.partition_error_code);
            // One code stands for all: partitions beside a refused one are not attempted.
            let attempted = |code: &i16| *code != ErrorCode::OPERATION_NOT_ATTEMPTED.0;
            ErrorCode::check(codes.filter(attempted).find(|code| *code != 0).unwrap_or(0))
        };
        Coordinator::new(&self.cluster, &self.id)
            .ask(&request, &ask)
            .await?;
        self.added.lock().extend(partitions);
        Ok(())
    }

    /// Commits or aborts; nothing may be on its way.
    pub(super) async fn end(&self, committed: bool) -> Result<(), TransactionError> {
        if self.added.lock().is_empty() {
            return Ok(());
        }
        let request = EndTxnRequest {
            transactional_id: (&*self.id).into(),
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            committed,
        };
        let ask =
            |answer: crate::wire::messages::EndTxnResponse| ErrorCode::check(answer.error_code);
        match Coordinator::new(&self.cluster, &self.id)
            .ask(&request, &ask)
            .await
        {
            Ok(()) => {
                self.added.lock().clear();
                Ok(())
            }
            Err(code) => Err(TransactionError::new(&self.id, code)),
        }
    }
}

/// The coordinator of a transactional id, whichever broker that is.
struct Coordinator<'a> {
    cluster: &'a Cluster,
    id: &'a str,
    node: Option<i32>,
    backoff: Backoff,
    since: Instant,
    /// When it was last said that it has no answer.
    told: Option<Instant>,
}

impl<'a> Coordinator<'a> {
    fn new(cluster: &'a Cluster, id: &'a str) -> Self {
        Self {
            cluster,
            id,
            node: None,
            backoff: Backoff::new(PAUSE.0, PAUSE.1),
            since: Instant::now(),
            told: None,
        }
    }

    /// Asks until there is an answer that stands.
    async fn ask<R: Request + Sync, T>(
        &mut self,
        request: &R,
        judge: &impl Fn(R::Response) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        loop {
            let error = match self.ask_once(request, judge).await {
                Ok(done) => {
                    if self.told.is_some() {
                        tracing::info!(id = %self.id, "the transaction's coordinator answers again");
                    }
                    return Ok(done);
                }
                Err(ClusterError::Transaction { code, .. }) if code.remedy() == Remedy::None => {
                    return Err(code);
                }
                Err(ClusterError::Call(CallError::Unsupported { .. })) => {
                    return Err(ErrorCode::UNSUPPORTED_VERSION);
                }
                Err(error) => error,
            };
            let api = R::NAME;
            if self.since.elapsed() >= QUIET
                && self.told.is_none_or(|told| told.elapsed() >= REMIND)
            {
                self.told = Some(Instant::now());
                tracing::warn!(id = %self.id, api, "the transaction's coordinator (Kafka.TransactionalId) has no answer; it is asked again: {error}");
            } else {
                tracing::debug!(id = %self.id, api, %error, "the transaction's coordinator has no answer");
            }
            self.pause().await;
        }
    }

    /// Asks once; whether asking again may help, the error knows.
    async fn ask_once<R: Request + Sync, T>(
        &mut self,
        request: &R,
        judge: &impl Fn(R::Response) -> Result<T, ErrorCode>,
    ) -> Result<T, ClusterError> {
        let node = match self.node.take() {
            Some(node) => node,
            None => self.cluster.transaction_coordinator(self.id).await?,
        };
        let judged = match self.cluster.request(node, Lane::Control, request).await {
            Ok(answer) => judge(answer),
            Err(CallError::Unsupported { .. }) => Err(ErrorCode::UNSUPPORTED_VERSION),
            Err(error) => return Err(error.into()),
        };
        judged.map_err(|code| {
            self.node = (code.remedy() != Remedy::FindCoordinator).then_some(node);
            ClusterError::Transaction {
                id: self.id.to_owned(),
                code,
            }
        })
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.backoff.next_pause(rand::random())).await;
    }
}
