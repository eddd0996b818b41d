//! Group membership, fetching and offsets: one member of a consumer group that reads one topic.
//!
//! ```text
//!  Consumer ──► membership   who reads what: a pure state machine, its driver, the heartbeat (classic protocol, KIP-62)
//!     │             └── assignor   range, as Java's; used when this member leads the group
//!     ├───────► fetch        one task a leader, a board of positions and leaders, bounded memory
//!     │             └── cursor     what of an answer is new; aborted transactions, markers, holes
//!     └───────► offsets      what is committed, and committing it
//!
//!  Reader ────► fetch        from one offset to another, outside of any group
//! ```
//!
//! Of the four positions of a partition (`committed ≤ durable ≤ written ≤ fetched`) this room knows the first and the
//! last; what lies between is the caller's. It never commits by itself, and it never says where to begin: the caller
//! gives positions with [`Consumer::start`].
//!
//! One turn of the caller's loop: [`Consumer::join`], positions from [`Consumer::committed`] and
//! [`Consumer::list_offsets`], [`Consumer::start`], then [`Consumer::next`] until it says [`Event::Rebalance`] (make
//! durable, commit, join again) or [`Event::Lost`] (what is not committed may be read by another member; join again).
//!
//! Trouble that passes is retried for ever with growing pauses, and told once when it begins and once when it is over.

mod assignor;
mod chunk;
mod coordinator;
mod cursor;
mod error;
mod fetch;
mod membership;
mod offsets;
mod reader;
mod retry;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use tokio::task::JoinHandle;

pub use chunk::{Chunk, ChunkBatch, ChunkRecords};
pub use error::ConsumeError;
pub use membership::{Assignment, LostReason, fence};
pub use offsets::{Bound, CommitOutcome, Committed, Committer, committed, list_offsets};
pub use reader::Reader;

use self::{
    coordinator::Coordinator,
    fetch::{FetchSettings, Fetched, Fetcher},
    membership::{Membership, Status},
};
use crate::wire::{cluster::Cluster, messages::Str};

/// Which records of transactions are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Those of open and aborted transactions too.
    ReadUncommitted,
    /// Only those of committed ones; reading stops at the last stable offset.
    #[default]
    ReadCommitted,
}

impl Isolation {
    /// As the protocol has it.
    const fn level(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// Where to go on when a position is not in the log any more (`Kafka.AutoOffsetReset`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reset {
    /// At the first offset that is there.
    #[default]
    Earliest,
    /// At the end.
    Latest,
    /// Nowhere: it is an error.
    Fail,
}

/// What a [`Consumer`] has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `Kafka.GroupId`.
    pub group: Str,
    /// `Kafka.Topic`.
    pub topic: Str,
    /// `Kafka.GroupInstanceId` (KIP-345).
    pub group_instance_id: Option<Str>,
    /// After how long without a heartbeat the group goes on without this member (`Kafka.SessionTimeoutMs`).
    pub session_timeout: Duration,
    /// How often to beat (`Kafka.HeartbeatIntervalMs`); at most a third of the session.
    pub heartbeat_interval: Duration,
    /// How long the members have to give up their partitions when the group is made anew (`Kafka.MaxPollIntervalMs`).
    pub rebalance_timeout: Duration,
    /// `Kafka.IsolationLevel`.
    pub isolation: Isolation,
    /// `Kafka.AutoOffsetReset`, for positions that are not in the log any more.
    pub reset: Reset,
    /// The largest answer to ask for, in bytes (`Kafka.FetchMaxBytes`); memory may demand less.
    pub fetch_max_bytes: usize,
    /// The most to ask for of one partition, in bytes (`Kafka.MaxPartitionFetchBytes`).
    pub max_partition_fetch_bytes: usize,
}

/// What happened, for the caller.
#[derive(Debug)]
pub enum Event {
    /// New data, or a new position.
    Chunk(Chunk),
    /// The position was not in the log any more, and reading goes on elsewhere: a gap if `to` is above `from`, a
    /// repetition if it is below (the log was truncated or made anew).
    Moved {
        /// The partition.
        partition: i32,
        /// The position that is not there.
        from: i64,
        /// Where reading goes on.
        to: i64,
    },
    /// The group is making a new generation. Fetching has stopped. Make durable what was handed out, commit it (that
    /// still counts), then [`Consumer::join`] again, all within [`Settings::rebalance_timeout`].
    Rebalance,
    /// The membership is lost, and fetching has stopped. What is not committed may be read by another member: it may be
    /// kept only of partitions that come back, and only where their committed offsets say so. [`Consumer::join`] again.
    Lost(LostReason),
    /// No way to go on with a partition, or at all.
    Fatal(ConsumeError),
}

/// Ends a task with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One member of one group, reading one topic. Has to live inside a tokio runtime.
#[derive(Debug)]
pub struct Consumer {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    membership: Arc<Membership>,
    committer: Committer,
    fetcher: Option<Fetcher>,
    heartbeat: Option<Task>,
    watch: Option<Task>,
    /// What [`Consumer::next`] said last about the membership.
    told: Status,
}

impl Consumer {
    /// Connects to nobody yet.
    pub fn new(cluster: Arc<Cluster>, settings: Settings) -> Self {
        let topic: Arc<str> = (&*settings.topic).into();
        let coordinator = Coordinator::new(Arc::clone(&cluster), settings.group.clone());
        let membership = Arc::new(Membership::new(coordinator, Arc::new(settings)));
        Self {
            committer: Committer::new(Arc::clone(&membership), Arc::clone(&topic)),
            cluster,
            topic,
            membership,
            fetcher: None,
            heartbeat: None,
            watch: None,
            told: Status::Outside,
        }
    }

    /// Becomes a member of the group's next generation, waiting for the other members and trying for ever.
    ///
    /// `remember` is called with the member id before it is first used, and has to store it durably, so that the process
    /// that comes after a crash can [`fence`] this one. It blocks the task.
    ///
    /// Stops fetching. Cancel-safe in that a later call goes on with the same member id; until then the group may wait
    /// for this member.
    ///
    /// # Errors
    /// When the group refuses this member for good, the topic does not exist, or the id cannot be stored.
    pub async fn join(
        &mut self,
        remember: impl FnMut(&str) -> io::Result<()>,
    ) -> Result<Assignment, ConsumeError> {
        self.stop_fetching();
        self.watch = None;
        if self.heartbeat.is_none() {
            let beat = Arc::clone(&self.membership).beat();
            self.heartbeat = Some(Task(tokio::spawn(beat)));
        }
        let (assignment, counted) = self.membership.join(remember).await?;
        self.told = Status::Member;
        if let Some(counted) = counted {
            let watch =
                Arc::clone(&self.membership).watch_partitions(assignment.generation, counted);
            self.watch = Some(Task(tokio::spawn(watch)));
        }
        Ok(assignment)
    }

    /// What the group has committed for these partitions; also before [`Self::join`]. Tries for ever.
    ///
    /// # Errors
    /// When the broker refuses for good.
    pub async fn committed(
        &self,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, Committed>, ConsumeError> {
        offsets::fetch(self.membership.coordinator(), &self.topic, partitions).await
    }

    /// Where these partitions begin or end, as far as can be read with this isolation. Tries for ever.
    ///
    /// # Errors
    /// When the broker refuses for good, or the topic does not exist.
    pub async fn list_offsets(
        &self,
        partitions: &[i32],
        bound: Bound,
    ) -> Result<BTreeMap<i32, i64>, ConsumeError> {
        let isolation = self.membership.settings().isolation;
        list_offsets(&self.cluster, &self.topic, isolation, partitions, bound).await
    }

    /// Reads the partitions from these offsets on, in place of what was read before.
    pub fn start(&mut self, positions: &BTreeMap<i32, i64>) {
        let settings = self.membership.settings();
        let fetch = FetchSettings {
            topic: Arc::clone(&self.topic),
            isolation: settings.isolation,
            reset: settings.reset,
            max_bytes: settings.fetch_max_bytes,
            max_partition_bytes: settings.max_partition_fetch_bytes,
        };
        self.fetcher = Some(Fetcher::start(Arc::clone(&self.cluster), fetch, positions));
    }

    /// Stops reading; what was fetched and not taken is forgotten. The membership goes on.
    pub fn stop_fetching(&mut self) {
        self.fetcher = None;
    }

    /// What happens next. Cancel-safe. While it is not called, at most half of what memory allows is fetched ahead, and
    /// heartbeats go on.
    pub async fn next(&mut self) -> Event {
        loop {
            let status = self.membership.status();
            if status != self.told {
                self.told = status;
                if let Some(event) = self.turned(status) {
                    return event;
                }
            }
            let Self {
                membership,
                fetcher,
                ..
            } = &mut *self;
            let fetched = async {
                match fetcher {
                    Some(fetcher) => fetcher.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = membership.changed() => {}
                fetched = fetched => return match fetched {
                    Fetched::Chunk(chunk) => Event::Chunk(chunk),
                    Fetched::Moved { partition, from, to } => Event::Moved { partition, from, to },
                    Fetched::Failed(error) => Event::Fatal(error),
                },
            }
        }
    }

    /// The membership became another one.
    fn turned(&mut self, status: Status) -> Option<Event> {
        let event = match status {
            Status::Outside | Status::Member => return None,
            Status::Revoking => Event::Rebalance,
            Status::Lost(why) => Event::Lost(why),
            Status::Failed(api, code) => Event::Fatal(self.membership.refused(api, code)),
        };
        self.stop_fetching();
        Some(event)
    }

    /// Commits partition, next offset and leader epoch of the record before it: see [`Committer::commit`].
    pub async fn commit(
        &self,
        offsets: &[(i32, i64, Option<i32>)],
        metadata: &str,
    ) -> BTreeMap<i32, CommitOutcome> {
        self.committer.commit(offsets, metadata).await
    }

    /// A handle that commits while this consumer is busy with [`Self::next`].
    pub fn committer(&self) -> Committer {
        self.committer.clone()
    }

    /// Stops reading and leaves the group, trying once. A member with `Kafka.GroupInstanceId` stays, and finds its
    /// partitions again when it comes back within the session.
    ///
    /// # Errors
    /// When the coordinator could not be told; the group then goes on when the session ends.
    pub async fn leave(&mut self) -> Result<(), ConsumeError> {
        self.stop_fetching();
        self.heartbeat = None;
        self.watch = None;
        self.told = Status::Outside;
        self.membership.leave().await
    }
}
