//! What one answer showed and a second one has to show again. Pure.

use crate::wire::{messages::AbortedTransaction, records::BatchHeader};

/// One batch, and the position at which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    position: i64,
    base_offset: i64,
    next_offset: i64,
    leader_epoch: i32,
    crc: u32,
}

impl Seen {
    pub(super) fn of(position: i64, header: &BatchHeader) -> Self {
        Self {
            position,
            base_offset: header.base_offset,
            next_offset: header.next_offset(),
            leader_epoch: header.partition_leader_epoch,
            crc: header.crc,
        }
    }
}

/// The strange things of an answer that was not believed (all of them at once, so that a compacted log costs two requests
/// an answer and not one a hole).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::consumer) struct Witness {
    /// The batches, by position.
    pub(super) strange: Vec<Seen>,
    /// First offset and producer id of the aborted transactions, the lowest first.
    aborted: Vec<(i64, i64)>,
    /// The offsets it is about.
    from: i64,
    until: i64,
    /// Where the leader said that its log parts from ours: epoch and offset.
    parted: Option<(i32, i64)>,
    /// Whether the leader said that the position is not in its log.
    out_of_range: bool,
}

impl Witness {
    /// It is about offsets from `from` on, below `until`.
    pub(super) fn begin(&mut self, from: i64, until: i64, aborted: Vec<(i64, i64)>) {
        self.strange.retain(|seen| seen.position >= from);
        (self.from, self.until, self.aborted) = (from, until, aborted);
    }

    /// Whether it has anything to say of an answer from `position`.
    pub(super) fn is_of(&self, position: i64) -> bool {
        self.until > self.from && self.from == position
    }

    pub(super) fn saw(&self, seen: &Seen) -> bool {
        let found = self
            .strange
            .binary_search_by_key(&seen.position, |seen| seen.position);
        found.is_ok_and(|index| self.strange.get(index) == Some(seen))
    }

    /// Whether both lists of aborted transactions say the same of this batch and those before it.
    pub(super) fn agrees(&self, listed: &[(i64, i64)], header: &BatchHeader) -> bool {
        if listed.is_empty() && self.aborted.is_empty() {
            return true;
        }
        let up_to =
            |list: &[(i64, i64)]| list.partition_point(|(first, _)| *first <= header.last_offset());
        header.next_offset() <= self.until
            && listed.get(..up_to(listed)) == self.aborted.get(..up_to(&self.aborted))
    }

    /// Whether the leader says for the second time that its log parts here from ours.
    pub(in crate::consumer) fn parted_again(&mut self, epoch: i32, end_offset: i64) -> bool {
        self.parted.replace((epoch, end_offset)) == Some((epoch, end_offset))
    }

    /// Whether the leader says for the second time that the position is not in its log.
    pub(in crate::consumer) fn out_of_range_again(&mut self) -> bool {
        std::mem::replace(&mut self.out_of_range, true)
    }
}

/// First offset and producer id, the lowest first.
pub(super) fn sorted(listed: &[AbortedTransaction]) -> Vec<(i64, i64)> {
    let pairs = listed
        .iter()
        .map(|transaction| (transaction.first_offset, transaction.producer_id));
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_unstable();
    pairs
}
