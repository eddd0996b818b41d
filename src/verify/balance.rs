//! Where a partition's account does not balance: offsets that are not there exactly once. Pure.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::ledger::{Absent, Account, By, Claim, Ruling};
use crate::sink::Reason;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Retention had deleted them before they were read.
    Retention,
    /// Another program has moved the group's offset past them.
    Program,
    /// The group's offset was set forwards on purpose. Nothing is wrong with these.
    Declared,
    /// They were passed over, and the version that did so did not say why.
    Untold,
    /// The topic has them, and the group has not come so far.
    Unread,
}

/// A gap of as many offsets as this is not read on the topic when it does not say that something is missing.
const FEW: i64 = 50_000;

/// Cuts `holes`, which are in order, out of `from..next`.
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

/// Offsets that are not settled yet, and what was found of others.
struct Cut {
    left: Vec<(i64, i64)>,
    found: Vec<Imbalance>,
}

impl Cut {
    /// Takes what a claim covers out of what is left, as being of this kind.
    fn take(&mut self, claim: Claim, kind: ImbalanceKind) {
        let mut left = Vec::new();
        for (from, next) in std::mem::take(&mut self.left) {
            let (first, end) = (from.max(claim.from), next.min(claim.next));
            if first < end {
                self.found.push(Imbalance {
                    from: first,
                    next: end,
                    kind,
                    directories: vec![claim.directory],
                });
            }
            left.extend(without(from, next, &[claim]));
        }
        self.left = left;
    }
}

impl Account {
    /// The range of offsets that is spoken of: from where the group was first responsible to where it has come, or, where
    /// brokers were asked, to the last stable offset. `named` are the ids of the directories that were looked into.
    pub fn range(&self, named: &BTreeSet<Uuid>) -> Option<(i64, i64)> {
        let gaps = self
            .gaps
            .iter()
            .filter(|gap| gap.reason != Reason::Before || gap.unnamed(named).is_some());
        let known = self.held.iter().chain(gaps.map(|gap| &gap.claim));
        let known: Vec<Claim> = known.copied().collect();
        let from = known.iter().map(|claim| claim.from);
        let from = from.chain(self.begins).min();
        let next = known.iter().map(|claim| claim.next).max();
        let next = next.or(self.begins);
        let Some(log) = self.log else {
            return Some((from?, next?));
        };
        // A directory of a version that wrote no beginnings, on a partition without records, tells it by where it stands.
        let claimed = log.committed.and_then(|(offset, by)| match by {
            By::Directory(id) if named.contains(&id) => Some(offset),
            _ => None,
        });
        let from = from.or(self.stands).or(claimed).unwrap_or(log.start);
        Some((from, next.unwrap_or(from).max(log.end)))
    }

    /// Up to where directories answer for offsets.
    fn read(&self) -> Option<i64> {
        let gaps = self.gaps.iter().map(|gap| &gap.claim);
        self.held.iter().chain(gaps).map(|claim| claim.next).max()
    }

    /// How many offsets directories answer for.
    pub fn covered(&self) -> u64 {
        let mut held = self.held.clone();
        held.sort_unstable();
        let (mut at, mut count) = (i64::MIN, 0);
        for claim in held {
            let from = claim.from.max(at);
            at = at.max(claim.next);
            count += u64::try_from(claim.next.saturating_sub(from)).unwrap_or_default();
        }
        count
    }

    /// Offsets that the index says have no record.
    pub fn holes(&self) -> impl Iterator<Item = (i64, i64)> {
        self.holes.iter().map(|claim| (claim.from, claim.next))
    }

    /// Everything in the range that is not there exactly once.
    pub fn imbalances(&self, named: &BTreeSet<Uuid>) -> Vec<Imbalance> {
        let mut found = doubles(&self.held);
        found.extend(doubles(&self.replayed));
        found.extend(self.ruled_holes());
        // What is undecided may lie beyond.
        let range = self.range(named).into_iter();
        let undecided = self.undecided.iter().map(|claim| (claim.from, claim.next));
        let parts: Vec<(i64, i64)> = range.chain(undecided).collect();
        let first = parts.iter().map(|part| part.0).min();
        let last = parts.iter().map(|part| part.1).max();
        let (Some(first), Some(last)) = (first, last) else {
            return found;
        };
        let mut held = self.held.clone();
        held.sort_unstable();
        let mut cut = Cut {
            left: without(first, last, &held),
            found,
        };
        let mut undecided = self.undecided.clone();
        undecided.sort_unstable();
        for claim in undecided {
            cut.take(claim, ImbalanceKind::Undecided);
        }
        // A gap is one only when nobody who may hold it is missing among those named.
        for gap in &self.gaps {
            if let Some(id) = gap.unnamed(named) {
                cut.take(gap.claim, ImbalanceKind::Elsewhere(id));
            }
        }
        for gap in &self.gaps {
            let kind = match gap.reason {
                Reason::Retention => ImbalanceKind::Retention,
                Reason::Declared => ImbalanceKind::Declared,
                Reason::Program => ImbalanceKind::Program,
                Reason::Untold if gap.directories.is_empty() => ImbalanceKind::Untold,
                Reason::Untold | Reason::Before => continue,
            };
            cut.take(gap.claim, kind);
        }
        self.take_unread(&mut cut, first, last);
        let Cut { left, found } = cut;
        let gaps = left
            .into_iter()
            .flat_map(|(from, next)| self.ruled_gap(from, next));
        found
            .into_iter()
            .flat_map(|of| self.ruled_doubt(of))
            .chain(gaps)
            .collect()
    }

    /// What lies behind all that directories answer for was not read by them: by nobody, or by whom the group's offset is.
    fn take_unread(&self, cut: &mut Cut, first: i64, last: i64) {
        let read = self.read().unwrap_or(first);
        if self.log.is_none() {
            // Nothing was read there yet, though what is undecided may lie there: a commit was in doubt, and the group's
            // offset was set back since.
            cut.left.retain_mut(|part| {
                part.1 = part.1.min(read);
                part.0 < part.1
            });
            return;
        }
        let claim = |from, next| Claim {
            from,
            next,
            directory: usize::MAX,
        };
        if let Some((offset, by)) = self.log.and_then(|log| log.committed) {
            let kind = match by {
                By::Directory(id) => ImbalanceKind::Elsewhere(id),
                By::Reset(program) => {
                    // Where another program stood when it was set: so far that one has read.
                    if let Some(stood) = program.filter(|stood| *stood > read) {
                        cut.take(
                            claim(read, stood.min(offset).min(last)),
                            ImbalanceKind::Program,
                        );
                    }
                    ImbalanceKind::Declared
                }
                By::Program => ImbalanceKind::Program,
            };
            if offset > read {
                cut.take(claim(read, offset.min(last)), kind);
            }
        }
        if read < last {
            cut.take(claim(read, last), ImbalanceKind::Unread);
        }
    }

    /// Notes what the brokers say of `from..next`.
    pub fn rule(&mut self, from: i64, next: i64, ruling: Ruling) {
        if from >= next {
            return;
        }
        let rulings = self.rulings.entry(ruling).or_default();
        match rulings.range_mut(..=from).next_back() {
            Some((_, end)) if *end >= from => *end = next.max(*end),
            _ => {
                rulings.insert(from, next);
            }
        }
    }

    /// The parts of `from..next` of which the brokers say this, in order.
    fn ruled(&self, from: i64, next: i64, ruling: Ruling) -> Vec<(i64, i64)> {
        let rulings = self.rulings.get(&ruling).into_iter();
        let before = rulings.flat_map(|rulings| rulings.range(..next).rev());
        let parts = before.take_while(|(_, end)| **end > from);
        let parts = parts.map(|(first, end)| (from.max(*first), next.min(*end)));
        let mut parts: Vec<_> = parts.collect();
        parts.reverse();
        parts
    }

    /// What is left of a gap: what the brokers say has no record is none.
    fn ruled_gap(&self, from: i64, next: i64) -> Vec<Imbalance> {
        let claim = |(from, next)| Claim {
            from,
            next,
            directory: 0,
        };
        let holes = self.ruled(from, next, Ruling::Hole).into_iter();
        let mut settled: Vec<Claim> = holes.map(claim).collect();
        let gone = self.ruled(from, next, Ruling::Gone);
        settled.extend(gone.iter().copied().map(claim));
        settled.sort_unstable();
        let imbalance = |(from, next), kind| Imbalance {
            from,
            next,
            kind,
            directories: Vec::new(),
        };
        let gaps = without(from, next, &settled);
        let gaps = gaps.into_iter().map(|of| imbalance(of, ImbalanceKind::Gap));
        gaps.chain(
            gone.into_iter()
                .map(|of| imbalance(of, ImbalanceKind::Gone)),
        )
        .collect()
    }

    /// What is left of a doubt: where the brokers say that there is no record, nobody can have read one.
    fn ruled_doubt(&self, doubt: Imbalance) -> Vec<Imbalance> {
        if !doubt.kind.is_asked() {
            return vec![doubt];
        }
        let holes = self.ruled(doubt.from, doubt.next, Ruling::Hole).into_iter();
        let holes: Vec<Claim> = holes
            .map(|(from, next)| Claim {
                from,
                next,
                directory: 0,
            })
            .collect();
        let parts = without(doubt.from, doubt.next, &holes).into_iter();
        parts
            .map(|(from, next)| Imbalance {
                from,
                next,
                ..doubt.clone()
            })
            .collect()
    }

    /// What the brokers say against the index: a record where it says that there is none.
    fn ruled_holes(&self) -> Vec<Imbalance> {
        let holes = self.holes.iter();
        holes
            .flat_map(|hole| {
                let parts = self.ruled(hole.from, hole.next, Ruling::Record).into_iter();
                parts.map(move |(from, next)| Imbalance {
                    from,
                    next,
                    kind: ImbalanceKind::Lost,
                    directories: vec![hole.directory],
                })
            })
            .collect()
    }

    /// How many offsets the index says have no record, as was confirmed when they were read, that are not in the log any more.
    pub fn holes_gone(&self) -> u64 {
        let holes = self.holes.iter();
        let gone = holes.flat_map(|hole| self.ruled(hole.from, hole.next, Ruling::Gone));
        gone.map(|(from, next)| next.abs_diff(from)).sum()
    }

    /// Offsets without a row of which the brokers can be asked, in order: holes, and gaps so far.
    pub(super) fn questions(&self, named: &BTreeSet<Uuid>) -> Vec<(i64, i64)> {
        let gaps = self.imbalances(named).into_iter();
        let gaps = gaps.filter(|of| {
            of.kind == ImbalanceKind::Gap || (of.kind.is_asked() && of.next - of.from <= FEW)
        });
        let mut questions: Vec<(i64, i64)> = gaps.map(|of| (of.from, of.next)).collect();
        questions.extend(self.holes());
        questions.sort_unstable();
        questions
    }
}

impl ImbalanceKind {
    /// Whether it is nothing where the topic has no records.
    const fn is_asked(self) -> bool {
        matches!(self, Self::Program | Self::Untold | Self::Unread)
    }
}

impl Absent {
    /// A directory that may hold these offsets, and that was not looked into.
    fn unnamed(&self, named: &BTreeSet<Uuid>) -> Option<Uuid> {
        let mut ids = self.directories.iter();
        ids.find(|id| !named.contains(id)).copied()
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
mod tests;
