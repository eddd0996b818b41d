//! Members of a group that begin at once: none can know with how many partitions the others met the topic before they have
//! committed it, so one may have begun a partition at its end that appeared after another one had begun. Here that is
//! found out, and such a partition is read from its beginning.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::super::as_sink;
use super::super::commits::Committed;
use super::super::session::Session;
use crate::consumer::{self, Bound};
use crate::pipeline::error::PipelineError;

/// How soon after a group has begun it is looked whether another member began before, and for how long: each time after twice as
/// long as before. Members of a classic group that begin at once have their partitions at the same moment; under KIP-848
/// some heartbeats may lie between.
pub(in crate::pipeline) const LOOK_AGAIN: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(32));

impl Session<'_> {
    /// With how many partitions the group met the topic, as all its commits say.
    pub(in crate::pipeline) async fn met(&self, others: &[i32]) -> Result<i32, PipelineError> {
        let described = self.cluster.topic(&self.config.kafka.topic).await;
        let known = described.map_or(0, |topic| topic.partitions.len());
        let all: BTreeSet<i32> = (0..i32::try_from(known).unwrap_or(i32::MAX))
            .chain(others.iter().copied())
            .collect();
        let all: Vec<i32> = all.into_iter().collect();
        let committed = self.consumer.committed(&all).await?;
        let committed = committed
            .into_iter()
            .map(|(partition, committed)| (partition, as_sink(committed)))
            .collect();
        // As many as there were before this member joined: what it finds beyond may hold records already that came since.
        let count = self.count;
        self.writer
            .with(move |sink| sink.met(&committed, count))
            .await
    }

    /// Those of these partitions that appeared after the group had begun, that a member which knew nothing of the others began
    /// at their end, and that can be begun anew.
    pub(in crate::pipeline) async fn begun_amiss(
        &self,
        committed: &BTreeMap<i32, consumer::Committed>,
    ) -> Result<Vec<i32>, PipelineError> {
        let given: Vec<i32> = committed.keys().copied().collect();
        let committed = committed.clone();
        self.met(&given).await?;
        let found = self.writer.with(move |sink| {
            let committed = committed.into_iter();
            let amiss = committed.filter_map(|(partition, committed)| {
                let offset = committed.offset;
                let can = sink.begun_amiss(partition, &as_sink(committed))?;
                Some((partition, offset, can))
            });
            amiss.collect::<Vec<_>>()
        });
        let mut amiss = Vec::new();
        for (partition, offset, can) in found.await? {
            if can {
                amiss.push(partition);
            } else {
                tracing::warn!(
                    topic = self.config.kafka.topic,
                    partition,
                    offset,
                    "this partition was added after the group had started, but a member that started at the same time began it at its end, so the records from before were not read. To read them, stop the group's members and run: stockflow group reset -p {partition} --to earliest --execute"
                );
            }
        }
        Ok(amiss)
    }

    /// Begins partitions at their beginning that were begun at these offsets, where that is further back.
    pub(in crate::pipeline) async fn begin_again(
        &self,
        at: BTreeMap<i32, i64>,
    ) -> Result<BTreeMap<i32, (i64, Option<i32>)>, PipelineError> {
        let partitions: Vec<i32> = at.keys().copied().collect();
        let mut firsts = self
            .consumer
            .list_offsets(&partitions, Bound::Earliest)
            .await?;
        firsts.retain(|partition, first| at.get(partition) > Some(first));
        let mut positions = BTreeMap::new();
        for (partition, first) in firsts {
            let superseded = self
                .writer
                .with(move |sink| sink.begin_again(partition, first))
                .await??;
            tracing::warn!(
                topic = self.config.kafka.topic,
                partition,
                from = at.get(&partition),
                to = first,
                superseded = superseded.rows,
                "this partition was added after the group had started, so it is read from its beginning"
            );
            positions.insert(partition, (first, None));
        }
        Ok(positions)
    }

    /// Members that start at once cannot know of each other before they have committed: looks whether another one began when
    /// the topic had fewer partitions. What was begun at its end then is read from its beginning.
    pub(in crate::pipeline) async fn look_who_began(&mut self) -> Result<(), PipelineError> {
        self.look_again = self
            .look_again
            .filter(|(_, pause)| *pause <= LOOK_AGAIN.1 && !self.held.at_end.is_empty())
            .map(|(_, pause)| (Instant::now() + pause, pause * 2));
        if self.held.at_end.is_empty() {
            return Ok(());
        }
        let begun = self.held.at_end.clone();
        let met = self.met(&[]).await?;
        let amiss: BTreeMap<i32, i64> = begun.into_iter().filter(|(of, _)| *of >= met).collect();
        if amiss.is_empty() || self.flush_or_judge().await? == Committed::Lost {
            return Ok(());
        }
        self.held.at_end.retain(|of, _| !amiss.contains_key(of));
        let mut positions = self.begin_again(amiss).await?;
        self.consumer.stop(&positions.keys().copied().collect());
        self.claim(&mut positions).await?;
        for (partition, (offset, _)) in &positions {
            self.held.fell_back(*partition, *offset);
        }
        self.consumer.read(&positions);
        Ok(())
    }
}
