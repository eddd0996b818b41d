//! Makes rows durable and commits them, until it is certain what became of the commit.

use std::{collections::BTreeSet, time::Instant};

use super::super::error::PipelineError;
use super::session::Session;
use crate::{
    consumer::{CommitOutcome, Offset},
    sink::{self, DurableBatch, DurableOffset},
    wire::error::ErrorCode,
};

/// Whether what was to be committed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Committed {
    /// For certain.
    All,
    /// The membership is lost, and with it all that is not certain.
    Lost,
}

fn offset(durable: DurableOffset) -> Offset {
    Offset {
        partition: durable.partition,
        next_offset: durable.next,
        leader_epoch: durable.leader_epoch,
        metadata: durable.metadata,
    }
}

impl Session<'_> {
    /// Makes durable and commits.
    pub(in crate::pipeline) async fn flush_and_commit(
        &mut self,
    ) -> Result<Committed, PipelineError> {
        // Counted before the flush: what is appended meanwhile belongs to the next batch.
        let done = self.counters.so_far();
        let Some(batch) = self.writer.with(|sink| sink.flush()).await?? else {
            self.flush_timer.flushed(Instant::now());
            return Ok(Committed::All);
        };
        let certain = self.commit(batch).await?;
        self.flush_timer.flushed(Instant::now());
        if certain == Committed::All {
            self.counters.settle(done);
            self.file_closer.look();
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
    pub(in crate::pipeline) async fn commit_some(
        &mut self,
        offsets: &mut Vec<Offset>,
    ) -> Result<(Vec<i32>, Option<Committed>), PipelineError> {
        let outcomes = self.consumer.commit(self.assignment.tenure, offsets).await;
        let outcome = |offset: &Offset| outcomes.get(&offset.partition).copied();
        for offset in &*offsets {
            match outcome(offset) {
                Some(CommitOutcome::Counted) => self.late_commits.counted(offset),
                Some(CommitOutcome::Unknown) => self.late_commits.unanswered(),
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
                        metadata: offset.metadata.len(),
                    });
                }
                _ => {}
            }
        }
        Ok((counted, lost.then_some(Committed::Lost)))
    }

    /// Before partitions are given up: sees to it that what was committed last is what stands. See [`LateCommits`](super::late_commits::LateCommits).
    pub(in crate::pipeline) async fn certify(
        &mut self,
        partitions: &BTreeSet<i32>,
    ) -> Result<Committed, PipelineError> {
        let asked = self.late_commits.doubtful(partitions);
        while !asked.is_empty() {
            let found = self.consumer.committed(&asked).await?;
            let mut again = self.late_commits.overtaken(&found);
            if again.is_empty() {
                break;
            }
            tracing::warn!(
                group = self.config.kafka.group_id,
                partitions = ?again.iter().map(|offset| offset.partition).collect::<Vec<_>>(),
                "an earlier commit without an answer took effect after newer ones; the newer offsets are committed again"
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
}
