//! Partitions, batches and sends records: none lost, none doubled, in order per key.
//!
//! ```text
//!  send ──► accumulator ──► sequence ──► sender ──► broker_lane      one task a broker that leads partitions:
//!            one open        numbers,     one task:  │        requests on the wire in order
//!            batch a         retries,     who sends  ▼
//!            partition       outcomes     what now   wire
//! ```
//!
//! A record is encoded once, straight into its partition's batch; what it costs beyond that is a lock that nobody
//! contends and a reference count for its [`Delivery`]. Memory is bounded: [`Producer::send`] waits while
//! `Kafka.QueueBufferingMaxKbytes` are taken. Every batch is written with acks=all under a producer id, epoch and sequence
//! number (KIP-98), so that it may be sent again without doubling anything; the rules are in `sequence`. Without
//! `Kafka.EnableIdempotence` it has none, and is written at least once.

mod accumulator;
mod broker_lane;
mod delivery;
mod partitioner;
mod produce_response;
mod sender;
mod sequence;
mod settings;
mod shared;
mod split_batch;
mod transaction;

#[cfg(test)]
mod live;

use shared::{Shared, readable};

use crate::wire::cluster::{Cluster, ClusterError};
use crate::wire::error::ErrorCode;
use accumulator::{Accumulator, Limits, Offered};
pub use delivery::{Acknowledged, Delivery, DeliveryError};
use parking_lot::Mutex;
pub use partitioner::Scheme;
use sender::Sender;
pub use settings::{OnTimeout, Settings};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use transaction::Transaction;
pub use transaction::TransactionError;

/// A record to be sent; see [`crate::wire::records::NewRecord`].
pub use crate::wire::records::NewRecord as Record;

/// Why a record was not taken. It was not written, and never will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The record alone is longer than all the memory there is for records.
    #[error(
        "topic {topic}: a record of {size} bytes (key {key}) is longer than Kafka.QueueBufferingMaxKbytes allows ({limit} bytes)"
    )]
    TooLong {
        /// The topic.
        topic: Arc<str>,
        /// The record's key, made readable.
        key: String,
        /// Its length in bytes.
        size: usize,
        /// The longest that is taken.
        limit: usize,
    },
    /// The producer was closed.
    #[error("topic {topic}: the producer is closed")]
    Closed {
        /// The topic.
        topic: Arc<str>,
    },
    /// A record before this one was given up, and ended the producer: whoever offers it again must not be overtaken.
    #[error("topic {topic}: a record before this one was given up")]
    GaveUp {
        /// The topic.
        topic: Arc<str>,
    },
    /// The producer cannot go on: fenced by another one, or not allowed to write.
    #[error("topic {topic}: the producer cannot go on: {code}")]
    Fatal {
        /// The topic.
        topic: Arc<str>,
        /// The broker's reason.
        code: ErrorCode,
    },
}

/// Bytes of batches, headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Before compression.
    pub plain: u64,
    /// As they went to the brokers.
    pub packed: u64,
}

/// Publishes records to one topic.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    sender: Mutex<Option<JoinHandle<()>>>,
}

impl Producer {
    /// Learns the topic's partitions and starts the tasks; brokers that make topics on first use make it.
    ///
    /// # Errors
    /// When no broker can be asked, or the topic is not there: at once, so that the caller decides whether to wait.
    pub async fn start(cluster: Arc<Cluster>, settings: Settings) -> Result<Self, ClusterError> {
        let topic = cluster.make_topic(&settings.topic).await?;
        if settings.idempotent && settings.transactional_id.is_none() {
            cluster.has_producer_ids().await?;
        }
        let transaction = match &settings.transactional_id {
            Some(id) => {
                let limit = settings.message_timeout;
                Some(Transaction::begin(Arc::clone(&cluster), Arc::clone(id), limit).await?)
            }
            None => None,
        };
        let limits = Limits {
            batch_size: settings.batch_size,
            linger: settings.linger,
            buffer: settings.buffer,
        };
        let accumulator = Accumulator::new(
            limits,
            topic.partitions.len() as u32,
            settings.partitioner,
            settings.seed,
        );
        let shared = Arc::new(Shared {
            topic: Arc::clone(&settings.topic),
            buffer: settings.buffer,
            accumulator: Mutex::new(accumulator),
            work: Notify::new(),
            room: Notify::new(),
            flushing: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            gave_up: AtomicBool::new(false),
            fatal: OnceLock::new(),
            transaction,
            plain: AtomicU64::new(0),
            packed: AtomicU64::new(0),
        });
        let sender = Sender::new(Arc::clone(&shared), cluster, settings, topic);
        Ok(Self {
            shared,
            sender: Mutex::new(Some(tokio::spawn(sender.run()))),
        })
    }

    /// Takes a record, waiting for memory if there is none, and promises to say what becomes of it.
    ///
    /// Records with the same key are written in the order in which they are taken.
    ///
    /// # Errors
    /// [`SendError`]; the record was not taken.
    pub async fn send(&self, record: &Record<'_>) -> Result<Delivery, SendError> {
        if let Some(delivery) = self.try_send(record)? {
            return Ok(delivery);
        }
        loop {
            // Registered before trying, so that memory given back between the two is not missed.
            let room = self.shared.room.notified();
            if let Some(delivery) = self.try_send(record)? {
                return Ok(delivery);
            }
            room.await;
        }
    }

    /// Takes a record if there is memory for it.
    ///
    /// # Errors
    /// [`SendError`]; the record was not taken.
    pub fn try_send(&self, record: &Record<'_>) -> Result<Option<Delivery>, SendError> {
        let shared = &self.shared;
        if let Some(&code) = shared.fatal.get() {
            let topic = Arc::clone(&shared.topic);
            return Err(SendError::Fatal { topic, code });
        }
        let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        if size > shared.buffer {
            return Err(self.too_long(record, size));
        }
        let offered = {
            let mut accumulator = shared.accumulator.lock();
            // Looked at under the lock: what is taken before the sender's last look is seen by it.
            if shared.gave_up.load(Ordering::Acquire) {
                let topic = Arc::clone(&shared.topic);
                return Err(SendError::GaveUp { topic });
            }
            if shared.closed.load(Ordering::Acquire) {
                let topic = Arc::clone(&shared.topic);
                return Err(SendError::Closed { topic });
            }
            accumulator.offer(record, Instant::now)
        };
        match offered {
            Ok(Offered::Taken { delivery, wake }) => {
                if wake {
                    shared.work.notify_one();
                }
                Ok(Some(delivery))
            }
            Ok(Offered::Full) => {
                shared.work.notify_one();
                Ok(None)
            }
            Err(_) => Err(self.too_long(record, size)),
        }
    }

    fn too_long(&self, record: &Record<'_>, size: usize) -> SendError {
        SendError::TooLong {
            topic: Arc::clone(&self.shared.topic),
            key: readable(record.key),
            size,
            limit: self.shared.buffer.min(i32::MAX as usize),
        }
    }

    /// Sends everything taken so far without lingering, and waits until the outcome of each record is known. Whether
    /// they were written, their [`Delivery`] tells.
    pub async fn flush(&self) {
        let _flushing = Flushing::begin(&self.shared);
        let outstanding = self.shared.accumulator.lock().outstanding();
        for batch in outstanding {
            batch.wait().await;
        }
    }

    /// What the batches made so far come to.
    pub fn volume(&self) -> Volume {
        Volume {
            plain: self.shared.plain.load(Ordering::Relaxed),
            packed: self.shared.packed.load(Ordering::Relaxed),
        }
    }

    /// Takes no more records, sends what was taken, and ends. What is not acknowledged at `deadline` is given up with
    /// [`DeliveryError::Stopped`]. Says whether everything was settled in time.
    pub async fn close(&self, deadline: Instant) -> bool {
        {
            // Under the lock, so that no record slips in behind the flush.
            let _accumulator = self.shared.accumulator.lock();
            self.shared.closed.store(true, Ordering::Release);
        }
        self.shared.room.notify_waiters();
        let drained = tokio::time::timeout_at(deadline.into(), self.flush()).await;
        self.stop();
        let sender = self.sender.lock().take();
        if let Some(sender) = sender
            && let Err(error) = sender.await
        {
            tracing::error!(topic = %self.shared.topic, %error, "the sender ended unexpectedly");
        }
        drained.is_ok()
    }

    /// Commits what was acknowledged since the last time, when [`Self::flush`] has settled everything. Without a
    /// `Kafka.TransactionalId` there is nothing to commit. Asks for `Kafka.MessageTimeoutMs`; who gives up before may ask
    /// again.
    ///
    /// # Errors
    /// [`TransactionError`] when another producer took over, the transaction cannot be committed any more, or nobody said
    /// in time whether it is.
    pub async fn commit(&self) -> Result<(), TransactionError> {
        let Some(transaction) = &self.shared.transaction else {
            return Ok(());
        };
        let ended = transaction.end(true).await;
        // Records that came meanwhile have waited for the next transaction.
        self.shared.work.notify_one();
        ended
    }

    /// Takes back what was sent since the last commit, so that readers need not wait for the transaction's time to run
    /// out; what cannot be taken back until `deadline` is when the next producer with this id starts. A commit whose
    /// outcome is not known stands.
    pub async fn abort(&self, deadline: Instant) {
        if let Some(transaction) = &self.shared.transaction {
            let ended = tokio::time::timeout_at(deadline.into(), transaction.end(false)).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::debug!(topic = %self.shared.topic, "the transaction could not be aborted");
            }
        }
    }

    /// Why nobody says whether a transaction is committed, if that is being asked and has been in vain for `time`.
    pub fn unanswered_for(&self, time: Duration) -> Option<TransactionError> {
        let transaction = self.shared.transaction.as_ref()?;
        transaction.away().filter(|(away, _)| *away >= time)?;
        Some(transaction.unanswered())
    }

    fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.work.notify_one();
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.stop();
    }
}

/// While one of these lives, batches are not left open.
struct Flushing<'a>(&'a Shared);

impl<'a> Flushing<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.flushing.fetch_add(1, Ordering::AcqRel);
        shared.work.notify_one();
        Self(shared)
    }
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.flushing.fetch_sub(1, Ordering::AcqRel);
    }
}
