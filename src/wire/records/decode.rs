//! Records out of a batch: borrowed, without an allocation a record.
//!
//! A record carries its own length, so its headers can be left alone until somebody asks for them.

use super::batch::TimestampType;
use super::varint::{take_i32, take_i64};
use super::{BatchHeader, RecordsError};

/// The shortest record: length, attributes, timestamp, offset, key, value and header count, a byte each.
const MIN_RECORD_LEN: usize = 7;

pub(super) const BAD_LENGTH: &str = "its length is malformed";
pub(super) const TOO_LONG: &str = "it is longer than the batch";
pub(super) const LEFT_OVER: &str = "bytes are left over behind the last record";

/// The shortest header: the lengths of key and value, a byte each.
const MIN_HEADER_LEN: usize = 2;

/// One record, a view of the batch (or of the scratch buffer that it was decompressed into).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970: the producer's, or the broker's where the batch says LogAppendTime.
    pub timestamp_ms: i64,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, still encoded.
    pub headers: Headers<'a>,
}

/// A record's headers, decoded while they are walked over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    count: usize,
    encoded: &'a [u8],
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name: UTF-8 by convention, which is not checked here so that a foreign record costs nothing.
    pub key: &'a [u8],
    /// Its value, which may be null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// Headers that were taken apart with [`Self::raw`].
    pub fn from_raw(count: usize, encoded: &'a [u8]) -> Self {
        Self { count, encoded }
    }

    /// How many there are, and their encoded form.
    pub fn raw(&self) -> (usize, &'a [u8]) {
        (self.count, self.encoded)
    }

    /// How many headers the record says it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the record has no headers.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in their order; `None` in place of one that is malformed, and nothing behind it.
    pub fn iter(&self) -> impl Iterator<Item = Option<Header<'a>>> + use<'a> {
        let mut left = self.count;
        let mut encoded = self.encoded;
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let header = take_header(&mut encoded);
            if header.is_none() {
                left = 0;
            }
            Some(header)
        })
    }
}

fn take_header<'a>(encoded: &mut &'a [u8]) -> Option<Header<'a>> {
    Some(Header {
        key: take_nullable(encoded)??,
        value: take_nullable(encoded)?,
    })
}

/// Length, then so many bytes; -1 is null. The outer `None` is a length that the bytes at hand cannot satisfy.
#[inline]
pub(super) fn take_nullable<'a>(input: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = take_i32(input)?;
    if length == -1 {
        return Some(None);
    }
    let (taken, rest) = input.split_at_checked(usize::try_from(length).ok()?)?;
    *input = rest;
    Some(Some(taken))
}

/// The records of one batch, in its order; over after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    body: &'a [u8],
    whole: usize,
    rules: Rules,
    index: u32,
    count: u32,
}

/// What a batch's header says about each of its records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) base_offset: i64,
    last_offset_delta: i32,
    base_timestamp: i64,
    append_time: Option<i64>,
    /// Whether every offset of the batch has its record, as when it was written; compaction leaves fewer.
    pub(super) dense: bool,
}

impl Rules {
    pub(super) fn new(header: &BatchHeader) -> Self {
        Self {
            base_offset: header.base_offset,
            last_offset_delta: header.last_offset_delta,
            base_timestamp: header.base_timestamp,
            append_time: (header.timestamp_type() == TimestampType::LogAppendTime)
                .then_some(header.max_timestamp),
            dense: i64::from(header.record_count) == i64::from(header.last_offset_delta) + 1,
        }
    }

    /// Offset and timestamp of the record of this number, which stand in front of it; leaves what follows them.
    #[inline]
    pub(super) fn place(&self, index: u32, record: &mut &[u8]) -> Result<(i64, i64), &'static str> {
        // No attribute of a record is defined.
        let (_, fields) = record.split_first().ok_or("it is empty")?;
        *record = fields;
        let timestamp_delta = take_i64(record).ok_or("its timestamp is malformed")?;
        let offset_delta = take_i32(record).ok_or("its offset is malformed")?;
        if self.dense && i64::from(offset_delta) != i64::from(index) {
            return Err("its offset is not the next one of the batch");
        }
        if !(0..=self.last_offset_delta).contains(&offset_delta) {
            return Err("its offset lies outside the batch");
        }
        let offset = self.base_offset.wrapping_add(i64::from(offset_delta));
        let timestamp = self
            .append_time
            .unwrap_or_else(|| self.base_timestamp.wrapping_add(timestamp_delta));
        Ok((offset, timestamp))
    }

    /// The record of this number, from its bytes behind the length.
    #[inline]
    pub(super) fn record<'a>(
        &self,
        index: u32,
        mut record: &'a [u8],
    ) -> Result<Record<'a>, &'static str> {
        let (offset, timestamp_ms) = self.place(index, &mut record)?;
        let key = take_nullable(&mut record).ok_or("its key is longer than the record")?;
        let value = take_nullable(&mut record).ok_or("its value is longer than the record")?;
        let headers = take_i32(&mut record).ok_or("its header count is malformed")?;
        let count = usize::try_from(headers).map_err(|_| "its header count is negative")?;
        if count > record.len() / MIN_HEADER_LEN {
            return Err("it has more headers than its bytes can hold");
        }
        if count == 0 && !record.is_empty() {
            return Err("bytes are left over behind it");
        }
        Ok(Record {
            offset,
            timestamp_ms,
            key,
            value,
            headers: Headers {
                count,
                encoded: record,
            },
        })
    }
}

impl<'a> Records<'a> {
    pub(super) fn new(header: &BatchHeader, body: &'a [u8]) -> Result<Self, RecordsError> {
        let count = u32::try_from(header.record_count).ok();
        let Some(count) = count.filter(|&count| count as usize <= body.len() / MIN_RECORD_LEN)
        else {
            return Err(RecordsError::Header {
                base_offset: header.base_offset,
                what: "the record count is more than its bytes can hold",
            });
        };
        let records = Self {
            body,
            whole: body.len(),
            rules: Rules::new(header),
            index: 0,
            count,
        };
        records.ascend()?;
        Ok(records)
    }

    /// Looks ahead whether the offsets ascend where compaction has left holes, because there an offset that comes too late
    /// cannot be told from a hole before it. Of a dense batch each record tells for itself.
    fn ascend(&self) -> Result<(), RecordsError> {
        if self.rules.dense {
            return Ok(());
        }
        let mut order = Order::default();
        for record in self.clone().map_while(Result::ok) {
            order.next(self.rules.base_offset, record.offset)?;
        }
        Ok(())
    }

    /// Records not yet walked over.
    pub fn remaining(&self) -> usize {
        (self.count - self.index) as usize
    }

    #[inline]
    fn take(&mut self) -> Result<Record<'a>, &'static str> {
        let length = take_i32(&mut self.body).ok_or(BAD_LENGTH)?;
        let (record, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.body.split_at_checked(length))
            .ok_or(TOO_LONG)?;
        self.body = rest;
        self.rules.record(self.index, record)
    }
}

/// Whether offsets ascend.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    last: Option<i64>,
}

impl Order {
    pub(super) fn next(&mut self, base_offset: i64, offset: i64) -> Result<(), RecordsError> {
        if self.last.is_some_and(|last| offset <= last) {
            return Err(RecordsError::Header {
                base_offset,
                what: "the offsets of its records do not ascend",
            });
        }
        self.last = Some(offset);
        Ok(())
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.count {
            if self.body.is_empty() {
                return None;
            }
            let position = self.whole - self.body.len();
            self.body = &[];
            return Some(Err(RecordsError::Record {
                base_offset: self.rules.base_offset,
                index: self.index,
                position: position as u64,
                what: LEFT_OVER,
            }));
        }
        let position = self.whole - self.body.len();
        match self.take() {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(what) => {
                let index = self.index;
                self.count = index;
                self.body = &[];
                Some(Err(RecordsError::Record {
                    base_offset: self.rules.base_offset,
                    index,
                    position: position as u64,
                    what,
                }))
            }
        }
    }
}

/// What a control batch says about the transaction of its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The transaction's records must not be shown to readers of committed records.
    Abort,
    /// The transaction's records count.
    Commit,
    /// A marker of the cluster's own (elections, snapshots): to be passed over.
    Other(i16),
}

impl ControlType {
    /// Reads the key of a control batch's record: version, type, both 16 bit
    /// ([control batches](https://kafka.apache.org/documentation/#controlbatch)); `None` when it is too short.
    pub fn from_record(record: &Record<'_>) -> Option<Self> {
        let [_, _, t0, t1] = *record.key?.first_chunk::<4>()?;
        Some(match i16::from_be_bytes([t0, t1]) {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Other(other),
        })
    }
}
