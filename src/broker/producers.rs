//! Idempotence: which batches of which producers a partition has already. Pure.
//!
//! The rules are Kafka's (KIP-98, KIP-360): per producer the last five batches are remembered, so that a producer with
//! five requests in flight can send each of them again. A batch that is remembered is a success with its old offset; one
//! that leaves a gap is OUT_OF_ORDER_SEQUENCE_NUMBER; an older epoch is INVALID_PRODUCER_EPOCH; a new epoch begins at 0; and
//! a producer that is not known may begin anywhere, because its records may have been evicted.

use std::collections::{HashMap, VecDeque};

use crate::wire::{
    error::ErrorCode,
    records::{Batch, ProducerIdentity},
};

/// How many batches of a producer are remembered: what clients may have in flight with idempotence.
const REMEMBERED_BATCHES: usize = 5;

/// How many producers a partition remembers; the one that was silent for longest is forgotten first. A restarted producer is
/// a new one, so this is far more than ever write at the same time.
const MAX_PRODUCERS: usize = 1_024;

#[derive(Clone, Copy, Debug)]
struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

#[derive(Clone, Debug)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Remembered>,
    last_append: u64,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new.
    Append,
    /// It is in the log already, at this offset.
    Duplicate(i64),
}

/// The producers of one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Producers {
    known: HashMap<i64, Producer>,
    appends: u64,
}

/// The sequence number `count` behind `sequence`; behind the largest comes 0.
fn advance(sequence: i32, count: i32) -> i32 {
    let next = (i64::from(sequence) + i64::from(count)) % (i64::from(i32::MAX) + 1);
    next as i32
}

fn last_sequence(identity: ProducerIdentity, batch: &Batch) -> i32 {
    advance(
        identity.base_sequence,
        batch.header().last_offset_delta.max(0),
    )
}

impl Producers {
    /// Judges a batch before it is appended.
    ///
    /// # Errors
    /// INVALID_RECORD, INVALID_PRODUCER_EPOCH or OUT_OF_ORDER_SEQUENCE_NUMBER, as Kafka answers.
    pub(super) fn judge(&self, batch: &Batch) -> Result<Verdict, ErrorCode> {
        let Some(identity) = batch.header().identity() else {
            return Ok(Verdict::Append);
        };
        if identity.epoch < 0 || identity.base_sequence < 0 {
            return Err(ErrorCode::INVALID_RECORD);
        }
        let Some(known) = self.known.get(&identity.id) else {
            return Ok(Verdict::Append);
        };
        let (first, last) = (identity.base_sequence, last_sequence(identity, batch));
        match identity.epoch.cmp(&known.epoch) {
            std::cmp::Ordering::Less => Err(ErrorCode::INVALID_PRODUCER_EPOCH),
            std::cmp::Ordering::Greater if first == 0 => Ok(Verdict::Append),
            std::cmp::Ordering::Greater => Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
            std::cmp::Ordering::Equal => {
                let again = known
                    .batches
                    .iter()
                    .find(|batch| batch.first_sequence == first && batch.last_sequence == last);
                if let Some(again) = again {
                    return Ok(Verdict::Duplicate(again.base_offset));
                }
                match known.batches.back() {
                    Some(newest) if advance(newest.last_sequence, 1) != first => {
                        Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
                    }
                    _ => Ok(Verdict::Append),
                }
            }
        }
    }

    /// Remembers a batch that was appended at `base_offset`.
    pub(super) fn appended(&mut self, batch: &Batch, base_offset: i64) {
        let Some(identity) = batch.header().identity() else {
            return;
        };
        self.appends += 1;
        if self.known.len() >= MAX_PRODUCERS && !self.known.contains_key(&identity.id) {
            let silent = self
                .known
                .iter()
                .min_by_key(|(_, producer)| producer.last_append);
            if let Some(id) = silent.map(|(id, _)| *id) {
                self.known.remove(&id);
            }
        }
        let producer = self.known.entry(identity.id).or_insert_with(|| Producer {
            epoch: identity.epoch,
            batches: VecDeque::with_capacity(REMEMBERED_BATCHES),
            last_append: 0,
        });
        if producer.epoch != identity.epoch {
            producer.epoch = identity.epoch;
            producer.batches.clear();
        }
        if producer.batches.len() >= REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            first_sequence: identity.base_sequence,
            last_sequence: last_sequence(identity, batch),
            base_offset,
        });
        producer.last_append = self.appends;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::broker::testing::batch;

    fn sequenced(id: i64, epoch: i16, base_sequence: i32, count: usize) -> Batch {
        let identity = ProducerIdentity {
            id,
            epoch,
            base_sequence,
        };
        batch(&vec![0; count], Some(identity))
    }

    /// What a partition does with a batch: its offset, or the error.
    fn append(
        producers: &mut Producers,
        log: &mut Vec<(i64, i16, i32)>,
        batch: &Batch,
    ) -> Result<i64, ErrorCode> {
        match producers.judge(batch)? {
            Verdict::Duplicate(offset) => Ok(offset),
            Verdict::Append => {
                let offset = log.len() as i64;
                let identity = batch.header().identity().unwrap();
                for index in 0..batch.header().record_count {
                    log.push((
                        identity.id,
                        identity.epoch,
                        advance(identity.base_sequence, index),
                    ));
                }
                producers.appended(batch, offset);
                Ok(offset)
            }
        }
    }

    #[test]
    fn the_rules_one_by_one() {
        let mut producers = Producers::default();
        let mut log = Vec::new();
        let mut send = |epoch, sequence, count| {
            append(
                &mut producers,
                &mut log,
                &sequenced(7, epoch, sequence, count),
            )
        };
        assert_eq!(send(3, 10, 2), Ok(0), "unknown producers begin anywhere");
        assert_eq!(send(3, 10, 2), Ok(0), "again");
        assert_eq!(
            send(3, 13, 1),
            Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
            "a gap"
        );
        assert_eq!(
            send(3, 10, 1),
            Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
            "another batch in an old place"
        );
        assert_eq!(send(3, 12, 1), Ok(2));
        assert_eq!(send(2, 13, 1), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
        assert_eq!(send(4, 13, 1), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        assert_eq!(send(4, 0, 1), Ok(3), "a new epoch begins at 0");
        assert_eq!(send(3, 12, 1), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
        assert_eq!(send(4, -1, 1), Err(ErrorCode::INVALID_RECORD));
    }

    #[test]
    fn sequences_wrap() {
        assert_eq!(advance(i32::MAX, 1), 0);
        let mut producers = Producers::default();
        let mut log = Vec::new();
        let last = sequenced(1, 0, i32::MAX - 1, 3);
        assert_eq!(append(&mut producers, &mut log, &last), Ok(0));
        assert_eq!(
            append(&mut producers, &mut log, &sequenced(1, 0, 1, 1)),
            Ok(3)
        );
        assert_eq!(append(&mut producers, &mut log, &last), Ok(0));
    }

    #[test]
    fn the_silent_are_forgotten_first() {
        let mut producers = Producers::default();
        for id in 0..=MAX_PRODUCERS as i64 {
            producers.appended(&sequenced(id, 0, 5, 1), id);
        }
        assert_eq!(producers.known.len(), MAX_PRODUCERS);
        assert!(!producers.known.contains_key(&0));
    }

    proptest! {
        /// A producer sends five batches at a time and each any number of times in any order; it retries what failed.
        /// However the retries fall, the log holds each record once and in order.
        #[test]
        fn retries_never_double_or_reorder(
            sizes in proptest::collection::vec(1_usize..4, 1..20),
            picks in proptest::collection::vec(0_usize..REMEMBERED_BATCHES, 0..200),
        ) {
            let mut sequence = 0;
            let mut all = Vec::new();
            for size in &sizes {
                all.push(sequenced(1, 0, sequence, *size));
                sequence += *size as i32;
            }
            let mut producers = Producers::default();
            let mut log = Vec::new();
            let mut acknowledged = vec![None; all.len()];
            let in_order = (0..all.len()).flat_map(|_| 0..REMEMBERED_BATCHES);
            // An unknown producer may begin anywhere: this one begins at 0.
            for pick in std::iter::once(0).chain(picks).chain(in_order) {
                let oldest = acknowledged.iter().position(Option::is_none).unwrap_or(all.len());
                let window = oldest.min(all.len().saturating_sub(REMEMBERED_BATCHES));
                let index = (window + pick).min(all.len() - 1);
                if let Ok(offset) = append(&mut producers, &mut log, &all[index]) {
                    prop_assert!(acknowledged[index].is_none_or(|before| before == offset));
                    acknowledged[index] = Some(offset);
                }
            }
            let sequences: Vec<_> = log.iter().map(|(_, _, sequence)| *sequence).collect();
            prop_assert_eq!(sequences, (0..sequence).collect::<Vec<_>>());
        }
    }
}
