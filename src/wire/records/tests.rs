//! Properties of the whole codec, with two foreign implementations as oracles.

mod cases;
mod large;

use super::*;
use bytes::{Bytes, BytesMut};
use kafka_protocol::records as oracle;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rskafka::protocol::record::RecordBatch;
use rskafka::protocol::traits::{ReadType, WriteType};
use std::io::Cursor;

/// A record that owns its bytes, so that strategies can make it and oracles can be asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    timestamp_ms: i64,
}

const CODECS: [Codec; 5] = [
    Codec::None,
    Codec::Gzip,
    Codec::Snappy,
    Codec::Lz4,
    Codec::Zstd,
];

fn record() -> impl Strategy<Value = Owned> {
    (
        option::of(vec(any::<u8>(), 0..40)),
        option::of(vec(prop_oneof![Just(b'a'), any::<u8>()], 0..300)),
        vec(("[a-z]{0,8}", vec(any::<u8>(), 0..20)), 0..3),
        0..4_000_000_000_000_i64,
    )
        .prop_map(|(key, value, headers, timestamp_ms)| Owned {
            key,
            value,
            headers,
            timestamp_ms,
        })
}

fn identity() -> impl Strategy<Value = Option<ProducerIdentity>> {
    option::of(
        (0..i64::MAX, 0..i16::MAX, 0..i32::MAX).prop_map(|(id, epoch, base_sequence)| {
            ProducerIdentity {
                id,
                epoch,
                base_sequence,
            }
        }),
    )
}

fn build(records: &[Owned]) -> BatchBuilder {
    let mut builder = BatchBuilder::with_capacity(0);
    for (index, record) in records.iter().enumerate() {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_slice()))
            .collect();
        let new = NewRecord {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
            timestamp_ms: record.timestamp_ms,
        };
        let foreseen = builder.size_with(&new);
        assert_eq!(builder.append(&new).unwrap() as usize, index);
        assert_eq!(builder.size(), foreseen);
    }
    builder
}

fn owned(record: &Record<'_>) -> Owned {
    Owned {
        key: record.key.map(Vec::from),
        value: record.value.map(Vec::from),
        headers: record
            .headers
            .iter()
            .map(|header| {
                let header = header.unwrap();
                (
                    String::from_utf8(header.key.to_vec()).unwrap(),
                    header.value.unwrap().to_vec(),
                )
            })
            .collect(),
        timestamp_ms: record.timestamp_ms,
    }
}

fn only(bytes: &Bytes) -> Batch {
    let mut batches = Batches::new(bytes.clone());
    let batch = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none());
    assert_eq!(batches.remaining(), 0);
    batch
}

fn read(batch: &Batch) -> Vec<Owned> {
    let mut scratch = Scratch::new();
    let base = batch.header().base_offset;
    batch
        .records(&mut scratch)
        .unwrap()
        .enumerate()
        .map(|(index, record)| {
            let record = record.unwrap();
            assert_eq!(record.offset, base + index as i64);
            owned(&record)
        })
        .collect()
}

/// Walks over everything that can be walked over, and only must not panic.
fn exercise(bytes: Bytes) {
    let mut scratch = Scratch::new();
    for batch in Batches::new(bytes).flatten() {
        if let Ok(records) = batch.records(&mut scratch) {
            for record in records.flatten() {
                record.headers.iter().for_each(drop);
                ControlType::from_record(&record);
            }
        }
    }
}

/// Makes the checksum right again, so that mutations reach what lies behind it.
fn reseal(bytes: &mut [u8]) {
    if bytes.len() >= HEADER_LEN {
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

proptest! {
    #[test]
    fn round_trip(records in vec(record(), 1..40), identity in identity(), codec in 0..CODECS.len(), base in 0..1_i64 << 60) {
        let frozen = build(&records).finish(CODECS[codec], identity, false).unwrap();
        let mut bytes = BytesMut::from(&frozen.bytes()[..]);
        assign_offset(&mut bytes, base, 7);
        let batch = only(&bytes.freeze());
        prop_assert_eq!(read(&batch), records.clone());
        let header = batch.header();
        prop_assert_eq!(header.identity(), identity);
        prop_assert_eq!(header.partition_leader_epoch, 7);
        prop_assert_eq!(header.record_count, frozen.count());
        prop_assert_eq!(header.next_offset(), base + records.len() as i64);
        prop_assert_eq!(Some(header.max_timestamp), records.iter().map(|r| r.timestamp_ms).max());
        prop_assert!(!header.is_control() && !header.is_transactional());
    }

    #[test]
    fn stamping_again_is_stamping_at_once(records in vec(record(), 1..5), first in identity(), second in identity()) {
        let mut frozen = build(&records).finish(Codec::None, first, false).unwrap();
        let held = frozen.bytes().clone();
        frozen.restamp(second);
        prop_assert_eq!(only(&held).header().identity(), first);
        prop_assert_eq!(&frozen, &build(&records).finish(Codec::None, second, false).unwrap());
        drop(held);
        frozen.restamp(first);
        prop_assert_eq!(&frozen, &build(&records).finish(Codec::None, first, false).unwrap());
    }

    #[test]
    fn rskafka_agrees(records in vec(record(), 1..10), identity in identity()) {
        let frozen = build(&records).finish(Codec::None, identity, false).unwrap();
        let theirs = RecordBatch::read(&mut Cursor::new(&frozen.bytes()[..]));
        let theirs = theirs.unwrap();
        prop_assert_eq!(theirs.producer_id, identity.map_or(-1, |i| i.id));
        prop_assert_eq!(theirs.base_sequence, identity.map_or(-1, |i| i.base_sequence));
        let mut written = Vec::new();
        theirs.write(&mut written).unwrap();
        prop_assert_eq!(&written[..], &frozen.bytes()[..], "what it read it writes as we did, bit for bit");
    }

    #[test]
    fn kafka_protocol_agrees(records in vec(record(), 1..10), identity in identity()) {
        let frozen = build(&records).finish(Codec::None, identity, false).unwrap();
        let theirs = oracle::RecordBatchDecoder::decode(&mut frozen.bytes().clone()).unwrap().records;
        prop_assert_eq!(theirs.len(), records.len());
        for (theirs, ours) in theirs.iter().zip(&records) {
            prop_assert_eq!(theirs.key.as_deref(), ours.key.as_deref());
            prop_assert_eq!(theirs.value.as_deref(), ours.value.as_deref());
            prop_assert_eq!(theirs.timestamp, ours.timestamp_ms);
            prop_assert_eq!(theirs.headers.len(), ours.headers.iter().map(|(k, _)| k).collect::<std::collections::HashSet<_>>().len());
        }
        let mut written = BytesMut::new();
        let options = oracle::RecordEncodeOptions { version: 2, compression: oracle::Compression::None };
        oracle::RecordBatchEncoder::encode(&mut written, &theirs, &options).unwrap();
        prop_assert_eq!(read(&only(&written.freeze())).len(), records.len());
    }

    #[test]
    fn a_cut_batch_is_dropped_and_the_whole_one_kept(records in vec(record(), 1..5), cut in any::<prop::sample::Index>()) {
        let bytes = build(&records).finish(Codec::None, None, false).unwrap().bytes().clone();
        let mut two = BytesMut::from(&bytes[..]);
        two.extend_from_slice(&bytes[..cut.index(bytes.len())]);
        let left = two.len() - bytes.len();
        let mut batches = Batches::new(two.freeze());
        let first = batches.next().unwrap().unwrap();
        prop_assert_eq!(first.bytes(), &bytes);
        prop_assert!(batches.next().is_none());
        prop_assert_eq!(batches.remaining(), left);
    }

    #[test]
    fn a_flipped_bit_is_noticed(records in vec(record(), 1..5), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = build(&records).finish(Codec::Lz4, None, false).unwrap().bytes().to_vec();
        let at = 21 + at.index(bytes.len() - 21);
        bytes[at] ^= 1_u8 << bit;
        let first = Batches::new(bytes.into()).next().unwrap();
        prop_assert!(matches!(first, Err(RecordsError::Crc { .. })), "{first:?}");
    }

    #[test]
    fn mutated_bytes_never_panic(
        records in vec(record(), 1..10),
        codec in 0..CODECS.len(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = build(&records).finish(CODECS[codec], None, false).unwrap().bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
            if bytes.len() >= 12 {
                let length = (bytes.len() - 12) as i32;
                bytes[8..12].copy_from_slice(&length.to_be_bytes());
            }
        }
        reseal(&mut bytes);
        exercise(bytes.into());
    }

    #[test]
    fn noise_never_panics(mut bytes in vec(any::<u8>(), 0..400), sealed: bool) {
        if sealed && bytes.len() >= HEADER_LEN {
            let length = (bytes.len() - 12) as i32;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            bytes[22] &= 7;
            reseal(&mut bytes);
        }
        exercise(bytes.into());
    }
}
