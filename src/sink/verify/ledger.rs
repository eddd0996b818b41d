//! Which offsets the directories hold between them: each once, or where not. Pure.
//!
//! A directory enters, batch by batch, the offsets that it answers for (with a row, a dead letter, or a reason why there
//! is none), those that it was told to skip, and those of which it does not know whether they count. Contiguous entries
//! become one, so memory is a matter of how often partitions changed hands, not of how much they hold.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uuid::Uuid;

use super::super::index::{Batch, Why};

/// A topic as a group has read it; a topic that was deleted and made again is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TopicKey {
    /// The id of the Kafka cluster.
    pub cluster_id: String,
    /// The topic's name.
    pub topic: String,
    /// The topic's id, where brokers tell it.
    pub topic_id: Option<Uuid>,
    /// Counts the topics of that name where brokers do not tell an id, from 0.
    pub identity: u32,
    /// The consumer group.
    pub group: String,
}

/// What there is of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows in CSV files.
    pub rows: u64,
    /// Dead letters, in files of their own.
    pub dead_letters: u64,
    /// Records without a value.
    pub tombstones: u64,
    /// Records that are no trades, passed over because the settings said so.
    pub skipped: u64,
    /// Offsets that have no record: markers, aborted transactions, compaction.
    pub holes: u64,
}

impl Counts {
    /// Adds another's figures.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.dead_letters += other.dead_letters;
        self.tombstones += other.tombstones;
        self.skipped += other.skipped;
        self.holes += other.holes;
    }
}

/// Offsets `from` to before `next`, of one directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    from: i64,
    next: i64,
    directory: usize,
}

/// Offsets of a partition that are not there exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imbalance {
    /// The first of them.
    pub from: i64,
    /// The one after the last.
    pub next: i64,
    /// What is wrong.
    pub kind: ImbalanceKind,
    /// The directories that hold them, by their place among those given.
    pub directories: Vec<usize>,
}

/// What is wrong with offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImbalanceKind {
    /// No directory has them.
    Gap,
    /// Two directories have them, or one has them twice.
    Double,
    /// They are only in a directory's `undecided/`.
    Undecided,
    /// They were read into a directory that was not named.
    Elsewhere(Uuid),
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub struct Account {
    held: Vec<Claim>,
    skipped: Vec<Claim>,
    elsewhere: Vec<(Claim, Vec<Uuid>)>,
    undecided: Vec<Claim>,
    holes: Vec<Claim>,
    /// What there is of it.
    pub counts: Counts,
}

/// All partitions.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By topic and partition.
    pub accounts: BTreeMap<(TopicKey, i32), Account>,
    /// The ids of the directories.
    pub(super) ids: BTreeSet<Uuid>,
}

fn push(claims: &mut Vec<Claim>, directory: usize, from: i64, next: i64) {
    match claims.last_mut() {
        Some(last) if last.directory == directory && last.next == from => last.next = next,
        _ => claims.push(Claim {
            from,
            next,
            directory,
        }),
    }
}

/// Cuts `holes` out of `from..next`.
fn without(from: i64, next: i64, holes: &[Claim]) -> Vec<(i64, i64)> {
    let mut left = Vec::new();
    let mut at = from;
    for hole in holes {
        if hole.next <= at || hole.from >= next {
            continue;
        }
        if hole.from > at {
            left.push((at, hole.from));
        }
        at = hole.next;
    }
    if at < next {
        left.push((at, next));
    }
    left
}

impl Ledger {
    /// Enters what a batch of a directory says; the partition of which it contradicts itself, if there is one.
    pub(super) fn enter(&mut self, key: &TopicKey, directory: usize, batch: &Batch) -> Option<i32> {
        let mut wrong = None;
        for span in &batch.partitions {
            let account = self.accounts.entry((key.clone(), span.0)).or_default();
            push(&mut account.held, directory, span.1, span.2);
            let [rows, dead_letters, tombstones, skipped] = span.3;
            let holes = batch
                .passed
                .iter()
                .filter(|passed| passed.0 == span.0 && passed.3 == Why::Hole);
            let mut count = 0;
            for hole in holes {
                push(&mut account.holes, directory, hole.1, hole.2);
                count += u64::try_from(hole.2 - hole.1).unwrap_or_default();
            }
            account.counts.add(&Counts {
                rows,
                dead_letters,
                tombstones,
                skipped,
                holes: count,
            });
            if !is_whole(batch, span.0, span.1, span.2) {
                wrong = Some(span.0);
            }
        }
        for gap in &batch.gaps {
            let account = self.accounts.entry((key.clone(), gap.0)).or_default();
            if gap.3.is_empty() {
                push(&mut account.skipped, directory, gap.1, gap.2);
            } else {
                let claim = Claim {
                    from: gap.1,
                    next: gap.2,
                    directory,
                };
                account.elsewhere.push((claim, gap.3.clone()));
            }
        }
        for gap in &batch.undecided {
            let account = self.accounts.entry((key.clone(), gap.0)).or_default();
            push(&mut account.undecided, directory, gap.1, gap.2);
        }
        wrong
    }
}

/// Whether rows, dead letters and reasons cover the span's offsets once each.
fn is_whole(batch: &Batch, partition: i32, from: i64, next: i64) -> bool {
    let runs = batch.runs.iter().filter(|run| run.partition == partition);
    let mut ranges: Vec<(i64, i64)> = runs
        .flat_map(|run| {
            run.ranges()
                .map(|(first, last)| (first, last + 1))
                .collect::<Vec<_>>()
        })
        .collect();
    let passed = batch.passed.iter().filter(|passed| passed.0 == partition);
    ranges.extend(passed.map(|passed| (passed.1, passed.2)));
    ranges.sort_unstable();
    let mut at = from;
    ranges
        .iter()
        .all(|(first, end)| std::mem::replace(&mut at, *end) == *first)
        && at == next
}

impl Account {
    /// The first offset that a directory answers for, and the one after the last.
    pub fn range(&self) -> Option<(i64, i64)> {
        let from = self.held.iter().map(|claim| claim.from).min()?;
        let next = self.held.iter().map(|claim| claim.next).max()?;
        Some((from, next))
    }

    /// Offsets that were to be skipped and that no directory has.
    pub fn skipped(&self) -> Vec<(i64, i64)> {
        let mut held = self.held.clone();
        held.sort_unstable();
        let skipped = self.skipped.iter();
        skipped
            .flat_map(|claim| without(claim.from, claim.next, &held))
            .collect()
    }

    /// Offsets that the index says have no record.
    pub fn holes(&self) -> impl Iterator<Item = (i64, i64)> {
        self.holes.iter().map(|claim| (claim.from, claim.next))
    }

    /// Everything between the first offset and the last that is not there exactly once; `named` are the ids of the
    /// directories that were looked into.
    pub fn imbalances(&self, named: &BTreeSet<Uuid>) -> Vec<Imbalance> {
        let mut found = doubles(&self.held);
        let mut held = self.held.clone();
        held.sort_unstable();
        let mut skipped = self.skipped.clone();
        skipped.sort_unstable();
        let mut undecided = self.undecided.clone();
        undecided.sort_unstable();
        let first = held.iter().chain(&undecided).map(|claim| claim.from).min();
        let last = held.iter().chain(&undecided).map(|claim| claim.next).max();
        let (Some(first), Some(last)) = (first, last) else {
            return found;
        };
        let read = self.range().map_or(first, |(_, next)| next);
        let imbalance = |from, next, kind, directories| Imbalance {
            from,
            next,
            kind,
            directories,
        };
        // A gap is one only when nobody who may hold it is missing among those named.
        let unnamed = |ids: &[Uuid]| ids.iter().find(|id| !named.contains(id)).copied();
        let mut elsewhere: Vec<(Claim, Uuid)> = self
            .elsewhere
            .iter()
            .filter_map(|(claim, ids)| Some((*claim, unnamed(ids)?)))
            .collect();
        elsewhere.sort_unstable();
        let claims: Vec<Claim> = elsewhere.iter().map(|(claim, _)| *claim).collect();
        let overlap = |from: i64, next: i64, claim: &Claim| {
            let (from, next) = (from.max(claim.from), next.min(claim.next));
            (from < next).then_some((from, next))
        };
        for (from, next) in without(first, last, &held) {
            for claim in &undecided {
                if let Some((from, next)) = overlap(from, next, claim) {
                    let kind = ImbalanceKind::Undecided;
                    found.push(imbalance(from, next, kind, vec![claim.directory]));
                }
            }
            // Behind all that is held nothing was read yet, though what is undecided may lie there: a commit was in doubt, and
            // the group's offset was set back since.
            for (from, next) in without(from, next.min(read), &undecided) {
                for (from, next) in without(from, next, &skipped) {
                    for (claim, id) in &elsewhere {
                        if let Some((from, next)) = overlap(from, next, claim) {
                            let kind = ImbalanceKind::Elsewhere(*id);
                            found.push(imbalance(from, next, kind, vec![claim.directory]));
                        }
                    }
                    for (from, next) in without(from, next, &claims) {
                        found.push(imbalance(from, next, ImbalanceKind::Gap, Vec::new()));
                    }
                }
            }
        }
        found
    }
}

fn doubles(claims: &[Claim]) -> Vec<Imbalance> {
    let mut claims = claims.to_vec();
    claims.sort_unstable();
    let mut found = Vec::new();
    let mut furthest: Option<Claim> = None;
    for claim in claims {
        if let Some(before) = furthest.filter(|before| claim.from < before.next) {
            let mut directories = vec![before.directory, claim.directory];
            directories.dedup();
            found.push(Imbalance {
                from: claim.from,
                next: claim.next.min(before.next),
                kind: ImbalanceKind::Double,
                directories,
            });
        }
        if furthest.is_none_or(|before| claim.next > before.next) {
            furthest = Some(claim);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against counting each offset.
        #[test]
        fn gaps_and_doubles_are_what_counting_finds(claims in prop::collection::vec((0..3_usize, 0..20_i64, 1..6_i64), 1..8)) {
            let mut account = Account::default();
            for (directory, from, count) in &claims {
                push(&mut account.held, *directory, *from, from + count);
            }
            let times = |offset: i64| claims.iter().filter(|(_, from, count)| (*from..from + count).contains(&offset)).count();
            let (first, last) = account.range().unwrap();
            let found = account.imbalances(&BTreeSet::new());
            for offset in first..last {
                let kind = |kind| found.iter().any(|i| i.kind == kind && (i.from..i.next).contains(&offset));
                prop_assert_eq!(kind(ImbalanceKind::Gap), times(offset) == 0, "{}", offset);
                prop_assert_eq!(kind(ImbalanceKind::Double), times(offset) > 1, "{}", offset);
            }
        }
    }

    #[test]
    fn what_was_skipped_is_no_gap_and_what_is_undecided_may_be_elsewhere() {
        let mut account = Account::default();
        push(&mut account.held, 0, 0, 10);
        push(&mut account.skipped, 0, 10, 15);
        push(&mut account.held, 0, 15, 20);
        push(&mut account.undecided, 1, 18, 22);
        push(&mut account.held, 2, 25, 30);
        let id = Uuid::from_u128(9);
        let claim = Claim {
            from: 23,
            next: 25,
            directory: 2,
        };
        account.elsewhere.push((claim, vec![id]));
        let kinds = |named: &BTreeSet<Uuid>| -> Vec<_> {
            let found = account.imbalances(named);
            found.iter().map(|i| (i.kind, i.from, i.next)).collect()
        };
        let undecided = (ImbalanceKind::Undecided, 20, 22);
        let elsewhere = (ImbalanceKind::Elsewhere(id), 23, 25);
        let gap = |from, next| (ImbalanceKind::Gap, from, next);
        assert_eq!(kinds(&BTreeSet::new()), [undecided, elsewhere, gap(22, 23)]);
        assert_eq!(kinds(&BTreeSet::from([id])), [undecided, gap(22, 25)]);
        assert_eq!(account.skipped(), [(10, 15)]);
    }

    #[test]
    fn what_was_not_read_yet_is_no_gap_before_what_is_undecided() {
        let mut account = Account::default();
        push(&mut account.undecided, 0, 12, 13);
        push(&mut account.undecided, 0, 15, 16);
        let kinds = |account: &Account| -> Vec<_> {
            let found = account.imbalances(&BTreeSet::new());
            found.iter().map(|i| (i.kind, i.from, i.next)).collect()
        };
        let undecided = |from| (ImbalanceKind::Undecided, from, from + 1);
        assert_eq!(kinds(&account), [undecided(12), undecided(15)]);
        push(&mut account.held, 0, 0, 10);
        assert_eq!(kinds(&account), [undecided(12), undecided(15)]);
        push(&mut account.held, 0, 14, 20);
        let gap = |from, next| (ImbalanceKind::Gap, from, next);
        assert_eq!(kinds(&account), [undecided(12), gap(10, 12), gap(13, 14)]);
    }
}
