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

use std::collections::{BTreeMap, BTreeSet};

use super::{
    PipelineError,
    commits::Committed,
    consume::{as_sink, recover},
    session::Session,
};
use crate::{
    config::AutoOffsetReset,
    consumer::{self, Bound, ConsumeError, LostReason, Offset},
    sink::{Sink, SinkError, Start},
};

impl Session<'_> {
    /// Asks where the partitions end that have no end yet.
    pub(super) async fn learn_ends(&mut self) -> Result<(), PipelineError> {
        let missing = self.held.endless();
        if !missing.is_empty() {
            let ends = self.consumer.list_offsets(&missing, Bound::Latest).await?;
            self.held.learned(ends);
        }
        Ok(())
    }

    /// Asks whether the group has committed everything that there was when this was asked first.
    pub(super) async fn look_at_the_others(&mut self) -> Result<(), PipelineError> {
        let topic = self.cluster.topic(&self.config.kafka.topic).await;
        // A topic that is away for the moment is asked about again.
        let Ok(topic) = topic else { return Ok(()) };
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let all: Vec<i32> = (0..count).collect();
        let missing = self.held.without_end(all.iter().copied());
        if !missing.is_empty() {
            let ends = self.consumer.list_offsets(&missing, Bound::Latest).await?;
            self.held.learned(ends);
        }
        let starts = self.consumer.list_offsets(&all, Bound::Earliest).await?;
        let committed = self.consumer.committed(&all).await?;
        self.held.others_are_done = all.iter().all(|partition| {
            let start = starts.get(partition).copied().unwrap_or_default();
            let end = self.held.end(*partition);
            let at = committed.get(partition).and_then(|found| found.offset);
            end.is_some_and(|end| at.unwrap_or(start) >= end)
        });
        Ok(())
    }

    /// Gives up what is not among `partitions` any more, and begins what is new.
    pub(super) async fn reassign(
        &mut self,
        tenure: u64,
        serial: u64,
        partitions: &BTreeSet<i32>,
    ) -> Result<(), PipelineError> {
        self.held.tenure = tenure;
        let before = self.held.partitions();
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
                || self.certify(&taken).await? == Committed::Lost
            {
                let reason = self.consumer.lost().await?;
                return self.judge_again(reason).await;
            }
            self.held.give_up(&taken);
            // What is about to be begun counts as ours already.
            self.consumer.owns(tenure, serial, partitions);
        }
        if !self.held.recovered {
            self.recover().await?;
        }
        if !given.is_empty() {
            self.begin(&given).await?;
        }
        self.consumer.owns(tenure, serial, &self.held.partitions());
        // A newcomer is often given nothing at first, because others have to give it up.
        self.held.assigned |= !partitions.is_empty();
        self.held.asked = true;
        Ok(())
    }

    /// Finds out where each partition begins, tells the sink, and reads.
    async fn begin(&mut self, given: &[i32]) -> Result<(), PipelineError> {
        self.is_same_topic().await?;
        let kafka = &self.config.kafka;
        let committed = self.consumer.committed(given).await?;
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
        let (mut starts, back) = self.start_positions(&committed).await?;
        if !back.is_empty() {
            if self.flush_and_commit().await? == Committed::Lost {
                let reason = self.consumer.lost().await?;
                return self.judge_again(reason).await;
            }
            self.supersede(back.clone()).await?;
            let mut again = committed.clone();
            again.retain(|partition, _| back.contains_key(partition));
            starts.extend(self.start_positions(&again).await?.0);
        }
        let mut positions = BTreeMap::new();
        let mut fresh = Vec::new();
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
                // Told apart before; there is nothing left that it could be behind.
                Start::Backwards(to) => {
                    positions.insert(partition, (to, None));
                }
            }
        }
        if !fresh.is_empty() {
            let begun = self.begin_fresh(&fresh).await?;
            positions.extend(
                begun
                    .iter()
                    .map(|(partition, at)| (*partition, (*at, None))),
            );
            self.writer
                .with(move |sink| {
                    begun
                        .into_iter()
                        .try_for_each(|(partition, offset)| sink.start_at(partition, offset))
                })
                .await??;
        }
        self.claim(&mut positions).await?;
        for (partition, (offset, _)) in &positions {
            self.held.reached(*partition, *offset);
        }
        self.consumer.read(&positions);
        Ok(())
    }

    /// Where partitions begin of which neither the group nor the directory has an offset: those that the group met at its
    /// very first start where `Kafka.AutoOffsetReset` says, and those that appeared since at their beginning.
    async fn begin_fresh(&mut self, fresh: &[i32]) -> Result<BTreeMap<i32, i64>, PipelineError> {
        let described = self.cluster.topic(&self.config.kafka.topic).await;
        let known = described.map_or(0, |topic| topic.partitions.len());
        let all: BTreeSet<i32> = (0..i32::try_from(known).unwrap_or(i32::MAX))
            .chain(fresh.iter().copied())
            .collect();
        let all: Vec<i32> = all.into_iter().collect();
        let committed = self.consumer.committed(&all).await?;
        let committed = committed
            .into_iter()
            .map(|(partition, committed)| (partition, as_sink(committed)))
            .collect();
        // As many as there were before this member joined: what it finds beyond may hold records already that came since.
        let count = self.count;
        let met = self
            .writer
            .with(move |sink| sink.met(&committed, count))
            .await?;
        let (first_met, later): (Vec<i32>, Vec<i32>) = fresh
            .iter()
            .copied()
            .partition(|partition| *partition < met);
        let reset = self.config.kafka.auto_offset_reset;
        let bound = match reset {
            AutoOffsetReset::Earliest => Bound::Earliest,
            AutoOffsetReset::Latest => Bound::Latest,
        };
        let mut begun = BTreeMap::new();
        for (partitions, bound) in [(first_met, bound), (later, Bound::Earliest)] {
            if !partitions.is_empty() {
                begun.extend(self.consumer.list_offsets(&partitions, bound).await?);
            }
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
        if is_new && !before.is_empty() && !std::mem::replace(&mut self.held.said_new, true) {
            let (topic, group) = (&self.config.kafka.topic, &self.config.kafka.group_id);
            tracing::warn!(
                topic,
                group,
                offsets = ?before,
                "the directory {} is new, and the group has read before: records before these offsets are not in it, but in \
                 other directories of the group, if anywhere. For all records use another group (-g), or set this one back \
                 while nobody is in it: stockflow group reset -g {group} -t {topic} --to earliest --execute",
                self.config.output.directory.display()
            );
        }
        Ok(())
    }

    /// Tells the sink what is committed; says where each partition begins, and which were set back to where.
    async fn start_positions(
        &self,
        committed: &BTreeMap<i32, consumer::Committed>,
    ) -> Result<(Vec<(i32, Start)>, BTreeMap<i32, i64>), PipelineError> {
        let committed = committed.clone();
        let started = self.writer.with(move |sink| {
            let (mut starts, mut back) = (Vec::new(), BTreeMap::new());
            for (partition, committed) in committed {
                match sink.start_position(partition, &as_sink(committed))? {
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

    /// Moves the rows aside that are read again: the group's offset was set back, or the log has become shorter.
    pub(super) async fn supersede(&self, back: BTreeMap<i32, i64>) -> Result<(), PipelineError> {
        for (partition, target) in back {
            let moved = self
                .writer
                .with(move |sink| sink.supersede(partition, target))
                .await??;
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

    /// Commits that this directory has taken the partitions over, before the first of their rows: hosts that come back
    /// later can tell then whose rows are whose. What the group has taken away meanwhile is left out of `positions`.
    async fn claim(
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

    /// The output directory's topic is the one that has its name.
    pub(super) async fn is_same_topic(&self) -> Result<(), PipelineError> {
        let Some(wanted) = self.held.topic_id else {
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
    pub(super) async fn judge_again(&mut self, reason: LostReason) -> Result<(), PipelineError> {
        tracing::warn!(
            group = self.config.kafka.group_id,
            %reason,
            "the group went on without this member; what was not committed is read again, by whoever has the partitions now"
        );
        self.consumer.stop_fetching();
        self.late.fenced();
        self.held.lose();
        self.recover().await?;
        // The rows since then are gone, or were never told as committed.
        self.tally.fall_back();
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), PipelineError> {
        let known = self.writer.with(|sink| sink.known_partitions()).await?;
        recover(self.config, self.cluster, &self.writer, known).await?;
        self.held.recovered = true;
        self.sealing.look();
        Ok(())
    }
}
