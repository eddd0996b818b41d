//! What became of records that were taken in.

use crate::event::ReasonCounts;

/// What became of the records of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Rows written.
    pub rows: u64,
    /// Records kept as dead letters.
    pub dead_letters: u64,
    /// Records without a value, passed over.
    pub tombstones: u64,
    /// Records that are no trades, passed over because the settings say so.
    pub skipped: u64,
    /// Dead letters and records passed over, by reason.
    pub reasons: ReasonCounts,
}

impl Appended {
    /// Adds another's figures.
    pub fn add(&mut self, more: Self) {
        self.rows += more.rows;
        self.dead_letters += more.dead_letters;
        self.tombstones += more.tombstones;
        self.skipped += more.skipped;
        self.reasons.add(&more.reasons);
    }
}
