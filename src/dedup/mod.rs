//! What is on the topic already, by TradeId, so that nothing is published twice, also not after a restart.
//!
//! A source that watches a market gives an event only after it happened, so reading from the first record that is not
//! older than the oldest event polled finds every former publication of it (KIP-79 finds that record by its time). A
//! replay can have published an event before its time, and then nothing bounds where it lies, also when its time has
//! come since: the topic is read from its start. (Records could carry their event's time instead, but brokers refuse
//! times that are more than an hour ahead, `message.timestamp.after.max.ms`.) What was
//! read, and what was acknowledged, is kept in a [`store`] on disk: the next start reads only what came behind. Ids
//! are never forgotten, also not when retention deletes their records. Who does not look (`--republish`) keeps a store
//! all the same: the next start has to know whether it was killed.
//!
//! A topic can lose records that were acknowledged, and grow again. At each start, and when a partition has another leader, it is
//! looked whether its logs are still those that are known ([`divergence`], [`truncation_check`]), and what is not there any more is
//! forgotten: it is published when it is polled again.
//!
//! Exact with one producer a symbol; two that publish the same bars at the same time do not see each other.

mod catch_up;
mod compacted;
mod divergence;
mod error;
mod leaders;
mod recreated_topic;
mod store;
mod topic_bounds;
mod topic_scan;
mod truncation_check;

use std::{
    collections::{BTreeSet, HashSet},
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use compacted::{is_compacted, refusal};

use crate::{event::TradeId, producer::Acknowledged, wire::cluster::Cluster};
pub use error::DedupError;
use store::{Before, RecordPosition, Store};
use topic_bounds::Bounds;

/// How often what is known is made durable while it grows.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// How long the end may take to read back what was published last.
const MARK_AT_THE_END: Duration = Duration::from_secs(1);

/// What is looked up of events before they are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookUp {
    /// They are published whether they are on the topic or not.
    Nothing,
    /// No event was ever published before its time.
    SinceTheirTime,
    /// They can lie anywhere.
    All,
}

/// What may be no longer what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Changed {
    /// The topic is another one under the same name.
    Topic,
    /// The logs of these partitions may be others.
    Logs(BTreeSet<i32>),
}

/// The TradeIds that are on the topic, or on their way there.
pub(crate) struct PublishedIds {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    state: PathBuf,
    look_up: LookUp,
    store: Option<Store>,
    /// Handed to the producer and not acknowledged yet; as many as its buffer holds.
    offered: HashSet<u128>,
    saved: Instant,
    /// When it was last read back by what the log is to be recognised.
    marked: Instant,
    /// What the brokers said when it was last looked whether the logs are those that are known.
    bounds: Bounds,
    /// What is seen to be no longer what is known, until that is mended.
    changed: Option<Changed>,
    /// When it was last looked whether the topic is still the one that is known.
    looked: Instant,
}

impl PublishedIds {
    /// Nothing is known yet; `state` is `State.Directory`.
    pub(crate) fn new(
        cluster: &Arc<Cluster>,
        topic: &str,
        state: PathBuf,
        look_up: LookUp,
    ) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            topic: topic.into(),
            state,
            look_up,
            store: None,
            offered: HashSet::new(),
            saved: Instant::now(),
            marked: Instant::now(),
            bounds: Bounds::default(),
            changed: None,
            looked: Instant::now(),
        }
    }

    /// Notes an event that is about to be published; `false` if it is on the topic, or on its way there, already.
    pub(crate) fn offer(&mut self, id: &TradeId) -> Result<bool, DedupError> {
        if self.look_up == LookUp::Nothing {
            return Ok(true);
        }
        let id = number(id);
        let Some(store) = &self.store else {
            return Ok(self.offered.insert(id));
        };
        if store.contains(id).map_err(|source| self.failed(source))? {
            return Ok(false);
        }
        Ok(self.offered.insert(id))
    }

    /// Notes that an event is on the topic for good.
    pub(crate) fn acknowledged(
        &mut self,
        id: &TradeId,
        place: &Acknowledged,
    ) -> Result<(), DedupError> {
        let id = number(id);
        self.offered.remove(&id);
        if let Some(store) = &mut self.store {
            let noted = match self.look_up {
                // Up to where the topic is known stays as it is: what lies between was not read.
                LookUp::Nothing => {
                    let offset = place.offset.unwrap_or(i64::MAX);
                    store.note(id, RecordPosition::new(place.partition, offset))
                }
                _ => store.acknowledged(id, place.partition, place.offset),
            };
            noted.map_err(|source| failed(&self.state, source))?;
        }
        Ok(())
    }

    /// Makes what is known durable, at the end; `settled` says that nothing is on its way any more.
    pub(crate) async fn close(
        &mut self,
        settled: bool,
        deadline: Instant,
    ) -> Result<(), DedupError> {
        if let Some(mut store) = self.store.take() {
            let left = deadline.saturating_duration_since(Instant::now());
            self.mark(&mut store, left.min(MARK_AT_THE_END)).await;
            self.store = Some(store);
        }
        if let Some(store) = &mut self.store {
            // Who did not look did not wait either for what came before.
            let waited = self.look_up != LookUp::Nothing || store.before() == Before::Settled;
            if settled && waited {
                store.settle();
            }
            store.save().map_err(|source| failed(&self.state, source))?;
        }
        Ok(())
    }

    /// Makes what is known durable, if that was some time ago.
    pub(crate) fn save(&mut self) -> Result<(), DedupError> {
        if let Some(store) = &mut self.store
            && self.saved.elapsed() > SAVE_EVERY
        {
            self.saved = Instant::now();
            store.save().map_err(|source| failed(&self.state, source))?;
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> DedupError {
        failed(&self.state, source)
    }
}

/// A TradeId as a number.
fn number(id: &TradeId) -> u128 {
    match id {
        TradeId::Uuid(uuid) => uuid.as_u128(),
        TradeId::Text(text) => topic_scan::number(text),
    }
}

/// Tries whether what is published can be kept, before a source is asked for anything: where it cannot, what was asked for
/// is not published, and a request of the key's budget is spent in vain.
pub(crate) fn can_keep(state: &std::path::Path) -> Result<(), DedupError> {
    let trial = state.join(format!("trial-{}", std::process::id()));
    let keep = || {
        std::fs::create_dir_all(state)?;
        let mut file = std::fs::File::create(&trial)?;
        file.write_all(&[0; 4096])?;
        file.sync_all()
    };
    let kept = keep();
    // Also when a part of it was written.
    let _ = std::fs::remove_file(&trial);
    kept.map_err(|source| failed(state, source))
}

fn failed(state: &std::path::Path, source: io::Error) -> DedupError {
    DedupError::Store {
        directory: state.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
