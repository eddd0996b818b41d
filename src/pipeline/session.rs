//! One assignment of the consuming half: from joining the group to the next rebalance.
//!
//! Every `Output.CommitIntervalMs`: flush the sink (rows durable) → commit to Kafka until the outcome is certain → tell
//! the sink. On a rebalance the same is done before the group is joined again. When the group no longer takes our commits, the
//! rows of the pending batch are judged anew from what is committed, as after a crash.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use chrono::Utc;
use tokio::sync::watch;

use super::{
    PipelineError, Stop,
    consume::{as_sink, recover},
    pace::Pace,
    summary::Written,
    writer::Writer,
};
use crate::{
    config::{AutoOffsetReset, Config},
    consumer::{Bound, Chunk, CommitOutcome, Consumer, Event},
    sink::{Appended, DurableBatch, InputRecord, Sink, SinkError, Start},
    wire::{cluster::Cluster, records::Scratch},
};

/// How many bytes of rows may wait for a flush before one is made ahead of time: what recovery may have to hold.
const FLUSH_BYTES: u64 = 64 << 20;

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
    pub(super) consumer: Consumer,
    pub(super) writer: Writer,
    pub(super) stop: &'a Stop,
    pub(super) at_end: watch::Receiver<bool>,
    pub(super) left: Option<u64>,
    pub(super) from: Option<AutoOffsetReset>,
    pub(super) progress: &'a watch::Sender<Written>,
    /// What was done at the last commit that counted.
    pub(super) settled: Written,
    /// When the next flush is due.
    pub(super) pace: Pace,
    /// Where compressed batches are decompressed.
    pub(super) scratch: Scratch,
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// What became of a chunk.
struct Taken {
    counts: Appended,
    /// Where its partition stands now.
    position: i64,
    /// How many records may still be taken.
    left: Option<u64>,
    /// How many bytes of rows wait for a flush.
    unflushed: u64,
}

/// Hands a chunk to the sink, batch by batch; at most `left` records of it, and nothing behind them.
fn take_in(
    sink: &mut Sink,
    chunk: &Chunk,
    scratch: &mut Scratch,
    mut left: Option<u64>,
) -> Result<Taken, PipelineError> {
    let now = Utc::now();
    let partition = chunk.partition();
    let mut counts = Appended::default();
    let mut position = chunk.from();
    for batch in chunk.batches() {
        if left == Some(0) {
            break;
        }
        let records = batch
            .records(scratch)
            .map_err(|error| chunk.unreadable(error))?;
        let limit = left.map_or(usize::MAX, |left| {
            usize::try_from(left).unwrap_or(usize::MAX)
        });
        let mut unreadable = None;
        let mut taken = 0u64;
        let rows = records
            .map_while(|record| record.map_err(|error| unreadable = Some(error)).ok())
            .take(limit)
            .map(|record| {
                taken += 1;
                position = record.offset + 1;
                InputRecord {
                    offset: record.offset,
                    key: record.key,
                    value: record.value,
                }
            });
        // The position behind the records is told apart, because it depends on whether all of them were taken.
        let appended = sink.append(partition, batch.leader_epoch(), rows, i64::MIN, now)?;
        counts.rows += appended.rows;
        counts.dead_letters += appended.dead_letters;
        counts.tombstones += appended.tombstones;
        counts.skipped += appended.skipped;
        if let Some(error) = unreadable {
            return Err(chunk.unreadable(error).into());
        }
        if let Some(left) = &mut left {
            *left -= taken;
        }
    }
    if left != Some(0) {
        position = chunk.next_offset();
        sink.append(partition, chunk.leader_epoch(), [], position, now)?;
    }
    Ok(Taken {
        counts,
        position,
        left,
        unflushed: sink.unflushed_bytes(),
    })
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
        loop {
            if *self.at_end.borrow_and_update() && ends.is_none() {
                ends = Some(
                    self.consumer
                        .list_offsets(&assignment.partitions, Bound::Latest)
                        .await?,
                );
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
                // Before what was fetched: a topic that always has more must not put commits off.
                () = until(self.pace.due()) => if !self.flush_and_commit().await? {
                    return self.judge_again().await;
                },
                event = self.consumer.next() => match event {
                    Event::Chunk(chunk) => {
                        let partition = chunk.partition();
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
                    Event::Lost(reason) => {
                        tracing::warn!(
                            group = self.config.kafka.group_id,
                            %reason,
                            "the group went on without this member; what was not committed is read again"
                        );
                        return self.judge_again().await;
                    }
                    Event::Moved { partition, from, to } => {
                        tracing::warn!(
                            topic = self.config.kafka.topic,
                            partition,
                            from,
                            to,
                            "the records from here on are not on the topic any more; going on where it begins now"
                        );
                        if !self.flush_and_commit().await? {
                            return self.judge_again().await;
                        }
                        self.writer.with(move |sink| sink.start_at(partition, to)).await??;
                        positions.insert(partition, to);
                    }
                    Event::Fatal(error) => return Err(error.into()),
                },
                // Looked at above; an error means that nobody will ask any more.
                Ok(()) = self.at_end.changed() => {}
            }
        }
    }

    /// Where each assigned partition begins; the sink is told.
    async fn begin(&mut self, assigned: &[i32]) -> Result<BTreeMap<i32, i64>, PipelineError> {
        let kafka = &self.config.kafka;
        let pending = self
            .writer
            .with(|sink| {
                sink.pending_batch()
                    .is_some()
                    .then(|| sink.known_partitions())
            })
            .await?;
        if let Some(known) = pending {
            recover(self.config, self.cluster, &self.writer, known).await?;
        }
        let committed = self.consumer.committed(assigned).await?;
        if self.from.take().is_some()
            && committed
                .values()
                .any(|committed| committed.offset.is_some())
        {
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
                        Ok((
                            partition,
                            sink.start_position(partition, &as_sink(committed))?,
                        ))
                    })
                    .collect::<Result<Vec<_>, SinkError>>()
            })
            .await??;
        let mut positions = BTreeMap::new();
        let mut fresh = Vec::new();
        for (partition, start) in starts {
            match start {
                Start::At(offset) => {
                    positions.insert(partition, offset);
                }
                Start::Reset => {
                    fresh.push(partition);
                }
            }
        }
        if !fresh.is_empty() {
            let bound = match kafka.auto_offset_reset {
                AutoOffsetReset::Earliest => Bound::Earliest,
                AutoOffsetReset::Latest => Bound::Latest,
            };
            let begun = self.consumer.list_offsets(&fresh, bound).await?;
            positions.extend(&begun);
            self.writer
                .with(move |sink| {
                    begun
                        .into_iter()
                        .try_for_each(|(partition, offset)| sink.start_at(partition, offset))
                })
                .await??;
        }
        Ok(positions)
    }

    /// Takes a chunk in; says where its partition stands now, and how many bytes wait for a flush.
    async fn append(&mut self, chunk: Chunk) -> Result<(i64, u64), PipelineError> {
        let limit = self.left;
        let mut scratch = std::mem::take(&mut self.scratch);
        let (appended, scratch) = self
            .writer
            .with(move |sink| (take_in(sink, &chunk, &mut scratch, limit), scratch))
            .await?;
        self.scratch = scratch;
        let Taken {
            counts: total,
            position,
            left,
            unflushed,
        } = appended?;
        self.left = left;
        self.pace.took(Instant::now());
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
            self.pace.flushed(Instant::now());
            return Ok(true);
        };
        let certain = self.commit(batch).await?;
        self.pace.flushed(Instant::now());
        if certain {
            let committed = done.rows + done.dead_letters + done.tombstones + done.skipped;
            self.settled = Written { committed, ..done };
            self.progress
                .send_modify(|progress| progress.committed = committed);
        }
        Ok(certain)
    }

    async fn commit(&mut self, batch: DurableBatch) -> Result<bool, PipelineError> {
        let mut offsets = batch.offsets;
        loop {
            let outcomes = self.consumer.commit(&offsets, &batch.metadata).await;
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
            for (partition, outcome) in &outcomes {
                match outcome {
                    CommitOutcome::Fenced(_) => return Ok(false),
                    CommitOutcome::Refused(code) => {
                        return Err(PipelineError::Commit {
                            group: self.config.kafka.group_id.clone(),
                            topic: self.config.kafka.topic.clone(),
                            partition: *partition,
                            code: *code,
                        });
                    }
                    // The committer has waited; trying the same again is harmless, and tells.
                    CommitOutcome::Counted | CommitOutcome::Retry(_) | CommitOutcome::Unknown => {}
                }
            }
        }
    }

    /// After commits that the group did not take: what is committed decides which rows stay.
    async fn judge_again(&mut self) -> Result<Ended, PipelineError> {
        self.consumer.stop_fetching();
        let known = self.writer.with(|sink| sink.known_partitions()).await?;
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
        if let Err(error) = self.consumer.leave().await {
            tracing::warn!("{error}; the group goes on when the session ends");
        }
        self.writer.close().await
    }
}
