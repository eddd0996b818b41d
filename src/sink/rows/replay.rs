//! Repaired dead letters become rows, each once.
//!
//! A letter stays in its file as it was written; the index says of its offset that it is a row now. Nothing is committed:
//! the offsets are answered for already. So a batch of repaired letters counts as soon as it is durable, by the same
//! order as any other: rows → fsync → index → checkpoint. A stop before the checkpoint leaves bytes behind that the next
//! opening cuts off, and the letters are as if they had not been replayed.
//!
//! The rows go where late rows go: to the file of their date that takes lines, or to its next part. A closed file is not
//! opened again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, Utc};

use super::super::Sink;
use super::super::error::SinkError;
use super::super::files::is_letters;
use super::super::model::STATE_DIRECTORY;
use super::super::settings::{Binding, FileDate};
use super::super::state::{Batch, Checkpoint, Replayed, Why, checkpoint, index};
use super::row::InputRecord;
use crate::durable::{Fs, envelope};
use crate::event::{self, BadRecord};

/// What became of a letter that was offered for replaying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// It is a row.
    Row,
    /// It was replayed before.
    Before,
    /// The directory has no dead letter of that place.
    Unknown,
    /// It is still no trade.
    Bad(BadRecord),
}

/// The places of a directory's dead letters, and those that are rows already.
#[derive(Debug, Default)]
pub struct Replay {
    letters: BTreeMap<i32, Vec<(i64, i64)>>,
    replayed: BTreeMap<i32, Vec<(i64, i64)>>,
    /// Became rows in this run: those that are not durable yet, and those that are.
    fresh: BTreeSet<(i32, i64)>,
    durable: BTreeSet<(i32, i64)>,
}

/// What a directory belongs to, as it says itself.
pub(in crate::sink) fn binding_on(fs: &dyn Fs, directory: &Path) -> Result<Binding, SinkError> {
    let path = directory.join(STATE_DIRECTORY).join(checkpoint::FILE);
    let bytes = envelope::read(fs, &path)?.ok_or_else(|| SinkError::NotOurs {
        path: directory.to_owned(),
    })?;
    let checkpoint = Checkpoint::decode(&path, &bytes)?;
    Ok(Binding {
        cluster_id: checkpoint.cluster_id,
        topic: checkpoint.topic,
        topic_id: checkpoint.topic_id,
        group: checkpoint.group,
    })
}

fn has(ranges: &BTreeMap<i32, Vec<(i64, i64)>>, partition: i32, offset: i64) -> bool {
    let Some(ranges) = ranges.get(&partition) else {
        return false;
    };
    let behind = ranges.partition_point(|range| range.0 <= offset);
    let at = behind.checked_sub(1).and_then(|at| ranges.get(at));
    at.is_some_and(|range| offset < range.1)
}

/// Sorts ranges and puts those together that meet.
fn merged(ranges: &mut Vec<(i64, i64)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let meets = next.0 <= before.1;
        if meets {
            before.1 = before.1.max(next.1);
        }
        meets
    });
}

impl Replay {
    fn enter(&mut self, batch: &Batch) {
        for run in &batch.runs {
            if batch
                .files
                .get(run.file)
                .is_some_and(|name| is_letters(name))
            {
                let letters = self.letters.entry(run.partition).or_default();
                letters.extend(run.ranges().map(|(first, last)| (first, last + 1)));
            }
        }
        for passed in batch.passed.iter().filter(|of| of.3 == Why::DeadLetter) {
            let letters = self.letters.entry(passed.0).or_default();
            letters.push((passed.1, passed.2));
        }
        for Replayed(partition, from, next) in &batch.replayed {
            let replayed = self.replayed.entry(*partition).or_default();
            replayed.push((*from, *next));
        }
    }
}

impl Sink {
    /// Prepares for replaying: resolves what can be resolved without the brokers, and learns where dead letters are.
    ///
    /// # Errors
    /// [`SinkError::Unresolved`] when it is for the brokers to say whether the last batch counts.
    pub fn begin_replay(&mut self) -> Result<Replay, SinkError> {
        if self.pending_batch().is_some() {
            return Err(SinkError::Unresolved {
                path: self.directory.clone(),
            });
        }
        self.recover(&BTreeMap::new())?;
        let mut replay = Replay::default();
        let path = self.state_directory.join(index::FILE);
        for line in index::read(&*self.fs, &path, self.checkpoint.index())? {
            let (_, batch) = line?;
            if batch.identity == self.checkpoint.identity {
                replay.enter(&batch);
            }
        }
        let ranges = replay.letters.values_mut();
        ranges.chain(replay.replayed.values_mut()).for_each(merged);
        Ok(replay)
    }

    /// Writes the row of a repaired letter; durable with the next [`flush_replay`](Self::flush_replay).
    ///
    /// # Errors
    /// After one the sink accepts nothing more.
    pub fn replay(
        &mut self,
        replay: &mut Replay,
        partition: i32,
        record: &InputRecord<'_>,
        now: DateTime<Utc>,
    ) -> Result<ReplayOutcome, SinkError> {
        self.ready()?;
        let place = (partition, record.offset);
        if !has(&replay.letters, place.0, place.1) {
            return Ok(ReplayOutcome::Unknown);
        }
        if has(&replay.replayed, place.0, place.1)
            || replay.fresh.contains(&place)
            || replay.durable.contains(&place)
        {
            return Ok(ReplayOutcome::Before);
        }
        let trade = match event::read_trade(record.value.unwrap_or_default()) {
            Ok(trade) => trade,
            Err(reason) => return Ok(ReplayOutcome::Bad(reason)),
        };
        let date = match self.settings.file_date {
            FileDate::Event => trade.date,
            FileDate::Processing => now.date_naive(),
        };
        self.now = now.timestamp();
        let written = self.write_trade(partition, record, &trade, date);
        self.guard(written)?;
        replay.fresh.insert(place);
        Ok(ReplayOutcome::Row)
    }

    /// Makes the rows durable that were replayed since the last time; how many there were.
    ///
    /// # Errors
    /// After one the sink accepts nothing more; the letters are not replayed then.
    pub fn flush_replay(&mut self, replay: &mut Replay) -> Result<u64, SinkError> {
        self.ready()?;
        if replay.fresh.is_empty() {
            return Ok(0);
        }
        let written = self.write_replayed(&replay.fresh);
        self.guard(written)?;
        let fresh = std::mem::take(&mut replay.fresh);
        let count = fresh.len() as u64;
        replay.durable.extend(fresh);
        Ok(count)
    }

    fn write_replayed(&mut self, places: &BTreeSet<(i32, i64)>) -> Result<(), SinkError> {
        let touched = self.sync_files()?;
        let outputs = || touched.iter().filter_map(|at| self.outputs.list.get(*at));
        let mut replayed: Vec<Replayed> = Vec::new();
        for (partition, offset) in places {
            match replayed.last_mut() {
                Some(last) if last.0 == *partition && last.2 == *offset => last.2 += 1,
                _ => replayed.push(Replayed(*partition, *offset, offset.saturating_add(1))),
            }
        }
        let batch = Batch {
            batch: self.checkpoint.next_batch,
            identity: self.checkpoint.identity,
            files: outputs().map(|output| output.name.clone()).collect(),
            runs: index::runs(outputs().map(|output| output.runs.as_slice())),
            replayed,
            ..Batch::default()
        };
        let files: Vec<_> = outputs()
            .map(|output| (output.name.clone(), output.state()))
            .collect();
        let line = batch.encode()?;
        self.checkpoint.counting.index = self.write_index(&line)?;
        self.checkpoint.counting.files.extend(files);
        self.checkpoint.next_batch += 1;
        self.checkpoint.loose.clear();
        self.checkpoint.clean = false;
        self.save()?;
        for at in touched {
            if let Some(output) = self.outputs.list.get_mut(at) {
                output.runs.clear();
            }
        }
        self.outputs.retire();
        self.outputs.unflushed = 0;
        self.rolled = false;
        Ok(())
    }
}
