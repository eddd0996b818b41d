//! Decompresses LZ4 frames: the codec that producers use by default, so every event that is read comes through here.
//!
//! The [block format](https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md) is a sequence of literals and of
//! matches, copies of bytes that came out before. Most of them are a few bytes long, and a call of `memcpy` for each
//! costs more than the copying (musl's takes half of a whole consumer's time); so they are copied here in steps of a
//! constant size, which compile to a load and a store, and what a step writes beyond the end is written over by what
//! follows. That needs room behind the end, which is why the buffer is always longer than what was decompressed.
//! Everything goes through checked slices: input that lies runs into an error, never out of a buffer.
//!
//! Of the [frame format](https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md) all is read but dictionaries;
//! checksums are verified where there are any. Invariant: the buffer grows by what a block of the size at hand can come
//! to at most, and never beyond the limit.

use twox_hash::XxHash32;

const MAGIC: u32 = 0x184D_2204;
/// Sixteen magics of frames that are there to be passed over.
const SKIPPABLE: u32 = 0x184D_2A50;

const VERSION_MASK: u8 = 0b1100_0000;
const VERSION: u8 = 0b0100_0000;
const INDEPENDENT: u8 = 1 << 5;
const BLOCK_CHECKSUMS: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const DICTIONARY: u8 = 1;

/// In a block's size: the block is stored as it is.
const STORED: u32 = 1 << 31;

/// The longest step of a copy, and so the room that must be behind the end.
const STEP: usize = 16;

/// A match is at least so long.
const MIN_MATCH: usize = 4;

/// No block comes to more than so many times its size: a length grows by at most 255 with each byte.
const MOST_EXPANSION: usize = 255;

/// Decompresses the frames in `input` into the front of `out`, which may hold anything and grows as needed. Says how many
/// bytes came out.
///
/// # Errors
/// What is wrong with the input; or that more than `limit` bytes come out.
pub(super) fn decompress(
    mut input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<usize, &'static str> {
    let mut end = 0;
    while !input.is_empty() {
        let magic = take_u32(&mut input).ok_or(CUT_SHORT)?;
        if magic & !0xf == SKIPPABLE {
            let size = take_u32(&mut input).ok_or(CUT_SHORT)?;
            take(&mut input, size as usize).ok_or(CUT_SHORT)?;
        } else if magic == MAGIC {
            end = frame(&mut input, out, end, limit)?;
        } else {
            return Err("it does not begin as an LZ4 frame does");
        }
    }
    Ok(end)
}

const CUT_SHORT: &str = "it is cut short";
/// The error of input that comes to more than the limit.
pub(super) const TOO_LARGE: &str = "it comes to more than the bytes that are allowed";
const BAD_BLOCK: &str = "a block is malformed";

/// One frame, behind its magic; where its content ends in `out`.
fn frame(
    input: &mut &[u8],
    out: &mut Vec<u8>,
    start: usize,
    limit: usize,
) -> Result<usize, &'static str> {
    let descriptor = *input;
    let &[flags, block_size] = take(input, 2)
        .and_then(|bytes| bytes.first_chunk::<2>())
        .ok_or(CUT_SHORT)?;
    if flags & VERSION_MASK != VERSION {
        return Err("its version is not 1");
    }
    if flags & DICTIONARY != 0 {
        return Err("it needs a dictionary");
    }
    let block_limit: usize = match block_size >> 4 {
        size @ 4..=7 => 1 << (8 + 2 * u32::from(size)),
        _ => return Err("its block size is not one"),
    };
    let mut promised = None;
    if flags & CONTENT_SIZE != 0 {
        let bytes = take(input, 8).and_then(|bytes| bytes.first_chunk::<8>());
        promised = Some(u64::from_le_bytes(*bytes.ok_or(CUT_SHORT)?));
    }
    let described = descriptor.len() - input.len();
    let hash = XxHash32::oneshot(0, descriptor.get(..described).unwrap_or_default());
    let &[check] = take(input, 1)
        .and_then(|bytes| bytes.first_chunk::<1>())
        .ok_or(CUT_SHORT)?;
    if check != (hash >> 8) as u8 {
        return Err("its header's checksum is wrong");
    }

    let mut end = start;
    loop {
        let size = take_u32(input).ok_or(CUT_SHORT)?;
        if size == 0 {
            break;
        }
        let block = take(input, (size & !STORED) as usize).ok_or(CUT_SHORT)?;
        if flags & BLOCK_CHECKSUMS != 0
            && take_u32(input).ok_or(CUT_SHORT)? != XxHash32::oneshot(0, block)
        {
            return Err("a block's checksum is wrong");
        }
        if block.len() > block_limit {
            return Err("a block is longer than its frame allows");
        }
        let before = end;
        if size & STORED == 0 {
            let most = block_limit.min(block.len().saturating_mul(MOST_EXPANSION));
            let most = (before + most).min(limit);
            make_room(out, most + STEP);
            let floor = if flags & INDEPENDENT == 0 {
                start
            } else {
                before
            };
            end = decode(block, out, before, floor, most)?;
        } else {
            end += block.len();
            if end > limit {
                return Err(TOO_LARGE);
            }
            make_room(out, end + STEP);
            out.get_mut(before..end)
                .ok_or(BAD_BLOCK)?
                .copy_from_slice(block);
        }
    }
    let content = out.get(start..end).unwrap_or_default();
    if flags & CONTENT_CHECKSUM != 0
        && take_u32(input).ok_or(CUT_SHORT)? != XxHash32::oneshot(0, content)
    {
        return Err("its content's checksum is wrong");
    }
    if promised.is_some_and(|promised| promised != content.len() as u64) {
        return Err("its content is not as long as it says");
    }
    Ok(end)
}

/// Lengthens a buffer; doubling, so that many small blocks do not move it many times.
fn make_room(out: &mut Vec<u8>, len: usize) {
    if out.len() < len {
        out.resize(
            len.max(out.len().saturating_mul(2).min(len.saturating_mul(2))),
            0,
        );
    }
}

/// Decodes a block to `out[at..]`, of which at most `most` may come to be used; matches reach back to `floor` at most.
/// `out` is at least a step longer than `most`. Says where the block ends.
fn decode(
    block: &[u8],
    out: &mut [u8],
    mut at: usize,
    floor: usize,
    most: usize,
) -> Result<usize, &'static str> {
    let mut from = 0;
    loop {
        let token = *block.get(from).ok_or(BAD_BLOCK)?;
        from += 1;

        let mut literals = usize::from(token >> 4);
        // Nearly all are short, and then one step does it, beyond the end as well.
        if literals < 15
            && at + literals <= most
            && let Some(source) = block
                .get(from..)
                .and_then(|rest| rest.first_chunk::<STEP>())
            && let Some(target) = out
                .get_mut(at..)
                .and_then(|rest| rest.first_chunk_mut::<STEP>())
        {
            *target = *source;
            from += literals;
            at += literals;
        } else {
            if literals == 15 {
                literals += long(block, &mut from).ok_or(BAD_BLOCK)?;
            }
            let source = block.get(from..from + literals).ok_or(BAD_BLOCK)?;
            if literals > most - at {
                return Err(TOO_LARGE);
            }
            out.get_mut(at..at + literals)
                .ok_or(BAD_BLOCK)?
                .copy_from_slice(source);
            from += literals;
            at += literals;
            // The last sequence ends behind its literals.
            if from == block.len() {
                return Ok(at);
            }
        }

        let offset = block
            .get(from..)
            .and_then(|rest| rest.first_chunk::<2>())
            .ok_or(BAD_BLOCK)?;
        let offset = usize::from(u16::from_le_bytes(*offset));
        from += 2;
        let mut length = usize::from(token & 0xf) + MIN_MATCH;
        if token & 0xf == 0xf {
            length += long(block, &mut from).ok_or(BAD_BLOCK)?;
        }
        if offset == 0 || offset > at - floor {
            return Err(BAD_BLOCK);
        }
        if length > most - at {
            return Err(TOO_LARGE);
        }
        repeat(out, at, offset, length).ok_or(BAD_BLOCK)?;
        at += length;
    }
}

/// The rest of a length: bytes are added up to the first that is not 255.
#[inline]
fn long(block: &[u8], from: &mut usize) -> Option<usize> {
    let mut length = 0;
    loop {
        let byte = *block.get(*from)?;
        *from += 1;
        // No overflow: at most 255 for each byte of a slice.
        length += usize::from(byte);
        if byte < 255 {
            return Some(length);
        }
    }
}

/// Copies `length` bytes from `offset` before `at` to `at`, where they may overlap: then the bytes between repeat.
#[inline]
fn repeat(out: &mut [u8], at: usize, offset: usize, length: usize) -> Option<()> {
    let end = at + length;
    if offset >= STEP {
        let mut to = at;
        while to < end {
            let step = *out.get(to - offset..)?.first_chunk::<STEP>()?;
            *out.get_mut(to..)?.first_chunk_mut::<STEP>()? = step;
            to += STEP;
        }
    } else {
        // Rare in records, whose repetitions are far apart.
        for to in at..end {
            *out.get_mut(to)? = *out.get(to - offset)?;
        }
    }
    Some(())
}

#[inline]
fn take<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(taken)
}

fn take_u32(input: &mut &[u8]) -> Option<u32> {
    take(input, 4)?
        .first_chunk::<4>()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
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

    fn ours(input: &[u8], limit: usize) -> Result<Vec<u8>, &'static str> {
        // What lies in the buffer before must not matter.
        let mut out = vec![0xaa; 100];
        decompress(input, &mut out, limit).map(|end| out[..end].to_vec())
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
    fn frames_follow_one_another_and_skippable_ones_are_passed_over() {
        let mut bytes = compress(FrameInfo::new(), b"one, ");
        bytes.extend(0x184D_2A57_u32.to_le_bytes());
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(b"xyz");
        bytes.extend(compress(FrameInfo::new(), b"two"));
        assert_eq!(ours(&bytes, LIMIT).as_deref(), Ok(&b"one, two"[..]));
    }

    #[test]
    fn a_bomb_ends_at_the_limit_and_takes_no_more_memory() {
        let bytes = compress(
            FrameInfo::new().block_size(BlockSize::Max4MB),
            &vec![0; 64 << 20],
        );
        assert!(bytes.len() < 1 << 20);
        let mut out = Vec::new();
        assert_eq!(decompress(&bytes, &mut out, LIMIT), Err(TOO_LARGE));
        assert!(out.capacity() <= 2 * LIMIT + 2 * STEP, "{}", out.capacity());
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
}
