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

#[test]
fn bombs_are_bounded() {
    let zeros = vec![0; 1 << 20];
    let mut scratch = Scratch::new();
    for codec in CODECS {
        let mut packed = Vec::new();
        packed.extend_from_slice(codec::Compressor::new().compress(codec, 0, &zeros).unwrap());
        assert_eq!(
            scratch.decompress(codec, &packed, zeros.len()).unwrap(),
            zeros
        );
        let error = scratch
            .decompress(codec, &packed, zeros.len() - 1)
            .unwrap_err();
        assert!(
            error.contains("more than 1048575 bytes"),
            "{codec}: {error}"
        );
    }
    // A raw snappy block of six bytes that claims to come to 64 MiB.
    let claim = [0x80, 0x80, 0x80, 0x20, 0, 0];
    let error = scratch
        .decompress(Codec::Snappy, &claim, MAX_DECOMPRESSED)
        .unwrap_err();
    assert!(error.contains("cannot come to"), "{error}");
}

#[test]
fn raw_snappy_is_read_as_well() {
    let text = b"stock stock stock stock".repeat(20);
    let packed = snap::raw::Encoder::new().compress_vec(&text).unwrap();
    let mut scratch = Scratch::new();
    assert_eq!(
        scratch.decompress(Codec::Snappy, &packed, 10_000).unwrap(),
        text
    );
}

#[test]
fn several_frames_in_a_row_are_one_body() {
    let mut scratch = Scratch::new();
    for codec in [Codec::Gzip, Codec::Zstd] {
        let mut packed = Vec::new();
        packed.extend_from_slice(
            codec::Compressor::new()
                .compress(codec, 0, b"first,")
                .unwrap(),
        );
        packed.extend_from_slice(
            codec::Compressor::new()
                .compress(codec, 0, b"second")
                .unwrap(),
        );
        assert_eq!(
            scratch.decompress(codec, &packed, 100).unwrap(),
            b"first,second"
        );
    }
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
