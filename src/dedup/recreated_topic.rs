//! A topic that is deleted and made anew while events are published to it is another topic (KIP-516): what was published to the
//! old one is not on it, and is published when the source gives it again.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::error::DedupError;
use super::store::Store;
use super::topic_scan::STALL;
use super::{Changed, LookUp, PublishedIds, SAVE_EVERY, failed, leaders, topic_bounds};

/// How often it is looked at most whether the topic is still the same: a question to a broker.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl PublishedIds {
    /// Whether the topic, or one of its logs, may no longer be the one that is known.
    pub(crate) async fn is_outdated(&mut self) -> bool {
        let Some(mut store) = self.store.take() else {
            return false;
        };
        if self.changed.is_none() {
            self.look(&mut store).await;
        }
        self.store = Some(store);
        self.changed.is_some()
    }

    async fn look(&mut self, store: &mut Store) {
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        let described = self.cluster.refresh_topic(&self.topic).await;
        self.looked = Instant::now();
        // Whoever publishes says that the topic is not there, or that nobody answers.
        let Ok(described) = described else {
            return;
        };
        if !store.is_of(described.id) {
            // No checksum covers that answer: two more that agree have the last word.
            let identity = topic_bounds::identity(&self.cluster, &self.topic).await;
            if identity.is_ok_and(|(_, id)| !store.is_of(id)) {
                self.changed = Some(Changed::Topic);
            }
            return;
        }
        // Who does not look up anything believes nothing of what is on the logs.
        if self.look_up == LookUp::Nothing {
            return;
        }
        let led = leaders::led(&described);
        self.doubt(leaders::moved(&led, &self.bounds.epochs));
        if self.changed.is_none() && self.marked.elapsed() > SAVE_EVERY {
            // A disk that is put back brings its epochs with it.
            if let Err(error) = self.recall(store, &led).await {
                tracing::debug!(%error, "what is known cannot be read back");
            }
            if self.changed.is_none() {
                self.mark(store, STALL).await;
            }
        }
    }

    /// The partitions whose logs are to be looked at; `None` where it is the topic that changed, and so all of it.
    pub(crate) fn doubted(&self) -> Option<BTreeSet<i32>> {
        match &self.changed {
            Some(Changed::Topic) => None,
            Some(Changed::Logs(of)) => Some(of.clone()),
            None => Some(BTreeSet::new()),
        }
    }

    /// Waits until one of these partitions has no leader; gives those that have one.
    pub(crate) async fn lost_leaders(&self, of: &BTreeSet<i32>) -> BTreeSet<i32> {
        leaders::lost(&self.cluster, &self.topic, of).await
    }

    /// Lets only these be looked at, of those that were to be.
    pub(crate) fn doubt_only(&mut self, of: BTreeSet<i32>) {
        if let Some(Changed::Logs(_)) = self.changed {
            self.changed = None;
            self.doubt(of);
        }
    }

    /// Begins anew with the topic that there is now. Nothing may be on its way: where it went, to this topic or to the one before, is
    /// found by reading this one. Where it is the logs that may have changed, they are read by the next look-up.
    pub(crate) fn begin_anew(&mut self) -> Result<(), DedupError> {
        if self.changed != Some(Changed::Topic) {
            return Ok(());
        }
        self.changed = None;
        tracing::warn!(
            topic = &*self.topic,
            "the topic was deleted and made anew: what was published before is published again when it is polled again"
        );
        self.offered.clear();
        if let Some(mut store) = self.store.take() {
            store.settle();
            store.save().map_err(|source| failed(&self.state, source))?;
        }
        Ok(())
    }
}
