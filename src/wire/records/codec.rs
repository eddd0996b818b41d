//! The four compression codecs of record batches, none of them in C, and how batches are compressed (`unpack` is the way back).
//!
//! Snappy is written in the framing of Java and librdkafka ("xerial"), because brokers accept no other. LZ4 is the frame
//! format with the header checksum that KIP-57 demands.

use super::unpack::XERIAL_MAGIC;
use super::{EncodeError, lz4};
use flate2::Compression as GzipLevel;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::fmt;
use std::io::Write;

/// A buffer above this size is given back before the next batch, so that one giant does not stay for ever.
pub(super) const BUFFER_KEPT: usize = 8 << 20;

/// How many buffers of finished batches are kept for the next ones.
const SPARES: usize = 4;

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
        if self.out.capacity() > BUFFER_KEPT {
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
