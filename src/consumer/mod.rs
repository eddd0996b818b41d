//! Group membership, fetching and offsets: one member of a consumer group that reads one topic.
//!
//! ```text
//!  Consumer ──► membership   who reads what: pure machines of both group protocols, and their drivers
//!     │             └── assignor   Java's four; used when this member leads a classic group
//!     ├───────► fetch        one task a leader, a board of positions and leaders, bounded memory
//!     │             └── cursor     what of an answer is new; aborted transactions, markers, holes
//!     └───────► offsets      what is committed, and committing it
//!
//!  Reader ────► fetch        from one offset to another, outside of any group
//! ```
//!
//! Of the four positions of a partition (`committed ≤ durable ≤ written ≤ fetched`) this room knows the first and the
//! last; what lies between is the caller's. It never commits by itself, and it never says where to begin: the caller
//! gives positions with [`Consumer::read`].
//!
//! The caller's loop: [`Consumer::enter`] the group, then [`Consumer::next`] until it says [`Event::Assigned`]. Of the
//! partitions that are not assigned any more: [`Consumer::stop`] them, make durable and commit what was read, and say so
//! with [`Consumer::owns`]. The new ones: ask where they stand with [`Consumer::committed`], [`Consumer::read`] them, and
//! say so likewise. All others are read on without a stop, whatever the group does. [`Event::Lost`] ends all of this at
//! once: another member may have any of the partitions now.
//!
//! Trouble that passes is retried for ever with growing pauses, and told once when it begins and once when it is over.

pub mod agreed;
mod assignor;
mod chunk;
mod coordinator;
mod cursor;
mod error;
mod fetch;
mod membership;
mod named;
mod offsets;
mod reader;
mod retry;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    sync::Arc,
};

use tokio::task::JoinHandle;

pub use assignor::Assignor;
pub use chunk::{Chunk, ChunkBatch, ChunkRecords, WholeRecords};
pub use error::{ConsumeError, Unreadable};
pub use membership::{Former, LostReason, fence, read_assignment};
pub use offsets::{
    Bound, CommitOutcome, Committed, Committer, Offset, committed, committed_everywhere, glance,
    limits, list_offsets,
};
pub use reader::Reader;
pub use settings::{GroupProtocol, Isolation, Settings};

use self::{
    coordinator::Coordinator,
    fetch::{FetchSettings, Fetched, Fetcher, Positions},
    membership::Membership,
};
use crate::wire::cluster::Cluster;

/// What happened, for the caller.
#[derive(Debug)]
pub enum Event {
    /// What one answer brought: new data, or new positions, at most one chunk a partition.
    Chunks(Vec<Chunk>),
    /// The position was not in the log any more, and reading goes on elsewhere: a gap if `to` is above `from`, a
    /// repetition if it is below (the log was truncated or made anew).
    Moved {
        /// The partition.
        partition: i32,
        /// The position that is not there.
        from: i64,
        /// Where reading goes on.
        to: i64,
        /// Whether what was read is in the log up to there for certain: where a log became shorter, only leader epochs tell.
        parted: bool,
    },
    /// The group lets this member read exactly these partitions, in this tenure, until it says otherwise. Within
    /// [`Settings::rebalance_timeout`] give up what is not among them, and begin what is new: see the module.
    Assigned {
        /// Counts the memberships that were lost before this one; commits and [`Consumer::owns`] name it.
        tenure: u64,
        /// Counts what the group has said: [`Consumer::owns`] names the last that was heard.
        serial: u64,
        /// The partitions.
        partitions: BTreeSet<i32>,
    },
    /// The membership is lost, and fetching has stopped. What is not committed may be read by another member: it may be
    /// kept only where the committed offsets say so. Nothing of the former process's or tenure's commits is under way
    /// any more. The group is joined again, and says what is assigned.
    Lost(LostReason),
    /// The data of one partition cannot be read. It is asked for no more, and all others are read on.
    Unreadable(ConsumeError),
    /// No way to go on.
    Fatal(ConsumeError),
}

/// Ends a task with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Task {
    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

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
    driver: Option<Task>,
    /// Where the next chunk of each partition begins: what does not, was fetched before the partition was given up or
    /// begun anew.
    expected: BTreeMap<i32, i64>,
    /// The tenure and serial number that [`Consumer::next`] told last.
    told: (u64, u64),
    /// What the caller has said that it has.
    owned: BTreeSet<i32>,
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
            driver: None,
            expected: BTreeMap::new(),
            told: Default::default(),
            owned: BTreeSet::new(),
        }
    }

    /// Becomes a member of the group, and stays one until [`Self::leave`], in a task of its own.
    ///
    /// `remember` is called with each member id before it is first used, and has to store it durably, so that the
    /// process that comes after a crash can [`fence`] this one. It may block.
    pub fn enter(&mut self, remember: impl Fn(&str) -> io::Result<()> + Send + Sync + 'static) {
        let membership = Arc::clone(&self.membership);
        self.driver = Some(Task::spawn(membership.drive(Arc::new(remember))));
    }

    /// What the group has committed for these partitions; also before [`Self::enter`]. Tries for ever.
    ///
    /// # Errors
    /// When the broker refuses for good.
    pub async fn committed(
        &self,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, Committed>, ConsumeError> {
        let coordinator = self.membership.coordinator();
        let topic_id = self.membership.settings().topic_id;
        offsets::fetch(coordinator, &self.topic, topic_id, partitions).await
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

    /// Where the logs of these partitions begin and end, of those whose leaders say it at once.
    pub async fn extents(&self, partitions: &[i32]) -> BTreeMap<i32, (i64, i64)> {
        offsets::extents(&self.cluster, &self.topic, partitions).await
    }

    /// Reads these partitions too, from these offsets on; the leader epoch is that of the record before, where known
    /// (KIP-320).
    pub fn read(&mut self, positions: &BTreeMap<i32, (i64, Option<i32>)>) {
        self.expected.extend(
            positions
                .iter()
                .map(|(partition, (from, _))| (*partition, *from)),
        );
        match &self.fetcher {
            Some(fetcher) => fetcher.add(positions),
            None => self.fetcher = Some(self.fetcher(positions)),
        }
    }

    fn fetcher(&self, positions: &Positions) -> Fetcher {
        let settings = self.membership.settings();
        let fetch = FetchSettings {
            topic: Arc::clone(&self.topic),
            isolation: settings.isolation,
            max_bytes: settings.fetch_max_bytes,
            max_partition_bytes: settings.max_partition_fetch_bytes,
            loses: true,
            rack: settings.rack.clone(),
            topic_id: settings.topic_id,
        };
        Fetcher::start(Arc::clone(&self.cluster), fetch, positions)
    }

    /// Reads these partitions no more; what was fetched of them and not taken is forgotten.
    pub fn stop(&mut self, partitions: &BTreeSet<i32>) {
        self.expected
            .retain(|partition, _| !partitions.contains(partition));
        if let Some(fetcher) = &self.fetcher {
            fetcher.remove(partitions);
        }
    }

    /// Says that exactly these partitions are being read, or have something that is not committed, or are about to be
    /// begun: the group takes back what it wants of the others. `serial` is that of the last [`Event::Assigned`]; no
    /// partition that is not named here may be begun before the next one.
    pub fn owns(&mut self, tenure: u64, serial: u64, partitions: &BTreeSet<i32>) {
        self.owned.clone_from(partitions);
        self.membership.owns(tenure, serial, partitions);
    }

    /// Stops reading; what was fetched and not taken is forgotten. The membership goes on.
    pub fn stop_fetching(&mut self) {
        self.fetcher = None;
        self.expected.clear();
    }

    /// What happens next. Cancel-safe. While it is not called, at most half of what memory allows is fetched ahead, and
    /// heartbeats go on.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.turned() {
                return event;
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
                fetched = fetched => if let Some(event) = self.current(fetched) {
                    return event;
                },
            }
        }
    }

    /// Waits until the membership is lost, for a caller whose commit was fenced.
    ///
    /// # Errors
    /// When there will be no membership any more.
    pub async fn lost(&mut self) -> Result<LostReason, ConsumeError> {
        self.stop_fetching();
        loop {
            match self.turned() {
                Some(Event::Lost(reason)) => return Ok(reason),
                Some(Event::Fatal(error)) => return Err(error),
                // Said of a membership that is about to be lost.
                _ => self.membership.changed().await,
            }
        }
    }

    /// What was fetched, if it is still wanted.
    fn current(&mut self, fetched: Fetched) -> Option<Event> {
        match fetched {
            Fetched::Chunks(mut chunks) => {
                chunks.retain(|chunk| {
                    let expected = self.expected.get_mut(&chunk.partition());
                    expected
                        .filter(|expected| **expected == chunk.from())
                        .map(|expected| *expected = chunk.next_offset())
                        .is_some()
                });
                (!chunks.is_empty()).then_some(Event::Chunks(chunks))
            }
            Fetched::Moved {
                partition,
                from,
                to,
                parted,
            } => {
                let expected = self.expected.get_mut(&partition)?;
                if *expected != from {
                    return None;
                }
                *expected = to;
                Some(Event::Moved {
                    partition,
                    from,
                    to,
                    parted,
                })
            }
            Fetched::Failed(error) => match error.unreadable() {
                None => Some(Event::Fatal(error)),
                // What was fetched before the partition was given up or begun anew says nothing of it now.
                Some(what) => (self.expected.get(&what.partition) == Some(&what.offset))
                    .then_some(Event::Unreadable(error)),
            },
        }
    }

    /// What the membership has become since it was last told.
    fn turned(&mut self) -> Option<Event> {
        // Asked before every event: with many partitions, a standing is much to look at.
        if self.membership.said() == self.told {
            return self.ended();
        }
        let standing = self.membership.standing();
        if standing.tenure != self.told.0 {
            let had_some = !self.owned.is_empty();
            self.told.0 = standing.tenure;
            self.owned.clear();
            if let Some(reason) = standing.lost.filter(|_| had_some) {
                self.stop_fetching();
                return Some(Event::Lost(reason));
            }
        }
        if let Some(ended) = self.ended() {
            return Some(ended);
        }
        if standing.serial == self.told.1 {
            return None;
        }
        self.told.1 = standing.serial;
        self.owned.extend(&standing.assigned);
        Some(Event::Assigned {
            tenure: standing.tenure,
            serial: standing.serial,
            partitions: standing.assigned,
        })
    }

    /// Whether there will be no membership any more.
    fn ended(&mut self) -> Option<Event> {
        let error = self.membership.take_end()?;
        self.stop_fetching();
        Some(Event::Fatal(error))
    }

    /// Commits for partitions of a tenure: see [`Committer::commit`].
    pub async fn commit(&self, tenure: u64, offsets: &[Offset]) -> BTreeMap<i32, CommitOutcome> {
        self.committer.commit(tenure, offsets).await
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
        self.driver = None;
        self.membership.leave().await
    }
}
