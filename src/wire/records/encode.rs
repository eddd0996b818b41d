//! Records into a batch: each is encoded once, straight into the buffer that goes to the socket.

use super::batch::{CODEC_MASK, CRC_FROM, HEADER_LEN, MAGIC, PREFIX_LEN, TRANSACTIONAL};
use super::codec::Compressor;
use super::varint::{len_i32, len_i64, put_i32, put_i64};
use super::{Codec, EncodeError, ProducerIdentity};
use crate::short_copy::put as put_text;
use bytes::Bytes;

/// What a producer leaves in the leader epoch's place.
const NO_LEADER_EPOCH: i32 = -1;

/// Most bytes a batch takes, because the format's length fields are signed and 32 bit.
const MAX_BATCH_LEN: usize = i32::MAX as usize;

/// A record to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl NewRecord<'_> {
    /// Bytes behind the record's own length field.
    #[inline]
    fn encoded_len(&self, timestamp_delta: i64, offset_delta: i32) -> usize {
        let mut size = 1
            + len_i64(timestamp_delta)
            + len_i32(offset_delta)
            + nullable_len(self.key)
            + nullable_len(self.value)
            + len_i32(self.headers.len() as i32);
        for (name, value) in self.headers {
            size += nullable_len(Some(name.as_bytes())) + nullable_len(Some(value));
        }
        size
    }
}

#[inline]
fn nullable_len(bytes: Option<&[u8]>) -> usize {
    match bytes {
        // Lengths above 31 bits are refused by the size check of the whole record, whatever this cast makes of them.
        Some(bytes) => len_i32(bytes.len() as i32) + bytes.len(),
        None => 1,
    }
}

#[inline]
fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_i32(out, bytes.len() as i32);
            put_text(out, bytes);
        }
        None => put_i32(out, -1),
    }
}

/// A batch that still takes records.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    buffer: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch with room for `capacity` bytes, header included.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::reuse(Vec::with_capacity(capacity.max(HEADER_LEN)))
    }

    /// An empty batch in a buffer that is there already, whatever it holds.
    pub fn reuse(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(HEADER_LEN, 0);
        Self {
            buffer,
            count: 0,
            base_timestamp: 0,
            max_timestamp: 0,
        }
    }

    /// Records appended so far.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether no record was appended yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch as it is now, header included, before compression.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes that the batch would have after `record` was appended, header included, before compression.
    pub fn size_with(&self, record: &NewRecord<'_>) -> usize {
        let length = record.encoded_len(self.timestamp_delta(record), self.count);
        self.buffer.len() + prefixed(length)
    }

    /// Bytes that a batch of nothing but `record` has, header included, before compression.
    pub fn first_size(record: &NewRecord<'_>) -> usize {
        HEADER_LEN + prefixed(record.encoded_len(0, 0))
    }

    #[inline]
    fn timestamp_delta(&self, record: &NewRecord<'_>) -> i64 {
        if self.count == 0 {
            0
        } else {
            record.timestamp_ms.wrapping_sub(self.base_timestamp)
        }
    }

    /// Appends a record and says which of the batch it is, from 0.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] when the batch would grow beyond what the format's length fields can say; the batch
    /// is as it was before.
    pub fn append(&mut self, record: &NewRecord<'_>) -> Result<i32, EncodeError> {
        let offset_delta = self.count;
        let timestamp_delta = self.timestamp_delta(record);
        let length = record.encoded_len(timestamp_delta, offset_delta);
        let size = self.buffer.len().saturating_add(prefixed(length));
        if size > MAX_BATCH_LEN {
            return Err(EncodeError::TooLong { size });
        }

        let out = &mut self.buffer;
        out.reserve(prefixed(length));
        put_i32(out, length as i32);
        out.push(0);
        put_i64(out, timestamp_delta);
        put_i32(out, offset_delta);
        put_nullable(out, record.key);
        put_nullable(out, record.value);
        put_i32(out, record.headers.len() as i32);
        for (name, value) in record.headers {
            put_nullable(out, Some(name.as_bytes()));
            put_nullable(out, Some(value));
        }
        debug_assert_eq!(out.len(), size);

        if self.count == 0 {
            self.base_timestamp = record.timestamp_ms;
            self.max_timestamp = record.timestamp_ms;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp_ms);
        self.count += 1;
        Ok(offset_delta)
    }

    /// Compresses the records and fills in the header; `transactional` batches count when their transaction commits. A batch that compression would make no smaller goes out plain.
    ///
    /// # Errors
    /// [`EncodeError::Empty`] without a record; [`EncodeError::Compress`] when the codec fails.
    pub fn finish(
        self,
        codec: Codec,
        identity: Option<ProducerIdentity>,
        transactional: bool,
    ) -> Result<FrozenBatch, EncodeError> {
        self.finish_with(&mut Compressor::new(), codec, identity, transactional)
    }

    /// As [`Self::finish`], with a compressor that is kept for the next batch.
    ///
    /// # Errors
    /// As there.
    pub fn finish_with(
        self,
        compressor: &mut Compressor,
        codec: Codec,
        identity: Option<ProducerIdentity>,
        transactional: bool,
    ) -> Result<FrozenBatch, EncodeError> {
        if self.count == 0 {
            return Err(EncodeError::Empty);
        }
        let uncompressed = self.buffer.len();
        let mut buffer = self.buffer;
        let mut attributes = if transactional { TRANSACTIONAL } else { 0 };
        if codec != Codec::None {
            let compressed = compressor.compress(codec, HEADER_LEN, &buffer[HEADER_LEN..])?;
            if compressed.len() < uncompressed {
                let compressed = compressed.to_vec();
                compressor.put_spare(std::mem::replace(&mut buffer, compressed));
                attributes |= i16::from(codec.code()) & CODEC_MASK;
            }
        }

        // Bounded by MAX_BATCH_LEN in `append`, and compression only ever made it shorter.
        let length = (buffer.len() - PREFIX_LEN) as i32;
        put(&mut buffer, 8, length.to_be_bytes());
        put(&mut buffer, PREFIX_LEN, NO_LEADER_EPOCH.to_be_bytes());
        put(&mut buffer, 16, MAGIC.to_be_bytes());
        put(&mut buffer, CRC_FROM, attributes.to_be_bytes());
        put(&mut buffer, 23, (self.count - 1).to_be_bytes());
        put(&mut buffer, 27, self.base_timestamp.to_be_bytes());
        put(&mut buffer, 35, self.max_timestamp.to_be_bytes());
        put(&mut buffer, 57, self.count.to_be_bytes());
        stamp(&mut buffer, identity);
        Ok(FrozenBatch {
            bytes: Bytes::from(buffer),
            count: self.count,
            uncompressed,
        })
    }
}

/// A record's size with its own length field.
#[inline]
fn prefixed(length: usize) -> usize {
    length.saturating_add(len_i32(length as i32))
}

/// Writes a field of the header; every buffer here begins with a whole header, and `at` is a constant of the layout.
fn put<const N: usize>(buffer: &mut [u8], at: usize, bytes: [u8; N]) {
    buffer[at..at + N].copy_from_slice(&bytes);
}

/// Writes who sends the batch (-1 three times for nobody in particular) and the checksum over all of it.
fn stamp(buffer: &mut [u8], identity: Option<ProducerIdentity>) {
    let identity = identity.unwrap_or(ProducerIdentity {
        id: -1,
        epoch: -1,
        base_sequence: -1,
    });
    put(buffer, 43, identity.id.to_be_bytes());
    put(buffer, 51, identity.epoch.to_be_bytes());
    put(buffer, 53, identity.base_sequence.to_be_bytes());
    let crc = crc32c::crc32c(&buffer[CRC_FROM..]);
    put(buffer, 17, crc.to_be_bytes());
}

/// A finished batch: its records never change again, so that sending it twice sends the same bytes twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenBatch {
    bytes: Bytes,
    count: i32,
    uncompressed: usize,
}

impl FrozenBatch {
    /// The bytes as they go into a Produce request; cloning them copies nothing.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Records in the batch, at least 1.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes before compression, header included.
    pub fn uncompressed_size(&self) -> usize {
        self.uncompressed
    }

    /// Gives the batch another identity and computes its checksum anew.
    ///
    /// In place when nobody else holds the bytes, else in a copy: a request that is still being written keeps what
    /// it was given.
    pub fn restamp(&mut self, identity: Option<ProducerIdentity>) {
        let mut buffer = match std::mem::take(&mut self.bytes).try_into_mut() {
            Ok(unique) => unique,
            Err(shared) => bytes::BytesMut::from(&shared[..]),
        };
        stamp(&mut buffer, identity);
        self.bytes = buffer.freeze();
    }
}
