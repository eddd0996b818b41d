//! Whether a log is still the one that was known, and from where on it is not (KIP-101, KIP-320). Pure.
//!
//! A log that lost its tail (an unclean leader election, a disk that was put back) and grew again may be longer than it was,
//! and have other records at offsets that were acknowledged. So of the last batch that was read of a partition a [`Mark`] is
//! kept. Where the log has that batch at its place, everything before it is as it was. What was noted behind it
//! is read again. Where it has another one, all of the log is read again; and what lies before its start stays known: retention
//! has deleted it. (Where it has deleted what took the place of the lost, too, nobody can tell any more: leaders forget the
//! epochs that are not in their logs.) Where the epochs part is only said.

use crate::dedup::store::Mark;
use std::{collections::BTreeMap, ops::Range};

use super::store::{ALL_UNKNOWN, Cuts, Span};
use crate::wire::records::BatchHeader;

impl From<&BatchHeader> for Mark {
    fn from(header: &BatchHeader) -> Self {
        Self {
            base: header.base_offset,
            next: header.next_offset(),
            epoch: header.partition_leader_epoch,
            crc: header.crc,
            first_ms: header.base_timestamp,
            last_ms: header.max_timestamp,
        }
    }
}

/// What a log says of itself, and of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) start: i64,
    pub(super) end: i64,
    /// Where the mark's epoch ends, where that could be asked; -1 is an epoch that the leader has not come to yet.
    pub(super) epoch_end: Option<i64>,
    /// What is where the mark was.
    pub(super) batch: Option<Mark>,
}

/// What became of a partition that was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// What lies before is as it was, or deleted; what lies behind is read again, as far as it is there.
    pub(super) cut: i64,
    /// Where the log is certainly not the one that was known, and from where on, as far as that can be told.
    pub(super) parted: Option<i64>,
}

/// Where a mark can be looked at.
pub(super) fn is_readable(mark: &Mark, start: i64, end: i64) -> bool {
    start <= mark.base && mark.next <= end
}

/// What became of a partition of which this was known.
pub(super) fn standing(span: &Span, log: &Log) -> Standing {
    let shorter = Some(log.end).filter(|end| *end < span.next);
    let unread = span.next.min(log.start);
    let Some(mark) = &span.mark else {
        return Standing {
            cut: unread,
            parted: shorter,
        };
    };
    if log.batch.as_ref() == Some(mark) {
        return Standing {
            cut: span.next.min(mark.next),
            parted: shorter,
        };
    }
    // A later epoch begins before the mark ends.
    let overtaken = log.epoch_end.filter(|end| *end < mark.next);
    let differs = log.end < mark.next || log.start <= mark.base;
    let parted = shorter.is_some() || overtaken.is_some() || differs;
    let from = shorter.into_iter().chain(overtaken.filter(|end| *end >= 0));
    Standing {
        cut: unread,
        parted: parted.then(|| from.min().unwrap_or(unread)),
    }
}

/// What became of all that was known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// For each partition from where on nothing counts.
    cuts: Cuts,
    /// The partitions whose log is not the one that was known, from where on, and up to where it was known.
    pub(super) parted: BTreeMap<i32, Range<i64>>,
}

impl Verdict {
    /// Of `spans`, by what the log of each partition says; partitions without a span are as good as unread.
    pub(super) fn new(spans: &BTreeMap<i32, Span>, logs: &BTreeMap<i32, Log>) -> Self {
        let mut verdict = Self::default();
        for (partition, log) in logs {
            let standing = match spans.get(partition) {
                Some(span) => standing(span, log),
                None => Standing {
                    cut: log.start,
                    parted: None,
                },
            };
            verdict.cuts.insert(*partition, standing.cut);
            if let Some(from) = standing.parted {
                let next = spans.get(partition).map_or(from, |span| span.next);
                verdict.parted.insert(*partition, from..next);
            }
        }
        for (partition, span) in spans {
            if !logs.contains_key(partition) {
                verdict.cuts.insert(*partition, 0);
                verdict.parted.insert(*partition, 0..span.next);
            }
        }
        verdict
    }

    /// Where a partition is cut.
    pub(super) fn cut(&self, partition: i32) -> Option<i64> {
        self.cuts.get(&partition).copied()
    }

    /// What does not count: also what may lie anywhere, when a log has parted.
    pub(super) fn cuts(&self) -> Cuts {
        let mut cuts = self.cuts.clone();
        if !self.parted.is_empty() {
            cuts.extend([ALL_UNKNOWN]);
        }
        cuts
    }

    /// Takes back what was known of a partition to where it is cut.
    pub(super) fn shorten(&self, partition: i32, span: &mut Span) {
        if let Some(cut) = self.cut(partition) {
            span.next = span.next.min(cut);
            span.start = span.start.min(cut);
            span.mark = span.mark.filter(|_| !self.parted.contains_key(&partition));
        }
    }
}

#[cfg(test)]
mod tests;
