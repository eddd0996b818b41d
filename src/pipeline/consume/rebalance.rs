//! What becomes of rows and positions when the group gives this member other partitions, or loses it.
//!
//! ```text
//!  taken away    stop reading ──► flush ──► commit until certain ──► give up
//!  given         where does it stand? ──► claim it in its commit's metadata ──► read
//!  lost          forget what is not certain, as after a crash; nothing is given up, because nothing is ours
//! ```
//!
//! Partitions that stay are read on without a stop, and what they have pending is committed under the group's new
//! generation or epoch.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::super::error::PipelineError;
use super::commits::Committed;
use super::recover;
use super::session::Session;
use crate::consumer::{Bound, ConsumeError, LostReason};

/// When it is asked again where a partition ends whose log ended before its position.
const ASK_ENDS_AGAIN: Duration = Duration::from_millis(500);

impl Session<'_> {
    /// Asks where the partitions end that have no end yet.
    pub(in crate::pipeline) async fn learn_ends(&mut self) -> Result<(), PipelineError> {
        let missing = self.assignment.endless();
        if missing.is_empty() {
            self.ask_ends_at = None;
        }
        if missing.is_empty() || self.ask_ends_at.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        let mut ends = self.consumer.list_offsets(&missing, Bound::Latest).await?;
        // Transactions that are open hold the end back. A log that ends before the position was truncated, and nothing of it
        // counts as read before whoever fetches has said where to go on.
        let behind = self.assignment.beyond(&ends);
        if !behind.is_empty() {
            let logs = self.consumer.extents(&behind).await;
            let real: BTreeMap<i32, i64> = logs
                .into_iter()
                .map(|(partition, (_, end))| (partition, end))
                .collect();
            let short = self.assignment.beyond(&real);
            // Of a leader that does not say it at once, nothing is believed: it is asked again.
            let unknown =
                |partition: &i32| behind.contains(partition) && !real.contains_key(partition);
            ends.retain(|partition, _| !short.contains(partition) && !unknown(partition));
        }
        self.assignment.learned(ends.clone());
        // Who reads to the end asks why it comes so early.
        self.look_for_open_transactions_at(ends).await;
        let left = !self.assignment.endless().is_empty();
        self.ask_ends_at = left.then(|| Instant::now() + ASK_ENDS_AGAIN);
        Ok(())
    }

    /// Asks whether the group has committed everything that there was when this was asked first.
    pub(in crate::pipeline) async fn look_at_the_others(&mut self) -> Result<(), PipelineError> {
        let topic = self.cluster.topic(&self.config.kafka.topic).await;
        // A topic that is away for the moment is asked about again.
        let Ok(topic) = topic else { return Ok(()) };
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let all: Vec<i32> = (0..count).collect();
        let missing = self.assignment.without_end(all.iter().copied());
        if !missing.is_empty() {
            let ends = self.consumer.list_offsets(&missing, Bound::Latest).await?;
            self.assignment.learned(ends);
        }
        let starts = self.consumer.list_offsets(&all, Bound::Earliest).await?;
        let committed = self.consumer.committed(&all).await?;
        self.assignment.others_are_done = all.iter().all(|partition| {
            let start = starts.get(partition).copied().unwrap_or_default();
            let end = self.assignment.end(*partition);
            let at = committed.get(partition).and_then(|found| found.offset);
            end.is_some_and(|end| at.unwrap_or(start) >= end)
        });
        Ok(())
    }

    /// Gives up what is not among `partitions` any more, and begins what is new.
    pub(in crate::pipeline) async fn reassign(
        &mut self,
        tenure: u64,
        serial: u64,
        partitions: &BTreeSet<i32>,
    ) -> Result<(), PipelineError> {
        self.assignment.tenure = tenure;
        let before = self.assignment.partitions();
        let taken: BTreeSet<i32> = before.difference(partitions).copied().collect();
        let given: Vec<i32> = partitions.difference(&before).copied().collect();
        if !given.is_empty() || !taken.is_empty() {
            tracing::info!(
                group = self.config.kafka.group_id,
                ?given,
                ?taken,
                kept = before.len() - taken.len(),
                "assigned"
            );
        }
        if !taken.is_empty() {
            self.consumer.stop(&taken);
            if self.flush_and_commit().await? == Committed::Lost
                || self.put_back(&taken).await? == Committed::Lost
                || self.certify(&taken).await? == Committed::Lost
            {
                let reason = self.consumer.lost().await?;
                return self.judge_again(reason).await;
            }
            self.assignment.give_up(&taken);
            // What is about to be begun counts as ours already.
            self.consumer.owns(tenure, serial, partitions);
        }
        if !self.assignment.recovered {
            self.recover().await?;
        }
        if !given.is_empty() {
            self.begin(&given).await?;
        }
        self.consumer
            .owns(tenure, serial, &self.assignment.partitions());
        // A newcomer is often given nothing at first, because others have to give it up.
        self.assignment.assigned |= !partitions.is_empty();
        self.assignment.asked = true;
        Ok(())
    }

    /// Moves the rows aside that are read again: the group's offset was set back, or the log has become shorter.
    pub(in crate::pipeline) async fn supersede(
        &self,
        back: BTreeMap<i32, i64>,
    ) -> Result<(), PipelineError> {
        for (partition, target) in back {
            let moved = self
                .writer
                .with(move |sink| sink.supersede(partition, target))
                .await??;
            if moved.rows == 0 {
                continue;
            }
            tracing::warn!(
                topic = self.config.kafka.topic,
                partition,
                to = target,
                rows = moved.rows,
                "reading goes back: the rows from there on were moved to {}, and are written anew",
                moved.directory.display()
            );
        }
        Ok(())
    }

    /// The output directory's topic is the one that has its name.
    pub(in crate::pipeline) async fn is_same_topic(&self) -> Result<(), PipelineError> {
        let Some(wanted) = self.assignment.topic_id else {
            return Ok(());
        };
        // One that does not answer, or is gone, is waited for by whoever reads it.
        let described = self.cluster.refresh_topic(&self.config.kafka.topic).await;
        match described.ok().and_then(|topic| topic.id) {
            Some(found) if found != wanted => Err(ConsumeError::MadeAnew {
                topic: self.config.kafka.topic.as_str().into(),
                wanted,
                found,
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// After a loss: what is committed decides which rows stay.
    pub(in crate::pipeline) async fn judge_again(
        &mut self,
        reason: LostReason,
    ) -> Result<(), PipelineError> {
        tracing::warn!(
            group = self.config.kafka.group_id,
            %reason,
            "the group went on without this member; what was not committed is read again, by whoever has the partitions now"
        );
        self.consumer.stop_fetching();
        self.late_commits.fenced();
        self.assignment.lose();
        self.recover().await?;
        // The rows since then are gone, or were never told as committed.
        self.counters.fall_back();
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), PipelineError> {
        let known = self.writer.with(|sink| sink.known_partitions()).await?;
        recover(self.config, self.cluster, &self.writer, known).await?;
        self.assignment.recovered = true;
        self.file_closer.look();
        Ok(())
    }
}
