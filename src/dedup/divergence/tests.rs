//! The verdict against a model of a log that loses its tail, grows again, and is cut by retention in front.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::store::record_position::RecordPosition;
use super::*;

/// A batch and its ids.
#[derive(Clone, Debug)]
struct Held {
    mark: Mark,
    ids: Vec<u128>,
}

#[derive(Clone, Debug, Default)]
struct Model {
    batches: Vec<Held>,
    start: i64,
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |last| last.mark.next)
    }

    /// Batches of these sizes; `salt` makes their ids others than those of any other.
    fn append(&mut self, sizes: &[i64], epoch: i32, salt: u32) {
        for size in sizes {
            let base = self.end();
            let ids = (base..base + size).map(|offset| u128::from(salt) << 64 | offset as u128);
            self.batches.push(Held {
                mark: Mark {
                    base,
                    next: base + size,
                    epoch,
                    crc: salt,
                    first_ms: 0,
                    last_ms: 0,
                },
                ids: ids.collect(),
            });
        }
    }

    fn entries(&self) -> impl Iterator<Item = (u128, RecordPosition)> {
        self.batches.iter().flat_map(|batch| {
            let offsets = batch.mark.base..;
            let ids = batch.ids.iter().zip(offsets);
            ids.map(|(id, offset)| (*id, RecordPosition::new(0, offset)))
        })
    }

    /// As Kafka's leaders answer (LeaderEpochFileCache): from their cache, which retention cuts, too.
    fn epoch_end(&self, asked: i32) -> i64 {
        let mut of_log = self.batches.iter().map(|batch| batch.mark);
        match of_log.clone().find(|mark| mark.epoch > asked) {
            Some(later) => later.base.max(self.start),
            None if of_log.next_back().is_some_and(|last| last.epoch < asked) => -1,
            None => self.end(),
        }
    }

    fn says(&self, mark: Option<&Mark>) -> Log {
        let readable = mark.filter(|mark| is_readable(mark, self.start, self.end()));
        Log {
            start: self.start,
            end: self.end(),
            epoch_end: mark.map(|mark| self.epoch_end(mark.epoch)),
            batch: readable.and_then(|mark| {
                let mut batches = self.batches.iter().map(|batch| batch.mark);
                batches.find(|batch| batch.next > mark.base)
            }),
        }
    }
}

fn sizes() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(1..6_i64, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// `restored`: the disk was put back, and the same epochs come again.
    #[test]
    fn what_is_gone_is_forgotten_and_nothing_else(
        (first, second, foreign, later) in (sizes(), sizes(), sizes(), sizes()),
        (marked, acknowledged) in (0..20_usize, 0..20_usize),
        (lost, deleted) in (prop::option::of(0..20_usize), 0..30_usize),
        restored in any::<bool>(),
    ) {
        let mut log = Model::default();
        log.append(&first, 1, 1);
        log.append(&second, 2, 2);
        let marked = marked.min(log.batches.len());
        let acknowledged = acknowledged.clamp(marked, log.batches.len());
        let known: Vec<(u128, RecordPosition)> = log
            .entries()
            .filter(|(_, place)| {
                acknowledged.checked_sub(1).is_some_and(|last| place.offset < log.batches[last].mark.next)
            })
            .collect();
        let span = Span {
            start: 0,
            next: known.len() as i64,
            mark: marked.checked_sub(1).map(|last| log.batches[last].mark),
        };
        if let Some(lost) = lost {
            let left = log.batches.len().saturating_sub(lost);
            log.batches.truncate(left);
            let epoch = if restored { 2 } else { 3 };
            log.append(&foreign, epoch, 3);
            log.append(&later, epoch + 1, 4);
        }
        let bases = log.batches.iter().map(|batch| batch.mark.base);
        log.start = bases.chain([log.end()]).nth(deleted).unwrap_or(log.end());

        let there: BTreeSet<u128> = log.entries().map(|(id, _)| id).collect();
        let says = log.says(span.mark.as_ref());
        let logs = BTreeMap::from([(0, says)]);
        let verdict = Verdict::new(&BTreeMap::from([(0, span)]), &logs);
        let cuts = verdict.cuts();
        let mut shortened = span;
        verdict.shorten(0, &mut shortened);
        let kept = known.iter().filter(|(_, place)| place.counts(&cuts)).map(|(id, _)| *id);
        let read = log.entries().filter(|(_, place)| place.offset >= shortened.next.max(log.start));
        let after: BTreeSet<u128> = kept.chain(read.map(|(id, _)| id)).collect();

        for (id, place) in &known {
            let is_recognised = span.mark.is_some() && says.batch == span.mark;
            let was_seen = place.offset >= log.start || is_recognised;
            if was_seen || there.contains(id) {
                prop_assert_eq!(after.contains(id), there.contains(id), "{:?} {:?}", place, verdict);
            }
        }
        for (id, place) in log.entries().filter(|(_, place)| place.offset >= log.start) {
            prop_assert!(after.contains(&id), "{:?} {:?}", place, verdict);
        }
        // An alarm is never false, and says from where on.
        let gone = known.iter().filter(|(id, _)| !there.contains(id)).map(|(_, place)| place.offset).min();
        if let Some(parted) = verdict.parted.get(&0) {
            prop_assert!(gone.is_some(), "{:?}", verdict);
            if !restored && log.start == 0 && span.mark.is_some_and(|mark| gone < Some(mark.next)) {
                prop_assert_eq!(Some(parted.start), gone, "{:?}", verdict);
            }
        }
    }
}

#[test]
fn a_partition_without_a_span_and_one_that_is_gone_count_as_unread() {
    let log = Model::default().says(None);
    let span = Span {
        start: 0,
        next: 7,
        mark: None,
    };
    let verdict = Verdict::new(&BTreeMap::from([(1, span)]), &BTreeMap::from([(0, log)]));
    assert_eq!((verdict.cut(0), verdict.cut(1)), (Some(0), Some(0)));
    assert_eq!(verdict.parted, BTreeMap::from([(1, 0..7)]));
    assert!(!RecordPosition::UNKNOWN.counts(&verdict.cuts()));
}
