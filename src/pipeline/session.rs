//! One assignment of the consuming half: from joining the group to the next rebalance.
//!
//! Every `Output.CommitIntervalMs`: flush the sink (rows durable) → commit to Kafka until the outcome is certain → tell
//! the sink. On a rebalance the same is done before the group is joined again. When the group no longer takes our commits, the
//! rows of the pending batch are judged anew from what is committed, as after a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{ControlFlow, Range},
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    PipelineError, Stop,
    consume::{as_sink, recover},
    reach::Reach,
    settings,
    summary::Written,
    writer::Writer,
};
use crate::{
    config::{AutoOffsetReset, Config},
    consumer::{self, At, Chunk, CommitOutcome, Consumer, Event},
    sink::{DurableBatch, InputRecord, SinkError, Start},
    wire::cluster::Cluster,
};

/// How many bytes of rows may wait for a flush before one is made ahead of time: what recovery may have to hold.
const FLUSH_BYTES: u64 = 64 << 20;

/// The pause before a commit is tried again.
const COMMIT_PAUSE: Duration = Duration::from_millis(100);

/// How a session ended.
pub(super) enum Ended {
    /// The group is being rebalanced: join again.
    Rebalance,
    /// All that was asked for is done.
    Done,
}

pub(super) struct Session<'a> {
    pub(super) config: &'a Config,
    pub(super) cluster: &'a Arc<Cluster>,
    pub(super) reach: &'a Reach,
    pub(super) consumer: Consumer,
    pub(super) writer: Writer,
    pub(super) partitions: Range<i32>,
    pub(super) stop: &'a Stop,
    pub(super) at_end: watch::Receiver<bool>,
    pub(super) left: Option<u64>,
    pub(super) from: Option<AutoOffsetReset>,
    pub(super) progress: &'a watch::Sender<Written>,
    /// What was done at the last commit that counted.
    pub(super) settled: Written,
}

impl Session<'_> {
    /// Joins, reads and commits until the assignment ends.
    pub(super) async fn run(&mut self) -> Result<Ended, PipelineError> {
        let writer = self.writer.clone();
        let assignment = tokio::select! {
            assignment = self.consumer.join(|member_id| writer.remember_member(member_id)) => assignment?,
            () = self.stop.requested() => return Ok(Ended::Done),
        };
        let mut positions = self.begin(&assignment.partitions).await?;
        tracing::info!(
            group = self.config.kafka.group_id,
            generation = assignment.generation,
            partitions = ?assignment.partitions,
            "assigned"
        );
        self.consumer.start(&positions);
        let mut ends = None;
        let period = self.config.output.commit_interval;
        let mut tick = interval_at(Instant::now() + period, period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if *self.at_end.borrow_and_update() && ends.is_none() {
                ends = Some(self.ends(&assignment.partitions).await?);
            }
            let reached = ends.as_ref().is_some_and(|ends: &BTreeMap<i32, i64>| {
                ends.iter()
                    .all(|(partition, end)| positions.get(partition).is_some_and(|at| at >= end))
            });
            if reached || self.left == Some(0) {
                return self.finish().await;
            }
            tokio::select! {
                biased;
                () = self.stop.requested() => return self.finish().await,
                event = self.consumer.next() => match event? {
                    Event::Chunk(chunk) => {
                        let partition = chunk.partition;
                        let (position, unflushed) = self.append(chunk).await?;
                        positions.insert(partition, position);
                        if unflushed > FLUSH_BYTES && !self.flush_and_commit().await? {
                            return self.judge_again().await;
                        }
                    }
                    Event::Rebalance => {
                        self.consumer.stop_fetching();
                        if !self.flush_and_commit().await? {
                            return self.judge_again().await;
                        }
                        return Ok(Ended::Rebalance);
                    }
                    Event::Lost => {
                        tracing::warn!(
                            group = self.config.kafka.group_id,
                            "the group went on without this member; what was not committed is read again"
                        );
                        return self.judge_again().await;
                    }
                },
                _ = tick.tick() => if !self.flush_and_commit().await? {
                    return self.judge_again().await;
                },
                // Looked at above; an error means that nobody will ask any more.
                Ok(()) = self.at_end.changed() => {}
            }
        }
    }

    /// Where each assigned partition begins; the sink is told.
    async fn begin(&mut self, assigned: &[i32]) -> Result<BTreeMap<i32, i64>, PipelineError> {
        let kafka = &self.config.kafka;
        let pending = self.writer.with(|sink| sink.pending_batch().is_some().then(|| sink.known_partitions())).await?;
        if let Some(known) = pending {
            recover(self.config, self.cluster, &self.writer, known).await?;
        }
        let committed =
            consumer::committed(self.cluster, &kafka.group_id, &kafka.topic, assigned).await?;
        if self.from.take().is_some() && committed.values().any(|committed| committed.offset.is_some()) {
            tracing::warn!(
                group = kafka.group_id,
                "--from is for groups without offsets; this one has some, and goes on from them"
            );
        }
        let starts = self
            .writer
            .with(move |sink| {
                committed
                    .into_iter()
                    .map(|(partition, committed)| {
                        Ok((partition, sink.start_position(partition, &as_sink(committed))?))
                    })
                    .collect::<Result<Vec<_>, SinkError>>()
            })
            .await??;
        let mut positions = BTreeMap::new();
        let mut fresh = BTreeSet::new();
        for (partition, start) in starts {
            match start {
                Start::At(offset) => {
                    positions.insert(partition, offset);
                }
                Start::Reset => {
                    fresh.insert(partition);
                }
            }
        }
        if !fresh.is_empty() {
            let at = match kafka.auto_offset_reset {
                AutoOffsetReset::Earliest => At::Earliest,
                AutoOffsetReset::Latest => At::Latest,
            };
            let listed = self.list(at).await?;
            let begun: Vec<_> = listed.into_iter().filter(|(partition, _)| fresh.contains(partition)).collect();
            positions.extend(begun.iter().copied());
            self.writer
                .with(move |sink| begun.into_iter().try_for_each(|(partition, offset)| sink.start_at(partition, offset)))
                .await??;
        }
        Ok(positions)
    }

    async fn list(&self, at: At) -> Result<BTreeMap<i32, i64>, PipelineError> {
        let isolation = settings::isolation(self.config.kafka.isolation_level);
        self.reach
            .ask(|| consumer::list_offsets(self.cluster, &self.config.kafka.topic, at, isolation))
            .await
    }

    /// The ends, as of now, of the partitions that this member has.
    async fn ends(&self, assigned: &[i32]) -> Result<BTreeMap<i32, i64>, PipelineError> {
        let mut ends = self.list(At::Latest).await?;
        ends.retain(|partition, _| assigned.contains(partition) && self.partitions.contains(partition));
        Ok(ends)
    }

    /// Takes a chunk in; says where its partition stands now, and how many bytes wait for a flush.
    async fn append(&mut self, chunk: Chunk) -> Result<(i64, u64), PipelineError> {
        let mut left = self.left;
        let appended = self
            .writer
            .with(move |sink| {
                let now = Utc::now();
                let mut total = crate::sink::Appended::default();
                let mut position = chunk.from;
                chunk.for_each_batch(|records, next_offset| {
                    let mut last = None;
                    let limit = left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
                    let mut failed = None;
                    let mut taken = 0u64;
                    let rows = records
                        .map_while(|record| record.map_err(|error| failed = Some(error)).ok())
                        .take(limit)
                        .inspect(|record| {
                            taken += 1;
                            last = Some(record.offset);
                        })
                        .map(|record| InputRecord {
                            offset: record.offset,
                            key: record.key,
                            value: record.value,
                        });
                    // What the limit leaves over is not read past.
                    let appended = sink.append(chunk.partition, Some(chunk.leader_epoch), rows, i64::MIN, now)?;
                    total.rows += appended.rows;
                    total.dead_letters += appended.dead_letters;
                    total.tombstones += appended.tombstones;
                    total.skipped += appended.skipped;
                    if let Some(error) = failed {
                        return Err(error.into());
                    }
                    if let Some(left) = &mut left {
                        *left -= taken;
                    }
                    if left == Some(0) {
                        position = last.map_or(position, |last| last + 1);
                        return Ok(ControlFlow::Break(()));
                    }
                    sink.append(chunk.partition, Some(chunk.leader_epoch), [], next_offset, now)?;
                    position = next_offset;
                    Ok(ControlFlow::Continue(()))
                })?;
                Ok::<_, PipelineError>((total, position, left, sink.unflushed_bytes()))
            })
            .await??;
        let (total, position, left, unflushed) = appended;
        self.left = left;
        self.progress.send_modify(|done| {
            done.rows += total.rows;
            done.dead_letters += total.dead_letters;
            done.tombstones += total.tombstones;
            done.skipped += total.skipped;
        });
        Ok((position, unflushed))
    }

    /// Makes durable and commits. `false` when the group does not take the commit from this member any more.
    async fn flush_and_commit(&mut self) -> Result<bool, PipelineError> {
        // Counted before the flush: what is appended meanwhile belongs to the next batch.
        let done = *self.progress.borrow();
        let Some(batch) = self.writer.with(|sink| sink.flush()).await?? else {
            return Ok(true);
        };
        let certain = self.commit(batch).await?;
        if certain {
            let committed = done.rows + done.dead_letters + done.tombstones + done.skipped;
            self.settled = Written { committed, ..done };
            self.progress.send_modify(|progress| progress.committed = committed);
        }
        Ok(certain)
    }

    async fn commit(&mut self, batch: DurableBatch) -> Result<bool, PipelineError> {
        let mut offsets = batch.offsets;
        loop {
            let outcomes = self.consumer.commit(&offsets, &batch.metadata).await?;
            let counted: Vec<i32> = offsets
                .iter()
                .map(|(partition, ..)| *partition)
                .filter(|partition| outcomes.get(partition) == Some(&CommitOutcome::Counted))
                .collect();
            let number = batch.number;
            let done = counted.clone();
            self.writer
                .with(move |sink| sink.committed(number, &done))
                .await?;
            offsets.retain(|(partition, ..)| !counted.contains(partition));
            if offsets.is_empty() {
                return Ok(true);
            }
            if outcomes.values().any(|outcome| *outcome == CommitOutcome::Fenced) {
                return Ok(false);
            }
            tokio::time::sleep(COMMIT_PAUSE).await;
        }
    }

    /// After commits that the group did not take: what is committed decides which rows stay.
    async fn judge_again(&mut self) -> Result<Ended, PipelineError> {
        self.consumer.stop_fetching();
        let known = self.writer.with(|sink| sink.known_partitions()).await?;
        self.consumer.abandon().await;
        recover(self.config, self.cluster, &self.writer, known).await?;
        // The rows since then are gone, or were never told as committed.
        self.progress.send_replace(self.settled);
        Ok(Ended::Rebalance)
    }

    async fn finish(&mut self) -> Result<Ended, PipelineError> {
        self.consumer.stop_fetching();
        if self.flush_and_commit().await? || self.stop.is_requested() {
            return Ok(Ended::Done);
        }
        self.judge_again().await
    }

    /// Leaves the group and gives the directory up.
    pub(super) async fn leave(mut self) -> Result<(), PipelineError> {
        self.consumer.leave().await;
        self.writer.close().await
    }
}
