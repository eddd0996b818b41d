//! Batches made by hand: what brokers write that our encoder does not, and what nobody should.

use super::*;

fn one(value: &[u8], codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::with_capacity(0);
    let record = NewRecord {
        value: Some(value),
        timestamp_ms: 1_000,
        ..NewRecord::default()
    };
    builder.append(&record).unwrap();
    builder.finish(codec, None, false).unwrap().bytes().to_vec()
}

#[test]
fn old_formats_are_named() {
    for magic in [0, 1] {
        let mut bytes = one(b"x", Codec::None);
        bytes[16] = magic;
        bytes[8..12].copy_from_slice(&20_i32.to_be_bytes());
        let error = Batches::new(bytes.into()).next().unwrap().unwrap_err();
        assert_eq!(
            error,
            RecordsError::Magic {
                base_offset: 0,
                magic: magic as i8
            }
        );
    }
}

#[test]
fn lengths_that_lie_are_refused() {
    for length in [-1, 0, 48] {
        let mut bytes = one(b"x", Codec::None);
        bytes[8..12].copy_from_slice(&i32::to_be_bytes(length));
        let error = Batches::new(bytes.into()).next().unwrap().unwrap_err();
        assert_eq!(
            error,
            RecordsError::Length {
                base_offset: 0,
                length
            }
        );
    }
    for count in [-1, i32::MAX] {
        let mut bytes = one(b"x", Codec::None);
        bytes[57..61].copy_from_slice(&i32::to_be_bytes(count));
        reseal(&mut bytes);
        let batch = only(&bytes.into());
        let error = batch.records(&mut Scratch::new()).unwrap_err();
        assert!(matches!(error, RecordsError::Header { .. }), "{error}");
    }
}

#[test]
fn log_append_time_is_the_batchs_max_timestamp() {
    let mut bytes = one(b"x", Codec::None);
    bytes[22] |= 0b1000;
    bytes[35..43].copy_from_slice(&9_999_i64.to_be_bytes());
    reseal(&mut bytes);
    let batch = only(&bytes.into());
    assert_eq!(
        batch.header().timestamp_type(),
        TimestampType::LogAppendTime
    );
    assert_eq!(read(&batch)[0].timestamp_ms, 9_999);
}

#[test]
fn control_records_tell_their_type() {
    for (code, expected) in [
        (0, ControlType::Abort),
        (1, ControlType::Commit),
        (2, ControlType::Other(2)),
    ] {
        let mut builder = BatchBuilder::with_capacity(0);
        let key = [0, 0, 0, code];
        let record = NewRecord {
            key: Some(&key),
            value: Some(&[0; 6]),
            ..NewRecord::default()
        };
        builder.append(&record).unwrap();
        let mut bytes = builder
            .finish(Codec::None, None, false)
            .unwrap()
            .bytes()
            .to_vec();
        bytes[22] |= 0b11_0000;
        reseal(&mut bytes);
        let batch = only(&bytes.into());
        assert!(batch.header().is_control() && batch.header().is_transactional());
        let mut scratch = Scratch::new();
        let record = batch
            .records(&mut scratch)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(ControlType::from_record(&record), Some(expected));
    }
}

/// All that comes out of an input.
fn unpacked(codec: Codec, input: &[u8]) -> Result<Vec<u8>, String> {
    let mut buffer = vec![0xaa; 10];
    let mut window = unpack::Window::new(&mut buffer);
    let mut unpack = unpack::Unpack::new(codec, input);
    while unpack.more(&mut window)? {}
    Ok(window.into_bytes().to_vec())
}

fn packed(codec: Codec, input: &[u8]) -> Vec<u8> {
    let mut compressor = codec::Compressor::new();
    compressor.compress(codec, 0, input).unwrap().to_vec()
}

#[test]
fn what_was_packed_comes_out() {
    let zeros = vec![0; 1 << 20];
    for codec in CODECS {
        assert_eq!(unpacked(codec, &packed(codec, &zeros)), Ok(zeros.clone()));
    }
}

#[test]
fn snappy_blocks_are_limited_by_what_they_claim() {
    // Six bytes that claim to come to 64 MiB.
    let claim = [0x80, 0x80, 0x80, 0x20, 0, 0];
    let error = unpacked(Codec::Snappy, &claim).unwrap_err();
    assert!(error.contains("cannot come to"), "{error}");
    // Many that claim to come to one more than that.
    let mut claim = vec![0; 4 << 20];
    claim[..4].copy_from_slice(&[0x81, 0x80, 0x80, 0x20]);
    let error = unpacked(Codec::Snappy, &claim).unwrap_err();
    assert!(
        error.contains("67108865 bytes, and at most 67108864"),
        "{error}"
    );
}

#[test]
fn raw_snappy_is_read_as_well() {
    let text = b"stock stock stock stock".repeat(20);
    let packed = snap::raw::Encoder::new().compress_vec(&text).unwrap();
    assert_eq!(unpacked(Codec::Snappy, &packed), Ok(text));
}

#[test]
fn several_frames_in_a_row_are_one_body() {
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let both = [packed(codec, b"first,"), packed(codec, b"second")].concat();
        assert_eq!(unpacked(codec, &both), Ok(b"first,second".to_vec()));
    }
}

/// A batch with these offsets, relative to the first, out of `of`.
fn numbered(deltas: &[u8], of: i32) -> Batch {
    let mut builder = BatchBuilder::with_capacity(0);
    for _ in deltas {
        builder.append(&NewRecord::default()).unwrap();
    }
    let mut bytes = builder
        .finish(Codec::None, None, false)
        .unwrap()
        .bytes()
        .to_vec();
    bytes[23..27].copy_from_slice(&(of - 1).to_be_bytes());
    // Length, attributes and timestamp are a byte each.
    let size = (bytes.len() - HEADER_LEN) / deltas.len();
    for (record, delta) in bytes[HEADER_LEN..].chunks_mut(size).zip(deltas) {
        record[3] = delta << 1;
    }
    reseal(&mut bytes);
    only(&bytes.into())
}

#[test]
fn offsets_that_do_not_ascend_are_no_records() {
    let mut scratch = Scratch::new();
    let mut good = |deltas: &[u8], of| {
        let batch = numbered(deltas, of);
        match batch.records(&mut scratch) {
            Ok(records) => Some(records.map_while(Result::ok).count()),
            Err(_) => None,
        }
    };
    assert_eq!(good(&[0, 1, 2, 3, 4], 5), Some(5));
    // Where each offset has its record, those before the first that is wrong are right.
    assert_eq!(good(&[3, 1, 4, 0, 2], 5), Some(0));
    assert_eq!(good(&[0, 0, 0, 0, 0], 5), Some(1));
    assert_eq!(good(&[0, 1, 2, 4, 3], 5), Some(3));
    // Where compaction has left holes, which of them are wrong cannot be told.
    assert_eq!(good(&[1, 4, 6], 9), Some(3));
    assert_eq!(good(&[1, 6, 4], 9), None);
    assert_eq!(good(&[1, 1], 9), None);
    assert_eq!(good(&[0, 9], 9), Some(1));
}

#[test]
fn where_the_log_goes_on_behind_a_damaged_batch_is_told() {
    let sound = |base: i64| {
        let mut bytes = one(b"x", Codec::None);
        assign_offset(&mut bytes, base, 1);
        bytes
    };
    let mut damaged = sound(5);
    damaged[HEADER_LEN] ^= 1;
    let past = |bytes: Vec<u8>| {
        let mut batches = Batches::new(bytes.into());
        assert!(batches.next().unwrap().is_err());
        batches.past_error()
    };
    assert_eq!(
        past([damaged.clone(), sound(9)].concat()),
        Some(9),
        "the next one tells"
    );
    assert_eq!(past(damaged.clone()), Some(6), "it tells itself");
    damaged[23] = 0x80;
    assert_eq!(past(damaged.clone()), None);
    assert_eq!(
        past([damaged, sound(3)].concat()),
        None,
        "what comes next lies behind"
    );
}

#[test]
fn a_batch_without_records_is_not_finished() {
    let error = BatchBuilder::with_capacity(0)
        .finish(Codec::None, None, false)
        .unwrap_err();
    assert!(matches!(error, EncodeError::Empty));
}

#[test]
fn a_compacted_batch_may_be_empty() {
    let mut bytes = one(b"x", Codec::None);
    bytes.truncate(HEADER_LEN);
    bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
    bytes[57..61].copy_from_slice(&0_i32.to_be_bytes());
    bytes[23..27].copy_from_slice(&4_i32.to_be_bytes());
    reseal(&mut bytes);
    let batch = only(&bytes.into());
    assert_eq!(batch.records(&mut Scratch::new()).unwrap().count(), 0);
    assert_eq!(batch.header().next_offset(), 5);
}
