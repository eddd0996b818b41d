//! Decompresses LZ4 frames (`compress` makes them): the codec that producers use by default, so every event that is read comes through here.
//!
//! The [block format](https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md) is a sequence of literals and of
//! matches, copies of bytes that came out before. Most of them are a few bytes long, and a call of `memcpy` for each
//! costs more than the copying (musl's takes half of a whole consumer's time); so they are copied here in steps of a
//! constant size, which compile to a load and a store, and what a step writes beyond the end is written over by what
//! follows. That needs room behind the end, which is why the buffer is always longer than what was decompressed.
//! Everything goes through checked slices: input that lies runs into an error, never out of a buffer.
//!
//! Of the [frame format](https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md) all is read but dictionaries;
//! checksums are verified where there are any. One block comes out at a time; the buffer grows by what a block of the size
//! at hand can come to at most.

mod compress;

pub(super) use compress::Compressor;

use std::hash::Hasher as _;

use super::unpack::make_room;
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

/// Up to so many literals are copied in steps: for a few bytes, calling `memcpy` costs more than they do.
const SHORT: usize = 4 * STEP;

/// A match is at least so long.
const MIN_MATCH: usize = 4;

/// No block comes to more than so many times its size: a length grows by at most 255 with each byte.
const MOST_EXPANSION: usize = 255;

/// How far back a match of a linked block reaches at most.
pub(super) const HISTORY: usize = 64 << 10;

const CUT_SHORT: &str = "it is cut short";
const BAD_BLOCK: &str = "a block is malformed";
const LONG_BLOCK: &str = "a block comes to more than its frame allows";

/// What is left of the frames in an input.
pub(super) struct Frames<'a> {
    input: &'a [u8],
    frame: Option<Frame>,
}

/// A frame that has begun.
struct Frame {
    flags: u8,
    block_limit: usize,
    promised: Option<u64>,
    /// Where in the buffer its content begins, or what of it is still there.
    floor: usize,
    /// How much it came to.
    length: u64,
    hash: XxHash32,
}

impl<'a> Frames<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, frame: None }
    }

    /// The buffer begins so many bytes later than it did; [`HISTORY`] was left.
    pub(super) fn moved(&mut self, by: usize) {
        if let Some(frame) = &mut self.frame {
            frame.floor = frame.floor.saturating_sub(by);
        }
    }

    /// Decompresses the next block behind the first `end` bytes of `out`, where what came out before it stands; the rest
    /// may hold anything, and grows as needed. Where the block ends; `None` when there is none.
    ///
    /// # Errors
    /// What is wrong with the input.
    pub(super) fn more(
        &mut self,
        out: &mut Vec<u8>,
        end: usize,
    ) -> Result<Option<usize>, &'static str> {
        loop {
            if let Some(frame) = &mut self.frame {
                match frame.block(&mut self.input, out, end)? {
                    Some(end) => return Ok(Some(end)),
                    None => self.frame = None,
                }
            }
            if self.input.is_empty() {
                return Ok(None);
            }
            let magic = take_u32(&mut self.input).ok_or(CUT_SHORT)?;
            if magic & !0xf == SKIPPABLE {
                let size = take_u32(&mut self.input).ok_or(CUT_SHORT)?;
                take(&mut self.input, size as usize).ok_or(CUT_SHORT)?;
            } else if magic == MAGIC {
                self.frame = Some(Frame::begin(&mut self.input, end)?);
            } else {
                return Err("it does not begin as an LZ4 frame does");
            }
        }
    }
}

impl Frame {
    /// Reads what stands behind the magic.
    fn begin(input: &mut &[u8], floor: usize) -> Result<Self, &'static str> {
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
        Ok(Self {
            flags,
            block_limit,
            promised,
            floor,
            length: 0,
            hash: XxHash32::with_seed(0),
        })
    }

    /// The next block; `None` when the frame is over.
    fn block(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        start: usize,
    ) -> Result<Option<usize>, &'static str> {
        let size = take_u32(input).ok_or(CUT_SHORT)?;
        if size == 0 {
            return self.finish(input).map(|()| None);
        }
        let block = take(input, (size & !STORED) as usize).ok_or(CUT_SHORT)?;
        if self.flags & BLOCK_CHECKSUMS != 0
            && take_u32(input).ok_or(CUT_SHORT)? != XxHash32::oneshot(0, block)
        {
            return Err("a block's checksum is wrong");
        }
        if block.len() > self.block_limit {
            return Err("a block is longer than its frame allows");
        }
        let end;
        if size & STORED == 0 {
            let most = self
                .block_limit
                .min(block.len().saturating_mul(MOST_EXPANSION));
            let most = start + most;
            make_room(out, most + STEP);
            let floor = if self.flags & INDEPENDENT == 0 {
                self.floor
            } else {
                start
            };
            end = decode(block, out, start, floor, most)?;
        } else {
            end = start + block.len();
            make_room(out, end + STEP);
            out.get_mut(start..end)
                .ok_or(BAD_BLOCK)?
                .copy_from_slice(block);
        }
        self.length += (end - start) as u64;
        if self.flags & CONTENT_CHECKSUM != 0 {
            self.hash.write(out.get(start..end).unwrap_or_default());
        }
        Ok(Some(end))
    }

    /// What stands behind the last block.
    fn finish(&self, input: &mut &[u8]) -> Result<(), &'static str> {
        if self.flags & CONTENT_CHECKSUM != 0
            && take_u32(input).ok_or(CUT_SHORT)? != self.hash.finish_32()
        {
            return Err("its content's checksum is wrong");
        }
        if self
            .promised
            .is_some_and(|promised| promised != self.length)
        {
            return Err("its content is not as long as it says");
        }
        Ok(())
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
                return Err(LONG_BLOCK);
            }
            if literals > SHORT || copy_in_steps(block, from, out, at, literals).is_none() {
                out.get_mut(at..at + literals)
                    .ok_or(BAD_BLOCK)?
                    .copy_from_slice(source);
            }
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
            return Err(LONG_BLOCK);
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

/// Copies `length` bytes of `block[from..]` to `out[at..]`, in steps that may go beyond the end; `None`, with part of
/// them copied, where the block has no room for the last of them.
#[inline]
fn copy_in_steps(
    block: &[u8],
    mut from: usize,
    out: &mut [u8],
    mut at: usize,
    length: usize,
) -> Option<()> {
    let end = at + length;
    while at < end {
        let step = *block.get(from..)?.first_chunk::<STEP>()?;
        *out.get_mut(at..)?.first_chunk_mut::<STEP>()? = step;
        at += STEP;
        from += STEP;
    }
    Some(())
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
mod tests;
