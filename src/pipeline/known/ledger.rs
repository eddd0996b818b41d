//! The published watermark: what a topic is known to hold, kept in `State.Directory` across restarts.
//!
//! ```text
//!  State.Directory/published/<topic>-<hash of cluster, topic and topic id>/
//!    lock            held while a process uses it; a second process takes <…>.2, and so on
//!    manifest.json   for each partition the offsets between which all is known; the runs
//!    run-N           sorted ids (see `run`)
//! ```
//!
//! - An id gets in only when its record is known to be on the topic: read there, or acknowledged.
//! - The manifest never says more than the runs hold: runs are durable before a manifest names them, and it is replaced
//!   whole (temporary file, fsync, rename, fsync of the directory). After a crash it says less than is true, and the
//!   difference is read from the topic.
//! - What retention has deleted from the topic stays known.
//! - Memory is bounded: [`RECENT`] ids, then they become a run, of which a byte an id stays in memory, up to a bound; runs of about the same size are merged, so that there
//!   are few.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::run::{Run, merge};

/// How many ids are in memory at most: some 8 MB.
const RECENT: usize = 1 << 18;

/// How many processes can share a `State.Directory` and a topic.
const PROCESSES: u32 = 64;

const VERSION: u32 = 1;

/// What is known of one partition: all records from `start` up to `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    pub(super) start: i64,
    pub(super) next: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct RunEntry {
    number: u64,
    count: u64,
    crc: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    cluster_id: String,
    topic: String,
    topic_id: Option<Uuid>,
    /// From which record time on (milliseconds since 1970) the spans hold everything; `None` is from the start.
    since_ms: Option<i64>,
    partitions: BTreeMap<i32, Span>,
    runs: Vec<RunEntry>,
}

/// What is known to be on a topic.
#[derive(Debug)]
pub(super) struct Ledger {
    directory: PathBuf,
    /// Held until the ledger is dropped.
    _lock: File,
    manifest: Manifest,
    runs: Vec<Run>,
    recent: HashSet<u128>,
    /// Whether the manifest in memory says more than the one on disk.
    changed: bool,
}

/// Which topic of which cluster.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) cluster_id: String,
    pub(super) topic: String,
    pub(super) topic_id: Option<Uuid>,
}

impl Ledger {
    /// Opens what is known of `subject`, or begins it.
    ///
    /// # Errors
    /// When the directory cannot be made, locked or read. A damaged ledger is no error: it is begun anew, because the
    /// topic itself tells the same.
    pub(super) fn open(state: &Path, subject: &Subject) -> io::Result<Self> {
        let name = format!(
            "{}/{}/{:?}",
            subject.cluster_id, subject.topic, subject.topic_id
        );
        let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).simple();
        let base = state
            .join("published")
            .join(format!("{}-{hash}", subject.topic));
        for process in 1..=PROCESSES {
            let directory = match process {
                1 => base.clone(),
                other => base.with_file_name(format!("{}-{hash}.{other}", subject.topic)),
            };
            fs::create_dir_all(&directory)?;
            let lock = File::create(directory.join("lock"))?;
            match lock.try_lock() {
                Ok(()) => return Self::load(directory, lock, subject),
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other(format!(
            "{PROCESSES} processes use {} already",
            base.display()
        )))
    }

    fn load(directory: PathBuf, lock: File, subject: &Subject) -> io::Result<Self> {
        let mut new = Self {
            directory,
            _lock: lock,
            manifest: Manifest {
                version: VERSION,
                cluster_id: subject.cluster_id.clone(),
                topic: subject.topic.clone(),
                topic_id: subject.topic_id,
                ..Manifest::default()
            },
            runs: Vec::new(),
            recent: HashSet::new(),
            changed: false,
        };
        match new.read() {
            Ok(Some((manifest, runs))) => {
                new.manifest = manifest;
                new.runs = runs;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(
                directory = %new.directory.display(), %error,
                "what was kept of this topic cannot be used (State.Directory); the topic itself is read instead"
            ),
        }
        new.sweep()?;
        Ok(new)
    }

    fn read(&self) -> io::Result<Option<(Manifest, Vec<Run>)>> {
        let text = match fs::read(self.directory.join("manifest.json")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let manifest: Manifest = serde_json::from_slice(&text)?;
        let same = manifest.version == VERSION
            && manifest.cluster_id == self.manifest.cluster_id
            && manifest.topic == self.manifest.topic
            && manifest.topic_id == self.manifest.topic_id;
        if !same {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is about something else",
            ));
        }
        let open = |entry: &RunEntry| Run::open(&self.path(entry.number), entry.count, entry.crc);
        let runs = manifest.runs.iter().map(open).collect::<io::Result<_>>()?;
        Ok(Some((manifest, runs)))
    }

    /// Removes runs that no manifest names: a crash came between.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_prefix("run-")?.parse().ok());
            let is_named = |number: u64| self.manifest.runs.iter().any(|run| run.number == number);
            if number.is_some_and(|number| !is_named(number)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("run-{number}"))
    }

    /// Forgets everything: the topic is no longer the one that was read.
    pub(super) fn forget(&mut self) {
        self.recent.clear();
        self.runs.clear();
        self.manifest.runs.clear();
        self.manifest.partitions.clear();
        self.manifest.since_ms = None;
        self.changed = true;
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
        let temporary = self.directory.join("manifest.json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&self.manifest)?)?;
        file.sync_all()?;
        fs::rename(&temporary, self.directory.join("manifest.json"))?;
        File::open(&self.directory)?.sync_all()?;
        self.changed = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            cluster_id: "c".into(),
            topic: "trades".into(),
            topic_id: Some(Uuid::from_u128(7)),
        }
    }

    fn span(start: i64, next: i64) -> BTreeMap<i32, Span> {
        BTreeMap::from([(0, Span { start, next })])
    }

    #[test]
    fn what_was_saved_is_known_after_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(state.path(), &subject()).unwrap();
        ledger.cover(span(5, 5), Some(99));
        for id in 0..700_000_u64 {
            // Spread as hashes are.
            let id = u128::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            ledger.acknowledged(id, 0, None).unwrap();
        }
        ledger.acknowledged(1, 0, Some(5)).unwrap();
        ledger.acknowledged(2, 0, Some(9)).unwrap();
        ledger.save().unwrap();
        assert!(ledger.runs.len() <= 3, "{}", ledger.runs.len());
        drop(ledger);
        let ledger = Ledger::open(state.path(), &subject()).unwrap();
        assert_eq!(ledger.spans(), &span(5, 6), "only up to the gap");
        assert_eq!(ledger.since_ms(), Some(99));
        for id in [0, 1, 2, 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835] {
            assert!(ledger.contains(id).unwrap(), "{id}");
        }
        assert!(!ledger.contains(3).unwrap());
        let files = fs::read_dir(&ledger.directory).unwrap().count();
        assert_eq!(files, ledger.runs.len() + 2, "nothing is left over");
    }

    #[test]
    fn another_topic_and_another_process_have_their_own() {
        let state = tempfile::tempdir().unwrap();
        let mut first = Ledger::open(state.path(), &subject()).unwrap();
        first.note(1).unwrap();
        first.save().unwrap();
        let second = Ledger::open(state.path(), &subject()).unwrap();
        assert!(!second.contains(1).unwrap());
        let other = Subject {
            topic_id: Some(Uuid::from_u128(8)),
            ..subject()
        };
        assert!(
            !Ledger::open(state.path(), &other)
                .unwrap()
                .contains(1)
                .unwrap()
        );
        drop(first);
        let again = Ledger::open(state.path(), &subject()).unwrap();
        assert!(again.contains(1).unwrap());
    }

    #[test]
    fn a_damaged_ledger_is_begun_anew() {
        let state = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(state.path(), &subject()).unwrap();
        ledger.cover(span(0, 10), None);
        ledger.note(1).unwrap();
        ledger.save().unwrap();
        let run = ledger.path(1);
        drop(ledger);
        fs::write(run, "x").unwrap();
        let mut ledger = Ledger::open(state.path(), &subject()).unwrap();
        assert!(ledger.spans().is_empty() && !ledger.contains(1).unwrap());
        ledger.note(2).unwrap();
        ledger.save().unwrap();
        drop(ledger);
        assert!(
            Ledger::open(state.path(), &subject())
                .unwrap()
                .contains(2)
                .unwrap()
        );
    }
}
