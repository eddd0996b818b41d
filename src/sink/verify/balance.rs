//! Where a partition's account does not balance: offsets that are not there exactly once. Pure.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::ledger::{Account, Claim, Ruling};

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
    /// The index says that there is no record, and the brokers have some.
    Lost,
    /// They have no row, and the brokers have not got them any more.
    Gone,
    /// They were read into a directory that was not named.
    Elsewhere(Uuid),
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
        found.extend(doubles(&self.replayed));
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
        found.extend(self.ruled_holes());
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
                        found.extend(self.ruled_gap(from, next));
                    }
                }
            }
        }
        found
    }

    /// Notes what the brokers say of `from..next`.
    pub fn rule(&mut self, from: i64, next: i64, ruling: Ruling) {
        if from < next {
            self.rulings.entry(ruling).or_default().push((from, next));
        }
    }

    /// The parts of `from..next` of which the brokers say this.
    fn ruled(&self, from: i64, next: i64, ruling: Ruling) -> impl Iterator<Item = (i64, i64)> {
        let rulings = self.rulings.get(&ruling).into_iter().flatten();
        let parts = rulings.map(move |of| (from.max(of.0), next.min(of.1)));
        parts.filter(|(from, next)| from < next)
    }

    /// What is left of a gap: what the brokers say has no record is none.
    fn ruled_gap(&self, from: i64, next: i64) -> Vec<Imbalance> {
        let claim = |(from, next)| Claim {
            from,
            next,
            directory: 0,
        };
        let mut settled: Vec<Claim> = self.ruled(from, next, Ruling::Hole).map(claim).collect();
        let gone: Vec<Claim> = self.ruled(from, next, Ruling::Gone).map(claim).collect();
        settled.extend(&gone);
        settled.sort_unstable();
        let imbalance = |(from, next), kind| Imbalance {
            from,
            next,
            kind,
            directories: Vec::new(),
        };
        let gaps = without(from, next, &settled);
        let gaps = gaps.into_iter().map(|of| imbalance(of, ImbalanceKind::Gap));
        let gone = gone.iter().map(|of| (of.from, of.next));
        gaps.chain(gone.map(|of| imbalance(of, ImbalanceKind::Gone)))
            .collect()
    }

    /// What the brokers say against the index: a record where it says that there is none, or nothing at all.
    fn ruled_holes(&self) -> Vec<Imbalance> {
        let kinds = [
            (Ruling::Record, ImbalanceKind::Lost),
            (Ruling::Gone, ImbalanceKind::Gone),
        ];
        let holes = self.holes.iter();
        holes
            .flat_map(|hole| {
                kinds.into_iter().flat_map(move |(ruling, kind)| {
                    let parts = self.ruled(hole.from, hole.next, ruling);
                    parts.map(move |(from, next)| Imbalance {
                        from,
                        next,
                        kind,
                        directories: vec![hole.directory],
                    })
                })
            })
            .collect()
    }

    /// Offsets without a row of which the brokers can be asked, in order: holes, and gaps so far.
    pub(super) fn questions(&self, named: &BTreeSet<Uuid>) -> Vec<(i64, i64)> {
        let gaps = self.imbalances(named).into_iter();
        let gaps = gaps.filter(|of| of.kind == ImbalanceKind::Gap);
        let mut questions: Vec<(i64, i64)> = gaps.map(|of| (of.from, of.next)).collect();
        questions.extend(self.holes());
        questions.sort_unstable();
        questions
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

    use super::super::ledger::push;
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

    #[test]
    fn brokers_decide_about_offsets_without_a_row() {
        let mut account = Account::default();
        push(&mut account.held, 0, 0, 10);
        push(&mut account.holes, 0, 4, 8);
        push(&mut account.held, 0, 20, 30);
        assert_eq!(account.questions(&BTreeSet::new()), [(4, 8), (10, 20)]);
        account.rule(4, 6, Ruling::Gone);
        account.rule(6, 7, Ruling::Hole);
        account.rule(7, 8, Ruling::Record);
        account.rule(10, 15, Ruling::Hole);
        account.rule(15, 17, Ruling::Gone);
        account.rule(17, 20, Ruling::Record);
        let mut found: Vec<_> = account
            .imbalances(&BTreeSet::new())
            .iter()
            .map(|of| (of.from, of.next, of.kind))
            .collect();
        found.sort_unstable_by_key(|of| of.0);
        assert_eq!(
            found,
            [
                (4, 6, ImbalanceKind::Gone),
                (7, 8, ImbalanceKind::Lost),
                (15, 17, ImbalanceKind::Gone),
                (17, 20, ImbalanceKind::Gap),
            ]
        );
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
}
