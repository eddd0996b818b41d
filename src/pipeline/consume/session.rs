//! The consuming half at work: from the first assignment to the end.
//!
//! When it is due ([`FlushTimer`]): flush the sink (rows durable) → commit to Kafka until the outcome is certain → tell the sink.
//! Partitions come and go in between ([`super::rebalance`]) without a pause for those that stay. When the membership is
//! lost, the rows of the pending batch are judged anew from what is committed, as after a crash.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::super::error::PipelineError;
use super::super::stop::Stop;
use super::assignment::Assignment;
use super::commits::Committed;
use super::counters::Counters;
use super::file_closer::FileCloser;
use super::flush_timer::FlushTimer;
use super::late_commits::LateCommits;
use super::open_transactions::OpenTransactions;
use super::sink_thread::SinkThread;
use super::start_positions::SlowLeaders;
use super::watchdog::Watchdog;
use crate::{
    config::{AutoOffsetReset, Config},
    consumer::{ConsumeError, Consumer, Event},
    sink::Sink,
    wire::{cluster::Cluster, records::Scratch},
};

/// How often a member without partitions looks whether the others have read to the end.
const LOOK_AT_OTHERS: Duration = Duration::from_secs(2);

pub(in crate::pipeline) struct Session<'a> {
    pub(in crate::pipeline) config: &'a Config,
    pub(in crate::pipeline) cluster: &'a Arc<Cluster>,
    pub(in crate::pipeline) consumer: Consumer,
    pub(in crate::pipeline) writer: SinkThread,
    pub(in crate::pipeline) stop: &'a Stop,
    pub(in crate::pipeline) at_end: watch::Receiver<bool>,
    pub(in crate::pipeline) left: Option<u64>,
    pub(in crate::pipeline) from: Option<AutoOffsetReset>,
    /// How many partitions the topic had before this member joined the group.
    pub(in crate::pipeline) count: i32,
    /// What was done, and what of it is committed.
    pub(in crate::pipeline) counters: Counters<'a>,
    /// What is to be done with files that take no more rows.
    pub(in crate::pipeline) file_closer: FileCloser,
    /// When the next flush is due.
    pub(in crate::pipeline) flush_timer: FlushTimer,
    /// Where compressed batches are decompressed.
    pub(in crate::pipeline) scratch: Scratch,
    pub(in crate::pipeline) watchdog: Watchdog,
    /// What this member has of the group.
    pub(in crate::pipeline) assignment: Assignment,
    /// Commits that may land late.
    pub(in crate::pipeline) late_commits: LateCommits,
    /// When it is looked again whether another member has begun before this one, and how long after that again.
    pub(in crate::pipeline) look_again: Option<(Instant, Duration)>,
    /// When it may be asked again where partitions end.
    pub(in crate::pipeline) ask_ends_at: Option<Instant>,
    /// What was said of partitions that were committed beyond their log's end.
    pub(in crate::pipeline) misled: Vec<String>,
    /// When it is said again that partitions cannot be read on.
    pub(in crate::pipeline) say_again: Option<Instant>,
    /// What waits for a transaction to end.
    pub(in crate::pipeline) open_transactions: OpenTransactions,
    /// What waits for leaders to say where logs begin and end.
    pub(in crate::pipeline) slow_leaders: SlowLeaders,
}

pub(in crate::pipeline) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

impl Session<'_> {
    /// Reads and commits until all that was asked for is done.
    pub(in crate::pipeline) async fn run(&mut self) -> Result<(), PipelineError> {
        loop {
            if *self.at_end.borrow_and_update() {
                self.learn_ends().await?;
            }
            if self.assignment.is_at_end() && self.look_again.is_some() {
                self.look_who_began().await?;
            }
            if self.assignment.is_at_end() || self.left == Some(0) || self.assignment.is_stopped() {
                return self.finish().await;
            }
            self.watchdog.end();
            let event = tokio::select! {
                biased;
                () = self.stop.requested() => return self.finish().await,
                // What has its time comes before what was fetched: a topic that always has more must not put it off.
                () = until(self.flush_timer.due()) => None,
                woken = self.file_closer.wake() => {
                    self.tend(woken).await?;
                    continue;
                }
                () = until(self.ask_ends_at) => continue,
                () = until(self.open_transactions.due()) => {
                    self.look_for_open_transactions().await;
                    continue;
                }
                () = until(self.look_again.map(|(at, _)| at)) => {
                    self.look_who_began().await?;
                    continue;
                }
                () = until(self.say_again) => {
                    self.say_what_is_stopped();
                    continue;
                }
                logs = self.slow_leaders.answered() => {
                    self.begin_put_off(logs?).await?;
                    continue;
                }
                event = self.consumer.next() => Some(event),
                () = tokio::time::sleep(LOOK_AT_OTHERS), if self.assignment.waits_for_others() => {
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
                Event::Chunks(chunks) => self.take_in(chunks).await?,
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
                    parted,
                } => self.moved(partition, (from, to), parted).await?,
                Event::Unreadable(error) => match error.unreadable() {
                    Some(what) => {
                        self.stop_at(what, &error).await?;
                    }
                    None => return Err(error.into()),
                },
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

    /// The log does not hold the position any more; whoever fetches has said why.
    async fn moved(
        &mut self,
        partition: i32,
        (from, to): (i64, i64),
        parted: bool,
    ) -> Result<(), PipelineError> {
        if self.flush_or_judge().await? == Committed::Lost {
            return Ok(());
        }
        let known = move |sink: &mut Sink| {
            let holds = sink.holds_beyond(partition, to);
            (holds, sink.has_read_beyond(partition, to))
        };
        let (holds, has_read) = self.writer.with(known).await?;
        if to < from && has_read && !parted {
            self.stop_at_truncation(partition, from, to);
            return Ok(());
        }
        if holds {
            self.supersede([(partition, to)].into()).await?;
        }
        if to < from && !has_read {
            // It was not this directory that read up to there: what lies before may be in none.
            self.misled.push(format!(
                "topic {}, partition {partition}: the offset {from} that was committed for group {} lies beyond the log's end, \
                 and this directory has not read up to there: reading goes on at {to}",
                self.config.kafka.topic, self.config.kafka.group_id
            ));
        }
        self.writer
            .with(move |sink| sink.start_at(partition, to))
            .await??;
        if to < from {
            // Otherwise whoever comes next would be sent to the end again, past all that has come meanwhile.
            self.writer
                .with(move |sink| sink.is_committed_elsewhere(partition))
                .await?;
            let mut positions = [(partition, (to, None))].into();
            self.claim(&mut positions).await?;
            if positions.is_empty() {
                return Ok(());
            }
            self.assignment.fell_back(partition, to);
        } else {
            self.counters.lost(to.abs_diff(from));
            self.assignment.reached(partition, to);
        }
        Ok(())
    }

    /// Makes durable and commits; where the membership is lost meanwhile, that is dealt with as well.
    pub(in crate::pipeline) async fn flush_or_judge(&mut self) -> Result<Committed, PipelineError> {
        let certain = self.flush_and_commit().await?;
        if certain == Committed::Lost {
            let reason = self.consumer.lost().await?;
            self.judge_again(reason).await?;
        }
        Ok(certain)
    }

    async fn finish(&mut self) -> Result<(), PipelineError> {
        self.consumer.stop_fetching();
        if !self.assignment.recovered {
            return Ok(());
        }
        let mut certain = self.flush_and_commit().await?;
        if certain == Committed::All {
            let partitions = self.assignment.partitions();
            certain = self.certify(&partitions).await?;
        }
        if certain == Committed::All || self.stop.is_requested() {
            return Ok(());
        }
        // Which the judgement forgets.
        let unreadable = self.unreadable();
        // What was not committed is another member's now, or is read at the next start.
        let reason = self.consumer.lost().await?;
        self.judge_again(reason).await?;
        unreadable
    }

    /// Leaves the group and gives the directory up; its files are closed first when the session came to its end.
    pub(in crate::pipeline) async fn leave(mut self, ended: bool) -> Result<(), PipelineError> {
        if let Err(error) = self.consumer.leave().await {
            tracing::warn!(
                "{error}; the group continues without this process when its session ends"
            );
        }
        let mut finished = Ok(());
        if ended && self.assignment.recovered {
            finished = self.file_closer.finish(&self.writer).await;
        }
        self.file_closer.quit().await;
        finished.and(self.writer.close().await)
    }
}
