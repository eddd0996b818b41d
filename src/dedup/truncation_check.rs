//! Looks whether the topic's logs are still those that were known, and cuts away what cannot be shown to be on them: at each
//! start, and when a partition has another leader.
//!
//! What cannot be undone rests on two equal answers to separate requests: a batch that differs is read once more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::divergence::{Log, Verdict, is_readable};
use super::error::DedupError;
use super::leaders::{Epochs, Of, is_of};
use super::store::{Mark, OtherProcess, Span, Store};
use super::topic_bounds::{Bounds, Offsets};
use super::topic_scan::{Marks, STALL};
use super::{Changed, PublishedIds, leaders, topic_bounds, topic_scan};
use crate::consumer::Bound;

/// How long what was read last may take to come once more.
const PATIENCE: Duration = Duration::from_secs(10);

type Spans = BTreeMap<i32, Span>;

impl PublishedIds {
    /// Cuts away what is not shown to be on these partitions. Given up before it is done, it has changed nothing.
    pub(super) async fn check(&mut self, store: &mut Store, of: Of<'_>) -> Result<(), DedupError> {
        let bounds = topic_bounds::bounds(&self.cluster, &self.topic, of).await?;
        if !store.is_empty() {
            let verdict = self.judge(store.spans().clone(), of, &bounds).await?;
            let mut of_others = vec![];
            for spans in store.others().iter().map(OtherProcess::spans) {
                of_others.push(self.judge(spans, of, &bounds).await?);
            }
            for (partition, gone) in &verdict.parted {
                tracing::warn!(
                    topic = &*self.topic,
                    partition,
                    from = gone.start,
                    to = gone.end,
                    "the log is not the one that was known: records that were there are gone (an unclean leader election? a disk that was put back?); what is not there any more is forgotten, and published when it is polled again"
                );
            }
            if verdict.parted.is_empty() && of_others.iter().any(|of| !of.parted.is_empty()) {
                tracing::warn!(
                    topic = &*self.topic,
                    "the log is not the one that other processes knew: what they knew of what is gone is forgotten"
                );
            }
            store
                .cut(&verdict)
                .and_then(|()| store.cut_others(&of_others))
                .map_err(|source| self.failed(source))?;
        }
        match of {
            None => self.bounds = bounds,
            Some(_) => self.bounds.take_over(bounds),
        }
        Ok(())
    }

    /// What became of what these spans say of these partitions.
    async fn judge(
        &self,
        mut spans: Spans,
        of: Of<'_>,
        bounds: &Bounds,
    ) -> Result<Verdict, DedupError> {
        spans.retain(|partition, _| is_of(of, *partition));
        let marks: Marks = spans
            .iter()
            .filter_map(|(partition, span)| Some((*partition, span.mark?)))
            .filter(|(partition, _)| bounds.ends.contains_key(partition))
            .collect();
        let asked = marks
            .iter()
            .map(|(of, mark)| (*of, (mark.epoch, mark.next)));
        let epoch_ends = match marks.is_empty() {
            true => Offsets::new(),
            false => topic_bounds::epoch_ends(&self.cluster, &self.topic, &asked.collect()).await?,
        };
        let batches = self.recognise(&marks, bounds).await?;
        let logs = bounds.ends.iter().filter_map(|(partition, end)| {
            let log = Log {
                start: *bounds.starts.get(partition)?,
                end: *end,
                epoch_end: epoch_ends.get(partition).copied(),
                batch: batches.get(partition).copied(),
            };
            Some((*partition, log))
        });
        Ok(Verdict::new(&spans, &logs.collect()))
    }

    /// What is where these marks were, as far as it can be there.
    async fn recognise(&self, marks: &Marks, bounds: &Bounds) -> Result<Marks, DedupError> {
        let is_readable = |of: &i32, mark: &Mark| {
            let bounds = (bounds.starts.get(of), bounds.ends.get(of));
            matches!(bounds, (Some(start), Some(end)) if is_readable(mark, *start, *end))
        };
        let mut left: Offsets = marks
            .iter()
            .filter(|(of, mark)| is_readable(of, mark))
            .map(|(of, mark)| (*of, mark.base))
            .collect();
        let mut recognised = Marks::new();
        let mut before = None;
        while !left.is_empty() {
            let mut found = Marks::new();
            topic_scan::first_batches(&self.cluster, &self.topic, &left, &mut found).await?;
            for (of, mark) in &found {
                if marks.get(of) == Some(mark) {
                    recognised.insert(*of, *mark);
                    left.remove(of);
                }
            }
            let differing: BTreeMap<i32, Option<Mark>> = left
                .keys()
                .map(|of| (*of, found.get(of).copied()))
                .collect();
            if before.as_ref() == Some(&differing) {
                break;
            }
            before = Some(differing);
        }
        Ok(recognised)
    }

    /// Looks whether the marks of these partitions are where they were, as far as retention left them there. Where one is not,
    /// it is to be looked at all of it; a leader that does not answer soon has said nothing.
    pub(super) async fn recall(&mut self, store: &Store, led: &Epochs) -> Result<(), DedupError> {
        let spans = store.spans().iter();
        let marks = spans.filter_map(|(of, span)| Some((*of, span.mark?)));
        let marks: Marks = marks.filter(|(of, _)| led.contains_key(of)).collect();
        let others = self.others(marks);
        match tokio::time::timeout(STALL, others).await {
            Ok(others) => self.doubt(others?),
            Err(_) => tracing::debug!("what is known was not read back in time"),
        }
        Ok(())
    }

    /// The partitions with another batch where one of these is to be, or none although the log begins before it.
    async fn others(&self, mut marks: Marks) -> Result<BTreeSet<i32>, DedupError> {
        let partitions: Vec<i32> = marks.keys().copied().collect();
        let starts =
            topic_bounds::starts(&self.cluster, &self.topic, &partitions, Bound::Earliest).await?;
        marks.retain(|of, mark| starts.get(of).is_some_and(|start| *start <= mark.base));
        let partitions: Vec<i32> = marks.keys().copied().collect();
        let ends = topic_bounds::readable_ends(&self.cluster, &self.topic, &partitions).await?;
        let is_beyond =
            |(of, mark): (&i32, &Mark)| ends.get(of).is_some_and(|end| *end < mark.next);
        let beyond = marks.iter().filter(|mark| is_beyond(*mark));
        let mut others: BTreeSet<i32> = beyond.map(|(of, _)| *of).collect();
        marks.retain(|of, _| !others.contains(of));
        let at = marks.iter().map(|(of, mark)| (*of, mark.base)).collect();
        let mut found = Marks::new();
        topic_scan::first_batches(&self.cluster, &self.topic, &at, &mut found).await?;
        // What is not found was deleted meanwhile.
        found.retain(|of, mark| marks.get(of) != Some(mark));
        others.extend(found.into_keys());
        Ok(others)
    }

    /// Lets the logs of these partitions be looked at, if there are any.
    pub(super) fn doubt(&mut self, partitions: BTreeSet<i32>) {
        if !partitions.is_empty() {
            self.changed = Some(Changed::Logs(partitions));
        }
    }

    /// Reads back the last batch of what is known of each partition that has a leader, within this time: by it the log is recognised. Without
    /// one the next start reads more.
    pub(super) async fn mark(&mut self, store: &mut Store, within: Duration) {
        self.marked = Instant::now();
        let behind = |(of, span): (&i32, &Span)| {
            let is_marked = span.mark.is_some_and(|mark| mark.next >= span.next);
            (!is_marked && span.next > 0).then_some((*of, span.next))
        };
        let mut before: Offsets = store.spans().iter().filter_map(behind).collect();
        if before.is_empty() {
            return;
        }
        let read = async {
            let described = self.cluster.topic(&self.topic).await?;
            let led = leaders::led(&described);
            before.retain(|of, _| led.contains_key(of));
            let of: Vec<i32> = before.keys().copied().collect();
            let starts =
                topic_bounds::starts(&self.cluster, &self.topic, &of, Bound::Earliest).await?;
            // What retention deleted cannot be read back.
            before.retain(|of, next| starts.get(of).is_some_and(|start| start < next));
            let found =
                topic_scan::last_batches(&self.cluster, &self.topic, &starts, &before).await?;
            // Where another record has the place of one that was acknowledged, the log is another one.
            let is_same = |of: &i32| {
                let acknowledged = store.last(*of);
                acknowledged.is_none_or(|id| found.ids.get(of) == Some(&id))
            };
            let mut marks = found.marks;
            marks.retain(|of, _| is_same(of));
            let others = before.keys().filter(|of| !is_same(of));
            let others: BTreeSet<i32> = others.copied().collect();
            Ok::<_, DedupError>((self.confirmed(marks).await, others))
        };
        match tokio::time::timeout(within, read).await {
            Ok(Ok((marks, others))) => {
                store.mark(&marks);
                self.doubt(others);
            }
            Ok(Err(error)) => tracing::debug!(%error, "the last batches cannot be read back"),
            Err(_) => tracing::debug!("the last batches were not read back in time"),
        }
    }

    /// Those of these marks by which the logs can be recognised: a second answer shows them, too, because no checksum covers a
    /// batch's place and epoch.
    pub(super) async fn confirmed(&self, marks: Marks) -> Marks {
        let mut marks = self.trusted(marks);
        let at: Offsets = marks.iter().map(|(of, mark)| (*of, mark.base)).collect();
        if !at.is_empty() {
            let mut again = Marks::new();
            let read = topic_scan::first_batches(&self.cluster, &self.topic, &at, &mut again);
            if !matches!(tokio::time::timeout(PATIENCE, read).await, Ok(Ok(()))) {
                tracing::debug!("not all of the last batches can be read back");
            }
            marks.retain(|of, mark| again.get(of) == Some(mark));
        }
        marks
    }

    /// Marks of leaders that led already when the logs were last looked at: what a later one has is not known to come
    /// behind what is known.
    fn trusted(&self, mut marks: Marks) -> Marks {
        let epochs = &self.bounds.epochs;
        marks.retain(|of, mark| {
            epochs
                .get(of)
                .is_some_and(|epoch| *epoch < 0 || mark.epoch <= *epoch)
        });
        marks
    }
}
