//! The published watermark: what a topic is known to hold, kept in `State.Directory` across restarts (`manifest` says how it
//! lies there).
//!
//! - An id gets in only when its record is known to be on the topic: read there, or acknowledged.
//! - The manifest never says more than the runs hold: runs are durable before a manifest names them. After a crash it
//!   says less than is true, and the difference is read from the topic.
//! - What retention has deleted from the topic stays known, whichever directory of the topic's a start gets (see `others`).
//! - Memory is bounded: [`RECENT`] ids, then they become a run, of which a byte an id stays in memory, up to a bound; runs of about the same size are merged, so that there
//!   are few.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{
    ask::Offsets,
    manifest::{Manifest, RunEntry, Span, Subject, run_path},
    others::{self, Other},
    run::{Run, merge},
};

/// How many ids are in memory at most: some 8 MB.
const RECENT: usize = 1 << 18;

/// What is known to be on a topic.
#[derive(Debug)]
pub(super) struct Ledger {
    subject: Subject,
    directory: PathBuf,
    /// Held until the ledger is dropped.
    _lock: File,
    manifest: Manifest,
    runs: Vec<Run>,
    /// What others have kept of the same topic.
    others: Vec<Other>,
    recent: HashSet<u128>,
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

impl Ledger {
    /// Opens what is known of `subject`, or begins it.
    ///
    /// # Errors
    /// When the directory cannot be made, locked or read. A damaged ledger is no error: it is begun anew, because the
    /// topic itself tells the same.
    pub(super) fn open(state: &Path, subject: &Subject) -> io::Result<Self> {
        let (directory, lock) = subject.claim(state)?;
        let others = others::read(state, subject, &directory)?;
        let mut new = Self {
            subject: subject.clone(),
            directory,
            _lock: lock,
            manifest: Manifest::new(subject),
            runs: Vec::new(),
            others,
            recent: HashSet::new(),
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
        if new.others.iter().any(Other::is_unsettled) {
            new.before = Before::Unsettled;
        }
        new.manifest.sweep(&new.directory)?;
        // Whoever comes after a kill is to know of it.
        new.manifest.settled = false;
        new.manifest.opened += 1;
        new.write_manifest()?;
        Ok(new)
    }

    fn read(&self, subject: &Subject) -> io::Result<Option<(Manifest, Vec<Run>)>> {
        let Some(manifest) = Manifest::read(&self.directory, subject)? else {
            return Ok(None);
        };
        let runs = manifest.open_runs(&self.directory)?;
        Ok(Some((manifest, runs)))
    }

    fn path(&self, number: u64) -> PathBuf {
        run_path(&self.directory, number)
    }

    /// Forgets everything: the topic is no longer the one that was read.
    pub(super) fn forget(&mut self) {
        self.recent.clear();
        self.runs.clear();
        self.others.clear();
        self.manifest.forget();
        self.changed = true;
    }

    /// Whether it is about the topic with this id.
    pub(super) fn is_of(&self, topic_id: Option<Uuid>) -> bool {
        self.subject.topic_id == topic_id
    }

    /// Whether others have kept anything of the topic.
    pub(super) fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// Forgets what others have kept of a longer topic than one that ends there; says whether there was any.
    pub(super) fn forget_beyond(&mut self, ends: &Offsets) -> io::Result<bool> {
        let (beyond, fine): (Vec<_>, Vec<_>) = std::mem::take(&mut self.others)
            .into_iter()
            .partition(|other| other.is_beyond(ends));
        self.others = fine;
        for other in &beyond {
            other.forget(&self.subject)?;
        }
        Ok(!beyond.is_empty())
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
        if self.recent.contains(&id) {
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
    pub(super) fn note(&mut self, id: u128) -> io::Result<()> {
        self.recent.insert(id);
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
        if let (Some(span), Some(offset)) = (span, offset)
            && span.next == offset
        {
            span.next += 1;
            self.changed = true;
        }
        self.note(id)
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
        let mut ids: Vec<u128> = self.recent.iter().copied().collect();
        ids.sort_unstable();
        let mut number = self
            .manifest
            .runs
            .iter()
            .map(|run| run.number)
            .max()
            .unwrap_or(0)
            + 1;
        let count = ids.len() as u64;
        let mut run = Run::write(&self.path(number), count, ids.into_iter().map(Ok))?;
        let mut old = vec![];
        while let Some(before) = self.runs.last()
            && before.count() <= run.count() * 2
        {
            old.push(number);
            number += 1;
            let both = before.count() + run.count();
            run = Run::write(&self.path(number), both, merge(before.ids()?, run.ids()?))?;
            self.runs.pop();
            old.extend(self.manifest.runs.pop().map(|entry| entry.number));
        }
        self.manifest.runs.push(RunEntry {
            number,
            count: run.count(),
            crc: run.crc(),
        });
        self.runs.push(run);
        self.recent.clear();
        self.write_manifest()?;
        for number in old {
            fs::remove_file(self.path(number))?;
        }
        Ok(())
    }

    fn write_manifest(&mut self) -> io::Result<()> {
        self.manifest.write(&self.directory)?;
        self.changed = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
