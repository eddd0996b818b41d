//! Records gathering into batches: one open batch a partition, closed by size, by age or by a flush. Pure: `now` is an
//! argument.
//!
//! A record is encoded once, straight into its batch. The bytes of all batches that are not done with, here and on
//! their way, are bounded; a record that does not fit any more waits outside.

use super::delivery::{BatchOutcome, Delivery};
use super::partitioner::{Partitioner, Scheme};
use crate::wire::records::{BatchBuilder, EncodeError, NewRecord};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a first batch reserves, so that a thousand quiet partitions do not take a thousand full batches' memory.
const FIRST_CAPACITY: usize = 16 << 10;

/// How many buffers are kept for batches to come: as many as are usually filled and sent at the same time.
const SPARES: usize = 8;

/// When batches are closed and how much may be buffered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes at which a batch is closed (`Kafka.BatchSize`); a single record may be longer.
    pub(super) batch_size: usize,
    /// How long a batch waits for more records (`Kafka.LingerMs`).
    pub(super) linger: Duration,
    /// Bytes of all batches not done with (`Kafka.QueueBufferingMaxKbytes`).
    pub(super) buffer: usize,
}

/// A batch with the promise that was made about it.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Names the batch until [`Accumulator::release`].
    pub(super) id: u64,
    pub(super) builder: BatchBuilder,
    pub(super) outcome: Arc<BatchOutcome>,
    /// When its first record came.
    pub(super) opened: Instant,
}

/// What became of a record that was offered.
#[derive(Debug)]
pub(super) enum Offered {
    /// It is in a batch; `wake` says that whoever sends batches has something new to do.
    Taken { delivery: Delivery, wake: bool },
    /// There is no memory for it now.
    Full,
}

#[derive(Debug, Default)]
struct Partition {
    open: Option<Gathered>,
    closed: VecDeque<Gathered>,
    /// The last batch's size: the next one's will be about the same.
    capacity: usize,
}

/// The batches that were not taken yet, and the account of all that are not done with.
#[derive(Debug)]
pub(super) struct Accumulator {
    limits: Limits,
    partitioner: Partitioner,
    partitions: Vec<Partition>,
    buffered: usize,
    /// Buffers of batches that are done with, for the next ones.
    spare: Vec<Vec<u8>>,
    /// A record waits for memory: no batch may linger.
    starved: bool,
    /// Promises not kept yet, by batch.
    outstanding: BTreeMap<u64, Arc<BatchOutcome>>,
    ids: u64,
}

impl Accumulator {
    pub(super) fn new(limits: Limits, partitions: u32, scheme: Scheme, seed: u64) -> Self {
        let mut new = Self {
            limits,
            partitioner: Partitioner::new(scheme, seed),
            partitions: Vec::new(),
            buffered: 0,
            spare: Vec::new(),
            starved: false,
            outstanding: BTreeMap::new(),
            ids: 0,
        };
        new.grow(partitions);
        new
    }

    /// Takes note that the topic has more partitions; it never has fewer.
    pub(super) fn grow(&mut self, partitions: u32) {
        let partitions = (partitions as usize).max(self.partitions.len());
        self.partitions.resize_with(partitions, Partition::default);
    }

    /// Gives back memory that a batch took, before compression: it, or a part of it, is done with.
    pub(super) fn release(&mut self, id: u64, bytes: usize, last: bool) {
        if last {
            self.outstanding.remove(&id);
        }
        self.buffered = self.buffered.saturating_sub(bytes);
    }

    /// Takes back the buffer of a batch that is gone, for the next one.
    pub(super) fn recycle(&mut self, buffer: Vec<u8>) {
        let sane = buffer.capacity() <= 2 * self.limits.batch_size;
        if sane && self.spare.len() < SPARES {
            self.spare.push(buffer);
        }
    }

    /// Puts a record into its partition's batch; the clock is read only when that is a new one.
    ///
    /// # Errors
    /// When the record alone is longer than a batch can be.
    pub(super) fn offer(
        &mut self,
        record: &NewRecord<'_>,
        now: impl FnOnce() -> Instant,
    ) -> Result<Offered, EncodeError> {
        let index = self
            .partitioner
            .partition(record.key, self.partitions.len() as u32);
        let Some(partition) = self.partitions.get_mut(index as usize) else {
            return Ok(Offered::Full);
        };
        let mut wake = false;
        let mut before = partition.open.as_ref().map_or(0, |of| of.builder.size());
        let mut after = match &partition.open {
            Some(open) => open.builder.size_with(record),
            None => BatchBuilder::first_size(record),
        };
        if after > self.limits.batch_size
            && let Some(open) = partition.open.take()
        {
            partition.close(open);
            self.partitioner.batch_closed(index);
            wake = true;
            (before, after) = (0, BatchBuilder::first_size(record));
        }
        let added = after - before;
        // One record always fits into an empty buffer: `Producer::send` refuses what is longer than the buffer.
        if self.buffered > 0 && self.buffered + added > self.limits.buffer {
            self.starved = true;
            return Ok(Offered::Full);
        }
        self.starved = false;

        let is_new = partition.open.is_none();
        let capacity = partition.capacity.max(FIRST_CAPACITY).max(after);
        let open = partition.open.get_or_insert_with(|| {
            self.ids += 1;
            let outcome = BatchOutcome::new(index as i32);
            self.outstanding.insert(self.ids, Arc::clone(&outcome));
            Gathered {
                id: self.ids,
                builder: match self.spare.pop_if(|spare| spare.capacity() >= after) {
                    Some(spare) => BatchBuilder::reuse(spare),
                    None => BatchBuilder::with_capacity(capacity),
                },
                outcome,
                opened: now(),
            }
        });
        let delivery = Delivery {
            index: open.builder.append(record)?,
            batch: Arc::clone(&open.outcome),
        };
        self.buffered += added;
        Ok(Offered::Taken {
            delivery,
            wake: wake || is_new,
        })
    }

    /// Takes the oldest batch of `partition` that is due: closed, or open for as long as it may be, or any when
    /// everything has to go (`flush`, or a record waits for memory).
    pub(super) fn take(&mut self, partition: u32, now: Instant, flush: bool) -> Option<Gathered> {
        let linger = self.limits.linger;
        let of = self.partitions.get_mut(partition as usize)?;
        if let Some(closed) = of.closed.pop_front() {
            return Some(closed);
        }
        let at_once = flush || self.starved;
        let due = |open: &mut Gathered| at_once || now >= open.opened + linger;
        let open = of.open.take_if(due)?;
        of.capacity = open.builder.size();
        self.partitioner.batch_closed(partition);
        Some(open)
    }

    /// When the open batch of `partition` is due, if nothing closes it before.
    pub(super) fn due_at(&self, partition: u32) -> Option<Instant> {
        let of = self.partitions.get(partition as usize)?;
        match of.closed.front() {
            Some(closed) => Some(closed.opened),
            None => of
                .open
                .as_ref()
                .map(|open| open.opened + self.limits.linger),
        }
    }

    /// The promises about all batches that are not done with.
    pub(super) fn outstanding(&self) -> Vec<Arc<BatchOutcome>> {
        self.outstanding.values().map(Arc::clone).collect()
    }
}

impl Partition {
    fn close(&mut self, open: Gathered) {
        self.capacity = open.builder.size();
        self.closed.push_back(open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        batch_size: 300,
        linger: Duration::from_millis(5),
        buffer: 1_000,
    };

    fn record(value: &[u8]) -> NewRecord<'_> {
        NewRecord {
            key: Some(b"IBM"),
            value: Some(value),
            ..NewRecord::default()
        }
    }

    fn taken(offered: Offered) -> (Delivery, bool) {
        match offered {
            Offered::Taken { delivery, wake } => (delivery, wake),
            Offered::Full => panic!("full"),
        }
    }

    #[test]
    fn a_batch_is_closed_by_size_then_by_age() {
        let start = Instant::now();
        let mut accumulator = Accumulator::new(LIMITS, 1, Scheme::Murmur2, 0);
        let (first, wake) = taken(accumulator.offer(&record(&[0; 100]), || start).unwrap());
        assert!(wake, "the linger timer has to be set");
        let (second, wake) = taken(accumulator.offer(&record(&[0; 100]), || start).unwrap());
        assert!(!wake && Arc::ptr_eq(&first.batch, &second.batch));
        assert!(accumulator.take(0, start, false).is_none());

        let (third, wake) = taken(accumulator.offer(&record(&[0; 100]), || start).unwrap());
        assert!(wake && !Arc::ptr_eq(&first.batch, &third.batch));
        assert_eq!(
            accumulator.take(0, start, false).unwrap().builder.count(),
            2
        );
        assert!(accumulator.take(0, start, false).is_none());
        assert_eq!(accumulator.due_at(0), Some(start + LIMITS.linger));
        let later = start + LIMITS.linger;
        assert_eq!(
            accumulator.take(0, later, false).unwrap().builder.count(),
            1
        );
        assert_eq!(accumulator.due_at(0), None);
        assert_eq!(accumulator.outstanding().len(), 2);
    }

    #[test]
    fn a_flush_takes_what_is_open() {
        let now = Instant::now();
        let mut accumulator = Accumulator::new(LIMITS, 1, Scheme::Murmur2, 0);
        taken(accumulator.offer(&record(b"x"), || now).unwrap());
        assert!(accumulator.take(0, now, false).is_none());
        assert!(accumulator.take(0, now, true).is_some());
    }

    #[test]
    fn a_record_longer_than_a_batch_travels_alone() {
        let now = Instant::now();
        let mut accumulator = Accumulator::new(LIMITS, 1, Scheme::Murmur2, 0);
        taken(accumulator.offer(&record(b"small"), || now).unwrap());
        taken(accumulator.offer(&record(&[0; 500]), || now).unwrap());
        taken(accumulator.offer(&record(b"small"), || now).unwrap());
        for _ in 0..3 {
            assert_eq!(accumulator.take(0, now, true).unwrap().builder.count(), 1);
        }
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_given_back(sizes in proptest::collection::vec(0..400_usize, 1..100)) {
            let now = Instant::now();
            let mut accumulator = Accumulator::new(LIMITS, 3, Scheme::Murmur2, 0);
            for size in sizes {
                let value = vec![0; size];
                let key = [size as u8];
                let record = NewRecord { key: Some(&key), value: Some(&value), ..NewRecord::default() };
                while let Offered::Full = accumulator.offer(&record, || now).unwrap() {
                    let gathered = (0..3).find_map(|partition| accumulator.take(partition, now, true)).unwrap();
                    accumulator.release(gathered.id, gathered.builder.size(), true);
                }
                prop_assert!(accumulator.buffered <= LIMITS.buffer);
            }
            while let Some(gathered) = (0..3).find_map(|partition| accumulator.take(partition, now, true)) {
                accumulator.release(gathered.id, gathered.builder.size(), true);
            }
            prop_assert_eq!(accumulator.buffered, 0);
            prop_assert!(accumulator.outstanding().is_empty());
        }
    }
}
