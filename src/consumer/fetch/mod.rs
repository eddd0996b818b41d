//! Fetching: one task a leader ([`broker`]), and one that knows who leads what.
//!
//! The tasks share a [`Board`]. A broker's task asks for all partitions that the board has at that broker, in one long
//! poll, and hands the data on through a bounded channel; what it is refused, it leaves to the router, which looks for new
//! leaders and new positions, with pauses that grow, and sees to it that each leader has a task.
//!
//! Memory: no request goes out while half of [`MOST_IN_FLIGHT`] is with the reader, and all leaders together are never
//! asked for more than the other half.

mod board;
mod broker;
mod gate;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

pub(super) use self::gate::Held;
use self::{board::Board, gate::Gate};
use super::{
    Chunk, ConsumeError, Isolation, Reset,
    offsets::{Bound, list_offsets},
};
use crate::wire::cluster::Cluster;

/// Fetched data in memory at most, in bytes, however many brokers and partitions there are; single batches that are
/// larger than their share come on top. With one leader that is one answer being read while the next one arrives.
pub(super) const MOST_IN_FLIGHT: usize = 32 << 20;

/// How long a broker may wait for data before it answers with none. Longer saves idle requests, but it is also how long
/// a partition that moves to this leader may have to wait for its turn.
const LONG_POLL: Duration = Duration::from_millis(500);

/// How many chunks may wait to be taken. They are bounded by their bytes; this only bounds the channel itself, so that
/// a leader's answer with many partitions is handed on without a wait.
const MOST_WAITING: usize = 64;

/// What fetching has to know.
#[derive(Clone, Debug)]
pub(super) struct FetchSettings {
    pub(super) topic: Arc<str>,
    pub(super) isolation: Isolation,
    pub(super) reset: Reset,
    pub(super) max_bytes: usize,
    pub(super) max_partition_bytes: usize,
}

/// What fetching brings.
#[derive(Debug)]
pub(super) enum Fetched {
    Chunk(Chunk),
    Moved { partition: i32, from: i64, to: i64 },
    Failed(ConsumeError),
}

/// What the tasks share.
#[derive(Debug)]
struct Shared {
    cluster: Arc<Cluster>,
    settings: FetchSettings,
    board: Mutex<Board>,
    gate: Arc<Gate>,
    /// Told when a partition needs a leader or a position.
    trouble: Notify,
    fetched: mpsc::Sender<Fetched>,
}

/// Reads partitions for as long as it lives; dropping it stops all tasks and forgets what was not taken.
#[derive(Debug)]
pub(super) struct Fetcher {
    router: JoinHandle<()>,
    fetched: mpsc::Receiver<Fetched>,
}

impl Fetcher {
    /// Starts reading at `positions`.
    pub(super) fn start(
        cluster: Arc<Cluster>,
        settings: FetchSettings,
        positions: &BTreeMap<i32, i64>,
    ) -> Self {
        let (sender, fetched) = mpsc::channel(MOST_WAITING);
        let shared = Arc::new(Shared {
            cluster,
            settings,
            board: Mutex::new(Board::new(positions)),
            gate: Gate::new(),
            trouble: Notify::new(),
            fetched: sender,
        });
        Self {
            router: tokio::spawn(route(shared)),
            fetched,
        }
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
        let lost = shared.board.lock().take_resets();
        if !lost.is_empty() {
            tasks.spawn(find_positions(Arc::clone(&shared), lost));
        }
        let homeless = shared.board.lock().homeless();
        if let Some((_, pause)) = &homeless {
            sleep(*pause).await;
            find_leaders(&shared).await;
        }
        while tasks.try_join_next().is_some() {}
        let unstaffed = shared.board.lock().staff();
        for node in unstaffed {
            tasks.spawn(broker::serve(Arc::clone(&shared), node));
        }
        if homeless.is_none() {
            tokio::select! {
                () = shared.trouble.notified() => {}
                () = sleep(shared.cluster.settings().metadata_max_age) => find_leaders(&shared).await,
            }
        }
    }
}

async fn find_leaders(shared: &Shared) {
    let topic = &shared.settings.topic;
    let fresh = shared.board.lock().is_fresh();
    let described = if fresh {
        shared.cluster.topic(topic).await
    } else {
        shared.cluster.refresh_topic(topic).await
    };
    let mut board = shared.board.lock();
    let why = match described {
        Ok(described) => {
            board.place(&described);
            "they have no leader, or it does not answer".to_owned()
        }
        Err(error) => {
            board.not_placed();
            error.to_string()
        }
    };
    let partitions = board.tell();
    drop(board);
    if !partitions.is_empty() {
        tracing::warn!(%topic, ?partitions, "these partitions cannot be read at the moment, will keep trying: {why}");
    }
}

/// Gives partitions whose position is not in the log another one, as `Kafka.AutoOffsetReset` says.
async fn find_positions(shared: Arc<Shared>, lost: Vec<(i32, i64)>) {
    let FetchSettings {
        topic, isolation, ..
    } = &shared.settings;
    let bound = match shared.settings.reset {
        Reset::Earliest => Bound::Earliest,
        Reset::Latest => Bound::Latest,
        Reset::Fail => {
            for (partition, offset) in lost {
                shared.board.lock().stop(partition);
                let topic = Arc::clone(topic);
                let error = ConsumeError::OutOfRange {
                    topic,
                    partition,
                    offset,
                };
                shared.hand_on(Fetched::Failed(error)).await;
            }
            return;
        }
    };
    let partitions: Vec<_> = lost.iter().map(|(partition, _)| *partition).collect();
    let found = list_offsets(&shared.cluster, topic, *isolation, &partitions, bound).await;
    match found {
        Ok(found) => {
            for (partition, from) in lost {
                let Some(&to) = found.get(&partition) else {
                    continue;
                };
                tracing::warn!(%topic, partition, from, to, "the offset is not in the log any more; going on where Kafka.AutoOffsetReset says");
                let moved = Fetched::Moved {
                    partition,
                    from,
                    to,
                };
                shared.hand_on(moved).await;
                shared.board.lock().reset(partition, to);
            }
        }
        Err(error) => {
            for partition in partitions {
                shared.board.lock().stop(partition);
            }
            shared.hand_on(Fetched::Failed(error)).await;
        }
    }
    shared.trouble.notify_one();
}

impl Shared {
    /// Waits for room in the channel. When nobody takes from it any more, this task is about to be aborted.
    async fn hand_on(&self, fetched: Fetched) {
        let _ = self.fetched.send(fetched).await;
    }
}
