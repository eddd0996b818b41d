//! Takes records in: a good one becomes a row in the file of its date, another a dead letter.

use crate::sink::Appended;
use std::ops::Range;

use chrono::{DateTime, NaiveDate, Utc};

use super::super::error::SinkError;
use super::super::files::{Due, Kind, Output, Purpose};
use super::super::model::Form;
use super::super::settings::FileDate;
use super::super::state::{FileState, Passed, Why};
use super::super::{Progress, Sink};
use super::row::{self, InputRecord, TooLarge};
use crate::event::{self, BadRecord, Trade};

impl Sink {
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
        self.now = now.timestamp();
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
            if let Some(TooLarge { size, limit }) = record.too_large {
                let reason = BadRecord::TooLarge { size, limit };
                return self.bad(partition, record, reason, now, appended);
            }
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
        self.write_trade(partition, record, &trade, date)?;
        appended.rows += 1;
        Ok(())
    }

    /// Appends a trade's row to the file that takes the rows of that date.
    #[inline]
    pub(in crate::sink) fn write_trade(
        &mut self,
        partition: i32,
        record: &InputRecord<'_>,
        trade: &Trade<'_>,
        date: NaiveDate,
    ) -> Result<(), SinkError> {
        let purpose = Purpose {
            kind: Kind::Trades,
            date,
        };
        let mut at = self.output(purpose)?;
        let Some(mut output) = self.outputs.list.get_mut(at) else {
            return Ok(());
        };
        if output.size() + row::most_bytes(record) > self.roll_bytes {
            at = self.roll_if_full(at, purpose, trade, partition, record)?;
            output = match self.outputs.list.get_mut(at) {
                Some(output) => output,
                None => return Ok(()),
            };
        }
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
            trade,
            &self.checkpoint.topic,
            partition,
            record,
        );
        self.grew(at, before)
    }

    /// Begins the next part when the row would make the file too long; the file that takes it.
    #[cold]
    fn roll_if_full(
        &mut self,
        at: usize,
        purpose: Purpose,
        trade: &Trade<'_>,
        partition: i32,
        record: &InputRecord<'_>,
    ) -> Result<usize, SinkError> {
        let mut row = Vec::new();
        let (columns, topic) = (&self.settings.columns, &self.checkpoint.topic);
        row::write_row(&mut row, columns, trade, topic, partition, record);
        let full = self.outputs.list.get(at).is_some_and(|output| {
            output.has_lines() && output.size() + row.len() as u64 > self.roll_bytes
        });
        if !full {
            return Ok(at);
        }
        self.end_output(at);
        self.begin_output(purpose)
    }

    /// Notes that offsets of a partition, the next ones after those noted before, have no line in a file.
    pub(in crate::sink) fn pass(&mut self, partition: i32, from: i64, to: i64, why: Why) {
        match self.passed.last_mut() {
            Some(last) if (last.0, last.2, last.3) == (partition, from, why) => last.2 = to,
            _ => self.passed.push(Passed(partition, from, to, why)),
        }
    }

    /// Writes buffers out that have become large.
    #[inline]
    pub(in crate::sink) fn grew(&mut self, at: usize, before: usize) -> Result<(), SinkError> {
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
    pub(in crate::sink) fn output(&mut self, purpose: Purpose) -> Result<usize, SinkError> {
        match self.outputs.find(purpose) {
            Some(at) => Ok(at),
            None => self.begin_output(purpose),
        }
    }

    #[cold]
    fn begin_output(&mut self, purpose: Purpose) -> Result<usize, SinkError> {
        let instance = self.settings.instance.as_deref();
        let form = self.form(purpose.kind);
        if let Some(part) = self.parts.get(&purpose) {
            let name = purpose.name(instance, *part);
            if let Some(state) = self.checkpoint.file(&name)
                && self.is_continued(purpose, state)
            {
                let output = Output::continued(name, purpose, state);
                return Ok(self.outputs.add(output));
            }
        }
        let name = self.free_name(purpose)?;
        let header = match purpose.kind {
            Kind::Trades => self.header.as_slice(),
            Kind::DeadLetters => &[],
        };
        let output = Output::new(name, purpose, header, form, self.now);
        Ok(self.outputs.add(output))
    }

    /// The form of files that take lines.
    pub(in crate::sink) fn form(&self, kind: Kind) -> Form {
        match kind {
            Kind::Trades => self.settings.publish.open(),
            // Who looks for what went wrong is to find it.
            Kind::DeadLetters => Form::Plain,
        }
    }

    /// Whether the last file of its purpose takes more lines.
    pub(in crate::sink) fn is_continued(&self, purpose: Purpose, state: &FileState) -> bool {
        let header = match purpose.kind {
            Kind::Trades => self.header.as_slice(),
            Kind::DeadLetters => &[],
        };
        !state.gone
            && !state.closing
            && state.header == crc32c::crc32c(header)
            && state.form == self.form(purpose.kind)
    }

    /// A name of the purpose that no file has, and has had.
    pub(in crate::sink) fn free_name(&mut self, purpose: Purpose) -> Result<String, SinkError> {
        let instance = self.settings.instance.as_deref();
        let taken = |name: &str| {
            for form in Form::ALL {
                if self
                    .fs
                    .len(&self.directory.join(form.place(name)))?
                    .is_some()
                {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let part = purpose
            .free_part(instance, self.parts.get(&purpose).copied(), taken)
            .map_err(SinkError::io("look into", &self.directory))?;
        self.parts.insert(purpose, part);
        Ok(purpose.name(instance, part))
    }
}
