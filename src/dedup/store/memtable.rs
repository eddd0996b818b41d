//! The ids that are in no run yet, in memory. Pure.

use std::collections::HashMap;

use super::record_position::{Cuts, Entry, RecordPosition};

/// Ids and places.
#[derive(Debug, Default)]
pub(in crate::dedup) struct Memtable {
    ids: HashMap<u128, RecordPosition>,
    /// Of ids that are on several partitions: the other places.
    more: Vec<Entry>,
}

impl Memtable {
    /// Notes an id. Of two places on a partition the first is kept: that one is there as long as the other is.
    pub(in crate::dedup) fn insert(&mut self, id: u128, place: RecordPosition) {
        let kept = self.ids.entry(id).or_insert(place);
        match kept.partition == place.partition {
            true => kept.offset = kept.offset.min(place.offset),
            false => self.more.push((id, place)),
        }
    }

    pub(in crate::dedup) fn contains(&self, id: u128) -> bool {
        self.ids.contains_key(&id)
    }

    pub(in crate::dedup) fn len(&self) -> usize {
        self.ids.len() + self.more.len()
    }

    pub(in crate::dedup) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Forgets the places that do not count, and ids that have no other.
    pub(in crate::dedup) fn cut(&mut self, cuts: &Cuts) {
        for (id, place) in std::mem::take(self).sorted() {
            if place.counts(cuts) {
                self.insert(id, place);
            }
        }
    }

    /// All of it, as a run is sorted.
    pub(in crate::dedup) fn sorted(&self) -> Vec<Entry> {
        let ids = self.ids.iter().map(|(id, place)| (*id, *place));
        let mut entries: Vec<Entry> = ids.chain(self.more.iter().copied()).collect();
        entries.sort_unstable();
        entries
    }

    pub(in crate::dedup) fn clear(&mut self) {
        self.ids.clear();
        self.more.clear();
    }
}
