//! Members of a group that begin at once: none can know with how many partitions the others met the topic before they have
//! committed it, so one may have begun a partition at its end that appeared after another one had begun. Here that is
//! found out, and such a partition is read from its beginning.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::super::as_sink;
use super::super::assignment::BegunAtEnd;
use super::super::commits::Committed;
use super::super::session::Session;
use crate::consumer::{self, Bound};
use crate::pipeline::error::PipelineError;

/// How soon after a group has begun it is looked whether another member began before, and for how long: each time after twice as
/// long as before. Members of a classic group that begin at once have their partitions at the same moment; under KIP-848
/// some heartbeats may lie between.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(32));

/// How long after a partition was begun at its end that is looked for: the sum of those pauses.
const WATCHED: Duration = Duration::from_secs(63);

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
                let committed = as_sink(committed);
                let can = sink.begun_amiss(partition, &committed)?;
                Some((partition, sink.begun_at(&committed), can))
            });
            amiss.collect::<Vec<_>>()
        });
        let found = found.await?;
        let begun = found.iter();
        let begun: BTreeMap<i32, i64> = begun
            .filter_map(|(partition, at, _)| Some((*partition, (*at)?)))
            .collect();
        let before = self.beginnings(&begun).await?;
        let mut amiss = Vec::new();
        for (partition, at, can) in found {
            // Begun at its end, which was its beginning as well, or has become it: nothing was left out.
            let is_whole = at.is_some() && !before.contains_key(&partition);
            if can && !is_whole {
                amiss.push(partition);
                continue;
            }
            self.writer
                .with(move |sink| sink.is_left_as_it_is(partition))
                .await?;
            if !is_whole {
                tracing::warn!(
                    topic = self.config.kafka.topic,
                    partition,
                    from = before.get(&partition),
                    to = at,
                    "this partition was added after the group had started, but a member that started at the same time began it at its end: the records from before were not read, and what came since is in another directory. To read them, run: stockflow consume -g NEW-GROUP --out NEW-DIRECTORY --until-end (a reset of this group would write what came since a second time)"
                );
            }
        }
        Ok(amiss)
    }

    /// Where these partitions, begun at these offsets, have records that lie before.
    async fn beginnings(
        &self,
        at: &BTreeMap<i32, i64>,
    ) -> Result<BTreeMap<i32, i64>, PipelineError> {
        if at.is_empty() {
            return Ok(BTreeMap::new());
        }
        let partitions: Vec<i32> = at.keys().copied().collect();
        let earliest = self.consumer.list_offsets(&partitions, Bound::Earliest);
        let mut firsts = earliest.await?;
        firsts.retain(|partition, first| at.get(partition) > Some(first));
        Ok(firsts)
    }

    /// These partitions were begun at their end, by this member or by one that has read nothing of them since: that another
    /// one began before they appeared may turn out yet. Where nothing lies before, it makes no difference.
    pub(super) async fn watch_over(
        &mut self,
        mut begun: BTreeMap<i32, i64>,
    ) -> Result<(), PipelineError> {
        let firsts = self.beginnings(&begun).await?;
        begun.retain(|partition, _| firsts.contains_key(partition));
        if !begun.is_empty() {
            let now = Instant::now();
            let until = now + WATCHED;
            let begun = begun.into_iter();
            self.assignment
                .at_end
                .extend(begun.map(|(of, offset)| (of, BegunAtEnd { offset, until })));
            self.look_again = Some((now + LOOK_AGAIN.0, LOOK_AGAIN.0 * 2));
        }
        Ok(())
    }

    /// The same of those that another member began, and that are as it has begun them.
    pub(super) async fn watch_over_unread(
        &mut self,
        committed: &BTreeMap<i32, consumer::Committed>,
    ) -> Result<(), PipelineError> {
        let committed = committed.clone();
        let unread = self.writer.with(move |sink| {
            let committed = committed.into_iter();
            let unread = committed.filter_map(|(partition, committed)| {
                Some((
                    partition,
                    sink.begun_unread(partition, &as_sink(committed))?,
                ))
            });
            unread.collect()
        });
        self.watch_over(unread.await?).await
    }

    /// Begins partitions at their beginning that were begun at these offsets, where that is further back; those that the
    /// group has taken away meanwhile are left out. Nothing of theirs may wait for a commit.
    pub(super) async fn begin_again(
        &mut self,
        at: &BTreeMap<i32, i64>,
    ) -> Result<BTreeMap<i32, i64>, PipelineError> {
        let firsts = self.beginnings(at).await?;
        let gone = self.go_back(&firsts).await?;
        for (partition, to) in &gone {
            tracing::warn!(
                topic = self.config.kafka.topic,
                partition,
                from = at.get(partition),
                to,
                "this partition was added after the group had started, so it is read from its beginning"
            );
        }
        Ok(gone)
    }

    /// Commits that these partitions go back to these offsets, and then moves the rows aside that are read again. Those that
    /// the group has taken away meanwhile are left out.
    async fn go_back(
        &mut self,
        to: &BTreeMap<i32, i64>,
    ) -> Result<BTreeMap<i32, i64>, PipelineError> {
        let noted = to.clone();
        self.writer
            .with(move |sink| {
                for (partition, to) in noted {
                    sink.go_back(partition, to);
                }
            })
            .await?;
        let mut positions = to.iter().map(|(of, to)| (*of, (*to, None))).collect();
        self.claim(&mut positions).await?;
        let gone: BTreeMap<i32, i64> = positions.iter().map(|(of, (to, _))| (*of, *to)).collect();
        for (partition, to) in &gone {
            let partition = *partition;
            let moved = self.writer.with(move |sink| sink.gone_back(partition));
            if let Some(moved) = moved.await??.filter(|moved| moved.rows > 0) {
                self.counters.took_back(moved.rows);
                tracing::info!(
                    topic = self.config.kafka.topic,
                    partition,
                    to,
                    rows = moved.rows,
                    "the rows from there on were moved to {}, and are written anew, by whoever has the partition then",
                    moved.directory.display()
                );
            }
        }
        Ok(gone)
    }

    /// Members that start at once cannot know of each other before they have committed: looks whether another one began when
    /// the topic had fewer partitions. What was begun at its end then is read from its beginning.
    pub(in crate::pipeline) async fn look_who_began(&mut self) -> Result<(), PipelineError> {
        self.look_again = self
            .look_again
            .filter(|(_, pause)| *pause <= LOOK_AGAIN.1 && !self.assignment.at_end.is_empty())
            .map(|(_, pause)| (Instant::now() + pause, pause * 2));
        if self.assignment.at_end.is_empty() {
            return Ok(());
        }
        let begun = self.assignment.at_end.clone();
        let met = self.met(&[]).await?;
        // This was the last look at those whose time is over: what they hold is not given up for this any more.
        let now = Instant::now();
        self.assignment.at_end.retain(|_, begun| now < begun.until);
        let amiss = begun.into_iter().filter(|(of, _)| *of >= met);
        let amiss: BTreeMap<i32, i64> = amiss.map(|(of, begun)| (of, begun.offset)).collect();
        if amiss.is_empty() || self.flush_or_judge().await? == Committed::Lost {
            return Ok(());
        }
        self.assignment
            .at_end
            .retain(|of, _| !amiss.contains_key(of));
        let gone = self.begin_again(&amiss).await?;
        self.consumer.stop(&gone.keys().copied().collect());
        for (partition, offset) in &gone {
            self.assignment.fell_back(*partition, *offset);
        }
        let positions = gone.iter().map(|(of, at)| (*of, (*at, None))).collect();
        self.consumer.read(&positions);
        Ok(())
    }

    /// Before partitions are given up that were begun at their end a moment ago: a member that gets them may know, and have
    /// had no chance yet to say so, that they appeared after the group had begun. As long as that may be, they are given up
    /// as they were begun, with nothing read: it could not begin again what has rows in another directory. Nothing of theirs
    /// may wait for a commit.
    pub(crate) async fn put_back(
        &mut self,
        taken: &BTreeSet<i32>,
    ) -> Result<Committed, PipelineError> {
        let now = Instant::now();
        let begun = self.assignment.at_end.iter();
        let begun = begun.filter(|(of, begun)| taken.contains(of) && now < begun.until);
        let begun: BTreeMap<i32, i64> = begun.map(|(of, begun)| (*of, begun.offset)).collect();
        if begun.is_empty() {
            return Ok(Committed::All);
        }
        let met = self.met(&[]).await?;
        let (amiss, unsure): (BTreeMap<i32, i64>, BTreeMap<i32, i64>) =
            begun.into_iter().partition(|(of, _)| *of >= met);
        let read = self.writer.with(move |sink| {
            let read = unsure.into_iter();
            read.filter(|(of, at)| sink.holds_beyond(*of, *at))
                .collect::<Vec<_>>()
        });
        let mut back = self.beginnings(&amiss).await?;
        back.extend(read.await?);
        if back.is_empty() {
            return Ok(Committed::All);
        }
        tracing::info!(
            topic = self.config.kafka.topic,
            offsets = ?back,
            "the group has only begun, and a member that gets these partitions may know that they were added since: they are \
             given up as if nothing of them had been read from there on"
        );
        let gone = self.go_back(&back).await?;
        Ok(if gone == back {
            Committed::All
        } else {
            Committed::Lost
        })
    }
}
