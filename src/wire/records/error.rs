//! What can be wrong with a record batch, and where.

use super::Codec;

/// Bytes that are no valid record batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The batch's length field is smaller than the fixed part of a batch.
    #[error(
        "record batch at offset {base_offset}: length {length} is too short for a batch header"
    )]
    Length {
        /// Base offset as the batch gives it.
        base_offset: i64,
        /// The length field's value.
        length: i32,
    },
    /// A message format from before Kafka 0.11.
    #[error(
        "record batch at offset {base_offset}: it is in message format v{magic}, as before Kafka 0.11, and only v2 is \
         read; brokers do not rewrite what is there: copy the topic to a new one, with a producer of Kafka 0.11 or later"
    )]
    Magic {
        /// Base offset as the batch gives it.
        base_offset: i64,
        /// The magic byte.
        magic: i8,
    },
    /// The checksum does not match: the bytes were damaged on disk or on the way.
    #[error(
        "record batch at offset {base_offset}: CRC-32C is {actual:#010x} but the batch says {expected:#010x}"
    )]
    Crc {
        /// Base offset as the batch gives it.
        base_offset: i64,
        /// Checksum in the header.
        expected: u32,
        /// Checksum of the bytes.
        actual: u32,
    },
    /// A compression codec that nobody has defined.
    #[error("record batch at offset {base_offset}: unknown compression codec {code}")]
    UnknownCodec {
        /// Base offset as the batch gives it.
        base_offset: i64,
        /// The three bits of the attributes.
        code: u8,
    },
    /// The compressed body cannot be decompressed.
    #[error("record batch at offset {base_offset}: {codec} data: {reason}")]
    Decompress {
        /// Base offset as the batch gives it.
        base_offset: i64,
        /// The batch's codec.
        codec: Codec,
        /// What the decompressor says.
        reason: String,
    },
    /// A header field contradicts the rest of the batch.
    #[error("record batch at offset {base_offset}: {what}")]
    Header {
        /// Base offset as the batch gives it.
        base_offset: i64,
        /// The contradiction.
        what: &'static str,
    },
    /// What no checksum covers contradicts the log as it was read so far.
    #[error("record batch at offset {base_offset}: {what}")]
    Contradiction {
        /// Base offset as the batch gives it.
        base_offset: i64,
        /// The contradiction.
        what: &'static str,
    },
    /// A record inside the batch is malformed.
    #[error(
        "record batch at offset {base_offset}: record {index}, byte {position} of the decompressed body: {what}"
    )]
    Record {
        /// Base offset as the batch gives it.
        base_offset: i64,
        /// Which record of the batch, from 0.
        index: u32,
        /// Where in the decompressed body that record begins.
        position: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// A record that cannot be put into a batch, or a batch that cannot be finished.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The format's lengths are 32 bit.
    #[error(
        "a batch would be {size} bytes long, the record format ends at {}",
        i32::MAX
    )]
    TooLong {
        /// Bytes that would be needed.
        size: usize,
    },
    /// Brokers refuse batches without records.
    #[error("a batch without records cannot be sent")]
    Empty,
    /// The compressor failed.
    #[error("{codec} compression failed: {reason}")]
    Compress {
        /// The codec asked for.
        codec: Codec,
        /// What the compressor says.
        reason: String,
    },
}
