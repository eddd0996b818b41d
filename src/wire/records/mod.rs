//! Record batches v2, the only form in which records travel and lie on disk since Kafka 0.11
//! ([KIP-98](https://cwiki.apache.org/confluence/display/KAFKA/KIP-98)), encoded and decoded in place.
//!
//! Reading: [`Batches`] walks the records field of a Fetch response without copying, [`Batch::open`] walks one
//! batch and borrows keys and values from it (or from a [`Scratch`] when the batch is compressed). One that comes to more
//! than [`MAX_RECORD`] is a [`RecordStream`]: its records come out one after the other, without those that are longer.
//! Writing: [`BatchBuilder`] encodes each record once, straight into the batch's own buffer; a [`FrozenBatch`] is
//! that buffer, which can be stamped with another producer identity but whose records never change again.
//!
//! Invariants:
//! - every length is checked against the bytes at hand before it is believed, nothing read from outside panics;
//! - a batch is handed out only after its CRC-32C was found right;
//! - decompression is bounded, and its buffer grows with the bytes that come out, not with what the input claims: a batch
//!   takes what its longest record takes, at most [`MAX_RECORD`], and what its codec looks back at.

mod batch;
mod codec;
mod decode;
mod encode;
mod error;
mod lz4;
mod stream;
mod unpack;
mod varint;

#[cfg(test)]
mod tests;

pub use batch::{
    Batch, BatchHeader, Batches, HEADER_LEN, ProducerIdentity, TimestampType, assign_offset,
};
pub use codec::{Codec, Compressor};
pub use decode::{ControlType, Header, Headers, Record, Records};
pub use encode::{BatchBuilder, FrozenBatch, NewRecord};
pub use error::{EncodeError, RecordsError};
pub use stream::{Entry, MAX_RECORD, Opened, RecordStream, Scratch, TooLarge};
pub use unpack::MAX_UNPACKED;
