//! Where a partition is read, and what of an answer is new. Pure.
//!
//! - Batches that end below the position are passed over: brokers answer with whole batches, also when the position lies
//!   inside one or they were read before.
//! - The position moves to the end of each batch, whether it shows records or not: past control batches, aborted
//!   transactions, batches that compaction emptied, and the holes it left.
//! - Under read_committed, records of aborted transactions are left out by the list that comes with the answer
//!   ([KIP-98](https://cwiki.apache.org/confluence/display/KAFKA/KIP-98)): a producer's records are hidden from the
//!   listed first offset to its next abort marker.

mod aborted;

use bytes::Bytes;

use self::aborted::Aborted;
use crate::wire::{
    error::{ErrorCode, Remedy},
    messages::AbortedTransaction,
    records::{Batch, Batches, RecordsError},
};

/// The next offset to read of one partition, and the leader epoch of the record before it: by that the leader notices
/// when its log and ours have parted (KIP-320).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    position: i64,
    leader_epoch: Option<i32>,
}

/// What an answer brought.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Where it was read from: records below are not new.
    pub(super) from: i64,
    /// Where reading goes on.
    pub(super) next_offset: i64,
    /// The leader epoch of the last batch that was passed.
    pub(super) leader_epoch: Option<i32>,
    /// The batches whose records are to be shown, in order.
    pub(super) batches: Vec<Batch>,
    /// Why the rest of the answer was of no use.
    pub(super) fault: Option<Fault>,
}

/// What is wrong with an answer's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A batch cannot be read; those before it were taken. With where the log goes on behind it, where that shows.
    Corrupt(RecordsError, Option<i64>),
    /// There are bytes, but no whole batch that reaches beyond the position.
    NoProgress(usize),
}

impl Cursor {
    /// The epoch is that of the record before, where known.
    pub(super) const fn at(position: i64, leader_epoch: Option<i32>) -> Self {
        Self {
            position,
            leader_epoch,
        }
    }

    pub(super) const fn leader_epoch(self) -> Option<i32> {
        self.leader_epoch
    }

    pub(super) const fn position(self) -> i64 {
        self.position
    }

    /// Takes in the records of an answer, moving on behind them.
    pub(super) fn take(&mut self, records: Bytes, aborted: &[AbortedTransaction]) -> Taken {
        let bytes = records.len();
        let mut taken = Taken {
            from: self.position,
            ..Taken::default()
        };
        let mut aborted = Aborted::new(aborted);
        let mut batches = Batches::new(records);
        while let Some(batch) = batches.next() {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    taken.fault = Some(Fault::Corrupt(error, batches.past_error()));
                    break;
                }
            };
            let shown = match aborted.shows(&batch) {
                Ok(shown) => shown,
                Err(error) => {
                    let past = batch.header().next_offset();
                    taken.fault = Some(Fault::Corrupt(error, Some(past)));
                    break;
                }
            };
            let header = batch.header();
            if header.next_offset() <= self.position {
                continue;
            }
            self.position = header.next_offset();
            taken.leader_epoch = Some(header.partition_leader_epoch).filter(|epoch| *epoch >= 0);
            self.leader_epoch = taken.leader_epoch;
            if shown && header.record_count != 0 {
                taken.batches.push(batch);
            }
        }
        taken.next_offset = self.position;
        if bytes > 0 && taken.fault.is_none() && taken.next_offset == taken.from {
            taken.fault = Some(Fault::NoProgress(bytes));
        }
        taken
    }
}

/// What to do about an error that a broker answers for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Learn the leader anew, and ask again after a pause.
    Refresh,
    /// Go where the reset policy says.
    Reset,
    /// Ask again a few times, then give up.
    Suspect,
    /// Give up.
    Fail,
}

/// The action for an error code of a Fetch answer.
pub(super) fn action(code: ErrorCode) -> Action {
    match code {
        ErrorCode::OFFSET_OUT_OF_RANGE => Action::Reset,
        ErrorCode::CORRUPT_MESSAGE => Action::Suspect,
        // Brokers answer so when a disk fails under them; another replica may do better.
        ErrorCode::UNKNOWN_SERVER_ERROR => Action::Refresh,
        code if code.remedy() == Remedy::None => Action::Fail,
        _ => Action::Refresh,
    }
}

#[cfg(test)]
mod tests;
