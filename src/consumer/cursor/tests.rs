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
    fn answer(&self, position: i64, size: usize) -> Answer {
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
        Answer {
            records: bytes.into(),
            aborted: Some(aborted.collect()),
            high_watermark: self.end,
            leader_epoch: 7,
        }
    }
}

/// Asks until the end of the log and shows what came. `spoil` may change each answer, which it gets with its number.
fn read_all(
    log: &Log,
    start: i64,
    sizes: &[usize],
    mut spoil: impl FnMut(usize, &mut Answer),
) -> Result<(Vec<i64>, i64), TestCaseError> {
    let end = log.batches.last().map_or(0, |(_, next, _)| *next);
    let mut cursor = Cursor::at(start, None);
    let (mut seen, mut doubt) = (Vec::new(), Witness::default());
    let mut sizes = sizes.iter().cycle().enumerate();
    let mut still = 0;
    while cursor.position() < end {
        let (number, size) = sizes.next().unwrap();
        let mut answer = log.answer(cursor.position(), *size);
        spoil(number, &mut answer);
        let before = cursor.position();
        let mut taken = cursor.take(answer, std::mem::take(&mut doubt));
        doubt = std::mem::take(&mut taken.doubt);
        prop_assert_eq!(taken.from, before);
        prop_assert_eq!(taken.next_offset, cursor.position());
        if taken.next_offset == before {
            prop_assert!(taken.batches.is_empty());
            still += 1;
            prop_assert!(still <= 4, "it never moves: {:?}", taken.fault);
        } else {
            still = 0;
        }
        seen.extend(offsets(&taken));
    }
    Ok((seen, cursor.position()))
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
        let mut answers = 0;
        let (seen, position) = read_all(&log, start, &sizes, |_, _| answers += 1)?;
        let expected: Vec<_> = log.visible.range(start..).copied().collect();
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(position, end.max(start));
        prop_assert!(answers <= 2 * log.batches.len(), "no answer is asked for more than twice");
    }

    /// One flipped bit where no checksum is, in any answer: the records are right all the same.
    #[test]
    fn believes_no_flipped_bit(
        ops in prop::collection::vec(op(), 1..30),
        start in 0..60i64,
        sizes in prop::collection::vec(0..900usize, 1..8),
        number in 0..12usize,
        place in any::<prop::sample::Index>(),
        field in 0..6u8,
        bit in 0..64u32,
    ) {
        let log = Log::of(&ops);
        let (seen, _) = read_all(&log, start, &sizes, |asked, answer| {
            if asked == number {
                flip(answer, place, field, bit);
            }
        })?;
        let expected: Vec<_> = log.visible.range(start..).copied().collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn no_bytes_panic_or_move_backwards(bytes in prop::collection::vec(any::<u8>(), 0..200), position in 0..100i64) {
        let mut cursor = Cursor::at(position, None);
        let answer = Answer { records: bytes.into(), ..Answer::default() };
        let taken = cursor.take(answer, Witness::default());
        prop_assert!(taken.next_offset >= position);
    }
}

/// Flips a bit of a base offset or a leader epoch, of the list of aborted transactions, or of the high watermark.
fn flip(answer: &mut Answer, place: prop::sample::Index, field: u8, bit: u32) {
    let aborted = answer.aborted.as_mut().unwrap();
    match field {
        0..=3 => {
            let mut starts = vec![];
            let mut at = 0;
            while let Some(length) = answer.records.get(at + 8..at + 12) {
                starts.push(at);
                at += 12 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            }
            let mut bytes = answer.records.to_vec();
            // The low bits are the ones that can be mistaken for what compaction does.
            let (from, bits) = match field {
                0 => (12, bit % 32),
                1 => (0, bit),
                _ => (0, bit % 6),
            };
            let last = if from == 12 { 15 } else { 7 };
            if let Some(at) = (!starts.is_empty()).then(|| starts[place.index(starts.len())])
                && let Some(byte) = bytes.get_mut(at + last - bits as usize / 8)
            {
                *byte ^= 1 << (bits % 8);
            }
            answer.records = bytes.into();
        }
        4 if !aborted.is_empty() => {
            let index = place.index(aborted.len());
            if bit.is_multiple_of(2) {
                aborted[index].first_offset ^= 1 << (bit / 8);
            } else {
                aborted[index].producer_id ^= 1 << (bit / 16);
            }
        }
        _ => answer.high_watermark ^= 1 << bit,
    }
}

/// An answer of these batches.
fn answer(records: impl Into<Bytes>) -> Answer {
    Answer {
        records: records.into(),
        aborted: Some(Vec::new()),
        high_watermark: 1_000,
        leader_epoch: 7,
    }
}

/// What is taken when an answer is the same twice.
fn twice(cursor: &mut Cursor, answer: &Answer) -> Taken {
    let first = cursor.take(answer.clone(), Witness::default());
    assert!(
        first.batches.is_empty() && first.fault.is_none(),
        "{first:?}"
    );
    cursor.take(answer.clone(), first.doubt)
}

fn contradicts(taken: &Taken, expected: &str) -> bool {
    matches!(&taken.fault, Some(Fault::Corrupt(RecordsError::Contradiction { what, .. }, _)) if what.contains(expected))
}

#[test]
fn takes_what_comes_before_a_damaged_batch() {
    let mut bytes = batch(0, &[b"a", b"b"], 0, 0, -1, Codec::None);
    let whole = bytes.len();
    bytes.extend(batch(2, &[b"c"], 0, 0, -1, Codec::None));
    bytes[whole + 62] ^= 1;
    let mut cursor = Cursor::at(1, None);
    let taken = twice(&mut cursor, &answer(bytes));
    assert_eq!(offsets(&taken), [1]);
    assert_eq!(cursor.position(), 2);
    assert!(matches!(
        taken.fault,
        Some(Fault::Corrupt(RecordsError::Crc { base_offset: 2, .. }, _))
    ));
}

#[test]
fn refuses_what_no_broker_can_mean() {
    let one = |base| batch(base, &[b"a"], 0, 0, -1, Codec::None);
    let taken = Cursor::at(5, None).take(answer(one(0)), Witness::default());
    assert!(contradicts(&taken, "ends below"), "{taken:?}");

    // Behind a batch that was read, the next one cannot begin below.
    let mut cursor = Cursor::at(0, None);
    twice(&mut cursor, &answer(one(0)));
    let two = batch(0, &[b"a", b"b"], 0, 0, -1, Codec::None);
    let taken = cursor.take(answer(two), Witness::default());
    assert!(contradicts(&taken, "overlaps"), "{taken:?}");

    let mut older = one(1);
    assign_offset(&mut older, 1, 6);
    let taken = cursor.take(answer(older), Witness::default());
    assert!(contradicts(&taken, "lower than that"), "{taken:?}");

    let mut newer = one(1);
    assign_offset(&mut newer, 1, 8);
    let taken = cursor.take(answer(newer), Witness::default());
    assert!(contradicts(&taken, "none that this leader"), "{taken:?}");

    // The answer before was another one.
    let first = Cursor::at(0, None).take(answer(one(2)), Witness::default());
    let taken = Cursor::at(0, None).take(answer(one(3)), first.doubt);
    assert!(contradicts(&taken, "two answers"), "{taken:?}");
    assert!(taken.batches.is_empty());
}

#[test]
fn refuses_markers_that_contradict_the_list() {
    let marker = |abort: bool| {
        let key = [0, 0, 0, u8::from(!abort)];
        batch(1, &[&key], 0, TRANSACTIONAL | CONTROL, 1, Codec::None)
    };
    let data = batch(0, &[b"a"], 0, TRANSACTIONAL, 1, Codec::None);
    let aborts = answer([data.clone(), marker(true)].concat());
    let mut cursor = Cursor::at(0, None);
    let taken = twice(&mut cursor, &aborts);
    assert!(contradicts(&taken, "not in the list"), "{taken:?}");
    assert!(
        taken.batches.is_empty(),
        "nothing of such an answer is shown"
    );
    assert_eq!(cursor, Cursor::at(0, None));

    let mut commits = answer([data, marker(false)].concat());
    commits.aborted = Some(vec![AbortedTransaction {
        producer_id: 1,
        first_offset: 0,
    }]);
    let taken = twice(&mut Cursor::at(0, None), &commits);
    assert!(contradicts(&taken, "in the list"), "{taken:?}");

    let uncommitted = Answer {
        aborted: None,
        ..aborts
    };
    let taken = twice(&mut Cursor::at(0, None), &uncommitted);
    assert_eq!((offsets(&taken), taken.fault), (vec![0], None));
}

#[test]
fn says_when_nothing_moves() {
    let whole = Bytes::from(batch(0, &[b"a"], 0, 0, -1, Codec::None));
    let cut = whole.slice(..whole.len() - 1);
    let taken = Cursor::at(0, None).take(answer(cut.clone()), Witness::default());
    assert_eq!(taken.fault, Some(Fault::NoProgress(cut.len())));
    let taken = Cursor::at(0, None).take(answer(Bytes::new()), Witness::default());
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
