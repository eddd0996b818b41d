//! What the tasks of the fetcher share, and what they bring.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use super::memory_limit::MemoryLimit;
use super::subscription::SubscriptionState;
use crate::consumer::{ConsumeError, Isolation, chunk::Chunk};
use crate::wire::{cluster::Cluster, messages::Str};

/// What fetching has to know.
#[derive(Clone, Debug)]
pub(in crate::consumer) struct FetchSettings {
    pub(in crate::consumer) topic: Arc<str>,
    pub(in crate::consumer) isolation: Isolation,
    pub(in crate::consumer) max_bytes: usize,
    pub(in crate::consumer) max_partition_bytes: usize,
    /// Whether a record is lost that was deleted, or truncated, before it was read.
    pub(in crate::consumer) loses: bool,
    /// Where this host is, for reading from a near replica (KIP-392).
    pub(in crate::consumer) rack: Option<Str>,
    /// The id of the topic that the positions belong to; another one of its name is not read.
    pub(in crate::consumer) topic_id: Option<Uuid>,
}

/// What fetching brings.
#[derive(Debug)]
pub(in crate::consumer) enum Fetched {
    /// Of one answer, at most one a partition.
    Chunks(Vec<Chunk>),
    Moved {
        partition: i32,
        from: i64,
        to: i64,
        /// Whether the log and what was read part there for certain.
        parted: bool,
    },
    Failed(ConsumeError),
}

/// What the tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) cluster: Arc<Cluster>,
    pub(super) settings: FetchSettings,
    pub(super) subscription: Mutex<SubscriptionState>,
    pub(super) memory: Arc<MemoryLimit>,
    /// Told when a partition needs a leader or a position.
    pub(super) trouble: Notify,
    pub(super) fetched: mpsc::Sender<Fetched>,
}

impl Shared {
    /// Waits for room in the channel. When nobody takes from it any more, this task is about to be aborted.
    pub(crate) async fn hand_on(&self, fetched: Fetched) {
        let _ = self.fetched.send(fetched).await;
    }
}

/// How long a broker may wait for data before it answers with none. Longer saves idle requests, but it is also how long
/// a partition that moves to this leader may have to wait for its turn.
pub(super) const LONG_POLL: Duration = Duration::from_millis(500);

/// Fetched data in memory at most, in bytes, however many brokers and partitions there are; single batches that are
/// larger than their share come on top. With one leader that is one answer being read while the next one arrives.
pub(in crate::consumer) const MOST_IN_FLIGHT: usize = 32 << 20;
