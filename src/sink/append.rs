//! Takes records in: a good one becomes a row in the file of its date, another a dead letter.

use std::ops::Range;

use chrono::{DateTime, Utc};

use super::error::SinkError;
use super::index::Why;
use super::naming::{Kind, Purpose};
use super::outputs::{Due, Output};
use super::row::{self, InputRecord};
use super::settings::{BadRecords, FileDate};
use super::{Progress, Sink};
use crate::event::{self, BadRecord};

/// What became of the records of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Rows written.
    pub rows: u64,
    /// Records written to the dead letters file.
    pub dead_letters: u64,
    /// Records without a value, passed over.
    pub tombstones: u64,
    /// Records that are no trades, passed over because the settings say so.
    pub skipped: u64,
}

/// A bad record on its way to the dead letters topic. It has to be durable there before the batch that its offset is in
/// is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The partition that it came from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Vec<u8>,
    /// Why it is no trade.
    pub reason: BadRecord,
}

impl Forwarded {
    fn new(partition: i32, record: &InputRecord<'_>, reason: BadRecord) -> Self {
        Self {
            partition,
            offset: record.offset,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.unwrap_or_default().to_vec(),
            reason,
        }
    }
}

impl Appended {
    pub(super) fn add(&mut self, more: Self) {
        self.rows += more.rows;
        self.dead_letters += more.dead_letters;
        self.tombstones += more.tombstones;
        self.skipped += more.skipped;
    }
}

impl Sink {
    /// The bad records since the last call, when they are to go to a topic ([`BadRecords::Forward`]).
    pub fn take_forwarded(&mut self) -> Vec<Forwarded> {
        self.forwarded_bytes = 0;
        std::mem::take(&mut self.forwarded)
    }

    /// Appends records of a partition, in the order of their offsets. Those before the partition's position are passed
    /// over (a broker answers with whole batches); afterwards the position is `next_offset`, which lies behind markers
    /// and holes that have no record.
    ///
    /// # Errors
    /// [`SinkError::BadRecord`] when bad records are to stop the run: what came before it is taken in, and may be
    /// flushed. After [`SinkError::Io`] or [`SinkError::Edited`] the sink accepts nothing more.
    pub fn append<'r>(
        &mut self,
        partition: i32,
        leader_epoch: Option<i32>,
        records: impl IntoIterator<Item = InputRecord<'r>>,
        next_offset: i64,
        now: DateTime<Utc>,
    ) -> Result<Appended, SinkError> {
        self.ready()?;
        let Some(&Progress { position, .. }) = self.progress.get(&partition) else {
            return Err(SinkError::OutOfOrder(format!(
                "partition {partition} was not begun"
            )));
        };
        let mut appended = Appended::default();
        let mut next = position.next;
        let mut outcome = Ok(());
        for record in records {
            if record.offset != next {
                if record.offset < next {
                    continue;
                }
                self.pass(partition, next, record.offset, Why::Hole);
            }
            outcome = self.take(partition, &record, now, &mut appended);
            if outcome.is_err() {
                next = record.offset;
                break;
            }
            next = record.offset.saturating_add(1);
        }
        if outcome.is_ok() && next_offset > next {
            self.pass(partition, next, next_offset, Why::Hole);
            next = next_offset;
        }
        if let Some(progress) = self.progress.get_mut(&partition) {
            if next != progress.position.next {
                progress.position.epoch = leader_epoch.or(progress.position.epoch);
            }
            progress.position.next = next;
            progress.counts.add(appended);
        }
        match outcome {
            Ok(()) => Ok(appended),
            Err(error @ SinkError::BadRecord { .. }) => Err(error),
            Err(error) => self.guard(Err(error)),
        }
    }

    #[inline]
    fn take(
        &mut self,
        partition: i32,
        record: &InputRecord<'_>,
        now: DateTime<Utc>,
        appended: &mut Appended,
    ) -> Result<(), SinkError> {
        let Some(value) = record.value else {
            appended.tombstones += 1;
            self.pass(
                partition,
                record.offset,
                record.offset.saturating_add(1),
                Why::Tombstone,
            );
            return Ok(());
        };
        let trade = match event::read_trade(value) {
            Ok(trade) => trade,
            Err(reason) => return self.bad(partition, record, reason, now, appended),
        };
        let date = match self.settings.file_date {
            FileDate::Event => trade.date,
            FileDate::Processing => now.date_naive(),
        };
        let at = self.output(
            Purpose {
                kind: Kind::Trades,
                date,
            },
            now,
        )?;
        let Some(output) = self.outputs.list.get_mut(at) else {
            return Ok(());
        };
        if output.zones_meet(trade.zoned) {
            tracing::warn!(
                file = output.name,
                "timestamps with and without a zone meet in this file"
            );
        }
        let buffer = output.line(partition, record.offset);
        let before = buffer.len();
        row::write_row(
            buffer,
            &self.settings.columns,
            &trade,
            &self.checkpoint.topic,
            partition,
            record,
        );
        appended.rows += 1;
        self.grew(at, before)
    }

    #[cold]
    fn bad(
        &mut self,
        partition: i32,
        record: &InputRecord<'_>,
        reason: BadRecord,
        now: DateTime<Utc>,
        appended: &mut Appended,
    ) -> Result<(), SinkError> {
        let topic = &self.checkpoint.topic;
        match self.settings.bad_records {
            BadRecords::Fail => {
                let (topic, offset) = (topic.clone(), record.offset);
                Err(SinkError::BadRecord {
                    topic,
                    partition,
                    offset,
                    reason,
                })
            }
            BadRecords::Forward => {
                tracing::debug!(topic, partition, offset = record.offset, %reason, "a bad record goes to the dead letters topic");
                appended.dead_letters += 1;
                self.forwarded_bytes +=
                    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                self.forwarded
                    .push(Forwarded::new(partition, record, reason));
                self.pass(
                    partition,
                    record.offset,
                    record.offset.saturating_add(1),
                    Why::Forwarded,
                );
                Ok(())
            }
            BadRecords::Skip => {
                tracing::debug!(topic, partition, offset = record.offset, %reason, "passed a bad record over");
                appended.skipped += 1;
                self.pass(
                    partition,
                    record.offset,
                    record.offset.saturating_add(1),
                    Why::Skipped,
                );
                Ok(())
            }
            BadRecords::DeadLetter => {
                tracing::debug!(topic, partition, offset = record.offset, %reason, "a bad record becomes a dead letter");
                let at = self.output(
                    Purpose {
                        kind: Kind::DeadLetters,
                        date: now.date_naive(),
                    },
                    now,
                )?;
                let Some(output) = self.outputs.list.get_mut(at) else {
                    return Ok(());
                };
                let buffer = output.line(partition, record.offset);
                let before = buffer.len();
                row::write_dead_letter(buffer, &self.checkpoint.topic, partition, record, reason);
                appended.dead_letters += 1;
                self.grew(at, before)
            }
        }
    }

    /// Writes buffers out that have become large.
    #[inline]
    fn grew(&mut self, at: usize, before: usize) -> Result<(), SinkError> {
        let len = self.outputs.list.get(at).map_or(0, Output::buffered);
        match self.outputs.grew(at, len.saturating_sub(before)) {
            Due::Nothing => Ok(()),
            Due::One => self.spill(at..at + 1),
            Due::All => self.spill(0..self.outputs.list.len()),
        }
    }

    #[cold]
    fn spill(&mut self, mut which: Range<usize>) -> Result<(), SinkError> {
        self.create_files()?;
        which.try_for_each(|at| self.outputs.spill(&*self.fs, &self.directory, at))
    }

    /// The file that takes a purpose's lines: the one in use, the one that is continued, or a new one.
    #[inline]
    fn output(&mut self, purpose: Purpose, now: DateTime<Utc>) -> Result<usize, SinkError> {
        match self.outputs.find(purpose) {
            Some(at) => Ok(at),
            None => self.begin_output(purpose, now),
        }
    }

    #[cold]
    fn begin_output(&mut self, purpose: Purpose, now: DateTime<Utc>) -> Result<usize, SinkError> {
        let instance = self.settings.instance.as_deref();
        let header = match purpose.kind {
            Kind::Trades => self.header.as_slice(),
            Kind::DeadLetters => &[],
        };
        let stem = purpose.stem(instance);
        let last = self
            .checkpoint
            .names(&stem)
            .filter_map(|name| purpose.part(instance, name))
            .max();
        if let Some(part) = last {
            let name = purpose.name(instance, part);
            if let Some(state) = self
                .checkpoint
                .file(&name)
                .filter(|s| !s.gone && s.header == crc32c::crc32c(header))
            {
                let output = Output::continued(name, purpose, state);
                return Ok(self.outputs.add(output));
            }
        }
        let name = self.free_name(purpose)?;
        Ok(self
            .outputs
            .add(Output::new(name, purpose, header, now.timestamp())))
    }

    /// A name of the purpose that no file has.
    pub(super) fn free_name(&self, purpose: Purpose) -> Result<String, SinkError> {
        let instance = self.settings.instance.as_deref();
        let stem = purpose.stem(instance);
        let last = self
            .checkpoint
            .names(&stem)
            .filter_map(|name| purpose.part(instance, name))
            .max();
        let taken = |name: &str| Ok(self.fs.len(&self.directory.join(name))?.is_some());
        let part = purpose
            .free_part(instance, last, taken)
            .map_err(SinkError::io("look into", &self.directory))?;
        Ok(purpose.name(instance, part))
    }
}
