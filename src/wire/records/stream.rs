//! Batches that come to much: record by record out of the decompressor, in bounded memory.
//!
//! A batch of 140 KB may come to gigabytes. One that comes to at most [`MAX_RECORD`] is walked as a whole, which is fast; of a
//! larger one, the decompressor is asked for more whenever the next record is not there as a whole. A record that is itself
//! longer than that is passed over while it comes out; offset, timestamp, a short key and its length are kept.

use super::batch::Batch;
use super::codec::BUFFER_KEPT;
use super::decode::{BAD_LENGTH, LEFT_OVER, Order, Rules, TOO_LONG, take_nullable};
use super::unpack::{Unpack, Window};
use super::varint::take_i32;
use super::{BatchHeader, Codec, Record, Records, RecordsError};

/// The longest record that is read, in bytes, as it lies in the batch: some hundred thousand times a trade.
pub const MAX_RECORD: usize = 16 << 20;

/// The longest key that is kept of a longer record.
const MAX_KEY: usize = 64 << 10;

/// What stands before a record's key at most: attributes, timestamp, offset, the key's length.
const BEFORE_KEY: usize = 1 + 10 + 5 + 5;

/// The most bytes of a varint of 32 bits.
const MAX_VARINT: usize = 5;

/// The most that [`Batch::records`] lets a batch come to.
const MAX_WHOLE: usize = 128 << 20;

/// The buffer that batches are decompressed into, used again from batch to batch.
#[derive(Debug, Default)]
pub struct Scratch {
    buffer: Vec<u8>,
}

impl Scratch {
    /// An empty one; it grows with the batches.
    pub fn new() -> Self {
        Self::default()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    fn window(&mut self) -> Window<'_> {
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        Window::new(&mut self.buffer)
    }
}

/// A batch's records, to be walked over.
#[derive(Debug)]
pub enum Opened<'a> {
    /// They are all there.
    Whole(Records<'a>),
    /// They come out one after the other.
    Stream(RecordStream<'a>),
}

/// What comes out of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A record.
    Record(Record<'a>),
    /// What is known of a record that is longer than [`MAX_RECORD`].
    TooLarge(TooLarge<'a>),
}

/// What is known of a record that is longer than [`MAX_RECORD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970, as of any record.
    pub timestamp_ms: i64,
    /// Its key, if it has one that is not too long itself.
    pub key: Option<&'a [u8]>,
    /// Its length in bytes, as it lies in the batch.
    pub size: usize,
}

impl Batch {
    fn refused(&self, codec: Codec) -> impl Fn(String) -> RecordsError {
        let base_offset = self.header().base_offset;
        move |reason| RecordsError::Decompress {
            base_offset,
            codec,
            reason,
        }
    }

    /// Its records, one by one, however little they come to.
    #[cfg(test)]
    pub(super) fn stream<'a>(
        &'a self,
        scratch: &'a mut Scratch,
    ) -> Result<RecordStream<'a>, RecordsError> {
        let codec = self.header().codec()?;
        let unpack = Unpack::new(codec, self.body());
        RecordStream::new(self.header(), codec, unpack, scratch.window())
    }

    /// The batch's records. `scratch` is used only when the batch is compressed or large.
    ///
    /// # Errors
    /// When the body cannot be decompressed, cannot hold as many records as the header says, or holds them in another order
    /// than that of their offsets.
    pub fn open<'a>(&'a self, scratch: &'a mut Scratch) -> Result<Opened<'a>, RecordsError> {
        let header = self.header();
        let codec = header.codec()?;
        if codec == Codec::None && self.body().len() <= MAX_RECORD {
            return Records::new(header, self.body()).map(Opened::Whole);
        }
        let refused = self.refused(codec);
        let mut unpack = Unpack::new(codec, self.body());
        let mut window = scratch.window();
        while window.len() <= MAX_RECORD {
            if !unpack.more(&mut window).map_err(&refused)? {
                return Records::new(header, window.into_bytes()).map(Opened::Whole);
            }
        }
        let stream = RecordStream::new(header, codec, unpack, window)?;
        if stream.rules.dense {
            return Ok(Opened::Stream(stream));
        }
        // As of a small one that has holes: all offsets are looked at first.
        let buffer = stream.in_order()?;
        let (unpack, window) = (Unpack::new(codec, self.body()), Window::new(buffer));
        RecordStream::new(header, codec, unpack, window).map(Opened::Stream)
    }

    /// The records of a batch that is not from outside, or is known to be small: as [`Self::open`], but always as a whole.
    ///
    /// # Errors
    /// As [`Self::open`], and where it comes to more than 128 MiB.
    pub fn records<'a>(&'a self, scratch: &'a mut Scratch) -> Result<Records<'a>, RecordsError> {
        let header = self.header();
        let codec = header.codec()?;
        if codec == Codec::None {
            return Records::new(header, self.body());
        }
        let refused = self.refused(codec);
        let mut unpack = Unpack::new(codec, self.body());
        let mut window = scratch.window();
        while unpack.more(&mut window).map_err(&refused)? {
            if window.len() > MAX_WHOLE {
                return Err(refused(format!("it comes to more than {MAX_WHOLE} bytes")));
            }
        }
        Records::new(header, window.into_bytes())
    }
}

/// The records of one large batch, in their order; over after the first error.
#[derive(Debug)]
pub struct RecordStream<'a> {
    unpack: Unpack<'a>,
    window: Window<'a>,
    codec: Codec,
    rules: Rules,
    index: u32,
    count: u32,
    /// Records below are not shown.
    from: i64,
    failed: bool,
    /// What of the window belongs to the entry that was shown last.
    shown: usize,
    /// The first bytes of a record that is too large.
    first: Vec<u8>,
}

/// The next record.
#[derive(Clone, Copy)]
enum Located {
    /// At the front of the window, behind so many bytes of its length.
    Whole { at: usize, size: usize },
    /// Its first bytes are kept.
    TooLarge { size: usize },
}

impl<'a> RecordStream<'a> {
    fn new(
        header: &BatchHeader,
        codec: Codec,
        unpack: Unpack<'a>,
        window: Window<'a>,
    ) -> Result<Self, RecordsError> {
        let count = u32::try_from(header.record_count).map_err(|_| RecordsError::Header {
            base_offset: header.base_offset,
            what: "the record count is negative",
        })?;
        Ok(Self {
            unpack,
            window,
            codec,
            rules: Rules::new(header),
            index: 0,
            count,
            from: i64::MIN,
            failed: false,
            shown: 0,
            first: Vec::new(),
        })
    }

    /// Shows only records from this offset on.
    pub fn skip_to(&mut self, offset: i64) {
        self.from = offset;
    }

    /// Walks over all of it, and gives the buffer back.
    fn in_order(mut self) -> Result<&'a mut Vec<u8>, RecordsError> {
        let mut order = Order::default();
        let base_offset = self.rules.base_offset;
        // Another error is met again at its place, behind the records before it.
        while let Some(Ok(entry)) = self.next() {
            order.next(base_offset, entry.offset())?;
        }
        Ok(self.window.into_buffer())
    }

    /// The next record, which lives until the one after it is asked for.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's items outlive its next turn"
    )]
    pub fn next(&mut self) -> Option<Result<Entry<'_>, RecordsError>> {
        if self.failed {
            return None;
        }
        match self.locate() {
            Ok(None) => None,
            Ok(Some(located)) => Some(self.entry(self.index - 1, located)),
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }

    /// Finds the next record that is to be shown; what it takes is in the window then.
    fn locate(&mut self) -> Result<Option<Located>, RecordsError> {
        loop {
            self.window.take(std::mem::take(&mut self.shown));
            if self.index == self.count {
                self.fill(1)?;
                return match self.window.len() {
                    0 => Ok(None),
                    _ => Err(self.malformed(LEFT_OVER)),
                };
            }
            self.fill(MAX_VARINT)?;
            let mut rest = self.window.bytes();
            let size = take_i32(&mut rest).and_then(|size| usize::try_from(size).ok());
            let at = self.window.len() - rest.len();
            let size = size.ok_or_else(|| self.malformed(BAD_LENGTH))?;
            let located = if size <= MAX_RECORD {
                self.fill(at + size)?;
                Located::Whole { at, size }
            } else {
                self.fill(at + BEFORE_KEY + MAX_KEY)?;
                self.first.clear();
                let bytes = self.window.bytes();
                let first = bytes.get(at..at + BEFORE_KEY + MAX_KEY);
                self.first.extend_from_slice(first.unwrap_or_default());
                Located::TooLarge { size }
            };
            let offset = self.entry(self.index, located)?.offset();
            match located {
                Located::Whole { .. } => self.shown = at + size,
                Located::TooLarge { .. } => self.pass(at + size)?,
            }
            self.index += 1;
            if offset >= self.from {
                return Ok(Some(located));
            }
        }
    }

    /// Lets so many bytes come out and go.
    fn pass(&mut self, mut count: usize) -> Result<(), RecordsError> {
        loop {
            let there = self.window.len().min(count);
            self.window.take(there);
            count -= there;
            if count == 0 {
                return Ok(());
            }
            if !self.more()? {
                return Err(self.malformed(TOO_LONG));
            }
        }
    }

    /// Sees that so many bytes are there, unless the batch ends before.
    fn fill(&mut self, count: usize) -> Result<(), RecordsError> {
        while self.window.len() < count && self.more()? {}
        Ok(())
    }

    fn more(&mut self) -> Result<bool, RecordsError> {
        let more = self.unpack.more(&mut self.window);
        more.map_err(|reason| RecordsError::Decompress {
            base_offset: self.rules.base_offset,
            codec: self.codec,
            reason,
        })
    }

    fn malformed(&self, what: &'static str) -> RecordsError {
        RecordsError::Record {
            base_offset: self.rules.base_offset,
            index: self.index,
            position: self.window.position(),
            what,
        }
    }

    fn entry(&self, index: u32, located: Located) -> Result<Entry<'_>, RecordsError> {
        let read = match located {
            Located::Whole { at, size } => {
                let record = self.window.bytes().get(at..at + size);
                record
                    .ok_or(TOO_LONG)
                    .and_then(|record| self.rules.record(index, record).map(Entry::Record))
            }
            Located::TooLarge { size } => {
                too_large(&self.rules, index, &self.first, size).map(Entry::TooLarge)
            }
        };
        read.map_err(|what| self.malformed(what))
    }
}

impl Entry<'_> {
    /// Its offset in the partition.
    pub fn offset(&self) -> i64 {
        match self {
            Self::Record(record) => record.offset,
            Self::TooLarge(large) => large.offset,
        }
    }

    /// When it was made, in milliseconds since 1970.
    pub fn timestamp_ms(&self) -> i64 {
        match self {
            Self::Record(record) => record.timestamp_ms,
            Self::TooLarge(large) => large.timestamp_ms,
        }
    }
}

/// What is known of a record of `size` bytes, from its first ones.
fn too_large<'a>(
    rules: &Rules,
    index: u32,
    mut first: &'a [u8],
    size: usize,
) -> Result<TooLarge<'a>, &'static str> {
    let (offset, timestamp_ms) = rules.place(index, &mut first)?;
    let mut behind = first;
    let length = take_i32(&mut behind).ok_or("its key is malformed")?;
    let key = match usize::try_from(length) {
        Ok(length) if length > size => return Err("its key is longer than the record"),
        Ok(length) if length > MAX_KEY => None,
        _ => take_nullable(&mut first).ok_or("its key is longer than the record")?,
    };
    Ok(TooLarge {
        offset,
        timestamp_ms,
        key,
        size,
    })
}
