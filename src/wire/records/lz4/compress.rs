//! Compresses into LZ4 frames: the codec by default, so every event that is published goes through here.
//!
//! A frame is blocks of 64 KiB, each independent of the others and as it is where compression would make it no shorter;
//! the header has the checksum that KIP-57 demands, the content none, because a batch has its own. Inside a block, one
//! table tells where six bytes with the same hash stood last. Records repeat in long runs, broken by what is random in
//! each (an identity, a price), so that
//!
//! - every other place is looked up, and a match that was met in its middle is lengthened to the front as well: half of
//!   the lookups, for next to nothing in size;
//! - matches shorter than six bytes are passed over: chance finds them in hexadecimal digits all the time, and each would
//!   save a byte or two, and cost both sides more than it is worth;
//! - the table is not cleared between blocks: places go on counting, and those of former blocks lie before the start.
//!
//! As in the decoder, copies go in steps of a constant size through checked slices; what a step writes too much is written
//! over. An answer of `None` within this file means that a slice was too short, and then the block is stored.

use super::{INDEPENDENT, MAGIC, STEP, STORED, VERSION};
use twox_hash::XxHash32;

/// Bytes of a block before compression, and the code of that size in the header.
const BLOCK: usize = 64 << 10;
const BLOCK_CODE: u8 = 4 << 4;

/// The format wants a block's last bytes to be literals, and its last match to begin before these.
const LAST_LITERALS: usize = 5;
const LAST_MATCH: usize = 12;

/// The shortest match in the format.
const MIN_MATCH: usize = 4;

/// Bytes that must be the same for a match to be taken.
const LOOKED_UP: u32 = 6;

/// Places that are looked up are so far apart, and farther after so many that found nothing: what does not repeat is
/// passed over quickly.
const STRIDE: usize = 2;
const PATIENCE: u32 = 6;

const TABLE_BITS: u32 = 12;
const TABLE: usize = 1 << TABLE_BITS;

/// What may be written beyond a block's end, where its last length and a step begin.
const SLACK: usize = 2 * STEP;

/// Compresses one frame after the other.
#[derive(Clone, Debug)]
pub(in super::super) struct Compressor {
    /// Where a hash was seen last, counted from the first block of all.
    table: Box<[u32; TABLE]>,
    /// Where the next block begins; above what an empty table says.
    pub(super) start: u32,
    /// Holds a block while it is made.
    block: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self {
            table: Box::new([0; TABLE]),
            start: 1,
            block: vec![0; BLOCK + SLACK],
        }
    }
}

impl Compressor {
    /// Appends a frame of `input` to `out`.
    pub(in super::super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC.to_le_bytes());
        let descriptor = [VERSION | INDEPENDENT, BLOCK_CODE];
        out.extend_from_slice(&descriptor);
        out.push((XxHash32::oneshot(0, &descriptor) >> 8) as u8);
        for block in input.chunks(BLOCK) {
            let made = self.block(block).filter(|&size| size < block.len());
            match made.and_then(|size| self.block.get(..size)) {
                // No block is longer than 64 KiB.
                Some(made) => {
                    out.extend_from_slice(&(made.len() as u32).to_le_bytes());
                    out.extend_from_slice(made);
                }
                None => {
                    out.extend_from_slice(&(block.len() as u32 | STORED).to_le_bytes());
                    out.extend_from_slice(block);
                }
            }
        }
        // The end of the frame.
        out.extend_from_slice(&[0; 4]);
    }

    /// Compresses a block of at most [`BLOCK`] bytes to the front of `self.block`; its size, or `None` when it does not
    /// get shorter.
    fn block(&mut self, input: &[u8]) -> Option<usize> {
        let start = self.start;
        self.start = match start.checked_add(input.len() as u32) {
            Some(next) if next < u32::MAX - BLOCK as u32 => next,
            // After 4 GiB, what the table says is of no more use.
            _ => {
                self.table.fill(0);
                self.start = 1;
                return self.block(input);
            }
        };
        let mut out = Out {
            bytes: &mut self.block,
            at: 0,
            most: input.len(),
        };
        let mut literals = 0;
        let last = input.len().checked_sub(LAST_MATCH);
        let end = input.len().saturating_sub(LAST_LITERALS);
        let mut at = 0;
        let mut tries: u32 = 1 << PATIENCE;
        while last.is_some_and(|last| at <= last) {
            let here = load(input, at)?;
            let slot = self.table.get_mut(hash(here))?;
            let seen = std::mem::replace(slot, start + at as u32);
            // Blocks are no longer than an offset reaches.
            let candidate = seen.checked_sub(start).map(|seen| seen as usize);
            let matched = match candidate {
                Some(before) => match here ^ load(input, before)? {
                    0 => Some((before, longer(input, before, at, end)?)),
                    other if other << (u64::BITS - 8 * LOOKED_UP) == 0 => {
                        Some((before, other.trailing_zeros() as usize / 8))
                    }
                    _ => None,
                },
                None => None,
            };
            let Some((mut before, length)) = matched else {
                at += STRIDE * (tries >> PATIENCE) as usize;
                tries += 1;
                continue;
            };
            let behind = at + length;
            while at > literals && before > 0 && input.get(at - 1)? == input.get(before - 1)? {
                at -= 1;
                before -= 1;
            }
            out.sequence(input, literals..at, Some((at - before, behind - at)))?;
            at = behind;
            literals = behind;
            tries = 1 << PATIENCE;
        }
        out.sequence(input, literals..input.len(), None)?;
        Some(out.at)
    }
}

#[inline]
fn load(input: &[u8], at: usize) -> Option<u64> {
    let bytes = input.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*bytes))
}

/// Fibonacci hashing of the first [`LOOKED_UP`] bytes.
#[inline]
fn hash(bytes: u64) -> usize {
    let looked_up = bytes << (u64::BITS - 8 * LOOKED_UP);
    (looked_up.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - TABLE_BITS)) as usize
}

/// How long a match of eight bytes or more is that ends at `end` at the latest.
#[inline]
fn longer(input: &[u8], before: usize, at: usize, end: usize) -> Option<usize> {
    let mut length = 8;
    while at + length + 8 <= end {
        match load(input, before + length)? ^ load(input, at + length)? {
            0 => length += 8,
            other => return Some(length + other.trailing_zeros() as usize / 8),
        }
    }
    while at + length < end && input.get(before + length)? == input.get(at + length)? {
        length += 1;
    }
    Some(length.min(end - at))
}

/// A block that is being made.
struct Out<'a> {
    bytes: &'a mut [u8],
    at: usize,
    /// Longer than this is longer than the input.
    most: usize,
}

impl Out<'_> {
    /// Writes literals and, but for the last ones, the match behind them: its offset and its length.
    #[inline]
    fn sequence(
        &mut self,
        input: &[u8],
        literals: std::ops::Range<usize>,
        matched: Option<(usize, usize)>,
    ) -> Option<()> {
        let (offset, length) = matched.unwrap_or((0, MIN_MATCH));
        let length = length.checked_sub(MIN_MATCH)?;
        let count = literals.len();
        *self.bytes.get_mut(self.at)? = ((count.min(15) << 4) | length.min(15)) as u8;
        self.at += 1;
        if count >= 15 {
            self.long(count - 15)?;
        }
        if self.at + count > self.most {
            return None;
        }
        self.copy(input, literals.start, count)?;
        if matched.is_some() {
            let target = self.bytes.get_mut(self.at..)?.first_chunk_mut::<2>()?;
            *target = (offset as u16).to_le_bytes();
            self.at += 2;
            if length >= 15 {
                self.long(length - 15)?;
            }
        }
        Some(())
    }

    /// The rest of a length: bytes that are added up to the first that is not 255.
    fn long(&mut self, mut length: usize) -> Option<()> {
        while length >= 255 {
            *self.bytes.get_mut(self.at)? = 255;
            self.at += 1;
            length -= 255;
        }
        *self.bytes.get_mut(self.at)? = length as u8;
        self.at += 1;
        Some(())
    }

    #[inline]
    fn copy(&mut self, input: &[u8], from: usize, count: usize) -> Option<()> {
        let mut done = 0;
        while done < count {
            let source = input.get(from + done..)?;
            let target = self.bytes.get_mut(self.at + done..)?;
            match (
                source.first_chunk::<STEP>(),
                target.first_chunk_mut::<STEP>(),
            ) {
                (Some(source), Some(target)) => *target = *source,
                _ => {
                    let rest = count - done;
                    target.get_mut(..rest)?.copy_from_slice(source.get(..rest)?);
                    break;
                }
            }
            done += STEP;
        }
        self.at += count;
        Some(())
    }
}
