//! Takes in what was fetched: rows to the sink, positions to what this member has of the group.

use std::{collections::VecDeque, time::Instant};

use chrono::{DateTime, Utc};

use super::super::error::PipelineError;
use super::super::summary::Written;
use super::commits::Committed;
use super::session::Session;
use crate::{
    config::IsolationLevel,
    consumer::{Chunk, ChunkRecords, ConsumeError},
    sink::{Appended, InputRecord, RawHeaders, Sink, TooLarge},
    wire::records::{Entry, MAX_RECORD, RecordStream, RecordsError, Scratch},
};

/// How many bytes of rows may wait for a flush before one is made ahead of time: what recovery may have to hold.
const FLUSH_BYTES: u64 = 64 << 20;

/// What became of chunks.
#[derive(Default)]
struct Taken {
    counts: Appended,
    /// How far each partition was read, and where it ends: what can be read of it now.
    reached: Vec<(i32, i64, i64)>,
    /// What was not taken in.
    rest: VecDeque<Chunk>,
    /// How many records may still be taken.
    left: Option<u64>,
    /// How many bytes of rows wait for a flush.
    unflushed: u64,
    /// Whether a file took its last row.
    rolled: bool,
    /// What could not be read.
    unreadable: Vec<ConsumeError>,
}

/// Hands chunks to the sink until a flush is due; at most `left` records of them, and nothing behind those.
fn take_in(
    sink: &mut Sink,
    mut chunks: VecDeque<Chunk>,
    scratch: &mut Scratch,
    left: Option<u64>,
    isolation: IsolationLevel,
) -> Result<Taken, PipelineError> {
    let mut taken = Taken {
        left,
        ..Taken::default()
    };
    while taken.left != Some(0)
        && sink.unflushed_bytes() <= FLUSH_BYTES
        && let Some(chunk) = chunks.pop_front()
    {
        let position = take_one(sink, &chunk, scratch, &mut taken)?;
        // Where a consumer with this isolation can read to.
        let end = match isolation {
            IsolationLevel::ReadCommitted if chunk.last_stable_offset() >= 0 => {
                chunk.last_stable_offset()
            }
            _ => chunk.high_watermark(),
        };
        taken.reached.push((chunk.partition(), position, end));
    }
    taken.rest = chunks;
    taken.unflushed = sink.unflushed_bytes();
    taken.rolled = sink.rolled();
    Ok(taken)
}

/// Hands a chunk to the sink, batch by batch; where its partition stands then.
fn take_one(
    sink: &mut Sink,
    chunk: &Chunk,
    scratch: &mut Scratch,
    taken: &mut Taken,
) -> Result<i64, PipelineError> {
    let now = Utc::now();
    let partition = chunk.partition();
    let mut position = chunk.from();
    for batch in chunk.batches() {
        if taken.left == Some(0) {
            break;
        }
        let records = match batch.open(scratch) {
            Ok(ChunkRecords::Whole(records)) => records,
            Ok(ChunkRecords::Stream(mut stream)) => {
                let epoch = batch.leader_epoch();
                let read = take_stream(sink, partition, epoch, &mut stream, taken, now)?;
                position = position.max(read.0);
                if let Some(error) = read.1 {
                    let error = batch.unreadable(position, error);
                    return stand(sink, partition, error, taken, now);
                }
                continue;
            }
            Err(error) => {
                let error = batch.unreadable(position, error);
                return stand(sink, partition, error, taken, now);
            }
        };
        let limit = taken.left.map_or(usize::MAX, |left| {
            usize::try_from(left).unwrap_or(usize::MAX)
        });
        let mut unreadable = None;
        let mut records_taken = 0u64;
        let rows = records
            .map_while(|record| record.map_err(|error| unreadable = Some(error)).ok())
            .take(limit)
            .map(|record| {
                records_taken += 1;
                position = record.offset + 1;
                let (count, encoded) = record.headers.raw();
                InputRecord {
                    offset: record.offset,
                    key: record.key,
                    value: record.value,
                    headers: RawHeaders { count, encoded },
                    too_large: None,
                }
            });
        // The position behind the records is told apart, because it depends on whether all of them were taken.
        let appended = sink.append(partition, batch.leader_epoch(), rows, i64::MIN, now)?;
        taken.counts.add(appended);
        if let Some(left) = &mut taken.left {
            *left -= records_taken;
        }
        if let Some(error) = unreadable {
            let error = batch.unreadable(position, error);
            return stand(sink, partition, error, taken, now);
        }
    }
    if taken.left != Some(0) {
        position = chunk.next_offset();
        sink.append(partition, chunk.leader_epoch(), [], position, now)?;
    }
    Ok(position)
}

/// Hands the records of a large batch to the sink, one by one; where the partition stands then, and what could not be read.
fn take_stream(
    sink: &mut Sink,
    partition: i32,
    epoch: Option<i32>,
    stream: &mut RecordStream<'_>,
    taken: &mut Taken,
    now: DateTime<Utc>,
) -> Result<(i64, Option<RecordsError>), PipelineError> {
    let mut position = i64::MIN;
    while taken.left != Some(0)
        && let Some(entry) = stream.next()
    {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Ok((position, Some(error))),
        };
        let record = match entry {
            Entry::Record(record) => {
                let (count, encoded) = record.headers.raw();
                InputRecord {
                    offset: record.offset,
                    key: record.key,
                    value: record.value,
                    headers: RawHeaders { count, encoded },
                    too_large: None,
                }
            }
            Entry::TooLarge(large) => InputRecord {
                offset: large.offset,
                key: large.key,
                value: None,
                headers: RawHeaders::default(),
                too_large: Some(TooLarge {
                    size: large.size,
                    limit: MAX_RECORD,
                }),
            },
        };
        position = record.offset + 1;
        let appended = sink.append(partition, epoch, [record], i64::MIN, now)?;
        taken.counts.add(appended);
        if let Some(left) = &mut taken.left {
            *left -= 1;
        }
    }
    Ok((position, None))
}

/// Lets a partition stand where it cannot be read on: what was read before counts. Says where that is.
fn stand(
    sink: &mut Sink,
    partition: i32,
    error: ConsumeError,
    taken: &mut Taken,
    now: DateTime<Utc>,
) -> Result<i64, PipelineError> {
    let position = error.unreadable().map_or(i64::MIN, |what| what.offset);
    sink.append(partition, None, [], position, now)?;
    taken.unreadable.push(error);
    Ok(position)
}

impl Session<'_> {
    /// Takes chunks in, and makes durable and commits where that is due in between.
    pub(in crate::pipeline) async fn take_in(
        &mut self,
        chunks: Vec<Chunk>,
    ) -> Result<(), PipelineError> {
        let mut chunks = VecDeque::from(chunks);
        while !chunks.is_empty() {
            let (rest, unflushed, unreadable) = self.append(chunks).await?;
            chunks = rest;
            let mut certain = Committed::All;
            for error in unreadable {
                if certain == Committed::All
                    && let Some(what) = error.unreadable()
                {
                    certain = self.stop_at(what, &error).await?;
                }
            }
            if certain == Committed::Lost {
                break;
            }
            if unflushed > FLUSH_BYTES && self.flush_or_judge().await? == Committed::Lost {
                // They are read again, by whoever has the partitions now.
                break;
            }
            if self.left == Some(0) {
                break;
            }
        }
        Ok(())
    }

    /// Takes chunks in; what of them is left, how many bytes wait for a flush, and what could not be read.
    async fn append(
        &mut self,
        chunks: VecDeque<Chunk>,
    ) -> Result<(VecDeque<Chunk>, u64, Vec<ConsumeError>), PipelineError> {
        let limit = self.left;
        let isolation = self.config.kafka.isolation_level;
        let mut scratch = std::mem::take(&mut self.scratch);
        let (appended, scratch) = self
            .writer
            .with(move |sink| {
                let taken = take_in(sink, chunks, &mut scratch, limit, isolation);
                (taken, scratch)
            })
            .await?;
        self.scratch = scratch;
        let Taken {
            counts: total,
            reached,
            rest,
            left,
            unflushed,
            rolled,
            unreadable,
        } = appended?;
        self.left = left;
        self.flush_timer.took(Instant::now());
        if rolled {
            self.flush_timer.hurry(Instant::now());
        }
        for (partition, position, end) in reached {
            self.assignment.reached(partition, position);
            self.assignment.waiting.note(partition, position, end);
        }
        self.counters.took(&Written {
            rows: total.rows,
            dead_letters: total.dead_letters,
            tombstones: total.tombstones,
            skipped: total.skipped,
            reasons: total.reasons,
            committed: 0,
            lost: 0,
            lag: Some(self.assignment.waiting.total()),
        });
        Ok((rest, unflushed, unreadable))
    }
}
