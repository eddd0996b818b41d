//! Which partition a record goes to, by the rules of Java or of librdkafka, so that our records and another client's with
//! the same key meet.
//!
//! A key is hashed with murmur2 as Java's `Utils.murmur2` does (`Partitioner=murmur2_random` in librdkafka's words), or
//! with CRC-32 as librdkafka and the clients around it do by default (`consistent_random`; there an empty key counts as
//! none). A record without a key goes where the last one without a key went until that batch is closed, then to another
//! partition drawn at random (KIP-480): batches fill up, and over time the partitions get equal shares. Pure: the
//! seed is an argument.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

/// How a key finds its partition (`Kafka.Partitioner`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Java's: `murmur2_random`.
    Murmur2,
    /// librdkafka's: `consistent_random`.
    Crc32,
}

/// Chooses partitions.
#[derive(Clone, Debug)]
pub(super) struct Partitioner {
    scheme: Scheme,
    random: Pcg32,
    sticky: Option<u32>,
}

impl Partitioner {
    /// Keyless records are spread by `seed`.
    pub(super) fn new(scheme: Scheme, seed: u64) -> Self {
        Self {
            scheme,
            random: Pcg32::seed_from_u64(seed),
            sticky: None,
        }
    }

    /// The partition of a record with `key`, among `partitions` (at least 1).
    pub(super) fn partition(&mut self, key: Option<&[u8]>, partitions: u32) -> u32 {
        let partitions = partitions.max(1);
        match (self.scheme, key) {
            (Scheme::Murmur2, Some(key)) => (murmur2(key) & 0x7fff_ffff) % partitions,
            (Scheme::Crc32, Some(key)) if !key.is_empty() => crc32fast::hash(key) % partitions,
            _ => match self.sticky {
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
    fn hashes_as_librdkafka_does() {
        // The check value of CRC-32/ISO-HDLC, then one more of zlib.
        for (key, hash) in [
            ("123456789", 0xcbf4_3926_u32),
            ("this is a key", 0x8b48_a98b),
        ] {
            let mut partitioner = Partitioner::new(Scheme::Crc32, 1);
            for partitions in [2, 3, 7, 1_000] {
                let chosen = partitioner.partition(Some(key.as_bytes()), partitions);
                assert_eq!(chosen, hash % partitions, "{key}");
            }
        }
    }

    #[test]
    fn an_empty_key_is_a_key_for_java_alone() {
        let spread = |scheme| {
            let mut partitioner = Partitioner::new(scheme, 3);
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..100 {
                let chosen = partitioner.partition(Some(b""), 8);
                partitioner.batch_closed(chosen);
                seen.insert(chosen);
            }
            seen.len()
        };
        assert_eq!(spread(Scheme::Murmur2), 1);
        assert!(spread(Scheme::Crc32) > 1);
    }

    #[test]
    fn keyless_records_stay_together_until_their_batch_is_closed() {
        let mut partitioner = Partitioner::new(Scheme::Murmur2, 7);
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
        fn stays_within_the_topic(
            key: Option<Vec<u8>>, scheme in prop_oneof![Just(Scheme::Murmur2), Just(Scheme::Crc32)],
            partitions in 1..5_000_u32, fewer in 1..50_u32, seed: u64) {
            let mut partitioner = Partitioner::new(scheme, seed);
            let key_again = key.clone();
            let chosen = partitioner.partition(key.as_deref(), partitions);
            prop_assert!(chosen < partitions);
            prop_assert!(partitioner.partition(key.as_deref(), fewer) < fewer);
            if key.is_some_and(|key| !key.is_empty() || scheme == Scheme::Murmur2) {
                prop_assert_eq!(partitioner.partition(key_again.as_deref(), partitions), chosen);
            }
        }
    }
}
