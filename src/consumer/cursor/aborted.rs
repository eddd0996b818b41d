//! Which batches belong to transactions that were aborted. Pure; lives as long as one answer, as its list does.

use std::collections::HashSet;

use crate::wire::{
    messages::AbortedTransaction,
    records::{Batch, ControlType, RecordsError, Scratch},
};

#[derive(Debug)]
pub(super) struct Aborted {
    /// First offset and producer id, the lowest last.
    ahead: Vec<(i64, i64)>,
    /// Producers whose aborted transaction began and has not ended.
    open: HashSet<i64>,
}

impl Aborted {
    pub(super) fn new(listed: &[AbortedTransaction]) -> Self {
        let mut ahead: Vec<_> = listed
            .iter()
            .map(|transaction| (transaction.first_offset, transaction.producer_id))
            .collect();
        ahead.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            ahead,
            open: HashSet::new(),
        }
    }

    /// Whether the batch's records are to be shown. Batches have to come in their order.
    pub(super) fn shows(&mut self, batch: &Batch) -> Result<bool, RecordsError> {
        let header = batch.header();
        while let Some(&(first_offset, producer)) = self.ahead.last()
            && first_offset <= header.last_offset()
        {
            self.ahead.pop();
            self.open.insert(producer);
        }
        if header.is_control() {
            if self.open.contains(&header.producer_id) && ends_in_abort(batch)? {
                self.open.remove(&header.producer_id);
            }
            return Ok(false);
        }
        Ok(!(header.is_transactional() && self.open.contains(&header.producer_id)))
    }
}

fn ends_in_abort(batch: &Batch) -> Result<bool, RecordsError> {
    let mut scratch = Scratch::new();
    match batch.records(&mut scratch)?.next() {
        Some(record) => Ok(ControlType::from_record(&record?) == Some(ControlType::Abort)),
        None => Ok(false),
    }
}
