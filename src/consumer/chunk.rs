//! What was fetched of one partition, to be read without async code on whatever thread.
//!
//! Checksums were verified and batches that show nothing were left out when the chunk was made; what is left for the
//! reader is to decompress and to walk. Keys and values are views of the receive buffer, or of the reader's scratch
//! buffer where a batch is compressed.

use std::{ops::ControlFlow, sync::Arc};

use super::{ConsumeError, cursor::Taken, fetch::Held};
use crate::wire::records::{
    Batch, BatchHeader, Entry, Opened, Record, RecordStream, Records, RecordsError, Scratch,
};

/// New data of one partition, or just a new position where there is nothing to be shown.
///
/// The memory it keeps counts against what may be in flight until it is dropped.
#[derive(Debug)]
pub struct Chunk {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) high_watermark: i64,
    pub(super) last_stable_offset: i64,
    pub(super) taken: Taken,
    pub(super) _held: Arc<Held>,
}

impl Chunk {
    /// The partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Where the partition was read from. Equals the last chunk's [`Self::next_offset`], or the position it was started
    /// or reset at.
    pub fn from(&self) -> i64 {
        self.taken.from
    }

    /// Where reading goes on: behind the last record, and past markers and holes that follow it.
    pub fn next_offset(&self) -> i64 {
        self.taken.next_offset
    }

    /// The leader epoch of the last batch (KIP-320), to be committed with [`Self::next_offset`].
    pub fn leader_epoch(&self) -> Option<i32> {
        self.taken.leader_epoch
    }

    /// The end of what is replicated, as of this answer.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The end of what is decided (committed or aborted), as of this answer; -1 where the broker does not say.
    pub fn last_stable_offset(&self) -> i64 {
        self.last_stable_offset
    }

    /// The batches that have records to show, in order.
    pub fn batches(&self) -> impl ExactSizeIterator<Item = ChunkBatch<'_>> {
        let batches = self.taken.batches.iter();
        batches.map(|batch| ChunkBatch { chunk: self, batch })
    }

    /// Hands every record to `take`, in order, until it breaks off.
    ///
    /// # Errors
    /// When a batch cannot be read; the records before were handed over.
    pub fn each(
        &self,
        scratch: &mut Scratch,
        mut take: impl FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ConsumeError> {
        for batch in self.batches() {
            let mut next = self.from();
            let mut take = |entry: Entry<'_>| {
                next = entry.offset().saturating_add(1);
                take(entry)
            };
            match batch.each(scratch, &mut take) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(ControlFlow::Break(())),
                Err(error) => return Err(batch.unreadable(next, error)),
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// One batch of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct ChunkBatch<'a> {
    chunk: &'a Chunk,
    batch: &'a Batch,
}

impl ChunkBatch<'_> {
    /// Says that the batch cannot be read from `position` on, or from its beginning where that lies behind.
    pub fn unreadable(&self, position: i64, source: RecordsError) -> ConsumeError {
        let header = self.batch.header();
        ConsumeError::Corrupt {
            topic: Arc::clone(&self.chunk.topic),
            partition: self.chunk.partition,
            offset: position.max(header.base_offset).max(self.chunk.from()),
            past: Some(header.next_offset()),
            source,
        }
    }

    /// The fixed part of the batch: its place, its checksum and its times.
    pub fn header(&self) -> &BatchHeader {
        self.batch.header()
    }

    /// Where reading goes on behind this batch.
    pub fn next_offset(&self) -> i64 {
        self.batch.header().next_offset()
    }

    /// The epoch of the leader that appended the batch (KIP-320).
    pub fn leader_epoch(&self) -> Option<i32> {
        Some(self.batch.header().partition_leader_epoch).filter(|epoch| *epoch >= 0)
    }

    /// The records that are new, in order of their offsets. `scratch` is used only when the batch is compressed or large.
    ///
    /// # Errors
    /// When the batch cannot be decompressed: see [`Self::unreadable`].
    pub fn open<'s>(&'s self, scratch: &'s mut Scratch) -> Result<ChunkRecords<'s>, RecordsError> {
        let from = self.chunk.from();
        Ok(match self.batch.open(scratch)? {
            Opened::Whole(records) => ChunkRecords::Whole(WholeRecords { records, from }),
            Opened::Stream(mut stream) => {
                stream.skip_to(from);
                ChunkRecords::Stream(stream)
            }
        })
    }

    fn each(
        &self,
        scratch: &mut Scratch,
        take: &mut impl FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, RecordsError> {
        match self.open(scratch)? {
            ChunkRecords::Whole(records) => {
                for record in records {
                    if take(Entry::Record(record?)).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            ChunkRecords::Stream(mut stream) => {
                while let Some(entry) = stream.next() {
                    if take(entry?).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The new records of one batch.
#[derive(Debug)]
pub enum ChunkRecords<'a> {
    /// They are all there.
    Whole(WholeRecords<'a>),
    /// They come out one after the other.
    Stream(RecordStream<'a>),
}

/// The new records of one batch; over after the first error.
#[derive(Clone, Debug)]
pub struct WholeRecords<'a> {
    records: Records<'a>,
    from: i64,
}

impl<'a> Iterator for WholeRecords<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.records.next()? {
                Ok(record) if record.offset < self.from => {}
                record => return Some(record),
            }
        }
    }
}
