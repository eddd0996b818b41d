//! The consuming half at work: from the first assignment to the end.
//!
//! When it is due ([`Pace`]): flush the sink (rows durable) → commit to Kafka until the outcome is certain → tell the sink.
//! Partitions come and go in between ([`super::rebalance`]) without a pause for those that stay. When the membership is
//! lost, the rows of the pending batch are judged anew from what is committed, as after a crash.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use tokio::sync::watch;

use super::{
    PipelineError, Stop, late::Late, pace::Pace, rebalance::Held, sealing::Sealing,
    summary::Written, tally::Tally, watchdog::Watchdog, writer::Writer,
};
use crate::{
    config::{AutoOffsetReset, Config, IsolationLevel},
    consumer::{Chunk, CommitOutcome, ConsumeError, Consumer, Event, Offset},
    sink::{self, Appended, DurableBatch, DurableOffset, InputRecord, RawHeaders, Sink},
    wire::{cluster::Cluster, error::ErrorCode, records::Scratch},
};

/// How many bytes of rows may wait for a flush before one is made ahead of time: what recovery may have to hold.
const FLUSH_BYTES: u64 = 64 << 20;

/// How often a member without partitions looks whether the others have read to the end.
const LOOK_AT_OTHERS: Duration = Duration::from_secs(2);

/// Whether what was to be committed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    /// For certain.
    All,
    /// The membership is lost, and with it all that is not certain.
    Lost,
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
    /// What was done, and what of it is committed.
    pub(super) tally: Tally<'a>,
    /// What is to be done with files that take no more rows.
    pub(super) sealing: Sealing,
    /// When the next flush is due.
    pub(super) pace: Pace,
    /// Where compressed batches are decompressed.
    pub(super) scratch: Scratch,
    pub(super) watchdog: Watchdog,
    /// What this member has of the group.
    pub(super) held: Held,
    /// Commits that may land late.
    pub(super) late: Late,
}

fn offset(durable: DurableOffset) -> Offset {
    Offset {
        partition: durable.partition,
        next_offset: durable.next,
        leader_epoch: durable.leader_epoch,
        metadata: durable.metadata,
    }
}

pub(super) async fn until(due: Option<Instant>) {
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
    /// Whether a file took its last row.
    rolled: bool,
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
                let (count, encoded) = record.headers.raw();
                InputRecord {
                    offset: record.offset,
                    key: record.key,
                    value: record.value,
                    headers: RawHeaders { count, encoded },
                }
            });
        // The position behind the records is told apart, because it depends on whether all of them were taken.
        let appended = sink.append(partition, batch.leader_epoch(), rows, i64::MIN, now)?;
        counts.add(appended);
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
        rolled: sink.rolled(),
    })
}

impl Session<'_> {
    /// Reads and commits until all that was asked for is done.
    pub(super) async fn run(&mut self) -> Result<(), PipelineError> {
        loop {
            if *self.at_end.borrow_and_update() {
                self.learn_ends().await?;
            }
            if self.held.is_at_end() || self.left == Some(0) {
                return self.finish().await;
            }
            self.watchdog.end();
            let event = tokio::select! {
                biased;
                () = self.stop.requested() => return self.finish().await,
                // Before what was fetched: a topic that always has more must not put commits off.
                () = until(self.pace.due()) => None,
                woken = self.sealing.wake() => {
                    self.tend(woken).await?;
                    continue;
                }
                event = self.consumer.next() => Some(event),
                () = tokio::time::sleep(LOOK_AT_OTHERS), if self.held.waits_for_others() => {
                    self.look_at_the_others().await?;
                    continue;
                }
                // Looked at above; an error means that nobody will ask any more.
                Ok(()) = self.at_end.changed() => continue,
            };
            self.watchdog.begin();
            let Some(event) = event else {
                self.flush_or_judge().await?;
                continue;
            };
            match event {
                Event::Chunk(chunk) => {
                    let partition = chunk.partition();
                    let (position, unflushed) = self.append(chunk).await?;
                    self.held.reached(partition, position);
                    if unflushed > FLUSH_BYTES {
                        self.flush_or_judge().await?;
                    }
                }
                Event::Assigned {
                    tenure,
                    serial,
                    partitions,
                } => self.reassign(tenure, serial, &partitions).await?,
                Event::Lost(reason) => self.judge_again(reason).await?,
                Event::Moved {
                    partition,
                    from,
                    to,
                } => self.moved(partition, from, to).await?,
                Event::Fatal(error) => {
                    if let ConsumeError::MadeAnew { .. } = error {
                        // The old topic's records cannot be read again: what is durable of them stays.
                        self.writer.with(|sink| sink.flush()).await??;
                    }
                    return Err(error.into());
                }
            }
        }
    }

    async fn moved(&mut self, partition: i32, from: i64, to: i64) -> Result<(), PipelineError> {
        tracing::warn!(
            topic = self.config.kafka.topic,
            partition,
            from,
            to,
            "reading of the partition goes on elsewhere"
        );
        if self.flush_and_commit().await? == Committed::Lost {
            let reason = self.consumer.lost().await?;
            return self.judge_again(reason).await;
        }
        let holds = move |sink: &mut Sink| sink.holds_beyond(partition, to);
        if self.writer.with(holds).await? {
            self.supersede([(partition, to)].into()).await?;
        }
        self.writer
            .with(move |sink| sink.start_at(partition, to))
            .await??;
        self.held.reached(partition, to);
        Ok(())
    }

    /// Takes a chunk in; says where its partition stands now, and how many bytes wait for a flush.
    async fn append(&mut self, chunk: Chunk) -> Result<(i64, u64), PipelineError> {
        let limit = self.left;
        let partition = chunk.partition();
        // Where a consumer with this isolation can read to.
        let end = match self.config.kafka.isolation_level {
            IsolationLevel::ReadCommitted if chunk.last_stable_offset() >= 0 => {
                chunk.last_stable_offset()
            }
            _ => chunk.high_watermark(),
        };
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
            rolled,
        } = appended?;
        self.left = left;
        self.pace.took(Instant::now());
        if rolled {
            self.pace.hurry(Instant::now());
        }
        self.held.waiting.note(partition, position, end);
        self.tally.took(&Written {
            rows: total.rows,
            dead_letters: total.dead_letters,
            tombstones: total.tombstones,
            skipped: total.skipped,
            reasons: total.reasons,
            committed: 0,
            lag: Some(self.held.waiting.total()),
        });
        Ok((position, unflushed))
    }

    async fn flush_or_judge(&mut self) -> Result<(), PipelineError> {
        if self.flush_and_commit().await? == Committed::Lost {
            let reason = self.consumer.lost().await?;
            self.judge_again(reason).await?;
        }
        Ok(())
    }

    /// Makes durable and commits.
    pub(super) async fn flush_and_commit(&mut self) -> Result<Committed, PipelineError> {
        // Counted before the flush: what is appended meanwhile belongs to the next batch.
        let done = self.tally.so_far();
        let Some(batch) = self.writer.with(|sink| sink.flush()).await?? else {
            self.pace.flushed(Instant::now());
            return Ok(Committed::All);
        };
        let certain = self.commit(batch).await?;
        self.pace.flushed(Instant::now());
        if certain == Committed::All {
            self.tally.settle(done);
            self.sealing.look();
        }
        Ok(certain)
    }

    async fn commit(&mut self, batch: DurableBatch) -> Result<Committed, PipelineError> {
        let mut offsets = batch.offsets.into_iter().map(offset).collect();
        loop {
            let (counted, certain) = self.commit_some(&mut offsets).await?;
            let number = batch.number;
            self.writer
                .with(move |sink| sink.committed(number, &counted))
                .await?;
            match certain {
                Some(certain) => return Ok(certain),
                // The committer has waited; trying the same again is harmless, and tells, unless a topic that was
                // away is another one by now: these offsets mean nothing there.
                None => self.is_same_topic().await?,
            }
        }
    }

    /// Tries once to commit `offsets`, taking those out that count: which, and whether that settles the matter.
    pub(super) async fn commit_some(
        &mut self,
        offsets: &mut Vec<Offset>,
    ) -> Result<(Vec<i32>, Option<Committed>), PipelineError> {
        let outcomes = self.consumer.commit(self.held.tenure, offsets).await;
        let outcome = |offset: &Offset| outcomes.get(&offset.partition).copied();
        for offset in &*offsets {
            match outcome(offset) {
                Some(CommitOutcome::Counted) => self.late.counted(offset),
                Some(CommitOutcome::Unknown) => self.late.unanswered(),
                _ => {}
            }
        }
        let counted = offsets
            .iter()
            .filter(|offset| outcome(offset) == Some(CommitOutcome::Counted))
            .map(|offset| offset.partition)
            .collect();
        offsets.retain(|offset| outcome(offset) != Some(CommitOutcome::Counted));
        if offsets.is_empty() {
            return Ok((counted, Some(Committed::All)));
        }
        let mut lost = false;
        for offset in &mut *offsets {
            match outcome(offset) {
                Some(CommitOutcome::Fenced(_)) => lost = true,
                Some(CommitOutcome::Refused(ErrorCode::OFFSET_METADATA_TOO_LARGE))
                    if offset.metadata != sink::shortened(&offset.metadata) =>
                {
                    offset.metadata = sink::shortened(&offset.metadata);
                }
                Some(CommitOutcome::Refused(code)) => {
                    return Err(PipelineError::Commit {
                        group: self.config.kafka.group_id.clone(),
                        topic: self.config.kafka.topic.clone(),
                        partition: offset.partition,
                        code,
                    });
                }
                _ => {}
            }
        }
        Ok((counted, lost.then_some(Committed::Lost)))
    }

    /// Before partitions are given up: sees to it that what was committed last is what stands. See [`Late`].
    pub(super) async fn certify(
        &mut self,
        partitions: &BTreeSet<i32>,
    ) -> Result<Committed, PipelineError> {
        let asked = self.late.doubtful(partitions);
        while !asked.is_empty() {
            let found = self.consumer.committed(&asked).await?;
            let mut again = self.late.overtaken(&found);
            if again.is_empty() {
                break;
            }
            tracing::warn!(
                group = self.config.kafka.group_id,
                partitions = ?again.iter().map(|offset| offset.partition).collect::<Vec<_>>(),
                "a commit that was not answered has landed behind later ones; committing these again"
            );
            while !again.is_empty() {
                if self.commit_some(&mut again).await?.1 == Some(Committed::Lost) {
                    return Ok(Committed::Lost);
                }
                self.is_same_topic().await?;
            }
        }
        Ok(Committed::All)
    }

    async fn finish(&mut self) -> Result<(), PipelineError> {
        self.consumer.stop_fetching();
        if !self.held.recovered {
            return Ok(());
        }
        let mut certain = self.flush_and_commit().await?;
        if certain == Committed::All {
            let partitions = self.held.partitions();
            certain = self.certify(&partitions).await?;
        }
        if certain == Committed::All || self.stop.is_requested() {
            return Ok(());
        }
        // What was not committed is another member's now, or is read at the next start.
        let reason = self.consumer.lost().await?;
        self.judge_again(reason).await
    }

    /// Leaves the group and gives the directory up; its files are closed first when the session came to its end.
    pub(super) async fn leave(mut self, ended: bool) -> Result<(), PipelineError> {
        if let Err(error) = self.consumer.leave().await {
            tracing::warn!("{error}; the group goes on when the session ends");
        }
        let mut finished = Ok(());
        if ended && self.held.recovered {
            finished = self.sealing.finish(&self.writer).await;
        }
        self.sealing.quit().await;
        finished.and(self.writer.close().await)
    }
}
