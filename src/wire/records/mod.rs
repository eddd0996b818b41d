//! Record batches v2, the only form in which records travel and lie on disk since Kafka 0.11
//! ([KIP-98](https://cwiki.apache.org/confluence/display/KAFKA/KIP-98)), encoded and decoded in place.
//!
//! Reading: [`Batches`] walks the records field of a Fetch response without copying, [`Batch::records`] walks one
//! batch and borrows keys and values from it (or from a [`Scratch`] when the batch is compressed).
//! Writing: [`BatchBuilder`] encodes each record once, straight into the batch's own buffer; a [`FrozenBatch`] is
//! that buffer, which can be stamped with another producer identity but whose records never change again.
//!
//! Invariants:
//! - every length is checked against the bytes at hand before it is believed, nothing read from outside panics;
//! - a batch is handed out only after its CRC-32C was found right;
//! - decompression is bounded, and its buffer grows with the bytes that come out, not with what the input claims.

mod batch;
mod codec;
mod decode;
mod encode;
mod error;
mod lz4;
mod varint;

#[cfg(test)]
mod tests;

pub use batch::{
    Batch, BatchHeader, Batches, HEADER_LEN, ProducerIdentity, TimestampType, assign_offset,
};
pub use codec::{Codec, Compressor, MAX_DECOMPRESSED, Scratch};
pub use decode::{ControlType, Header, Headers, Record, Records};
pub use encode::{BatchBuilder, FrozenBatch, NewRecord};
pub use error::{EncodeError, RecordsError};
