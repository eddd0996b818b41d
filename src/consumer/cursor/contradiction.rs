//! Answers that contradict themselves.

use crate::wire::records::{Batch, RecordsError};

pub(super) fn contradiction(batch: &Batch, what: &'static str) -> RecordsError {
    RecordsError::Contradiction {
        base_offset: batch.header().base_offset,
        what,
    }
}
