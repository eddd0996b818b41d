//! Decompression, a piece at a time: memory is what was asked for, and what a codec has to look back at.
//!
//! Snappy comes in two forms: Java and librdkafka frame it in chunks ("xerial"), others write one raw block. A block comes out
//! whole, so the size that it claims is limited; so is the window that a zstd frame looks back at, where its content is
//! that long. Whatever the input claims about its size, memory grows with the bytes that really come out.

mod zstd;

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use super::{Codec, lz4};

/// The most that one batch may come to: no batch is longer uncompressed, because the format's lengths are 32 bit.
pub const MAX_UNPACKED: u64 = i32::MAX as u64;

/// The most that one snappy block may come to, in bytes; Java's come to 32 KiB.
pub(super) const MAX_SNAPPY_BLOCK: usize = 64 << 20;

/// How much comes out at once of what is read like a file.
const PIECE: usize = 64 << 10;

/// Buffers double up to this, and grow by so much beyond.
const MOST_GROWTH: usize = 1 << 20;

/// No snappy element makes more than 64 bytes out of three.
const SNAPPY_MOST_EXPANSION: usize = 22;

pub(super) const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// Magic, then version and oldest compatible version, 32 bit each.
const XERIAL_HEADER_LEN: usize = 16;

/// What came out and was not used yet.
#[derive(Debug)]
pub(super) struct Window<'a> {
    /// From `start` to `end`; what lies before is used up, what lies behind is room.
    buffer: &'a mut Vec<u8>,
    start: usize,
    end: usize,
    /// How much came out altogether.
    total: u64,
}

impl<'a> Window<'a> {
    /// An empty one; the buffer may hold anything.
    pub(super) fn new(buffer: &'a mut Vec<u8>) -> Self {
        Self {
            buffer,
            start: 0,
            end: 0,
            total: 0,
        }
    }

    /// Pretends that so much came out before.
    #[cfg(test)]
    pub(super) fn came(&mut self, total: u64) {
        self.total = total;
    }

    /// What is there.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// How far what was used up reaches into what the batch comes to.
    pub(super) fn position(&self) -> u64 {
        self.total - self.len() as u64
    }

    /// What is there, for good.
    pub(super) fn into_bytes(self) -> &'a [u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The buffer, to begin anew.
    pub(super) fn into_buffer(self) -> &'a mut Vec<u8> {
        self.buffer
    }

    /// Uses up the first bytes, at most all of them.
    pub(super) fn take(&mut self, count: usize) {
        self.start = self.end.min(self.start.saturating_add(count));
    }

    /// Room for `count` bytes behind what is there.
    fn room(&mut self, count: usize) -> &mut [u8] {
        let len = self.end + count;
        make_room(self.buffer, len);
        self.buffer.get_mut(self.end..len).unwrap_or_default()
    }

    /// So many bytes were put into the room.
    fn grew(&mut self, count: usize) -> Result<(), String> {
        self.end += count;
        self.total += count as u64;
        if self.total > MAX_UNPACKED {
            return Err(format!("it comes to more than {MAX_UNPACKED} bytes"));
        }
        Ok(())
    }

    /// Gives the room of what was used up back, but for `history` bytes before the end; by how much all has moved.
    fn compact(&mut self, history: usize) -> usize {
        let from = self.start.min(self.end.saturating_sub(history));
        // Moving much for little would take longer than what it makes room for.
        if from < PIECE.min(self.end - from) {
            return 0;
        }
        self.buffer.copy_within(from..self.end, 0);
        self.start -= from;
        self.end -= from;
        from
    }
}

/// Lengthens a buffer; doubling at first, so that many small pieces do not move it many times.
pub(super) fn make_room(buffer: &mut Vec<u8>, len: usize) {
    if buffer.len() < len {
        let ahead = buffer.len().min(MOST_GROWTH);
        buffer.resize(len.max(buffer.len() + ahead), 0);
    }
}

/// A body that comes out piece by piece.
pub(super) enum Unpack<'a> {
    Stored(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
    Snappy(Snappy<'a>),
    Lz4(lz4::Frames<'a>),
    Zstd(zstd::Frames<'a>),
}

impl std::fmt::Debug for Unpack<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Unpack")
    }
}

impl<'a> Unpack<'a> {
    pub(super) fn new(codec: Codec, input: &'a [u8]) -> Self {
        match codec {
            Codec::None => Self::Stored(input),
            Codec::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(input))),
            Codec::Snappy => Self::Snappy(Snappy::Begin(input)),
            Codec::Lz4 => Self::Lz4(lz4::Frames::new(input)),
            Codec::Zstd => Self::Zstd(zstd::Frames::new(input)),
        }
    }

    /// Lets the next piece come out; false when that was all.
    ///
    /// # Errors
    /// What is wrong with the input, or that it comes to more than [`MAX_UNPACKED`].
    pub(super) fn more(&mut self, out: &mut Window<'_>) -> Result<bool, String> {
        let removed = out.compact(match self {
            Self::Lz4(_) => lz4::HISTORY,
            _ => 0,
        });
        match self {
            Self::Stored(rest) => {
                let (piece, behind) = rest.split_at(rest.len().min(PIECE));
                out.room(piece.len()).copy_from_slice(piece);
                out.grew(piece.len())?;
                *rest = behind;
                Ok(!piece.is_empty())
            }
            Self::Gzip(reader) => read(reader, out),
            Self::Snappy(snappy) => snappy.more(out),
            Self::Lz4(frames) => {
                frames.moved(removed);
                let Some(end) = frames.more(out.buffer, out.end)? else {
                    return Ok(false);
                };
                out.grew(end - out.end)?;
                Ok(true)
            }
            Self::Zstd(frames) => frames.more(out),
        }
    }
}

/// Lets a piece of what is read like a file come out; false at its end.
fn read(reader: &mut impl Read, out: &mut Window<'_>) -> Result<bool, String> {
    let count = reader
        .read(out.room(PIECE))
        .map_err(|error| error.to_string())?;
    out.grew(count)?;
    Ok(count > 0)
}

/// What is left of snappy's two forms.
pub(super) enum Snappy<'a> {
    /// Which one it is, is not known yet.
    Begin(&'a [u8]),
    /// In xerial's framing.
    Chunks(&'a [u8]),
    End,
}

impl<'a> Snappy<'a> {
    fn more(&mut self, out: &mut Window<'_>) -> Result<bool, String> {
        loop {
            match *self {
                Self::Begin(input) if input.starts_with(XERIAL_MAGIC) => {
                    let chunks = input.get(XERIAL_HEADER_LEN..);
                    *self = Self::Chunks(chunks.ok_or("the header is cut short")?);
                }
                Self::Begin(input) => {
                    *self = Self::End;
                    return unsnap(input, out).map(|()| true);
                }
                Self::Chunks([]) | Self::End => return Ok(false),
                Self::Chunks(rest) => {
                    let (length, chunks) = rest
                        .split_first_chunk::<4>()
                        .ok_or("a chunk's length is cut short")?;
                    let length = u32::from_be_bytes(*length) as usize;
                    let (chunk, behind) = chunks
                        .split_at_checked(length)
                        .ok_or("a chunk is cut short")?;
                    *self = Self::Chunks(behind);
                    return unsnap(chunk, out).map(|()| true);
                }
            }
        }
    }
}

fn unsnap(block: &[u8], out: &mut Window<'_>) -> Result<(), String> {
    let size = snap::raw::decompress_len(block).map_err(|error| error.to_string())?;
    if size > block.len().saturating_mul(SNAPPY_MOST_EXPANSION) {
        return Err(format!(
            "{} bytes cannot come to the {size} they claim",
            block.len()
        ));
    }
    if size > MAX_SNAPPY_BLOCK {
        return Err(format!(
            "a block comes to {size} bytes, and at most {MAX_SNAPPY_BLOCK} are supported; let its producer write smaller \
             batches"
        ));
    }
    snap::raw::Decoder::new()
        .decompress(block, out.room(size))
        .map_err(|error| error.to_string())?;
    out.grew(size)
}
