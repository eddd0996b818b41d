//! Where the partitions begin that the group has given this member, and the claim of them before the first row.
//!
//! What is decided here cannot be undone, so all that it rests on is asked for twice ([`consumer::agreed`]).

mod beyond_the_end;
mod simultaneous_start;
mod slow_leaders;

pub(super) use slow_leaders::SlowLeaders;

use std::collections::BTreeMap;

use super::super::error::PipelineError;
use super::as_sink;
use super::commits::Committed;
use super::session::Session;
use crate::{
    config::AutoOffsetReset,
    consumer::{self, Bound, Offset},
    sink::{Sink, SinkError, Start},
};
use slow_leaders::Logs;

impl Session<'_> {
    /// Finds out where each partition begins, tells the sink, and reads.
    pub(in crate::pipeline) async fn begin(&mut self, given: &[i32]) -> Result<(), PipelineError> {
        self.begin_in(given, None).await
    }

    /// As [`Self::begin`], of partitions whose leaders have said where their logs begin and end, or are to be asked.
    pub(in crate::pipeline) async fn begin_in(
        &mut self,
        given: &[i32],
        logs: Option<Logs>,
    ) -> Result<(), PipelineError> {
        self.is_same_topic().await?;
        let kafka = &self.config.kafka;
        let mut committed = self.consumer.committed(given).await?;
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
        self.say_what_is_left_out(&committed).await?;
        let (beyond, unanswered) = self.beyond_the_log(&committed, logs).await;
        if !unanswered.is_empty() {
            committed.retain(|partition, _| !unanswered.contains(partition));
            self.begin_later(&unanswered);
        }
        for partition in given.iter().filter(|of| !unanswered.contains(of)) {
            self.assignment.is_put_off_no_more(*partition);
        }
        let (mut starts, back) = self.start_positions(&committed, &beyond).await?;
        if !back.is_empty() {
            if self.flush_and_commit().await? == Committed::Lost {
                let reason = self.consumer.lost().await?;
                return self.judge_again(reason).await;
            }
            self.supersede(back.clone()).await?;
            let mut again = committed.clone();
            again.retain(|partition, _| back.contains_key(partition));
            starts.extend(self.start_positions(&again, &beyond).await?.0);
        }
        let amiss = match self.config.kafka.auto_offset_reset {
            AutoOffsetReset::Earliest => Vec::new(),
            AutoOffsetReset::Latest => {
                let amiss = self.begun_amiss(&committed).await?;
                self.watch_over_unread(&committed).await?;
                amiss
            }
        };
        let mut positions = BTreeMap::new();
        let (mut fresh, mut misled) = (Vec::new(), Vec::new());
        for (partition, start) in starts {
            match start {
                Start::At(offset) => {
                    let committed = committed
                        .get(&partition)
                        .filter(|committed| committed.offset == Some(offset))
                        .and_then(|committed| committed.leader_epoch);
                    // Without it nobody notices that the log was truncated and has grown beyond the offset since.
                    let epoch = match committed {
                        Some(epoch) => Some(epoch),
                        None => {
                            let known = move |sink: &mut Sink| sink.leader_epoch(partition, offset);
                            self.writer.with(known).await?
                        }
                    };
                    positions.insert(partition, (offset, epoch));
                }
                Start::Reset => fresh.push(partition),
                Start::Beyond(to) => misled.push((partition, to)),
                // Told apart before; there is nothing left that it could be behind.
                Start::Backwards(to) => {
                    positions.insert(partition, (to, None));
                }
            }
        }
        if !misled.is_empty() {
            positions.extend(
                self.go_back_into_the_log(&misled, &committed, &beyond)
                    .await?,
            );
        }
        if !fresh.is_empty() {
            let begun = self.begin_fresh(&fresh).await?;
            positions.extend(self.start_at(begun).await?);
        }
        if !amiss.is_empty() {
            if self.flush_and_commit().await? == Committed::Lost {
                let reason = self.consumer.lost().await?;
                return self.judge_again(reason).await;
            }
            let at = |partition: &i32| Some((*partition, positions.get(partition)?.0));
            let at: BTreeMap<i32, i64> = amiss.iter().filter_map(at).collect();
            self.assignment.at_end.retain(|of, _| !amiss.contains(of));
            for (partition, first) in self.begin_again(&at).await? {
                positions.insert(partition, (first, None));
            }
        }
        self.claim(&mut positions).await?;
        for (partition, (offset, _)) in &positions {
            self.assignment.reached(*partition, *offset);
        }
        self.consumer.read(&positions);
        Ok(())
    }

    /// Tells the sink where partitions begin of which it knows nothing.
    pub(in crate::pipeline) async fn start_at(
        &self,
        begun: BTreeMap<i32, i64>,
    ) -> Result<BTreeMap<i32, (i64, Option<i32>)>, PipelineError> {
        let positions = begun.iter().map(|(of, at)| (*of, (*at, None))).collect();
        self.writer
            .with(move |sink| {
                let mut begun = begun.into_iter();
                begun.try_for_each(|(partition, offset)| sink.start_at(partition, offset))
            })
            .await??;
        Ok(positions)
    }

    /// Where partitions begin of which neither the group nor the directory has an offset: those that the group met at its
    /// very first start where `Kafka.AutoOffsetReset` says, and those that appeared since at their beginning.
    async fn begin_fresh(&mut self, fresh: &[i32]) -> Result<BTreeMap<i32, i64>, PipelineError> {
        let met = self.met(fresh).await?;
        let (first_met, later): (Vec<i32>, Vec<i32>) = fresh
            .iter()
            .copied()
            .partition(|partition| *partition < met);
        let reset = self.config.kafka.auto_offset_reset;
        let mut begun = BTreeMap::new();
        for (partitions, bound) in [(first_met, bound_of(reset)), (later, Bound::Earliest)] {
            if !partitions.is_empty() {
                begun.extend(self.consumer.list_offsets(&partitions, bound).await?);
            }
        }
        if reset == AutoOffsetReset::Latest {
            let first_met = begun.iter().filter(|(partition, _)| **partition < met);
            let first_met = first_met.map(|(of, at)| (*of, *at)).collect();
            self.watch_over(first_met).await?;
        }
        tracing::info!(
            topic = self.config.kafka.topic,
            offsets = ?begun,
            "no offset is committed for these partitions: those below {met}, which the group met at its first start, begin \
             where Kafka.AutoOffsetReset says ({reset:?}), those that appeared later at their beginning"
        );
        Ok(begun)
    }

    /// A new directory in a group that has read already: the records before are not in it, which is not what everybody
    /// expects who names a new directory.
    async fn say_what_is_left_out(
        &mut self,
        committed: &BTreeMap<i32, consumer::Committed>,
    ) -> Result<(), PipelineError> {
        let before: BTreeMap<i32, i64> = committed
            .iter()
            .filter_map(|(partition, committed)| Some((*partition, committed.offset?)))
            .filter(|(_, offset)| *offset > 0)
            .collect();
        let is_new = self.writer.with(|sink| sink.is_new()).await?;
        if is_new && !before.is_empty() && !std::mem::replace(&mut self.assignment.said_new, true) {
            let (topic, group) = (&self.config.kafka.topic, &self.config.kafka.group_id);
            // Setting the group back would have its other directories write again what they hold: nothing to be advised
            // to who has only started one more consumer.
            let said = format!(
                "the directory {} is new, and the group has read before: records before these offsets are in other \
                 directories of the group, not in this one. Where those are kept, nothing is to be done; for one directory \
                 with all records, use a group of its own (-g)",
                self.config.output.directory.display()
            );
            let others = committed.len() < usize::try_from(self.count).unwrap_or_default();
            if others {
                tracing::info!(topic, group, offsets = ?before, "{said}");
            } else {
                tracing::warn!(topic, group, offsets = ?before, "{said}");
            }
        }
        Ok(())
    }

    /// Tells the sink what is committed; says where each partition begins, and which were set back to where.
    async fn start_positions(
        &self,
        committed: &BTreeMap<i32, consumer::Committed>,
        beyond: &BTreeMap<i32, (i64, i64)>,
    ) -> Result<(Vec<(i32, Start)>, BTreeMap<i32, i64>), PipelineError> {
        let (committed, beyond) = (committed.clone(), beyond.clone());
        let started = self.writer.with(move |sink| {
            let (mut starts, mut back) = (Vec::new(), BTreeMap::new());
            for (partition, committed) in committed {
                let log = beyond.get(&partition).copied();
                match sink.start_in(partition, &as_sink(committed), log)? {
                    Start::Backwards(to) => {
                        back.insert(partition, to);
                    }
                    start => starts.push((partition, start)),
                }
            }
            Ok::<_, SinkError>((starts, back))
        });
        Ok(started.await??)
    }

    /// Commits that this directory has taken the partitions over, before the first of their rows: hosts that come back
    /// later can tell then whose rows are whose. What the group has taken away meanwhile is left out of `positions`.
    pub(in crate::pipeline) async fn claim(
        &mut self,
        positions: &mut BTreeMap<i32, (i64, Option<i32>)>,
    ) -> Result<(), PipelineError> {
        let partitions: Vec<i32> = positions.keys().copied().collect();
        let claims = self
            .writer
            .with(move |sink| {
                let claims = partitions.into_iter();
                let claims = claims.map(|partition| Ok((partition, sink.claim(partition)?)));
                claims.collect::<Result<Vec<_>, SinkError>>()
            })
            .await??;
        let mut offsets: Vec<Offset> = claims
            .into_iter()
            .filter_map(|(partition, metadata)| {
                let (next_offset, leader_epoch) = *positions.get(&partition)?;
                Some(Offset {
                    partition,
                    next_offset,
                    leader_epoch,
                    metadata: metadata?,
                })
            })
            .collect();
        while !offsets.is_empty() {
            match self.commit_some(&mut offsets).await? {
                (_, Some(Committed::All)) => return Ok(()),
                // Lost as a whole, or only these: what comes next from the group says which. Nothing was read of them.
                (_, Some(Committed::Lost)) => {
                    for offset in offsets.drain(..) {
                        positions.remove(&offset.partition);
                    }
                }
                (_, None) => {}
            }
        }
        Ok(())
    }
}

pub(in crate::pipeline) fn bound_of(reset: AutoOffsetReset) -> Bound {
    match reset {
        AutoOffsetReset::Earliest => Bound::Earliest,
        AutoOffsetReset::Latest => Bound::Latest,
    }
}
