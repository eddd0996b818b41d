//! The cursor against a model log: data, holes, markers, aborted transactions, answers that are cut anywhere.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::wire::records::{BatchBuilder, Codec, HEADER_LEN, NewRecord, Scratch, assign_offset};

const TRANSACTIONAL: i16 = 0b1_0000;
const CONTROL: i16 = 0b10_0000;

/// A batch whose header says what the builder has no need for.
fn batch(
    base_offset: i64,
    keys: &[&[u8]],
    hole: i32,
    attributes: i16,
    producer: i64,
    codec: Codec,
) -> Vec<u8> {
    let mut builder = BatchBuilder::with_capacity(256);
    for key in keys {
        let record = NewRecord {
            key: Some(key),
            ..NewRecord::default()
        };
        builder.append(&record).unwrap();
    }
    let mut bytes = builder.finish(codec, None, false).unwrap().bytes().to_vec();
    let last_delta = keys.len() as i32 - 1 + hole;
    bytes[23..27].copy_from_slice(&last_delta.to_be_bytes());
    let attributes = i16::from_be_bytes([bytes[21], bytes[22]]) | attributes;
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    bytes[43..51].copy_from_slice(&producer.to_be_bytes());
    seal(&mut bytes, base_offset);
    bytes
}

/// A batch that compaction emptied.
fn emptied(base_offset: i64, last_delta: i32) -> Vec<u8> {
    let mut bytes = batch(base_offset, &[b"k"], last_delta, 0, -1, Codec::None);
    bytes.truncate(HEADER_LEN);
    bytes[8..12].copy_from_slice(&(HEADER_LEN as i32 - 12).to_be_bytes());
    bytes[57..61].copy_from_slice(&0i32.to_be_bytes());
    seal(&mut bytes, base_offset);
    bytes
}

fn seal(bytes: &mut [u8], base_offset: i64) {
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    assign_offset(bytes, base_offset, 7);
}

fn offsets(taken: &Taken) -> Vec<i64> {
    let mut scratch = Scratch::new();
    let mut offsets = Vec::new();
    for batch in &taken.batches {
        for record in batch.records(&mut scratch).unwrap() {
            offsets.push(record.unwrap().offset);
        }
    }
    offsets.retain(|offset| *offset >= taken.from);
    offsets
}

#[derive(Clone, Debug)]
enum Op {
    Data {
        producer: Option<i64>,
        records: usize,
        hole: i32,
        compressed: bool,
    },
    Marker {
        producer: i64,
        abort: bool,
    },
    Emptied(i32),
    /// Offsets that compaction left nothing of.
    Gap(i64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (prop::option::of(1..4i64), 1..5usize, 0..3i32, any::<bool>())
            .prop_map(|(producer, records, hole, compressed)| Op::Data { producer, records, hole, compressed }),
        2 => (1..4i64, any::<bool>()).prop_map(|(producer, abort)| Op::Marker { producer, abort }),
        1 => (0..4i32).prop_map(Op::Emptied),
        1 => (1..4i64).prop_map(Op::Gap),
    ]
}

#[derive(Default)]
struct Log {
    /// First offset, offset behind the batch, bytes.
    batches: Vec<(i64, i64, Vec<u8>)>,
    end: i64,
    visible: BTreeSet<i64>,
    /// Producer, first offset, offset of the marker.
    aborted: Vec<(i64, i64, i64)>,
    open: BTreeMap<i64, (i64, Vec<i64>)>,
}

impl Log {
    fn of(ops: &[Op]) -> Self {
        let mut log = Self::default();
        for op in ops {
            log.append(op);
        }
        for producer in 1..4 {
            if log.open.contains_key(&producer) {
                log.append(&Op::Marker {
                    producer,
                    abort: producer == 2,
                });
            }
        }
        log
    }

    fn push(&mut self, next: i64, bytes: Vec<u8>) {
        self.batches.push((self.end, next, bytes));
        self.end = next;
    }

    fn append(&mut self, op: &Op) {
        let start = self.end;
        match *op {
            Op::Data {
                producer,
                records,
                hole,
                compressed,
            } => {
                let keys = vec![&b"a key that is long enough to be compressed"[..]; records];
                let codec = if compressed { Codec::Lz4 } else { Codec::None };
                let attributes = producer.map_or(0, |_| TRANSACTIONAL);
                let bytes = batch(
                    start,
                    &keys,
                    hole,
                    attributes,
                    producer.unwrap_or(-1),
                    codec,
                );
                let offsets: Vec<_> = (start..start + records as i64).collect();
                match producer {
                    Some(producer) => {
                        self.open
                            .entry(producer)
                            .or_insert((start, Vec::new()))
                            .1
                            .extend(offsets);
                    }
                    None => self.visible.extend(offsets),
                }
                self.push(start + records as i64 + i64::from(hole), bytes);
            }
            Op::Marker { producer, abort } => {
                let key = [0, 0, 0, u8::from(!abort)];
                let attributes = TRANSACTIONAL | CONTROL;
                self.push(
                    start + 1,
                    batch(start, &[&key], 0, attributes, producer, Codec::None),
                );
                if let Some((first, offsets)) = self.open.remove(&producer) {
                    if abort {
                        self.aborted.push((producer, first, start));
                    } else {
                        self.visible.extend(offsets);
                    }
                }
            }
            Op::Emptied(last_delta) => {
                self.push(
                    start + 1 + i64::from(last_delta),
                    emptied(start, last_delta),
                );
            }
            Op::Gap(size) => self.end += size,
        }
    }

    /// What a broker answers at `position`: whole batches from the one that holds it, cut after `size` bytes.
    fn answer(&self, position: i64, size: usize) -> (Bytes, Vec<AbortedTransaction>) {
        let mut bytes = Vec::new();
        for (_, next, batch) in &self.batches {
            if *next > position {
                // The first batch always is whole (KIP-74).
                let room = if bytes.is_empty() {
                    batch.len()
                } else {
                    size.saturating_sub(bytes.len())
                };
                bytes.extend_from_slice(&batch[..batch.len().min(room)]);
            }
        }
        let aborted = self
            .aborted
            .iter()
            .filter(|(_, _, marker)| *marker >= position);
        let aborted = aborted.map(|&(producer_id, first_offset, _)| AbortedTransaction {
            producer_id,
            first_offset,
        });
        (bytes.into(), aborted.collect())
    }
}

proptest! {
    #[test]
    fn shows_each_committed_record_once(
        ops in prop::collection::vec(op(), 0..30),
        start in 0..60i64,
        sizes in prop::collection::vec(0..900usize, 1..8),
    ) {
        let log = Log::of(&ops);
        let end = log.batches.last().map_or(0, |(_, next, _)| *next);
        let mut cursor = Cursor::at(start, None);
        let mut seen = Vec::new();
        let mut sizes = sizes.iter().cycle();
        while cursor.position() < end {
            let (records, aborted) = log.answer(cursor.position(), *sizes.next().unwrap());
            let before = cursor.position();
            let taken = cursor.take(records, &aborted);
            prop_assert_eq!(&taken.fault, &None);
            prop_assert_eq!(taken.from, before);
            prop_assert_eq!(taken.next_offset, cursor.position());
            prop_assert!(taken.next_offset > before, "a whole batch always moves the position");
            prop_assert_eq!(taken.leader_epoch, Some(7));
            seen.extend(offsets(&taken));
        }
        let expected: Vec<_> = log.visible.range(start..).copied().collect();
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(cursor.position(), end.max(start));
    }

    #[test]
    fn no_bytes_panic_or_move_backwards(bytes in prop::collection::vec(any::<u8>(), 0..200), position in 0..100i64) {
        let mut cursor = Cursor::at(position, None);
        let taken = cursor.take(bytes.into(), &[]);
        prop_assert!(taken.next_offset >= position);
    }
}

#[test]
fn takes_what_comes_before_a_damaged_batch() {
    let mut bytes = batch(0, &[b"a", b"b"], 0, 0, -1, Codec::None);
    let whole = bytes.len();
    bytes.extend(batch(2, &[b"c"], 0, 0, -1, Codec::None));
    bytes[whole + 62] ^= 1;
    let mut cursor = Cursor::at(1, None);
    let taken = cursor.take(bytes.into(), &[]);
    assert_eq!(offsets(&taken), [1]);
    assert_eq!(cursor.position(), 2);
    assert!(matches!(
        taken.fault,
        Some(Fault::Corrupt(RecordsError::Crc { base_offset: 2, .. }, _))
    ));
}

#[test]
fn says_when_nothing_moves() {
    let below = batch(0, &[b"a"], 0, 0, -1, Codec::None);
    let length = below.len();
    let taken = Cursor::at(5, None).take(below.clone().into(), &[]);
    assert_eq!(taken.fault, Some(Fault::NoProgress(length)));
    let taken = Cursor::at(0, None).take(Bytes::from(below).slice(..length - 1), &[]);
    assert_eq!(taken.fault, Some(Fault::NoProgress(length - 1)));
    let taken = Cursor::at(0, None).take(Bytes::new(), &[]);
    assert_eq!(taken.fault, None);
}

#[test]
fn knows_what_helps() {
    assert_eq!(action(ErrorCode::OFFSET_OUT_OF_RANGE), Action::Reset);
    assert_eq!(action(ErrorCode::NOT_LEADER_OR_FOLLOWER), Action::Refresh);
    assert_eq!(action(ErrorCode::FENCED_LEADER_EPOCH), Action::Refresh);
    assert_eq!(action(ErrorCode::UNKNOWN_LEADER_EPOCH), Action::Refresh);
    assert_eq!(action(ErrorCode::CORRUPT_MESSAGE), Action::Suspect);
    assert_eq!(action(ErrorCode::TOPIC_AUTHORIZATION_FAILED), Action::Fail);
}
