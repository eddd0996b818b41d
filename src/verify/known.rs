//! What a state knows of files, to be compared with what it knows a moment later. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::files::Due;
use crate::sink::{Checkpoint, Form};

/// What a state knows.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// By their places.
    files: BTreeMap<String, Due>,
    /// Places where files are being made or taken away.
    loose: BTreeSet<String>,
    /// Nobody writes.
    pub(super) clean: bool,
}

impl Known {
    pub(super) fn new(checkpoint: &Checkpoint, due: BTreeMap<String, Due>) -> Self {
        let files = due.into_iter();
        let files = files.map(|(name, due)| (due.state.form.place(&name), due));
        Self {
            files: files.collect(),
            loose: checkpoint.loose.clone(),
            clean: checkpoint.clean,
        }
    }

    /// Whether there is to be a file.
    pub(super) fn has(&self, place: &str) -> bool {
        self.files.contains_key(place)
    }

    pub(super) fn is_loose(&self, place: &str) -> bool {
        self.loose.contains(place)
    }

    /// Whether all that this state knows of a file holds in a later one, too, so that it held in between: files only grow. One
    /// that is about to get its name may have it at any moment.
    pub(super) fn is_still(&self, place: &str, now: &Self) -> bool {
        match (self.files.get(place), now.files.get(place)) {
            (Some(then), Some(now)) => {
                let is_leaving = now.state.closing && now.state.form == Form::Hidden;
                !is_leaving && then.packed == now.packed && then.state.len <= now.state.len
            }
            _ => false,
        }
    }

    /// Whether a file has grown by as much at least.
    pub(super) fn has_grown(&self, place: &str, more: u64, now: &Self) -> bool {
        match (self.files.get(place), now.files.get(place)) {
            (Some(then), Some(now)) => then.state.len + more <= now.state.len,
            _ => false,
        }
    }
}
