//! The batch's header, and the walk over the batches of a Fetch response.
//!
//! Layout, big-endian ([record batch](https://kafka.apache.org/documentation/#recordbatch)); the checksum covers
//! everything behind it, so that a broker can assign offset and leader epoch without touching it:
//!
//! | at | field | at | field |
//! | --- | --- | --- | --- |
//! | 0 | base offset, i64 | 27 | base timestamp, i64 |
//! | 8 | length behind this field, i32 | 35 | max timestamp, i64 |
//! | 12 | partition leader epoch, i32 | 43 | producer id, i64 |
//! | 16 | magic, i8 | 51 | producer epoch, i16 |
//! | 17 | CRC-32C, u32 | 53 | base sequence, i32 |
//! | 21 | attributes, i16 | 57 | record count, i32 |
//! | 23 | last offset delta, i32 | 61 | records, compressed or not |

use super::{Codec, RecordsError};
use bytes::Bytes;

/// Bytes of a batch before its records.
pub const HEADER_LEN: usize = 61;

/// Bytes of base offset and length, which the length field does not count.
pub(super) const PREFIX_LEN: usize = 12;

/// The message format that this module reads and writes.
pub(super) const MAGIC: i8 = 2;

/// Where the part that the checksum covers begins.
pub(super) const CRC_FROM: usize = 21;

pub(super) const CODEC_MASK: i16 = 0b0111;
const TIMESTAMP_TYPE: i16 = 0b1000;
pub(super) const TRANSACTIONAL: i16 = 0b1_0000;
const CONTROL: i16 = 0b10_0000;

/// Who gave the batch's records their timestamps (topic setting `message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer: each record has its own.
    CreateTime,
    /// The broker: all records have the batch's max timestamp.
    LogAppendTime,
}

/// What makes a batch recognisable to the broker when it is sent again (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProducerIdentity {
    /// Producer id that InitProducerId gave, 0 or more.
    pub id: i64,
    /// Producer epoch, 0 or more.
    pub epoch: i16,
    /// Sequence number of the batch's first record in its partition; wraps from `i32::MAX` to 0.
    pub base_sequence: i32,
}

/// The fixed part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record the batch was made with.
    pub base_offset: i64,
    /// Bytes behind the length field.
    pub length: i32,
    /// Epoch of the leader that appended the batch, -1 where unknown.
    pub partition_leader_epoch: i32,
    /// CRC-32C of everything behind it.
    pub crc: u32,
    /// Codec, timestamp type and flags as they stand.
    pub attributes: i16,
    /// Offset of the last record, relative to the base offset; compaction keeps it.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970 that the records' timestamps are relative to.
    pub base_timestamp: i64,
    /// Largest timestamp of the batch, milliseconds since 1970.
    pub max_timestamp: i64,
    /// Producer id, -1 without idempotence.
    pub producer_id: i64,
    /// Producer epoch, -1 without idempotence.
    pub producer_epoch: i16,
    /// Sequence number of the first record, -1 without idempotence.
    pub base_sequence: i32,
    /// Records in the batch; less than the offset span after compaction, possibly 0.
    pub record_count: i32,
}

impl BatchHeader {
    fn parse(fixed: &[u8; HEADER_LEN]) -> Self {
        Self {
            base_offset: i64::from_be_bytes(field(fixed, 0)),
            length: i32::from_be_bytes(field(fixed, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(fixed, 12)),
            crc: u32::from_be_bytes(field(fixed, 17)),
            attributes: i16::from_be_bytes(field(fixed, CRC_FROM)),
            last_offset_delta: i32::from_be_bytes(field(fixed, 23)),
            base_timestamp: i64::from_be_bytes(field(fixed, 27)),
            max_timestamp: i64::from_be_bytes(field(fixed, 35)),
            producer_id: i64::from_be_bytes(field(fixed, 43)),
            producer_epoch: i16::from_be_bytes(field(fixed, 51)),
            base_sequence: i32::from_be_bytes(field(fixed, 53)),
            record_count: i32::from_be_bytes(field(fixed, 57)),
        }
    }

    /// Offset of the batch's last record, whether or not compaction left it.
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// The position behind this batch: where reading goes on.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The compression of the records.
    ///
    /// # Errors
    /// [`RecordsError::UnknownCodec`] for the three codes that nobody has defined.
    pub fn codec(&self) -> Result<Codec, RecordsError> {
        let code = (self.attributes & CODEC_MASK) as u8;
        Codec::from_code(code).ok_or(RecordsError::UnknownCodec {
            base_offset: self.base_offset,
            code,
        })
    }

    /// Who gave the records their timestamps.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & TIMESTAMP_TYPE == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch holds a marker (see [`super::ControlType`]) and no data.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Who wrote the batch, if it was written with idempotence.
    pub fn identity(&self) -> Option<ProducerIdentity> {
        (self.producer_id >= 0).then_some(ProducerIdentity {
            id: self.producer_id,
            epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
        })
    }
}

/// `N` bytes of the fixed part; `at` is a constant of the layout wherever this is called.
#[inline]
fn field<const N: usize>(fixed: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&fixed[at..at + N]);
    bytes
}

/// One batch whose checksum was found right: a view of the buffer it was received in.
#[derive(Clone, Debug)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// The fixed part.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The records as they stand, still compressed if the batch is.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }
}

/// The batches of a records field, in its order.
///
/// A batch that is cut short at the end is dropped silently, as brokers may cut there (KIP-74); the first batch of a
/// Fetch response always is whole. After an error the walk is over, since the rest cannot be trusted to be aligned.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    /// Where the log goes on behind the batch that was refused.
    past: Option<i64>,
}

impl Batches {
    /// Walks over `records`, the records field of a Fetch response or of a Produce request.
    pub fn new(records: Bytes) -> Self {
        Self {
            rest: records,
            past: None,
        }
    }

    /// Bytes not walked over: after the last batch, those of the batch that was cut short.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Where the log goes on behind the batch that ended the walk with an error: where the next sound batch begins, or else
    /// what the refused one says of itself; `None` where the bytes do not tell.
    pub fn past_error(&self) -> Option<i64> {
        self.past
    }

    fn take(&mut self) -> Result<Option<Batch>, RecordsError> {
        let Some(prefix) = self.rest.first_chunk::<PREFIX_LEN>() else {
            return Ok(None);
        };
        let [o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3] = *prefix;
        let base_offset = i64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
        let length = i32::from_be_bytes([l0, l1, l2, l3]);

        // Older formats share these first bytes and their magic lies in the same place, but their length may be
        // shorter than a header of this one: the magic has to be looked at first for the error to be the true one.
        if let Some(&magic) = self.rest.get(16)
            && magic as i8 != MAGIC
        {
            let magic = magic as i8;
            return Err(RecordsError::Magic { base_offset, magic });
        }
        let size = match usize::try_from(length) {
            Ok(length) if length >= HEADER_LEN - PREFIX_LEN => PREFIX_LEN + length,
            _ => {
                return Err(RecordsError::Length {
                    base_offset,
                    length,
                });
            }
        };
        if self.rest.len() < size {
            return Ok(None);
        }
        let Some(fixed) = self.rest.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let header = BatchHeader::parse(fixed);
        let bytes = self.rest.split_to(size);
        let actual = crc32c::crc32c(bytes.get(CRC_FROM..).unwrap_or_default());
        if actual != header.crc {
            self.past = past(&header, &self.rest);
            return Err(RecordsError::Crc {
                base_offset,
                expected: header.crc,
                actual,
            });
        }
        if header.last_offset_delta < 0 {
            self.past = past(&header, &self.rest);
            let what = "the last offset delta is negative";
            return Err(RecordsError::Header { base_offset, what });
        }
        Ok(Some(Batch { header, bytes }))
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.take();
        if next.is_err() {
            self.rest.clear();
        }
        next.transpose()
    }
}

/// Where the log goes on behind a batch that is not sound, with the bytes that follow it.
fn past(header: &BatchHeader, following: &[u8]) -> Option<i64> {
    let sound = || {
        let next = BatchHeader::parse(following.first_chunk()?);
        let length = PREFIX_LEN.checked_add(usize::try_from(next.length).ok()?)?;
        let covered = following.get(CRC_FROM..length)?;
        (crc32c::crc32c(covered) == next.crc).then_some(next.base_offset)
    };
    let claimed = || (header.last_offset_delta >= 0).then(|| header.next_offset());
    sound()
        .or_else(claimed)
        .filter(|past| *past > header.base_offset)
}

/// Writes into a whole batch what its leader decides when it appends it: neither is covered by the checksum.
///
/// Does nothing to bytes that are too short to be a batch.
pub fn assign_offset(batch: &mut [u8], base_offset: i64, partition_leader_epoch: i32) {
    if let Some(fixed) = batch.first_chunk_mut::<HEADER_LEN>() {
        fixed[..8].copy_from_slice(&base_offset.to_be_bytes());
        fixed[PREFIX_LEN..PREFIX_LEN + 4].copy_from_slice(&partition_leader_epoch.to_be_bytes());
    }
}
