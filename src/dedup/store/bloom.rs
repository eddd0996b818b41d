//! Which ids are certainly not in a run, told from memory: a Bloom filter of one 64-bit word an id.
//!
//! Nearly every event that is offered is new, and each would otherwise cost a read of every run. A byte an id in memory
//! leaves some 3 of 100 new ones to be read for; what is in the run is never denied. Pure.

/// Above so many ids a run has no filter: memory stays bounded, and looking up becomes slower.
const MAX_IDS: u64 = 16 << 20;

/// Ids that share a word.
const IDS_A_WORD: u64 = 8;

/// Bits that an id sets in its word.
const BITS: u32 = 4;

/// A filter; an empty one denies nothing.
#[derive(Debug)]
pub(in crate::dedup) struct BloomFilter {
    words: Vec<u64>,
}

impl BloomFilter {
    /// For about so many ids.
    pub(in crate::dedup) fn new(ids: u64) -> Self {
        let words = match ids {
            0..=MAX_IDS => ids / IDS_A_WORD + 1,
            _ => 0,
        };
        Self {
            words: vec![0; words as usize],
        }
    }

    /// The place of an id's word, and its bits.
    fn place(&self, id: u128) -> (usize, u64) {
        let folded = (id ^ (id >> 64)) as u64;
        let first = (folded ^ (folded >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = (u128::from(first) * self.words.len() as u128) >> 64;
        let mut second = (first ^ (first >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mut bits = 0;
        for _ in 0..BITS {
            bits |= 1 << (second >> 58);
            second <<= 6;
        }
        (place as usize, bits)
    }

    pub(in crate::dedup) fn insert(&mut self, id: u128) {
        let (place, bits) = self.place(id);
        if let Some(word) = self.words.get_mut(place) {
            *word |= bits;
        }
    }

    /// Whether the id may have been inserted.
    pub(in crate::dedup) fn may_hold(&self, id: u128) -> bool {
        let (place, bits) = self.place(id);
        self.words.get(place).is_none_or(|word| word & bits == bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_in_is_never_denied(ids in prop::collection::vec(any::<u128>(), 0..300), expected in 0_u64..400) {
            let mut filter = BloomFilter::new(expected);
            ids.iter().for_each(|id| filter.insert(*id));
            prop_assert!(ids.iter().all(|id| filter.may_hold(*id)));
        }
    }

    #[test]
    fn few_others_are_let_through() {
        // Numbers in a row, as an unkind choice of ids.
        let mut filter = BloomFilter::new(100_000);
        (0..100_000).for_each(|id| filter.insert(id));
        let through = (100_000..200_000).filter(|id| filter.may_hold(*id)).count();
        assert!(through < 6_000, "{through}");
        assert!(
            BloomFilter::new(MAX_IDS + 1).may_hold(7),
            "too many for a filter"
        );
    }
}
