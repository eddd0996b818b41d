//! Asks the brokers about offsets that have no row: is there a record, is there none, or is nobody left who could say?
//!
//! The log is read where they lie, as a consumer sees it (`Kafka.IsolationLevel`): markers, aborted records and what compaction
//! took away show nothing there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use super::{PipelineError, reach::Reach};
use crate::{
    consumer::{self, Bound, Isolation, Reader},
    sink::verify::{Examination, Ruling, TopicKey},
    wire::{cluster::Cluster, records::Scratch},
};

/// How long the brokers may take for their first answer.
const ASK: Duration = Duration::from_secs(10);

/// Offsets without a row that are as near to one another as this are read in one go.
const NEAR: i64 = 50_000;

/// Ranges of offsets, in order.
type Ranges = Vec<(i64, i64)>;

/// Asks about everything that an examination has no row of, and notes what was said.
pub(super) async fn ask(
    cluster: &Arc<Cluster>,
    isolation: Isolation,
    examination: &mut Examination,
) -> Result<(), PipelineError> {
    let mut topics: BTreeMap<TopicKey, BTreeMap<i32, Ranges>> = BTreeMap::new();
    for ((key, partition), questions) in examination.ledger.questions() {
        topics.entry(key).or_default().insert(partition, questions);
    }
    for (key, questions) in topics {
        let answers = Answers {
            cluster,
            isolation,
            key: &key,
            questions,
        };
        let rulings = match answers.find().await? {
            Ok(rulings) => rulings,
            Err(doubt) => {
                let count = answers.questions.values().flatten();
                let count: u64 = count.map(|of| of.1.abs_diff(of.0)).sum();
                examination.doubts.push(format!(
                    "topic {}: the brokers cannot be asked about {count} offsets without a row: {doubt}",
                    key.topic
                ));
                continue;
            }
        };
        for (partition, from, next, ruling) in rulings {
            if let Some(account) = examination
                .ledger
                .accounts
                .get_mut(&(key.clone(), partition))
            {
                account.rule(from, next, ruling);
            }
        }
    }
    Ok(())
}

/// What was ruled: partition, first offset, offset after the last.
type Rulings = Vec<(i32, i64, i64, Ruling)>;

/// What the brokers say about one topic.
struct Answers<'a> {
    cluster: &'a Arc<Cluster>,
    isolation: Isolation,
    key: &'a TopicKey,
    questions: BTreeMap<i32, Ranges>,
}

impl Answers<'_> {
    /// What they say, or why they cannot be asked.
    async fn find(&self) -> Result<Result<Rulings, String>, PipelineError> {
        let topic: Arc<str> = self.key.topic.as_str().into();
        let partitions: Vec<i32> = self.questions.keys().copied().collect();
        let list = |bound| {
            consumer::list_offsets(self.cluster, &topic, self.isolation, &partitions, bound)
        };
        let first = async {
            let described = self.cluster.refresh_topic(&topic).await;
            let described = described.map_err(|error| error.to_string())?;
            if self.cluster.cluster_id().as_ref() != Some(&self.key.cluster_id) {
                return Err(format!(
                    "they are not of its cluster {}",
                    self.key.cluster_id
                ));
            }
            if described.id.is_some()
                && self.key.topic_id.is_some()
                && described.id != self.key.topic_id
            {
                return Err("the topic was deleted and made anew".to_owned());
            }
            let starts = list(Bound::Earliest).await;
            let ends = list(Bound::Latest).await;
            let text = |error: consumer::ConsumeError| error.to_string();
            Ok::<_, String>((starts.map_err(text)?, ends.map_err(text)?))
        };
        let (starts, ends) = match tokio::time::timeout(ASK, first).await {
            Ok(Ok(bounds)) => bounds,
            Ok(Err(doubt)) => return Ok(Err(doubt)),
            Err(_) => {
                return Ok(Err(format!(
                    "no broker answered within {} s (-b names them)",
                    ASK.as_secs()
                )));
            }
        };
        let mut rulings = Vec::new();
        let mut windows: BTreeMap<i32, Ranges> = BTreeMap::new();
        for (partition, questions) in &self.questions {
            let start = starts.get(partition).copied().unwrap_or_default();
            let end = ends.get(partition).copied().unwrap_or_default();
            let bounds = questions.first().zip(questions.iter().map(|of| of.1).max());
            let Some((first, last)) = bounds else {
                continue;
            };
            rulings.push((*partition, first.0, last.min(start), Ruling::Gone));
            rulings.push((*partition, first.0.max(end), last, Ruling::Gone));
            windows.insert(*partition, gathered(questions, start, end));
        }
        match self.read(&topic, windows).await {
            Ok(read) => rulings.extend(read),
            // What cannot be read cannot be decided.
            Err(PipelineError::Consumer(error)) if error.unreadable().is_some() => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error),
        }
        Ok(Ok(rulings))
    }

    /// Reads the windows: the next one of each partition side by side, until none is left.
    async fn read(
        &self,
        topic: &Arc<str>,
        mut windows: BTreeMap<i32, Ranges>,
    ) -> Result<Rulings, PipelineError> {
        let reach = Reach::new(self.cluster, true);
        let mut rulings = Vec::new();
        let mut scratch = Scratch::default();
        loop {
            let next: BTreeMap<i32, (i64, i64)> = windows
                .iter_mut()
                .filter_map(|(partition, windows)| Some((*partition, windows.pop()?)))
                .collect();
            if next.is_empty() {
                return Ok(rulings);
            }
            let starts = next.iter().map(|(p, window)| (*p, window.0)).collect();
            let ends = next.iter().map(|(p, window)| (*p, window.1)).collect();
            let mut reader = Reader::start(self.cluster, topic, self.isolation, &starts, &ends);
            let mut found: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
            loop {
                let chunk = tokio::select! {
                    chunk = reader.next() => chunk?,
                    lost = reach.watch() => return Err(lost),
                };
                let Some(chunk) = chunk else { break };
                let partition = chunk.partition();
                let questions = self.questions.get(&partition);
                let _ = chunk.each(&mut scratch, |entry| {
                    let offset = entry.offset();
                    if questions.is_some_and(|all| has(all, offset)) {
                        found.entry(partition).or_default().insert(offset);
                    }
                    ControlFlow::Continue(())
                })?;
            }
            for (partition, (from, next)) in next {
                let mut at = from;
                for offset in found.remove(&partition).unwrap_or_default() {
                    if offset < from || offset >= next {
                        continue;
                    }
                    rulings.push((partition, at, offset, Ruling::Hole));
                    rulings.push((partition, offset, offset + 1, Ruling::Record));
                    at = offset + 1;
                }
                rulings.push((partition, at, next, Ruling::Hole));
            }
        }
    }
}

/// Whether an offset is in one of the ranges, which are in order and do not overlap.
fn has(ranges: &[(i64, i64)], offset: i64) -> bool {
    let behind = ranges.partition_point(|range| range.0 <= offset);
    let at = behind.checked_sub(1).and_then(|at| ranges.get(at));
    at.is_some_and(|range| offset < range.1)
}

/// Puts ranges together that are near to one another, cut to what is in the log.
fn gathered(ranges: &[(i64, i64)], start: i64, end: i64) -> Ranges {
    let mut windows: Ranges = Vec::new();
    for (from, next) in ranges {
        let (from, next) = ((*from).max(start), (*next).min(end));
        if from >= next {
            continue;
        }
        match windows.last_mut() {
            Some(last) if from - last.1 <= NEAR => last.1 = last.1.max(next),
            _ => windows.push((from, next)),
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_read_together_and_nothing_beyond_the_log() {
        let ranges = [(0, 10), (20, 30), (100_000, 100_001), (200_000, 200_010)];
        assert_eq!(
            gathered(&ranges, 5, 200_003),
            [(5, 30), (100_000, 100_001), (200_000, 200_003)]
        );
        assert!(gathered(&ranges, 300_000, 300_000).is_empty());
        for (offset, is) in [(0, true), (9, true), (10, false), (25, true), (31, false)] {
            assert_eq!(has(&ranges, offset), is, "{offset}");
        }
    }
}
