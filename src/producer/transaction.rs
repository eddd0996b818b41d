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
use std::time::Duration;

use super::sequence::ProducerEpoch;

/// The longest time that brokers allow a transaction by default (`transaction.max.timeout.ms`).
const LONGEST: Duration = Duration::from_secs(900);

/// The pauses before asking again. The markers of the transaction before are written within milliseconds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

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

/// What an answer means.
enum Answer<T> {
    Done(T),
    Again,
    AnotherCoordinator,
    Refused(ErrorCode),
}

fn judge<T>(code: i16, done: T) -> Answer<T> {
    match ErrorCode::check(code) {
        Ok(()) => Answer::Done(done),
        Err(code) => match code.remedy() {
            Remedy::FindCoordinator => Answer::AnotherCoordinator,
            Remedy::Retry | Remedy::RefreshMetadata => Answer::Again,
            Remedy::None => Answer::Refused(code),
        },
    }
}

impl Transaction {
    /// Takes over the id: a transaction of a former producer is aborted, and that producer fenced. One transaction may
    /// take `time`.
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
            judge(answer.error_code, producer)
        };
        // Whoever starts decides how long to try: the first failure to reach anybody is theirs to tell.
        let first = cluster.transaction_coordinator(&id).await;
        let coordinator = match first {
            Err(ClusterError::Transaction { code, .. }) if code.remedy() != Remedy::None => None,
            first => Some(first?),
        };
        let asked = ask_coordinator(&cluster, &id, coordinator, &request, ask).await;
        let producer = asked.map_err(|code| ClusterError::Transaction {
            id: id.to_string(),
            code,
        })?;
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
            judge(
                codes.filter(attempted).find(|code| *code != 0).unwrap_or(0),
                (),
            )
        };
        ask_coordinator(&self.cluster, &self.id, None, &request, ask).await?;
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
        let ask = |answer: crate::wire::messages::EndTxnResponse| judge(answer.error_code, ());
        match ask_coordinator(&self.cluster, &self.id, None, &request, ask).await {
            Ok(()) => {
                self.added.lock().clear();
                Ok(())
            }
            Err(code) => Err(TransactionError::new(&self.id, code)),
        }
    }
}

/// Asks the coordinator of `id`, whichever broker that is, until it gives an answer that stands.
async fn ask_coordinator<R: Request + Sync, T>(
    cluster: &Cluster,
    id: &str,
    mut coordinator: Option<i32>,
    request: &R,
    judge: impl Fn(R::Response) -> Answer<T>,
) -> Result<T, ErrorCode> {
    let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
    loop {
        let node = match coordinator {
            Some(node) => Ok(node),
            None => cluster.transaction_coordinator(id).await,
        };
        match node {
            Ok(node) => {
                coordinator = Some(node);
                match cluster
                    .request(node, Lane::Control, request)
                    .await
                    .map(&judge)
                {
                    Ok(Answer::Done(done)) => return Ok(done),
                    Ok(Answer::Refused(code)) => return Err(code),
                    Ok(Answer::Again) => {}
                    Ok(Answer::AnotherCoordinator) => coordinator = None,
                    Err(CallError::Unsupported { .. }) => {
                        return Err(ErrorCode::UNSUPPORTED_VERSION);
                    }
                    Err(error) => {
                        tracing::debug!(%error, api = R::NAME, "the transaction's coordinator has no answer");
                        coordinator = None;
                    }
                }
            }
            Err(ClusterError::Transaction { code, .. }) if code.remedy() == Remedy::None => {
                return Err(code);
            }
            Err(error) => tracing::debug!(%error, "cannot find the transaction's coordinator"),
        }
        tokio::time::sleep(backoff.next_pause(rand::random())).await;
    }
}
