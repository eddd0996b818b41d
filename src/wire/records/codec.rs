//! The four compression codecs of record batches, none of them in C.
//!
//! Snappy comes in two forms: Java and librdkafka frame it in chunks ("xerial"), others write one raw block; both are
//! read, the framed one is written, because brokers accept no other. LZ4 is the frame format with the header checksum
//! that KIP-57 demands. Whatever the input claims about its size, memory grows with the bytes that really come out.

use super::{EncodeError, lz4};
use flate2::Compression as GzipLevel;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::fmt;
use std::io::{Read, Write};

/// Most bytes that one batch may come to: far above any sane `max.message.bytes`, far below what hurts.
pub const MAX_DECOMPRESSED: usize = 128 << 20;

/// A scratch buffer above this size is given back before the next batch, so that one giant does not stay for ever.
const SCRATCH_KEPT: usize = 8 << 20;

/// How many buffers of finished batches are kept for the next ones.
const SPARES: usize = 4;

/// No snappy element makes more than 64 bytes out of three.
const SNAPPY_MOST_EXPANSION: usize = 22;

const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// Magic, then version and oldest compatible version, 32 bit each.
const XERIAL_HEADER_LEN: usize = 16;
const XERIAL_VERSION: u32 = 1;
/// What Java's writer cuts its chunks at.
const XERIAL_CHUNK: usize = 32 << 10;

/// How a batch's records are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy, raw or in xerial's framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// RFC 8878 (KIP-110).
    Zstd,
}

impl Codec {
    /// The code in the lowest three bits of a batch's attributes.
    pub const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec of that code, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// The buffer that compressed batches are decompressed into, used again from batch to batch.
#[derive(Debug, Default)]
pub struct Scratch {
    buffer: Vec<u8>,
}

impl Scratch {
    /// An empty one; it grows with the batches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decompresses `input` into this buffer, at most `limit` bytes, and shows them.
    pub(super) fn decompress(
        &mut self,
        codec: Codec,
        input: &[u8],
        limit: usize,
    ) -> Result<&[u8], String> {
        if self.buffer.capacity() > SCRATCH_KEPT {
            self.buffer = Vec::new();
        }
        let out = &mut self.buffer;
        let end = match codec {
            // What is in the buffer stays there: it is longer than what it holds.
            Codec::Lz4 => lz4::decompress(input, out, limit).map_err(|what| match what {
                lz4::TOO_LARGE => too_large(limit),
                what => what.to_owned(),
            })?,
            Codec::None => appended(out, |out| {
                within(input.len(), limit)?;
                out.extend_from_slice(input);
                Ok(())
            })?,
            Codec::Gzip => appended(out, |out| drain(MultiGzDecoder::new(input), out, limit))?,
            Codec::Snappy => appended(out, |out| unsnap(input, out, limit))?,
            Codec::Zstd => appended(out, |out| {
                let mut rest = input;
                while !rest.is_empty() {
                    let frame =
                        StreamingDecoder::new(&mut rest).map_err(|error| error.to_string())?;
                    drain(frame, out, limit)?;
                }
                Ok(())
            })?,
        };
        Ok(out.get(..end).unwrap_or_default())
    }
}

/// Empties a buffer and fills it; how long it is then.
fn appended(
    out: &mut Vec<u8>,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
) -> Result<usize, String> {
    out.clear();
    fill(out)?;
    Ok(out.len())
}

fn within(size: usize, limit: usize) -> Result<(), String> {
    if size > limit {
        return Err(too_large(limit));
    }
    Ok(())
}

fn too_large(limit: usize) -> String {
    format!("it comes to more than {limit} bytes")
}

/// Reads to the end: the vector doubles as bytes arrive, and one byte above the limit is enough to know.
fn drain(reader: impl Read, out: &mut Vec<u8>, limit: usize) -> Result<(), String> {
    let allowed = (limit - out.len()) as u64;
    reader
        .take(allowed + 1)
        .read_to_end(out)
        .map_err(|error| error.to_string())?;
    within(out.len(), limit)
}

fn unsnap(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), String> {
    if !input.starts_with(XERIAL_MAGIC) {
        return unsnap_block(input, out, limit);
    }
    let mut rest = input
        .get(XERIAL_HEADER_LEN..)
        .ok_or("the header is cut short")?;
    while !rest.is_empty() {
        let (length, chunks) = rest
            .split_first_chunk::<4>()
            .ok_or("a chunk's length is cut short")?;
        let length = u32::from_be_bytes(*length) as usize;
        let (chunk, behind) = chunks
            .split_at_checked(length)
            .ok_or("a chunk is cut short")?;
        unsnap_block(chunk, out, limit)?;
        rest = behind;
    }
    Ok(())
}

fn unsnap_block(block: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), String> {
    let size = snap::raw::decompress_len(block).map_err(|error| error.to_string())?;
    let start = out.len();
    within(start.saturating_add(size), limit)?;
    if size > block.len().saturating_mul(SNAPPY_MOST_EXPANSION) {
        return Err(format!(
            "{} bytes cannot come to the {size} they claim",
            block.len()
        ));
    }
    out.resize(start + size, 0);
    let target = out.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new()
        .decompress(block, target)
        .map_err(|error| error.to_string())?;
    Ok(())
}

/// Compresses batches, and keeps what it needs for that from batch to batch.
#[derive(Debug, Default)]
pub struct Compressor {
    lz4: Option<lz4::Compressor>,
    out: Vec<u8>,
    /// Buffers of batches that went out in another form.
    spare: Vec<Vec<u8>>,
}

impl Compressor {
    /// One that has compressed nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A buffer that a batch was gathered in and that is of no more use, for the next one: see
    /// [`BatchBuilder::reuse`](super::BatchBuilder::reuse).
    pub fn take_spare(&mut self) -> Option<Vec<u8>> {
        self.spare.pop()
    }

    pub(super) fn put_spare(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARES {
            self.spare.push(buffer);
        }
    }

    /// `input`, compressed, behind `head` bytes of zero.
    pub(super) fn compress(
        &mut self,
        codec: Codec,
        head: usize,
        input: &[u8],
    ) -> Result<&[u8], EncodeError> {
        let failed = |error: &dyn fmt::Display| EncodeError::Compress {
            codec,
            reason: error.to_string(),
        };
        if self.out.capacity() > SCRATCH_KEPT {
            self.out = Vec::new();
        }
        let out = &mut self.out;
        out.clear();
        out.resize(head, 0);
        match codec {
            Codec::None => out.extend_from_slice(input),
            Codec::Gzip => {
                let mut encoder = GzEncoder::new(&mut *out, GzipLevel::default());
                encoder
                    .write_all(input)
                    .and_then(|()| encoder.finish().map(drop))
                    .map_err(|error| failed(&error))?;
            }
            Codec::Lz4 => self.lz4.get_or_insert_default().compress(input, out),
            Codec::Snappy => {
                out.extend_from_slice(XERIAL_MAGIC);
                out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
                out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
                let mut encoder = snap::raw::Encoder::new();
                for chunk in input.chunks(XERIAL_CHUNK) {
                    let block = encoder
                        .compress_vec(chunk)
                        .map_err(|error| failed(&error))?;
                    // A chunk of 32 KiB never grows anywhere near 4 GiB.
                    out.extend_from_slice(&(block.len() as u32).to_be_bytes());
                    out.extend_from_slice(&block);
                }
            }
            Codec::Zstd => {
                out.extend_from_slice(&compress_to_vec(input, CompressionLevel::Fastest))
            }
        }
        Ok(out)
    }
}
