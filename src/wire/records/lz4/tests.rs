//! The decoder against the crate that compresses, and against input that means harm.

use super::*;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use proptest::prelude::*;
use std::io::{Read, Write};

const LIMIT: usize = 1 << 20;

fn compress(info: FrameInfo, input: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(input).unwrap();
    encoder.finish().unwrap()
}

const TOO_LARGE: &str = "more than the test allows";

/// All that comes out, unless that is more than `limit`.
fn decompress(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize, &'static str> {
    let mut frames = Frames::new(input);
    let mut end = 0;
    while let Some(next) = frames.more(out, end)? {
        end = next;
        if end > limit {
            return Err(TOO_LARGE);
        }
    }
    Ok(end)
}

/// Hands a block after the other to `each`, and throws away what matches cannot reach.
fn in_pieces(
    input: &[u8],
    out: &mut Vec<u8>,
    mut each: impl FnMut(&[u8]),
) -> Result<(), &'static str> {
    let mut frames = Frames::new(input);
    let mut end = 0;
    while let Some(next) = frames.more(out, end)? {
        each(&out[end..next]);
        let by = next.saturating_sub(HISTORY);
        out.copy_within(by..next, 0);
        frames.moved(by);
        end = next - by;
    }
    Ok(())
}

fn ours(input: &[u8], limit: usize) -> Result<Vec<u8>, &'static str> {
    // What lies in the buffer before must not matter.
    let mut out = vec![0xaa; 100];
    let whole = decompress(input, &mut out, limit).map(|end| out[..end].to_vec());
    if whole != Err(TOO_LARGE) {
        let mut all = Vec::new();
        let read = in_pieces(input, &mut vec![0x55; 100], |piece| {
            all.extend_from_slice(piece)
        });
        assert_eq!(read.map(|()| all), whole);
    }
    whole
}

/// Something that compresses: pieces of it come again, near and far.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (any::<u8>(), 0_usize..300).prop_map(|(byte, count)| vec![byte; count]),
        Just(br#"{"TradeId":"749a0b92-6a67-5a5a-84ca-af52943b52f7","Symbol":"IBM"}"#.to_vec()),
    ];
    proptest::collection::vec(
        (piece, any::<proptest::sample::Index>(), 0_usize..200),
        0..60,
    )
    .prop_map(|pieces| {
        let mut text = Vec::new();
        for (piece, from, length) in pieces {
            text.extend_from_slice(&piece);
            if !text.is_empty() {
                let from = from.index(text.len());
                text.extend_from_within(from..(from + length).min(text.len()));
            }
        }
        text
    })
}

fn info() -> impl Strategy<Value = FrameInfo> {
    let sizes = prop_oneof![Just(BlockSize::Max64KB), Just(BlockSize::Max256KB)];
    (sizes, any::<[bool; 3]>()).prop_map(|(size, [linked, blocks, content])| {
        FrameInfo::new()
            .block_size(size)
            .block_mode(if linked {
                BlockMode::Linked
            } else {
                BlockMode::Independent
            })
            .block_checksums(blocks)
            .content_checksum(content)
    })
}

proptest! {
    #[test]
    fn what_another_encoder_wrote_is_read(text in text(), times in 1_usize..40, info in info()) {
        let text = text.repeat(times);
        let read = ours(&compress(info, &text), usize::MAX >> 1);
        prop_assert_eq!(read, Ok(text));
    }

    #[test]
    fn what_ours_wrote_is_read_by_both(texts in proptest::collection::vec((text(), 1_usize..60), 1..4)) {
        // One compressor for all: what it knows of the one must not get into the next.
        let mut compressor = Compressor::default();
        for (text, times) in texts {
            let text = text.repeat(times);
            let mut bytes = b"before".to_vec();
            compressor.compress(&text, &mut bytes);
            let frame = bytes.strip_prefix(b"before").unwrap();
            prop_assert!(frame.len() <= text.len() + 11 + 4 * text.len().div_ceil(64 << 10));
            let mut theirs = Vec::new();
            FrameDecoder::new(frame).read_to_end(&mut theirs).unwrap();
            prop_assert!(theirs == text);
            prop_assert_eq!(ours(frame, usize::MAX >> 1), Ok(text));
        }
    }

    #[test]
    fn noise_is_stored_and_runs_are_not(noise in proptest::collection::vec(any::<u8>(), 13..70_000)) {
        let size = |text: &[u8]| {
            let mut frame = Vec::new();
            Compressor::default().compress(text, &mut frame);
            assert_eq!(ours(&frame, LIMIT).as_deref(), Ok(text));
            frame.len()
        };
        let overhead = 11 + 4 * noise.len().div_ceil(64 << 10);
        prop_assert_eq!(size(&noise), noise.len() + overhead);
        let run = vec![7; noise.len()];
        prop_assert!(size(&run) < overhead + 30 + run.len() / 200, "{}", size(&run));
    }

    /// Damaged input is refused or read as the other decoder reads it; it never panics.
    #[test]
    fn damaged_input_is_judged_as_by_another_decoder(
        text in text(),
        info in info(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut bytes = compress(info, &text);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        let result = ours(&bytes, LIMIT);
        let mut theirs = Vec::new();
        if let Ok(read) = &result && FrameDecoder::new(bytes.as_slice()).read_to_end(&mut theirs).is_ok() {
            prop_assert!(read.starts_with(&theirs));
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = ours(&bytes, LIMIT);
        // As a block of a frame that is right.
        let mut frame = compress(FrameInfo::new(), b"");
        let end = frame.split_off(frame.len() - 4);
        frame.extend((bytes.len() as u32).to_le_bytes());
        frame.extend(&bytes);
        frame.extend(end);
        let _ = ours(&frame, LIMIT);
    }
}

#[test]
fn the_count_of_places_begins_anew_before_it_overflows() {
    let text = br#"{"TradeId":"749a0b92","Symbol":"IBM"}"#.repeat(4_000);
    let mut compressor = Compressor::default();
    compressor.start = u32::MAX - (100 << 10);
    for _ in 0..3 {
        let mut frame = Vec::new();
        compressor.compress(&text, &mut frame);
        assert_eq!(ours(&frame, LIMIT).as_deref(), Ok(&text[..]));
        assert!(frame.len() < text.len() / 20, "{}", frame.len());
    }
}

#[test]
fn frames_follow_one_another_and_skippable_ones_are_passed_over() {
    let mut bytes = compress(FrameInfo::new(), b"one, ");
    bytes.extend(0x184D_2A57_u32.to_le_bytes());
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(b"xyz");
    bytes.extend(compress(FrameInfo::new(), b"two"));
    assert_eq!(ours(&bytes, LIMIT).as_deref(), Ok(&b"one, two"[..]));
}

#[test]
fn a_bomb_comes_out_a_block_at_a_time() {
    let bytes = compress(
        FrameInfo::new().block_size(BlockSize::Max4MB),
        &vec![0; 64 << 20],
    );
    assert!(bytes.len() < 1 << 20);
    let mut out = Vec::new();
    let mut size = 0;
    in_pieces(&bytes, &mut out, |piece| size += piece.len()).unwrap();
    assert_eq!(size, 64 << 20);
    assert!(out.capacity() <= (8 << 20) + 2 * STEP, "{}", out.capacity());
}

#[test]
fn a_size_that_is_promised_must_be_kept() {
    let mut bytes = compress(FrameInfo::new().content_size(Some(5)), b"five!");
    assert_eq!(ours(&bytes, LIMIT).as_deref(), Ok(&b"five!"[..]));
    bytes[6] = 6;
    let hash = XxHash32::oneshot(0, &bytes[4..14]);
    bytes[14] = (hash >> 8) as u8;
    assert_eq!(
        ours(&bytes, LIMIT),
        Err("its content is not as long as it says")
    );
}

#[test]
fn a_match_cannot_reach_out_of_an_independent_block() {
    // The second block is a match of 4 bytes, 4 bytes back: right when linked, malformed when not.
    for (linked, expected) in [
        (true, Ok(b"abcdabcd!!!!!".to_vec())),
        (false, Err(BAD_BLOCK)),
    ] {
        let mode = if linked {
            BlockMode::Linked
        } else {
            BlockMode::Independent
        };
        let mut frame = compress(FrameInfo::new().block_mode(mode), b"");
        let end = frame.split_off(frame.len() - 4);
        for block in [&b"\x40abcd"[..], b"\x00\x04\x00\x50!!!!!"] {
            frame.extend((block.len() as u32).to_le_bytes());
            frame.extend(block);
        }
        frame.extend(end);
        assert_eq!(ours(&frame, LIMIT), expected);
    }
}
