//! Takes the records of a partition from an offset on out of the index's batches. Pure.
//!
//! Each row's offset is known (a run names its first, its rows and the offsets that it leaves out), so a run is cut at
//! exactly the row at which the target begins, wherever that is.

use super::super::files::is_letters;
use super::super::state::{Batch, Extent, Gap, OffsetRange, Passed, Replayed, Why};

/// How many rows at the beginning of a run are of offsets below the target; `None` when all are.
pub(in crate::sink) fn kept_rows(run: &Extent, target: i64) -> Option<u64> {
    if run.last < target {
        return None;
    }
    let below = |(first, last): (i64, i64)| {
        last.min(target - 1)
            .saturating_sub(first)
            .saturating_add(1)
            .max(0)
    };
    Some(
        run.ranges()
            .map(|range| u64::try_from(below(range)).unwrap_or_default())
            .sum(),
    )
}

/// What is left of a run of which the first `rows` rows, `len` bytes, are kept; `rows` is 1 or more.
pub(in crate::sink) fn head(run: &Extent, rows: u64, len: u64, crc: u32) -> Extent {
    let mut left = rows;
    let mut last = run.first;
    for (first, end) in run.ranges() {
        let here = u64::try_from(end.saturating_sub(first).saturating_add(1))
            .unwrap_or_default()
            .min(left);
        if here > 0 {
            last = first.saturating_add(i64::try_from(here).unwrap_or(i64::MAX)) - 1;
        }
        left -= here;
    }
    Extent {
        rows,
        len,
        crc,
        last,
        skips: run
            .skips
            .iter()
            .filter(|skip| skip.0 < rows)
            .copied()
            .collect(),
        ..run.clone()
    }
}

/// Takes what the batch says of the partition's offsets from `target` on out of it. Its runs have been cut already.
pub(in crate::sink) fn narrow(batch: &mut Batch, partition: i32, target: i64) {
    let clip_gap = |gap: &mut Gap| {
        if gap.0 == partition {
            gap.2 = gap.2.min(target);
        }
        gap.1 < gap.2
    };
    batch.gaps.retain_mut(clip_gap);
    batch.undecided.retain_mut(clip_gap);
    batch.passed.retain_mut(|Passed(p, from, to, _)| {
        if *p == partition {
            *to = (*to).min(target);
        }
        from < to
    });
    batch.replayed.retain_mut(|Replayed(p, from, to)| {
        if *p == partition {
            *to = (*to).min(target);
        }
        from < to
    });
    let (runs, files, passed) = (&batch.runs, &batch.files, &batch.passed);
    let rows = |letters: bool| -> u64 {
        let ours = runs.iter().filter(|run| run.partition == partition);
        ours.filter(|run| {
            files
                .get(run.file)
                .is_some_and(|name| is_letters(name) == letters)
        })
        .map(|run| run.rows)
        .sum()
    };
    let count = |why: Why| -> u64 {
        let ours = passed
            .iter()
            .filter(|passed| passed.0 == partition && passed.3 == why);
        ours.map(|passed| u64::try_from(passed.2 - passed.1).unwrap_or_default())
            .sum()
    };
    batch
        .partitions
        .retain_mut(|OffsetRange(p, from, next, counts)| {
            if *p == partition && *next > target {
                *next = target;
                *counts = [
                    rows(false),
                    rows(true) + count(Why::DeadLetter),
                    count(Why::Tombstone),
                    count(Why::Skipped),
                ];
            }
            *p != partition || from < next
        });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sink::state::index::{Reason, Skip};

    fn run(offsets: &[i64]) -> Extent {
        let mut skips = Vec::new();
        for (row, pair) in offsets.windows(2).enumerate() {
            if pair[1] != pair[0] + 1 {
                skips.push(Skip(row as u64 + 1, pair[1] - pair[0] - 1));
            }
        }
        Extent {
            file: 0,
            start: 0,
            len: 0,
            partition: 0,
            first: offsets[0],
            last: offsets[offsets.len() - 1],
            rows: offsets.len() as u64,
            crc: 0,
            skips,
        }
    }

    fn offsets(run: &Extent) -> Vec<i64> {
        run.ranges()
            .flat_map(|(first, last)| first..=last)
            .collect()
    }

    proptest! {
        #[test]
        fn a_run_knows_its_offsets_and_is_cut_between_them(
            steps in prop::collection::vec(1..4_i64, 1..12), target in -1..40_i64,
        ) {
            let all: Vec<i64> = steps.iter().scan(0, |at, step| { *at += step; Some(*at) }).collect();
            let run = run(&all);
            prop_assert_eq!(offsets(&run), all.clone());
            let below: Vec<i64> = all.iter().copied().filter(|offset| *offset < target).collect();
            match kept_rows(&run, target) {
                None => prop_assert_eq!(&below, &all),
                Some(rows) => {
                    prop_assert_eq!(rows, below.len() as u64);
                    if rows > 0 {
                        let head = head(&run, rows, 0, 0);
                        prop_assert_eq!(offsets(&head), below.clone());
                        prop_assert_eq!(head.last, below[below.len() - 1]);
                    }
                }
            }
        }
    }

    #[test]
    fn spans_end_at_the_target() {
        let mut batch = Batch {
            files: vec!["consumed_trades_2025-03-01.csv".to_owned()],
            partitions: vec![
                OffsetRange(0, 3, 10, [4, 0, 3, 0]),
                OffsetRange(1, 0, 9, [9, 0, 0, 0]),
            ],
            passed: vec![
                Passed(0, 4, 6, Why::Tombstone),
                Passed(0, 9, 10, Why::Tombstone),
            ],
            gaps: vec![Gap(0, 1, 3, Vec::new(), Reason::Retention)],
            runs: vec![Extent {
                rows: 1,
                ..run(&[3])
            }],
            ..Batch::default()
        };
        narrow(&mut batch, 0, 5);
        assert_eq!(
            batch.partitions,
            [
                OffsetRange(0, 3, 5, [1, 0, 1, 0]),
                OffsetRange(1, 0, 9, [9, 0, 0, 0])
            ]
        );
        assert_eq!(batch.passed, [Passed(0, 4, 5, Why::Tombstone)]);
        narrow(&mut batch, 0, 2);
        assert_eq!(batch.partitions, [OffsetRange(1, 0, 9, [9, 0, 0, 0])]);
        assert_eq!(
            (batch.passed.len(), batch.gaps),
            (0, vec![Gap(0, 1, 2, Vec::new(), Reason::Retention)])
        );
    }
}
