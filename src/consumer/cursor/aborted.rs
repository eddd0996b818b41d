//! Which batches belong to transactions that were aborted. Pure; lives as long as one answer, as its list does.

use std::collections::HashSet;

use super::contradiction;
use crate::wire::records::{Batch, ControlType, RecordsError, Scratch};

#[derive(Debug)]
pub(super) struct Aborted<'a> {
    /// First offset and producer id, the lowest first.
    ahead: &'a [(i64, i64)],
    /// Producers whose aborted transaction began and has not ended.
    open: HashSet<i64>,
    /// Producers whose records were shown since their last marker.
    shown: HashSet<i64>,
    /// Whether there is a list at all.
    committed: bool,
}

impl<'a> Aborted<'a> {
    pub(super) fn new(sorted: &'a [(i64, i64)], committed: bool) -> Self {
        Self {
            ahead: sorted,
            open: HashSet::new(),
            shown: HashSet::new(),
            committed,
        }
    }

    /// Whether the batch's records are to be shown. Batches have to come in their order.
    ///
    /// # Errors
    /// When a marker cannot be read, or says of a transaction what the list does not.
    pub(super) fn shows(&mut self, batch: &Batch) -> Result<bool, RecordsError> {
        let header = batch.header();
        let producer = header.producer_id;
        while let Some((&(first_offset, producer), rest)) = self.ahead.split_first()
            && first_offset <= header.last_offset()
        {
            self.ahead = rest;
            self.open.insert(producer);
        }
        if !header.is_control() {
            let shown = !(header.is_transactional() && self.open.contains(&producer));
            if shown && header.is_transactional() && self.committed {
                self.shown.insert(producer);
            }
            return Ok(shown);
        }
        // Markers of transactions that wrote nothing here are in no list.
        let shown = self.shown.remove(&producer);
        let open = self.open.contains(&producer);
        if shown || open {
            match marker(batch)? {
                Some(ControlType::Abort) if shown => {
                    let what = "it aborts a transaction that is not in the list of aborted ones";
                    return Err(contradiction(batch, what));
                }
                Some(ControlType::Abort) => {
                    self.open.remove(&producer);
                }
                Some(ControlType::Commit) if open => {
                    let what = "it commits a transaction that is in the list of aborted ones";
                    return Err(contradiction(batch, what));
                }
                _ => {}
            }
        }
        Ok(false)
    }
}

fn marker(batch: &Batch) -> Result<Option<ControlType>, RecordsError> {
    let mut scratch = Scratch::new();
    match batch.records(&mut scratch)?.next() {
        Some(record) => Ok(ControlType::from_record(&record?)),
        None => Ok(None),
    }
}
