//! Fetching: one task a leader ([`broker`]), and one that knows who leads what.
//!
//! The tasks share a [`SubscriptionState`]. A broker's task asks for all partitions that the subscription has at that broker, in one long
//! poll, and hands the data on through a bounded channel; what it is refused, it leaves to the router, which looks for new
//! leaders and new positions, with pauses that grow, and sees to it that each leader has a task.
//!
//! Memory: no request goes out while half of [`MOST_IN_FLIGHT`](shared::MOST_IN_FLIGHT) is with the reader, and all leaders together are never
//! asked for more than the other half.

mod branch;
mod broker;
mod memory_limit;
mod session;
mod shared;
mod subscription;

use shared::Shared;
pub(super) use shared::{FetchSettings, Fetched};

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::{
    ConsumeError, Isolation,
    offsets::{Bound, list_offsets},
};
use crate::wire::cluster::Cluster;
pub(super) use memory_limit::Held;
use memory_limit::MemoryLimit;
pub(super) use subscription::Positions;
use subscription::SubscriptionState;

/// How many answers may wait to be taken. They are bounded by their bytes; this only bounds the channel itself, so that
/// no leader waits for another.
const MOST_WAITING: usize = 64;

/// Reads partitions for as long as it lives; dropping it stops all tasks and forgets what was not taken.
#[derive(Debug)]
pub(super) struct Fetcher {
    router: JoinHandle<()>,
    shared: Arc<Shared>,
    fetched: mpsc::Receiver<Fetched>,
}

impl Fetcher {
    /// Starts reading at `positions`.
    pub(super) fn start(
        cluster: Arc<Cluster>,
        settings: FetchSettings,
        positions: &Positions,
    ) -> Self {
        let (sender, fetched) = mpsc::channel(MOST_WAITING);
        let shared = Arc::new(Shared {
            cluster,
            settings,
            subscription: Mutex::new(SubscriptionState::new(positions)),
            memory: MemoryLimit::new(),
            trouble: Notify::new(),
            fetched: sender,
        });
        Self {
            router: tokio::spawn(route(Arc::clone(&shared))),
            shared,
            fetched,
        }
    }

    /// Reads these partitions too.
    pub(super) fn add(&self, positions: &Positions) {
        self.shared.subscription.lock().add(positions);
        self.shared.trouble.notify_one();
    }

    /// Reads these partitions no more. What was fetched of them may still come.
    pub(super) fn remove(&self, partitions: &BTreeSet<i32>) {
        self.shared.subscription.lock().remove(partitions);
    }

    /// What was fetched next. Cancel-safe. Waits for ever when there are no partitions.
    pub(super) async fn next(&mut self) -> Fetched {
        match self.fetched.recv().await {
            Some(fetched) => fetched,
            // The router holds a sender for as long as it runs, and it runs until it is aborted.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.router.abort();
    }
}

/// Looks for leaders and positions, and gives each leader a task. The tasks end with it.
async fn route(shared: Arc<Shared>) {
    let mut tasks = JoinSet::new();
    loop {
        let lost = shared.subscription.lock().take_resets();
        for one in lost {
            // Each for itself: one without a leader is waited for, and holds up no other.
            tasks.spawn(find_positions(Arc::clone(&shared), one));
        }
        let homeless = shared.subscription.lock().homeless();
        if let Some((_, pause)) = &homeless {
            sleep(*pause).await;
            find_leaders(&shared).await;
        }
        while tasks.try_join_next().is_some() {}
        let unstaffed = shared.subscription.lock().staff();
        for node in unstaffed {
            tasks.spawn(broker::serve(Arc::clone(&shared), node));
        }
        if homeless.is_none() {
            tokio::select! {
                () = shared.trouble.notified() => {}
                () = sleep(shared.cluster.settings().metadata_max_age) => {
                    shared.subscription.lock().forget_near();
                    find_leaders(&shared).await;
                }
            }
        }
    }
}

async fn find_leaders(shared: &Shared) {
    let topic = &shared.settings.topic;
    let fresh = shared.subscription.lock().is_fresh();
    let described = if fresh {
        shared.cluster.topic(topic).await
    } else {
        shared.cluster.refresh_topic(topic).await
    };
    if let (Ok(described), Some(wanted)) = (&described, shared.settings.topic_id)
        && let Some(found) = described.id.filter(|found| *found != wanted)
    {
        let partitions = shared.subscription.lock().stop_all();
        if partitions {
            let topic = Arc::clone(topic);
            let error = ConsumeError::MadeAnew {
                topic,
                wanted,
                found,
            };
            shared.hand_on(Fetched::Failed(error)).await;
        }
        return;
    }
    let mut subscription = shared.subscription.lock();
    let why = match described {
        Ok(described) => {
            subscription.place(&described);
            "they have no leader, or it does not answer".to_owned()
        }
        Err(error) => {
            subscription.not_placed();
            error.to_string()
        }
    };
    let partitions = subscription.tell();
    drop(subscription);
    if !partitions.is_empty() {
        tracing::warn!(%topic, ?partitions, "these partitions cannot be read at the moment, will keep trying: {why}");
    }
}

/// Gives a partition whose position is not in the log another one: the log's start where retention has deleted what comes
/// next; its end where the log has become shorter (an unclean leader election).
async fn find_positions(shared: Arc<Shared>, (partition, from): (i32, i64)) {
    let partitions = [partition];
    let list = |isolation, bound| {
        let (cluster, topic) = (&shared.cluster, &shared.settings.topic);
        list_offsets(cluster, topic, isolation, &partitions, bound)
    };
    let found = async {
        let first = list(Isolation::ReadUncommitted, Bound::Earliest).await?;
        let end = list(Isolation::ReadUncommitted, Bound::Latest).await?;
        Ok::<_, ConsumeError>((first, end))
    };
    let topic = &shared.settings.topic;
    match found.await {
        Ok((first, end)) => {
            let (Some(&first), Some(&end)) = (first.get(&partition), end.get(&partition)) else {
                return;
            };
            let deleted = from < first;
            let to = match from {
                _ if deleted => first,
                from if from > end => end,
                // It was only behind what one replica had.
                from => from,
            };
            if to != from {
                if !shared.settings.loses {
                    tracing::debug!(%topic, partition, from, to, "the log does not hold this offset, going on at another one");
                } else if deleted {
                    tracing::warn!(
                        %topic, partition, from, to, end, lost = to - from,
                        "retention has deleted the records from here on before they were read: {} offsets are lost; going on \
                         at the log's start",
                        to - from
                    );
                } else {
                    tracing::warn!(
                        %topic, partition, from, to, first, end,
                        "the log ends before this offset: it was truncated (an unclean leader election?); going on at its end"
                    );
                }
                let moved = Fetched::Moved {
                    partition,
                    from,
                    to,
                    parted: deleted,
                };
                shared.hand_on(moved).await;
            }
            shared.subscription.lock().reset(partition, to);
        }
        Err(error) => {
            shared.subscription.lock().stop(partition);
            shared.hand_on(Fetched::Failed(error)).await;
        }
    }
    shared.trouble.notify_one();
}
