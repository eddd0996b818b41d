//! Batches that come to much, in every codec: what comes out of them, and what they cost.

use super::*;
use crate::wire::records::stream::MAX_RECORD;

/// What of an entry can be compared: its offset, its key's length, its value's length or the size of what is too large.
type Seen = (i64, Option<usize>, Result<Option<usize>, usize>);

fn seen(entry: &Entry<'_>) -> Seen {
    let len = |bytes: Option<&[u8]>| bytes.map(<[u8]>::len);
    match entry {
        Entry::Record(record) => (record.offset, len(record.key), Ok(len(record.value))),
        Entry::TooLarge(large) => (large.offset, len(large.key), Err(large.size)),
    }
}

/// What can be seen of a batch, and whether it ends well.
fn entries(opened: Opened<'_>) -> (Vec<Seen>, bool) {
    let mut all = Vec::new();
    match opened {
        Opened::Whole(records) => {
            for record in records {
                let Ok(record) = record else {
                    return (all, false);
                };
                all.push(seen(&Entry::Record(record)));
            }
        }
        Opened::Stream(mut stream) => {
            while let Some(entry) = stream.next() {
                let Ok(entry) = entry else {
                    return (all, false);
                };
                all.push(seen(&entry));
            }
        }
    }
    (all, true)
}

/// A batch of records with keys and values of these lengths; the values repeat themselves far apart.
fn batch(lengths: &[(usize, usize)], codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::with_capacity(0);
    for (number, (key, value)) in lengths.iter().enumerate() {
        let value: Vec<u8> = (0..*value)
            .map(|at| (at / 1_000 % 251 + number) as u8)
            .collect();
        let record = NewRecord {
            key: Some(&vec![b'k'; *key]),
            value: Some(&value),
            ..NewRecord::default()
        };
        builder.append(&record).unwrap();
    }
    builder.finish(codec, None, false).unwrap().bytes().clone()
}

/// The same body as a frame of LZ4 whose blocks refer to those before.
fn linked(plain: &[u8]) -> Bytes {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use std::io::Write as _;
    let info = FrameInfo::new()
        .block_mode(BlockMode::Linked)
        .block_size(BlockSize::Max4MB)
        .content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&plain[HEADER_LEN..]).unwrap();
    let mut bytes = plain[..HEADER_LEN].to_vec();
    bytes.extend(encoder.finish().unwrap());
    bytes[22] |= Codec::Lz4.code();
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    reseal(&mut bytes);
    bytes.into()
}

/// The same body as one raw block of snappy.
fn raw_snappy(plain: &[u8]) -> Bytes {
    let mut bytes = plain[..HEADER_LEN].to_vec();
    bytes.extend(
        snap::raw::Encoder::new()
            .compress_vec(&plain[HEADER_LEN..])
            .unwrap(),
    );
    bytes[22] |= Codec::Snappy.code();
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    reseal(&mut bytes);
    bytes.into()
}

#[test]
fn a_record_that_is_too_large_is_passed_over_and_those_around_it_are_read() {
    let lengths = [
        (3, 100),
        (5, MAX_RECORD + 1),
        (0, 7),
        (4, 15 << 20),
        (100_000, MAX_RECORD + 1_000_000),
        (2, 9),
    ];
    let plain = batch(&lengths, Codec::None);
    let mut all: Vec<Bytes> = CODECS[1..]
        .iter()
        .map(|codec| batch(&lengths, *codec))
        .collect();
    all.extend([linked(&plain), raw_snappy(&plain), plain]);
    for (number, bytes) in all.into_iter().enumerate() {
        let is_raw = number == CODECS.len();
        let codec = only(&bytes).header().codec().unwrap();
        let mut scratch = Scratch::new();
        let batch = only(&bytes);
        let (seen, well) = entries(batch.open(&mut scratch).unwrap());
        assert!(well, "{codec}");
        let size = |at: usize| seen[at].2.unwrap_err();
        assert!(size(1) > MAX_RECORD && size(4) > MAX_RECORD + 1_100_000);
        let wanted = [
            (0, Some(3), Ok(Some(100))),
            (1, Some(5), Err(size(1))),
            (2, Some(0), Ok(Some(7))),
            (3, Some(4), Ok(Some(15 << 20))),
            // Its key alone is longer than what is kept of such a record.
            (4, None, Err(size(4))),
            (5, Some(2), Ok(Some(9))),
        ];
        assert_eq!(seen, wanted, "{codec}");
        // Snappy's raw form comes out as a whole.
        if !is_raw {
            let capacity = scratch.capacity();
            assert!(capacity < 40 << 20, "{codec}: {capacity}");
        }

        let Opened::Stream(mut stream) = batch.open(&mut scratch).unwrap() else {
            panic!("{codec}: it is large");
        };
        stream.skip_to(4);
        let offsets: Vec<i64> =
            std::iter::from_fn(|| Some(stream.next()?.unwrap().offset())).collect();
        assert_eq!(offsets, [4, 5], "{codec}");
    }
}

#[test]
fn offsets_of_a_large_batch_with_holes_are_looked_at_first() {
    let mut bytes = batch(&[(1, 3), (1, MAX_RECORD), (1, 3)], Codec::None).to_vec();
    // Nine offsets were there.
    bytes[23..27].copy_from_slice(&8_i32.to_be_bytes());
    let first = HEADER_LEN + 3;
    reseal(&mut bytes);
    let read = |bytes: &[u8]| {
        let batch = only(&Bytes::copy_from_slice(bytes));
        let mut scratch = Scratch::new();
        batch
            .open(&mut scratch)
            .map(|opened| entries(opened).0.len())
    };
    assert_eq!(read(&bytes), Ok(3));
    // The first one's is behind the second one's.
    bytes[first] = 4 << 1;
    reseal(&mut bytes);
    assert!(matches!(read(&bytes), Err(RecordsError::Header { .. })));
}

#[test]
fn what_breaks_off_in_a_large_batch_is_told_behind_what_is_whole() {
    let whole = batch(&[(1, 3), (1, MAX_RECORD), (1, 3)], Codec::None);
    let read = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.to_vec();
        edit(&mut bytes);
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        reseal(&mut bytes);
        let batch = only(&bytes.into());
        let mut scratch = Scratch::new();
        let (seen, well) = entries(batch.open(&mut scratch).unwrap());
        (seen.len(), well)
    };
    assert_eq!(read(&|_| {}), (3, true));
    assert_eq!(read(&|bytes| bytes.truncate(bytes.len() - 1)), (2, false));
    assert_eq!(read(&|bytes| bytes.truncate(bytes.len() - 20)), (1, false));
    assert_eq!(
        read(&|bytes| bytes.push(0)),
        (3, false),
        "bytes are left over"
    );
    assert_eq!(
        read(&|bytes| bytes[60] = 4),
        (3, false),
        "there is no fourth"
    );
}

#[test]
fn a_batch_comes_to_no_more_than_a_batch_can() {
    let mut buffer = Vec::new();
    let mut window = unpack::Window::new(&mut buffer);
    window.came(MAX_UNPACKED - 10);
    let mut unpack = unpack::Unpack::new(Codec::None, &[0; 11]);
    let error = unpack.more(&mut window).unwrap_err();
    assert!(error.contains("more than 2147483647 bytes"), "{error}");
}

proptest! {
    /// Record by record, or as a whole: the same comes out, of sound bytes and of others.
    #[test]
    fn a_stream_shows_what_the_whole_shows(
        records in vec(record(), 1..10),
        codec in 0..CODECS.len(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut bytes = build(&records).finish(CODECS[codec], None, false).unwrap().bytes().to_vec();
        for (at, byte) in edits {
            let at = HEADER_LEN + at.index(bytes.len() - HEADER_LEN);
            bytes[at] = byte;
        }
        reseal(&mut bytes);
        let batch = only(&bytes.into());
        let (mut one, mut other) = (Scratch::new(), Scratch::new());
        let whole = batch.open(&mut one).map(entries);
        let stream = batch.stream(&mut other).map(|stream| entries(Opened::Stream(stream)));
        match (whole, stream) {
            (Ok(whole), Ok(stream)) => prop_assert_eq!(whole, stream),
            // What comes out before the damage is shown by the one, and not by the other.
            (Err(_), Ok(stream)) => prop_assert!(!stream.1),
            (whole, stream) => prop_assert!(false, "{whole:?}, {stream:?}"),
        }
    }
}
