//! Where the record of an id lies, and from where on places do not count any more. Pure.

use std::collections::BTreeMap;

/// Bytes of a place on disk.
pub(in crate::dedup) const PLACE: usize = 12;

/// A partition and an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::dedup) struct RecordPosition {
    pub(in crate::dedup) partition: i32,
    pub(in crate::dedup) offset: i64,
}

/// An id and the place of its record.
pub(in crate::dedup) type Entry = (u128, RecordPosition);

/// By partition: from which offset on ids do not count. [`UNKNOWN_PARTITION`] stands for ids whose place nobody knows.
pub(in crate::dedup) type Cuts = BTreeMap<i32, i64>;

/// The partition of ids that were kept before places were.
pub(in crate::dedup) const UNKNOWN_PARTITION: i32 = -1;

/// Cuts away all of such ids.
pub(in crate::dedup) const ALL_UNKNOWN: (i32, i64) = (UNKNOWN_PARTITION, i64::MIN);

impl RecordPosition {
    pub(in crate::dedup) const UNKNOWN: Self = Self {
        partition: UNKNOWN_PARTITION,
        offset: i64::MAX,
    };

    pub(in crate::dedup) const fn new(partition: i32, offset: i64) -> Self {
        Self { partition, offset }
    }

    pub(in crate::dedup) fn counts(self, cuts: &Cuts) -> bool {
        cuts.get(&self.partition)
            .is_none_or(|from| self.offset < *from)
    }

    pub(in crate::dedup) fn to_bytes(self) -> [u8; PLACE] {
        let mut bytes = [0; PLACE];
        let (partition, offset) = bytes.split_at_mut(size_of::<i32>());
        partition.copy_from_slice(&self.partition.to_be_bytes());
        offset.copy_from_slice(&self.offset.to_be_bytes());
        bytes
    }

    pub(in crate::dedup) fn from_bytes(bytes: [u8; PLACE]) -> Self {
        let [a, b, c, d, offset @ ..] = bytes;
        Self {
            partition: i32::from_be_bytes([a, b, c, d]),
            offset: i64::from_be_bytes(offset),
        }
    }
}

/// Cuts what lies from `from` on of a partition, unless it is cut further ahead already.
pub(in crate::dedup) fn cut_at(cuts: &mut Cuts, partition: i32, from: i64) {
    cuts.entry(partition)
        .and_modify(|before| *before = from.min(*before))
        .or_insert(from);
}
