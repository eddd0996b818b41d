//! Which partition a record goes to: Java's default rules, so that our records and another client's with the same key meet.
//!
//! A key is hashed with murmur2 as Java's `Utils.murmur2` does (`Partitioner=murmur2_random` in librdkafka's words). A
//! record without a key goes where the last one without a key went until that batch is closed, then to another
//! partition drawn at random (KIP-480): batches fill up, and over time the partitions get equal shares. Pure: the
//! seed is an argument.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

/// Chooses partitions.
#[derive(Clone, Debug)]
pub(super) struct Partitioner {
    random: Pcg32,
    sticky: Option<u32>,
}

impl Partitioner {
    /// Keyless records are spread by `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Pcg32::seed_from_u64(seed),
            sticky: None,
        }
    }

    /// The partition of a record with `key`, among `partitions` (at least 1).
    pub(super) fn partition(&mut self, key: Option<&[u8]>, partitions: u32) -> u32 {
        let partitions = partitions.max(1);
        match key {
            Some(key) => (murmur2(key) & 0x7fff_ffff) % partitions,
            None => match self.sticky {
                Some(sticky) if sticky < partitions => sticky,
                _ => *self.sticky.insert(self.random.next_u32() % partitions),
            },
        }
    }

    /// Notes that a batch of `partition` is closed: keyless records go elsewhere from now on.
    pub(super) fn batch_closed(&mut self, partition: u32) {
        if self.sticky == Some(partition) {
            self.sticky = None;
        }
    }
}

/// 32-bit murmur2 with Java's seed.
pub(super) fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SHIFT: u32 = 24;

    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        k ^= k >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ k.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        for (&byte, shift) in tail.iter().zip([0, 8, 16]) {
            hash ^= u32::from(byte) << shift;
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hashes_as_java_does() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn keyless_records_stay_together_until_their_batch_is_closed() {
        let mut partitioner = Partitioner::new(7);
        let mut seen = [0; 4];
        for _ in 0..400 {
            let first = partitioner.partition(None, 4);
            for _ in 0..10 {
                assert_eq!(partitioner.partition(None, 4), first);
            }
            partitioner.batch_closed((first + 1) % 4);
            assert_eq!(
                partitioner.partition(None, 4),
                first,
                "another partition's batch"
            );
            partitioner.batch_closed(first);
            seen[first as usize] += 1;
        }
        assert!(seen.iter().all(|&times| times > 50), "{seen:?}");
    }

    proptest! {
        #[test]
        fn stays_within_the_topic(key: Option<Vec<u8>>, partitions in 1..5_000_u32, fewer in 1..50_u32, seed: u64) {
            let mut partitioner = Partitioner::new(seed);
            let chosen = partitioner.partition(key.as_deref(), partitions);
            prop_assert!(chosen < partitions);
            prop_assert!(partitioner.partition(key.as_deref(), fewer) < fewer);
            if key.is_some() {
                prop_assert_eq!(partitioner.partition(key.as_deref(), partitions), chosen);
            }
        }
    }
}
