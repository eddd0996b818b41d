//! Where a partition is read, and what of an answer is new. Pure.
//!
//! - The position moves to the end of each batch, whether it shows records or not: past control batches, aborted
//!   transactions, batches that compaction emptied, and the holes it left.
//! - A batch's base offset and leader epoch are not covered by its checksum, and neither is the rest of an answer. So each
//!   batch has to begin where the one before it ended, and its leader epoch has to be the same. What only a healthy broker
//!   can explain otherwise (compaction, a position inside a batch, another leader) is believed when a second answer from
//!   there shows it again ([`Witness`]); what none can explain is corrupt.
//! - Under read_committed, records of aborted transactions are left out by the list that comes with the answer
//!   ([KIP-98](https://cwiki.apache.org/confluence/display/KAFKA/KIP-98)): a producer's records are hidden from the
//!   listed first offset to its next abort marker. The list, too, has to be shown twice.

mod aborted;
mod contradiction;
mod witness;

use contradiction::contradiction;

use bytes::Bytes;

use self::aborted::Aborted;
pub(super) use self::witness::Witness;
use self::witness::{Seen, sorted};
use crate::wire::{
    error::{ErrorCode, Remedy},
    messages::AbortedTransaction,
    records::{Batch, BatchHeader, Batches, RecordsError},
};

/// The next offset to read of one partition, and the leader epoch of the record before it: by that the leader notices
/// when its log and ours have parted (KIP-320).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    position: i64,
    leader_epoch: Option<i32>,
    /// Whether a batch that was read ended here: then the next one does not begin below.
    behind_batch: bool,
}

/// What a broker answers for one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) records: Bytes,
    /// The aborted transactions; `None` where uncommitted records are read too.
    pub(super) aborted: Option<Vec<AbortedTransaction>>,
    pub(super) high_watermark: i64,
    /// The epoch that the leader was asked with, -1 where unknown.
    pub(super) leader_epoch: i32,
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
    /// What a second answer has to show again before it is believed.
    pub(super) doubt: Witness,
}

/// What is wrong with an answer's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A batch cannot be read; those before it were taken. With where the log goes on behind it, where that shows.
    Corrupt(RecordsError, Option<i64>),
    /// There are bytes, but no whole batch.
    NoProgress(usize),
}

impl Cursor {
    /// The epoch is that of the record before, where known.
    pub(super) const fn at(position: i64, leader_epoch: Option<i32>) -> Self {
        Self {
            position,
            leader_epoch,
            behind_batch: false,
        }
    }

    pub(super) const fn leader_epoch(self) -> Option<i32> {
        self.leader_epoch
    }

    pub(super) const fn position(self) -> i64 {
        self.position
    }

    /// Takes in the records of an answer, moving on behind them. `witness` is what the answer before from this position
    /// left in doubt.
    pub(super) fn take(&mut self, answer: Answer, witness: Witness) -> Taken {
        let bytes = answer.records.len();
        let from = *self;
        let mut taken = Taken {
            from: self.position,
            next_offset: self.position,
            ..Taken::default()
        };
        if bytes == 0 {
            taken.doubt = witness;
            return taken;
        }
        let committed = answer.aborted.is_some();
        let listed = sorted(answer.aborted.as_deref().unwrap_or_default());
        let mut aborted = Aborted::new(&listed, committed);
        // Runs ahead of `self` once something is in doubt, to see what else a second answer has to show.
        let mut ahead = *self;
        let mut doubted = None;
        let mut batches = Batches::new(answer.records);
        while let Some(batch) = batches.next() {
            let judged = match batch {
                Ok(batch) => ahead
                    .judge(batch.header(), answer.high_watermark, answer.leader_epoch)
                    .map_err(|what| refused(&batch, contradiction(&batch, what)))
                    .map(|strange| (batch, strange)),
                Err(error) => Err(Fault::Corrupt(error, batches.past_error())),
            };
            let (batch, strange) = match judged {
                Ok(judged) => judged,
                Err(fault) => {
                    if doubted.is_none() {
                        taken.fault = Some(fault);
                    }
                    break;
                }
            };
            let header = batch.header();
            let seen = Seen::of(ahead.position, header);
            ahead.pass(header);
            let believed = (!strange || witness.saw(&seen)) && witness.agrees(&listed, header);
            if strange {
                taken.doubt.strange.push(seen);
            }
            if doubted.is_none() && !believed {
                doubted = Some(header.base_offset);
            }
            if doubted.is_some() {
                continue;
            }
            match aborted.shows(&batch) {
                Ok(shown) if shown && header.record_count != 0 => taken.batches.push(batch),
                Ok(_) => {}
                Err(error) => {
                    // Which batches the list got wrong is not known: none of them is shown.
                    ahead = from;
                    taken.batches.clear();
                    taken.fault = Some(refused(&batch, error));
                    *self = ahead;
                    break;
                }
            }
            *self = ahead;
        }
        taken.next_offset = self.position;
        if *self != from {
            taken.leader_epoch = self.leader_epoch;
        }
        match doubted {
            // The answer before said something else of the very first batch.
            Some(base_offset) if *self == from && witness.is_of(from.position) => {
                let what = "two answers from the same offset show different batches";
                let error = RecordsError::Contradiction { base_offset, what };
                taken.fault = Some(Fault::Corrupt(error, None));
            }
            None if taken.fault.is_none() && *self == from => {
                taken.fault = Some(Fault::NoProgress(bytes));
            }
            _ => {}
        }
        if doubted.is_some() && (*self == from || listed.is_empty()) {
            taken.doubt.begin(self.position, ahead.position, listed);
        } else if doubted.is_some() {
            // The next list leaves out what ended before: it cannot be compared with this one.
            taken.doubt.begin(self.position, self.position, Vec::new());
        } else {
            taken.doubt = Witness::default();
        }
        taken
    }

    /// Whether a batch that comes next is strange: to be believed only when it is shown again.
    ///
    /// # Errors
    /// What no healthy broker shows.
    fn judge(
        &self,
        header: &BatchHeader,
        high_watermark: i64,
        leader_epoch: i32,
    ) -> Result<bool, &'static str> {
        let epoch = header.partition_leader_epoch;
        if header.base_offset < 0 || header.last_offset() == i64::MAX {
            return Err("its base offset is none that a log can have");
        }
        if header.next_offset() <= self.position {
            return Err("it ends below the offset that was asked for");
        }
        if self.behind_batch && header.base_offset < self.position {
            return Err("it overlaps the batch before it");
        }
        if epoch < -1 || (leader_epoch >= 0 && epoch > leader_epoch) {
            return Err("its leader epoch is none that this leader can have had");
        }
        let before = self.leader_epoch.filter(|_| self.behind_batch);
        if epoch >= 0 && before.is_some_and(|before| epoch < before) {
            return Err("its leader epoch is lower than that of the batch before it");
        }
        Ok(!self.behind_batch
            || header.base_offset != self.position
            || known(epoch) != self.leader_epoch
            || header.next_offset() > high_watermark)
    }

    /// Goes on behind a batch.
    fn pass(&mut self, header: &BatchHeader) {
        *self = Self {
            position: header.next_offset(),
            leader_epoch: known(header.partition_leader_epoch),
            behind_batch: true,
        };
    }
}

fn known(epoch: i32) -> Option<i32> {
    (epoch >= 0).then_some(epoch)
}

fn refused(batch: &Batch, error: RecordsError) -> Fault {
    Fault::Corrupt(error, Some(batch.header().next_offset()))
}

/// What to do about an error that a broker answers for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Learn the leader anew, and ask again after a pause.
    Refresh,
    /// Look where the log begins and ends, and go on there.
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
