//! Asks the brokers where a topic begins and ends, and about offsets that have no row: is there a record, is there none, or
//! is nobody left who could say?
//!
//! The log is read where they lie, as a consumer sees it (`Kafka.IsolationLevel`): markers, aborted records and what compaction
//! took away show nothing there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use crate::consumer::{Bound, Isolation, Reader};
use crate::pipeline::{PipelineError, Reachability, as_sink};
use crate::verify::{Examination, Ledger, Ruling, TopicKey};
use crate::wire::cluster::Cluster;
use crate::wire::records::Scratch;
use crate::{consumer, sink};

/// How long the brokers may take for their first answer.
const ASK: Duration = Duration::from_secs(30);

/// Offsets without a row that are as near to one another as this are read in one go.
const NEAR: i64 = 50_000;

/// Ranges of offsets, in order.
type Ranges = Vec<(i64, i64)>;

/// Asks where each partition begins and ends and what the group has committed, and about everything that an examination
/// has no row of; notes what was said.
pub(crate) async fn ask(
    cluster: &Arc<Cluster>,
    isolation: Isolation,
    examination: &mut Examination,
) {
    let known = examination.ledger.accounts.keys().map(|(key, _)| key);
    let topics: BTreeSet<TopicKey> = known.chain(&examination.topics).cloned().collect();
    for key in topics {
        let answers = Answers {
            cluster,
            isolation,
            key: &key,
        };
        let asked = tokio::time::timeout(ASK, answers.bounds()).await;
        let asked = asked.unwrap_or_else(|_| {
            Err(Silence::Unheard(format!(
                "no broker answered within {} s",
                ASK.as_secs()
            )))
        });
        let bounds = match asked {
            Ok(bounds) => bounds,
            Err(Silence::MadeAnew) => {
                let count = count(&key, &examination.ledger);
                if count > 0 {
                    examination.doubts.push(format!(
                        "topic {}: it was deleted and recreated, so no broker can say what {count} offsets without a row were",
                        key.topic
                    ));
                }
                continue;
            }
            Err(Silence::Unheard(why)) => {
                let about = match count(&key, &examination.ledger) {
                    0 => "what is on the topic".to_owned(),
                    count => format!(
                        "about {count} offsets without a row, nor what else is on the topic"
                    ),
                };
                examination.doubts.push(format!(
                    "topic {}: the brokers of Kafka.BootstrapServers cannot be asked {about}: {why}; --offline checks the files alone",
                    key.topic
                ));
                continue;
            }
        };
        for (partition, bounds) in &bounds {
            let (start, end) = bounds.log;
            let ledger = &mut examination.ledger;
            ledger.enter_log(&key, *partition, start, end, &bounds.committed);
        }
        let questions = questions(&key, &examination.ledger);
        let (rulings, windows) = settled(&questions, &bounds);
        let read = answers.read(&questions, windows).await;
        enter(&key, rulings, read, examination);
    }
}

/// Notes what was said of offsets without a row. What cannot be asked cannot be decided.
fn enter(
    key: &TopicKey,
    settled: Rulings,
    read: Result<Rulings, PipelineError>,
    examination: &mut Examination,
) {
    let read = read.unwrap_or_else(|error| {
        let count = count(key, &examination.ledger);
        examination.doubts.push(format!(
            "topic {}: the brokers cannot be asked about {count} offsets without a row: {error}",
            key.topic
        ));
        Rulings::new()
    });
    for (partition, from, next, ruling) in settled.into_iter().chain(read) {
        let accounts = &mut examination.ledger.accounts;
        if let Some(account) = accounts.get_mut(&(key.clone(), partition)) {
            account.rule(from, next, ruling);
        }
    }
}

/// What was ruled: partition, first offset, offset after the last.
type Rulings = Vec<(i32, i64, i64, Ruling)>;

/// What can be said without reading: of what lies outside the log nothing is known any more. And where to read.
fn settled(
    questions: &BTreeMap<i32, Ranges>,
    bounds: &BTreeMap<i32, Bounds>,
) -> (Rulings, BTreeMap<i32, Ranges>) {
    let mut rulings = Vec::new();
    let mut windows = BTreeMap::new();
    for (partition, questions) in questions {
        let (start, end) = bounds.get(partition).map_or((0, 0), |bounds| bounds.log);
        let around = questions.first().zip(questions.iter().map(|of| of.1).max());
        let Some((first, last)) = around else {
            continue;
        };
        rulings.push((*partition, first.0, last.min(start), Ruling::Gone));
        rulings.push((*partition, first.0.max(end), last, Ruling::Gone));
        windows.insert(*partition, gathered(questions, start, end));
    }
    (rulings, windows)
}

/// Why nothing is known of a topic.
enum Silence {
    /// The topic of that name is another one now.
    MadeAnew,
    /// Nobody who knows it was heard.
    Unheard(String),
}

/// What the brokers say of a partition.
struct Bounds {
    /// Its first offset and its last stable one.
    log: (i64, i64),
    /// What the group has committed.
    committed: sink::Committed,
}

/// What the brokers say about one topic.
struct Answers<'a> {
    cluster: &'a Arc<Cluster>,
    isolation: Isolation,
    key: &'a TopicKey,
}

impl Answers<'_> {
    /// Every partition that the topic has.
    async fn bounds(&self) -> Result<BTreeMap<i32, Bounds>, Silence> {
        let unheard = |error: &dyn std::fmt::Display| Silence::Unheard(error.to_string());
        let topic: Arc<str> = self.key.topic.as_str().into();
        let described = self.cluster.refresh_topic(&topic).await;
        let described = described.map_err(|error| unheard(&error))?;
        if self.cluster.cluster_id().as_ref() != Some(&self.key.cluster_id) {
            let cluster = &self.key.cluster_id;
            return Err(unheard(&format!("they are not of its cluster {cluster}")));
        }
        let ids = described.id.zip(self.key.topic_id);
        if ids.is_some_and(|(now, then)| now != then) {
            return Err(Silence::MadeAnew);
        }
        let count = i32::try_from(described.partitions.len()).unwrap_or(i32::MAX);
        let all: Vec<i32> = (0..count).collect();
        let list =
            |bound| consumer::list_offsets(self.cluster, &topic, self.isolation, &all, bound);
        let heard = |error: consumer::ConsumeError| unheard(&error);
        let starts = list(Bound::Earliest).await.map_err(heard)?;
        let ends = list(Bound::Latest).await.map_err(heard)?;
        let committed = consumer::committed(self.cluster, &self.key.group, &topic, &all).await;
        let mut committed = committed.map_err(heard)?;
        let bounds = all.into_iter().filter_map(|partition| {
            let log = (*starts.get(&partition)?, *ends.get(&partition)?);
            let committed = committed
                .remove(&partition)
                .map(as_sink)
                .unwrap_or_default();
            Some((partition, Bounds { log, committed }))
        });
        Ok(bounds.collect())
    }

    /// Reads the windows: the next one of each partition side by side, until none is left.
    async fn read(
        &self,
        questions: &BTreeMap<i32, Ranges>,
        mut windows: BTreeMap<i32, Ranges>,
    ) -> Result<Rulings, PipelineError> {
        let topic: Arc<str> = self.key.topic.as_str().into();
        let reach = Reachability::new(self.cluster, true);
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
            let mut reader = Reader::start(self.cluster, &topic, self.isolation, &starts, &ends);
            let mut found: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
            loop {
                let chunk = tokio::select! {
                    chunk = reader.next() => chunk?,
                    lost = reach.watch() => return Err(lost),
                };
                let Some(chunk) = chunk else { break };
                let partition = chunk.partition();
                let questions = questions.get(&partition);
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

/// What there is to ask, by partition.
fn questions(of: &TopicKey, ledger: &Ledger) -> BTreeMap<i32, Ranges> {
    let questions = ledger.questions().into_iter();
    let ours = questions.filter(|((key, _), _)| key == of);
    ours.map(|((_, partition), ranges)| (partition, ranges))
        .collect()
}

/// How many offsets that is.
fn count(of: &TopicKey, ledger: &Ledger) -> u64 {
    let questions = questions(of, ledger);
    let ranges = questions.values().flatten();
    ranges.map(|of| of.1.abs_diff(of.0)).sum()
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
    use crate::verify::{Outcome, Report};
    use crate::wire::error::ErrorCode;

    #[test]
    fn brokers_that_go_away_or_refuse_leave_a_doubt() {
        let key = TopicKey {
            cluster_id: "cluster".to_owned(),
            topic: "trades".to_owned(),
            topic_id: None,
            identity: 0,
            group: "group".to_owned(),
        };
        let lost = PipelineError::Unreachable {
            after: ASK,
            reason: "away".to_owned(),
        };
        let refused = PipelineError::Consumer(consumer::ConsumeError::Partition {
            topic: "trades".into(),
            partition: 0,
            api: "Fetch",
            code: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        });
        for (error, why) in [(lost, "away"), (refused, "Fetch was refused")] {
            let mut examination = Examination::default();
            enter(&key, Rulings::new(), Err(error), &mut examination);
            assert_eq!(Report::new(&examination).verdict, Outcome::Undecided);
            assert!(examination.doubts[0].contains(why), "{examination:?}");
        }
    }

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
