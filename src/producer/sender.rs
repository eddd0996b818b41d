//! Who sends what now: one task that owns the partitions' sequences, takes due batches, hands requests to the brokers'
//! lanes and deals with their answers. All decisions are made in `accumulator`, `sequence` and `produce_response`.

mod requests;
mod trouble;

use super::accumulator::Gathered;
use super::broker_lane::{LaneRequest, LaneResponse};
use super::delivery::{BatchOutcome, DeliveryError};
use super::sequence::{Completion, PartitionSequence, ProducerEpoch};
use super::{OnTimeout, Settings, Shared};
use crate::wire::cluster::{Backoff, Cluster, ClusterError, Topic};
use crate::wire::error::ErrorCode;
use crate::wire::records::{Compressor, FrozenBatch};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Batches of a partition that are made ready before they can be sent: one, so that compression and waiting overlap and
/// the rest can still grow.
const READY_AHEAD: usize = 1;

/// The first pause before trying again, and the longest.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A batch on its way.
#[derive(Debug)]
struct Outgoing {
    id: u64,
    frozen: FrozenBatch,
    outcome: Arc<BatchOutcome>,
    /// When its first record came.
    opened: Instant,
    /// Which of the records that share the outcome is its first, and whether its last is theirs, too.
    first: i32,
    last: bool,
    /// The memory that it is charged with.
    charge: usize,
}

#[derive(Debug)]
struct Partition {
    sequence: PartitionSequence<Outgoing>,
    backoff: Backoff,
}

/// A broker's lane.
#[derive(Debug)]
struct Node {
    errands: mpsc::Sender<LaneRequest>,
    under_way: usize,
    /// The broker asked to be spared until then (KIP-219).
    throttled: Option<Instant>,
}

enum Event {
    /// Partitions take part in the transaction now, or cannot.
    Added(Result<(), ErrorCode>),
    Topic(Result<Arc<Topic>, ClusterError>),
    ProducerId(Result<ProducerEpoch, trouble::NoProducerId>),
}

pub(super) struct Sender {
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    settings: Settings,
    topic: Arc<Topic>,
    partitions: Vec<Partition>,
    nodes: HashMap<i32, Node>,
    lanes: JoinSet<()>,
    reports: (mpsc::Sender<LaneResponse>, mpsc::Receiver<LaneResponse>),
    compressor: Compressor,
    background: FuturesUnordered<BoxFuture<'static, Event>>,
    /// The topic has to be, or is being, asked for anew.
    stale: bool,
    refreshing: bool,
    refresh_backoff: Backoff,
    asking_id: bool,
    adding: bool,
    id_backoff: Backoff,
    /// What last went wrong with the cluster as a whole.
    trouble: Option<Arc<str>>,
    /// What the brokers say of the topic as long as it is not there, and how often they did.
    missing: Option<(Arc<str>, u32)>,
    /// When it was last said that records are not acknowledged in time.
    complained: Option<Instant>,
}

impl Sender {
    pub(super) fn new(
        shared: Arc<Shared>,
        cluster: Arc<Cluster>,
        settings: Settings,
        topic: Arc<Topic>,
    ) -> Self {
        let backoff = Backoff::new(RETRY_PAUSE.0, RETRY_PAUSE.1);
        let mut new = Self {
            shared,
            cluster,
            settings,
            topic: Arc::clone(&topic),
            partitions: Vec::new(),
            nodes: HashMap::new(),
            lanes: JoinSet::new(),
            // Lanes wait when this is full; it only has to be big enough not to make them wait often.
            reports: mpsc::channel(64),
            compressor: Compressor::new(),
            background: FuturesUnordered::new(),
            stale: false,
            refreshing: false,
            refresh_backoff: backoff,
            asking_id: false,
            adding: false,
            id_backoff: backoff,
            trouble: None,
            missing: None,
            complained: None,
        };
        new.learn(topic);
        new
    }

    pub(super) async fn run(mut self) {
        loop {
            if self.shared.stop.load(Ordering::Acquire) {
                self.give_up_everything(None);
                return;
            }
            let now = Instant::now();
            self.pump(now);
            let wake = self.wake_at(now);
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                () = shared.work.notified() => {}
                Some(report) = self.reports.1.recv() => {
                    self.report(report);
                    while let Ok(report) = self.reports.1.try_recv() {
                        self.report(report);
                    }
                }
                Some(event) = self.background.next() => self.event(event),
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Does everything that can be done without waiting.
    fn pump(&mut self, now: Instant) {
        for index in 0..self.partitions.len() {
            let expired = self.partitions[index].sequence.expire(now);
            self.complete(index, expired);
        }
        if let Some(&code) = self.shared.fatal.get() {
            self.give_up_everything(Some(code));
            return;
        }
        if self.shared.gave_up.load(Ordering::Acquire) {
            self.give_up_everything(None);
            return;
        }
        self.complain(now);
        loop {
            self.gather(now);
            self.ask_for_id();
            if !self.hand_over(now) {
                break;
            }
        }
        let old = now.duration_since(self.topic.learnt) > self.cluster.settings().metadata_max_age;
        if self.stale || old {
            self.refresh();
        }
    }

    /// Takes batches that are due, as far as their partitions have use for them.
    fn gather(&mut self, now: Instant) {
        let flush = self.shared.flushing.load(Ordering::Acquire) > 0;
        let mut due: Vec<(usize, Gathered)> = Vec::new();
        {
            let mut accumulator = self.shared.accumulator.lock();
            while let Some(buffer) = self.compressor.take_spare() {
                accumulator.recycle(buffer);
            }
            for (index, partition) in self.partitions.iter().enumerate() {
                if partition.sequence.unsent() < READY_AHEAD
                    && let Some(gathered) = accumulator.take(index as u32, now, flush)
                {
                    due.push((index, gathered));
                }
            }
        }
        for (index, gathered) in due {
            self.freeze(index, gathered);
        }
    }

    fn freeze(&mut self, index: usize, gathered: Gathered) {
        let Gathered {
            id,
            builder,
            outcome,
            opened,
        } = gathered;
        let bytes = builder.size();
        let transactional = self.shared.transaction.is_some();
        let codec = self.settings.codec;
        match builder.finish_with(&mut self.compressor, codec, None, transactional) {
            Ok(frozen) => {
                let count = frozen.count();
                let add =
                    |to: &AtomicU64, bytes: usize| to.fetch_add(bytes as u64, Ordering::Relaxed);
                add(&self.shared.plain, frozen.uncompressed_size());
                add(&self.shared.packed, frozen.bytes().len());
                let outgoing = Outgoing {
                    id,
                    frozen,
                    outcome,
                    opened,
                    first: 0,
                    last: true,
                    charge: bytes,
                };
                let deadline = match self.settings.on_timeout {
                    OnTimeout::GiveUp => Some(opened + self.settings.message_timeout),
                    OnTimeout::KeepTrying => None,
                };
                self.partitions[index]
                    .sequence
                    .push(outgoing, count, deadline);
            }
            Err(error) => {
                let error = DeliveryError::Refused {
                    topic: Arc::clone(&self.shared.topic),
                    partition: index as i32,
                    code: ErrorCode::INVALID_RECORD,
                    detail: Some(error.to_string().into()),
                    possibly_written: false,
                };
                outcome.resolve(0, true, Err(error));
                self.shared.accumulator.lock().release(id, bytes, true);
                self.shared.room.notify_waiters();
            }
        }
    }

    /// Tells outcomes and gives memory back.
    fn complete(&self, index: usize, done: Vec<Completion<Outgoing>>) {
        if done.is_empty() {
            return;
        }
        {
            let mut accumulator = self.shared.accumulator.lock();
            for completion in &done {
                let batch = &completion.batch;
                accumulator.release(batch.id, batch.charge, batch.last);
            }
        }
        for Completion { batch, result } in done {
            let result =
                result.map_err(|failure| self.explain(index as i32, &batch.frozen, failure));
            if result.is_err() {
                self.shared.gave_up.store(true, Ordering::Release);
            }
            batch.outcome.resolve(batch.first, batch.last, result);
        }
        self.shared.room.notify_waiters();
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        let of_sequences = self
            .partitions
            .iter()
            .filter_map(|of| of.sequence.wake_at(now));
        let of_nodes = self.nodes.values().filter_map(|node| node.throttled);
        let accumulator = self.shared.accumulator.lock();
        let with_room = |of: &(usize, &Partition)| of.1.sequence.unsent() < READY_AHEAD;
        let of_batches = self
            .partitions
            .iter()
            .enumerate()
            .filter(with_room)
            .filter_map(|(index, _)| accumulator.due_at(index as u32));
        let of_topic = self.topic.learnt + self.cluster.settings().metadata_max_age;
        of_sequences
            .chain(of_nodes)
            .chain(of_batches)
            .chain([of_topic])
            .chain(self.complain_at())
            .filter(|at| *at > now)
            .min()
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
