//! One partition's log: record batches as they came, in the order in which they came. Pure.
//!
//! * Offsets are dense: a batch begins where the one before ended, so `start ≤ end` and the batches cover `start..end`.
//! * A batch is never cut: reads return whole batches, beginning with the one that holds the offset (as Kafka does; the
//!   client passes over the records before it).
//! * Only offset and leader epoch of a batch are written, which its checksum does not cover. What is kept is a copy, so that
//!   a small batch does not hold the whole request it came in.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::wire::{
    error::ErrorCode,
    records::{Batch, Batches, Scratch, assign_offset},
};

/// What a batch costs besides its bytes: its place in the log's and the eviction order's queues.
const BATCH_OVERHEAD: usize = 128;

/// A batch at its place.
#[derive(Clone, Debug)]
struct Stored {
    base_offset: i64,
    last_offset: i64,
    max_timestamp: i64,
    bytes: Bytes,
}

impl Stored {
    fn cost(&self) -> usize {
        self.bytes.len().saturating_add(BATCH_OVERHEAD)
    }
}

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) offset: i64,
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
}

/// One partition's log.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    batches: VecDeque<Stored>,
    start: i64,
    end: i64,
}

impl Log {
    /// The first offset that can be read.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// The offset that the next record gets. With one replica and no transactions it is the high watermark and the last
    /// stable offset too.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// Appends a batch; returns its base offset and what it costs in memory.
    pub(super) fn append(&mut self, batch: &Batch) -> (i64, usize) {
        let header = batch.header();
        let base_offset = self.end;
        let mut bytes = BytesMut::from(&batch.bytes()[..]);
        assign_offset(&mut bytes, base_offset, LEADER_EPOCH);
        let stored = Stored {
            base_offset,
            last_offset: base_offset.saturating_add(i64::from(header.last_offset_delta.max(0))),
            max_timestamp: header.max_timestamp,
            bytes: bytes.freeze(),
        };
        let cost = stored.cost();
        self.end = stored.last_offset.saturating_add(1);
        self.batches.push_back(stored);
        (base_offset, cost)
    }

    /// Forgets the oldest batch; returns what that saves.
    pub(super) fn evict(&mut self) -> usize {
        let Some(oldest) = self.batches.pop_front() else {
            return 0;
        };
        self.start = oldest.last_offset.saturating_add(1);
        oldest.cost()
    }

    /// Loses the newest batch.
    #[cfg(test)]
    pub(super) fn lose(&mut self) {
        if let Some(newest) = self.batches.pop_back() {
            self.end = newest.base_offset;
        }
    }

    /// What all its batches cost in memory.
    pub(super) fn cost(&self) -> usize {
        self.batches.iter().map(Stored::cost).sum()
    }

    /// The batches from the one that holds `offset` on, as many as fit into `limit` bytes; the first one even if it does
    /// not fit, where `at_least_one` (KIP-74).
    fn batches_at(
        &self,
        offset: i64,
        limit: usize,
        at_least_one: bool,
    ) -> Result<impl Iterator<Item = &Stored>, ErrorCode> {
        if !(self.start..=self.end).contains(&offset) {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let first = self
            .batches
            .partition_point(|batch| batch.last_offset < offset);
        let mut total = 0_usize;
        Ok(self
            .batches
            .iter()
            .skip(first)
            .enumerate()
            .take_while(move |(index, batch)| {
                total = total.saturating_add(batch.bytes.len());
                total <= limit || (*index == 0 && at_least_one)
            })
            .map(|(_, batch)| batch))
    }

    /// How many bytes [`Log::read`] would return.
    ///
    /// # Errors
    /// OFFSET_OUT_OF_RANGE outside of `start..=end`.
    pub(super) fn available(
        &self,
        offset: i64,
        limit: usize,
        at_least_one: bool,
    ) -> Result<usize, ErrorCode> {
        Ok(self
            .batches_at(offset, limit, at_least_one)?
            .map(|batch| batch.bytes.len())
            .sum())
    }

    /// Whole batches, at most `limit` bytes, but at least one batch where `at_least_one`; nothing at the end.
    ///
    /// # Errors
    /// OFFSET_OUT_OF_RANGE outside of `start..=end`.
    pub(super) fn read(
        &self,
        offset: i64,
        limit: usize,
        at_least_one: bool,
    ) -> Result<Bytes, ErrorCode> {
        let mut batches = self.batches_at(offset, limit, at_least_one)?;
        let (Some(first), second) = (batches.next(), batches.next()) else {
            return Ok(Bytes::new());
        };
        let Some(second) = second else {
            return Ok(first.bytes.clone());
        };
        let mut joined = BytesMut::from(&first.bytes[..]);
        joined.extend_from_slice(&second.bytes);
        for batch in batches {
            joined.extend_from_slice(&batch.bytes);
        }
        Ok(joined.freeze())
    }

    /// The first record whose timestamp is at least `timestamp` (ListOffsets by time).
    pub(super) fn find(&self, timestamp: i64) -> Option<Found> {
        self.batches
            .iter()
            .filter(|batch| batch.max_timestamp >= timestamp)
            .find_map(|batch| first_record_at(batch, timestamp))
    }

    /// The record with the largest timestamp (KIP-734).
    pub(super) fn latest(&self) -> Option<Found> {
        let batch = self
            .batches
            .iter()
            .rev()
            .max_by_key(|batch| batch.max_timestamp)?;
        first_record_at(batch, batch.max_timestamp)
    }
}

/// Records are not looked into when they are appended, so one that cannot be decoded stands for its whole batch.
fn first_record_at(stored: &Stored, timestamp: i64) -> Option<Found> {
    let whole = Found {
        offset: stored.base_offset,
        timestamp: stored.max_timestamp,
    };
    let Some(Ok(batch)) = Batches::new(stored.bytes.clone()).next() else {
        return Some(whole);
    };
    let mut scratch = Scratch::new();
    let Ok(records) = batch.records(&mut scratch) else {
        return Some(whole);
    };
    for record in records {
        match record {
            Ok(record) if record.timestamp_ms >= timestamp => {
                return Some(Found {
                    offset: record.offset,
                    timestamp: record.timestamp_ms,
                });
            }
            Ok(_) => {}
            Err(_) => return Some(whole),
        }
    }
    None
}

/// The epoch of its leadership, which never changes hands.
pub(super) const LEADER_EPOCH: i32 = 0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::broker::testing::batch;

    fn timestamps() -> impl Strategy<Value = Vec<i64>> {
        proptest::collection::vec(0_i64..50, 1..6)
    }

    proptest! {
        /// Against the plainest model: a list of (offset, timestamp).
        #[test]
        fn reads_and_searches_agree_with_a_list(
            batches in proptest::collection::vec(timestamps(), 0..8),
            evicted in 0_usize..4,
            offset in -2_i64..50,
            limit in 0_usize..1_000,
            wanted in 0_i64..60,
        ) {
            let mut log = Log::default();
            let mut model = Vec::new();
            let mut cost = 0;
            for timestamps in &batches {
                let base = model.iter().map(Vec::len).sum::<usize>() as i64;
                let (offset, bytes) = log.append(&batch(timestamps, None));
                prop_assert_eq!(offset, base);
                cost += bytes;
                model.push(timestamps.iter().zip(base..).map(|(time, offset)| (offset, *time)).collect());
            }
            for _ in 0..evicted {
                cost -= log.evict();
                if !model.is_empty() {
                    model.remove(0);
                }
            }
            let end: usize = batches.iter().map(Vec::len).sum();
            prop_assert_eq!(log.end(), end as i64);
            prop_assert_eq!(log.start(), model.first().map_or(log.end(), |batch| batch[0].0));
            prop_assert_eq!(model.is_empty(), cost == 0);

            let found = model.iter().flatten().find(|(_, time)| *time >= wanted);
            prop_assert_eq!(log.find(wanted), found.map(|&(offset, timestamp)| Found { offset, timestamp }));
            let latest = model.iter().flatten().map(|(_, time)| *time).max();
            prop_assert_eq!(log.latest().map(|found| found.timestamp), latest);

            let in_range = (log.start()..=log.end()).contains(&offset);
            prop_assert_eq!(log.read(offset, limit, true).is_ok(), in_range);
            if in_range {
                let bytes = log.read(offset, limit, true).unwrap();
                prop_assert_eq!(log.available(offset, limit, true), Ok(bytes.len()));
                let read: Vec<_> = Batches::new(bytes.clone()).map(Result::unwrap).collect();
                prop_assert_eq!(read.iter().map(|batch| batch.bytes().len()).sum::<usize>(), bytes.len());
                prop_assert!(bytes.len() <= limit || read.len() == 1);
                prop_assert_eq!(read.is_empty(), offset == log.end());
                if let Some(first) = read.first() {
                    prop_assert!(first.header().base_offset <= offset && offset <= first.header().last_offset());
                }
                prop_assert!(log.read(offset, limit, false).unwrap().len() <= limit);
            }
        }
    }
}
