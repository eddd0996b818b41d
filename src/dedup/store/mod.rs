//! The published watermark: what a topic is known to hold, kept in `State.Directory` across restarts (`manifest` says how it
//! lies there).
//!
//! - An id gets in only when its record is known to be on the topic: read there, or acknowledged.
//! - The manifest never says more than the runs hold: runs are durable before a manifest names them. After a crash it
//!   says less than is true, and the difference is read from the topic.
//! - What retention has deleted from the topic stays known, whichever directory of the topic's a start gets (see `other_processes`).
//! - Each id has its place. What cannot be shown to be on the log still (see `divergence`) is cut away, and what is there after all is
//!   read again.
//! - Memory is bounded: [`RECENT`] ids, then they become a run, of which a byte an id stays in memory, up to a bound; runs of about the same size are merged, so that there
//!   are few.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::divergence::Verdict;
use manifest::{Manifest, remove_run};

use memtable::Memtable;
use sorted_run::{SortedRun, merge};

/// How many ids are in memory at most: some 16 MB.
const RECENT: usize = 1 << 18;

/// What is known to be on a topic.
#[derive(Debug)]
pub(super) struct Store {
    subject: Subject,
    directory: PathBuf,
    /// Held until the ledger is dropped.
    _lock: File,
    manifest: Manifest,
    runs: Vec<SortedRun>,
    /// What others have kept of the same topic.
    others: Vec<OtherProcess>,
    recent: Memtable,
    /// What was acknowledged last where that is the end of what is known.
    last: BTreeMap<i32, (i64, u128)>,
    /// Whether the manifest in memory says more than the one on disk.
    changed: bool,
    before: Before,
}

/// How the processes before this one ended: the worst that is true of any whose ledger nobody uses now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// There was none, or what it kept is lost.
    Unknown,
    /// With nothing on its way.
    Settled,
    /// Killed, or in doubt.
    Unsettled,
}

impl Store {
    /// Opens what is known of `subject`, or begins it.
    ///
    /// # Errors
    /// When the directory cannot be made, locked or read. A damaged ledger is no error: it is begun anew, because the
    /// topic itself tells the same.
    pub(super) fn open(state: &Path, subject: &Subject) -> io::Result<Self> {
        let (directory, lock) = subject.claim(state)?;
        let others = other_processes::read(state, subject, &directory)?;
        let mut new = Self {
            subject: subject.clone(),
            directory,
            _lock: lock,
            manifest: Manifest::new(subject),
            runs: Vec::new(),
            others,
            recent: Memtable::default(),
            last: BTreeMap::new(),
            changed: false,
            before: Before::Unknown,
        };
        match new.read(subject) {
            Ok(Some((manifest, runs))) => {
                new.before = match manifest.settled {
                    true => Before::Settled,
                    false => Before::Unsettled,
                };
                new.manifest = manifest;
                new.runs = runs;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(
                directory = %new.directory.display(), %error,
                "what was kept of this topic cannot be used (State.Directory); the topic itself is read instead"
            ),
        }
        if new.others.iter().any(OtherProcess::is_unsettled) {
            new.before = Before::Unsettled;
        }
        new.manifest.sweep(&new.directory)?;
        // Whoever comes after a kill is to know of it.
        new.manifest.settled = false;
        new.manifest.opened += 1;
        new.write_manifest()?;
        Ok(new)
    }

    fn read(&self, subject: &Subject) -> io::Result<Option<(Manifest, Vec<SortedRun>)>> {
        let Some(mut manifest) = Manifest::read(&self.directory, subject)? else {
            return Ok(None);
        };
        let mut runs = manifest.open_runs(&self.directory)?;
        let mut blind = false;
        for run in &mut runs {
            blind |= run.was_opened_blind();
        }
        if blind {
            tracing::warn!(
                directory = %self.directory.display(),
                "some of what was kept of this topic cannot be used (State.Directory); the topic itself is read again"
            );
            manifest.runs = runs.iter().map(|run| run.entry().clone()).collect();
            manifest.read_anew();
        }
        Ok(Some((manifest, runs)))
    }

    /// Whether it is about the topic with this id.
    pub(super) fn is_of(&self, topic_id: Option<Uuid>) -> bool {
        self.subject.topic_id == topic_id
    }

    /// What others have kept of the topic.
    pub(super) fn others(&self) -> &[OtherProcess] {
        &self.others
    }

    /// Whether nothing is known at all.
    pub(super) fn is_empty(&self) -> bool {
        self.manifest.partitions.is_empty()
            && self.runs.is_empty()
            && self.recent.is_empty()
            && self.others.is_empty()
    }

    /// Forgets what lies behind the cuts, durably; `parted`: and ids of which nobody knows where they lie.
    pub(super) fn cut(&mut self, verdict: &Verdict) -> io::Result<()> {
        let cuts = verdict.cuts();
        self.recent.cut(&cuts);
        let mut blind = false;
        for run in &mut self.runs {
            blind |= run.cut(&cuts)?;
        }
        self.manifest.runs = self.runs.iter().map(|run| run.entry().clone()).collect();
        for (partition, span) in &mut self.manifest.partitions {
            verdict.shorten(*partition, span);
        }
        if blind {
            self.manifest.read_anew();
        }
        self.write_manifest()
    }

    /// The same of what others have kept: `verdicts` are in the order of [`Self::others`].
    pub(super) fn cut_others(&mut self, verdicts: &[Verdict]) -> io::Result<()> {
        for (other, verdict) in self.others.iter_mut().zip(verdicts) {
            other.cut(&self.subject, verdict)?;
        }
        Ok(())
    }

    /// The offsets between which all is known; empty when nothing is.
    pub(super) fn spans(&self) -> &BTreeMap<i32, Span> {
        &self.manifest.partitions
    }

    /// From which record time on the spans hold everything; `None` is from the start.
    pub(super) fn since_ms(&self) -> Option<i64> {
        self.manifest.since_ms
    }

    /// Notes that all ids between the offsets of `spans` were noted, from record time `since_ms` on.
    pub(super) fn cover(&mut self, spans: BTreeMap<i32, Span>, since_ms: Option<i64>) {
        self.manifest.partitions = spans;
        self.manifest.since_ms = since_ms;
        self.changed = true;
    }

    /// Whether `id` is on the topic.
    pub(super) fn contains(&self, id: u128) -> io::Result<bool> {
        if self.recent.contains(id) {
            return Ok(true);
        }
        for run in &self.runs {
            if run.contains(id)? {
                return Ok(true);
            }
        }
        for other in &self.others {
            if other.contains(id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes an id that was read on the topic.
    pub(super) fn note(&mut self, id: u128, place: RecordPosition) -> io::Result<()> {
        self.recent.insert(id, place);
        if self.recent.len() >= RECENT {
            self.spill()?;
        }
        Ok(())
    }

    /// Notes an id that was acknowledged at `offset`: the partition is known up to there if it was up to here.
    pub(super) fn acknowledged(
        &mut self,
        id: u128,
        partition: i32,
        offset: Option<i64>,
    ) -> io::Result<()> {
        let span = self.manifest.partitions.get_mut(&partition);
        // Brokers do not always say where; then it lies behind what is known without a gap.
        let place = offset.or(span.as_ref().map(|span| span.next));
        if let (Some(span), Some(offset)) = (span, offset)
            && span.next == offset
        {
            span.next += 1;
            self.last.insert(partition, (offset, id));
            self.changed = true;
        }
        self.note(
            id,
            RecordPosition::new(partition, place.unwrap_or(i64::MAX)),
        )
    }

    /// The id that was acknowledged last in a partition, if that is the end of what is known.
    pub(super) fn last(&self, partition: i32) -> Option<u128> {
        let (offset, id) = self.last.get(&partition)?;
        let span = self.manifest.partitions.get(&partition)?;
        (span.next - 1 == *offset).then_some(*id)
    }

    /// Notes by which batches the log is recognised.
    pub(super) fn mark(&mut self, marks: &BTreeMap<i32, Mark>) {
        for (partition, mark) in marks {
            if let Some(span) = self.manifest.partitions.get_mut(partition) {
                span.mark = Some(*mark);
                self.changed = true;
            }
        }
    }

    /// How the processes before this one ended.
    pub(super) fn before(&self) -> Before {
        self.before
    }

    /// Notes that what others left on its way has arrived, or never will.
    pub(super) fn settle_others(&self) -> io::Result<()> {
        self.others
            .iter()
            .try_for_each(|other| other.settle(&self.subject))
    }

    /// Notes that nothing is on its way any more, at the end.
    pub(super) fn settle(&mut self) {
        self.manifest.settled = true;
        self.changed = true;
    }

    /// Makes everything that is known durable.
    pub(super) fn save(&mut self) -> io::Result<()> {
        if !self.recent.is_empty() {
            self.spill()?;
        } else if self.changed {
            self.write_manifest()?;
        }
        Ok(())
    }

    /// Makes the ids in memory a run, merged with those before it that are not much larger.
    fn spill(&mut self) -> io::Result<()> {
        let entries = self.recent.sorted();
        let numbers = self.runs.iter().map(|run| run.entry().number);
        let mut number = numbers.max().unwrap_or(0) + 1;
        let count = entries.len() as u64;
        let directory = &self.directory;
        let mut run = SortedRun::write(directory, number, count, entries.into_iter().map(Ok))?;
        let mut old = vec![];
        while let Some(before) = self.runs.last_mut()
            && before.count() <= run.count() * 2
        {
            old.push(number);
            number += 1;
            let both = before.count() + run.count();
            let merged = merge(before.entries()?, run.entries()?);
            run = SortedRun::write(directory, number, both, merged)?;
            old.extend(self.runs.pop().map(|before| before.entry().number));
        }
        self.runs.push(run);
        self.manifest.runs = self.runs.iter().map(|run| run.entry().clone()).collect();
        self.recent.clear();
        self.write_manifest()?;
        for number in old {
            remove_run(&self.directory, number)?;
        }
        Ok(())
    }

    fn write_manifest(&mut self) -> io::Result<()> {
        self.manifest.write(&self.directory)?;
        self.changed = false;
        Ok(())
    }
}

mod bloom;
mod envelope;
mod manifest;
mod memtable;
mod other_processes;
mod paths;
pub(super) mod record_position;
mod sorted_run;
#[cfg(test)]
mod tests;

pub(super) use manifest::{Mark, Span, Subject};
pub(super) use other_processes::OtherProcess;
pub(super) use record_position::{ALL_UNKNOWN, Cuts, RecordPosition};
