//! The ledger's directory in `State.Directory`: whose it is, and the manifest that says what its runs hold.
//!
//! ```text
//!  State.Directory/published/<topic, shortened>-<hash of cluster, topic and topic id>/
//!    lock            held while a process uses it; a second process takes <…>.2, and so on (see `other_processes`)
//!    manifest.json   for each partition the offsets between which all is known; the runs
//!    run-N           sorted ids (see `sorted_run`), and in run-N.places where they lie
//! ```
//!
//! A manifest is replaced whole: temporary file, fsync, rename, fsync of the directory.

use super::sorted_run::{RunEntry, SortedRun, places_path};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::envelope::{self, Body};
use super::paths::{only_a_file, run_path};

/// How many processes can share a `State.Directory` and a topic.
const PROCESSES: u32 = 64;

const VERSION: u32 = 1;

/// Bytes of a topic's name in that of its directory: Kafka allows 249, which with the rest is more than file systems do.
const NAME_BYTES: usize = 100;

/// What is known of one partition: all records from `start` up to `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::dedup) struct Span {
    pub(in crate::dedup) start: i64,
    pub(in crate::dedup) next: i64,
    /// By which the log is recognised; without one it is not.
    #[serde(default)]
    pub(in crate::dedup) mark: Option<Mark>,
}

/// What a ledger is about and holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::dedup) struct Manifest {
    version: u32,
    cluster_id: String,
    topic: String,
    topic_id: Option<Uuid>,
    /// From which record time on (milliseconds since 1970) the spans hold everything; `None` is from the start.
    pub(in crate::dedup) since_ms: Option<i64>,
    pub(in crate::dedup) partitions: BTreeMap<i32, Span>,
    pub(in crate::dedup) runs: Vec<RunEntry>,
    /// Whether its process ended with nothing on its way to the topic.
    #[serde(default)]
    pub(in crate::dedup) settled: bool,
    /// How often a process has taken it.
    #[serde(default)]
    pub(in crate::dedup) opened: u64,
}

/// Which topic of which cluster.
#[derive(Clone, Debug)]
pub(in crate::dedup) struct Subject {
    pub(in crate::dedup) cluster_id: String,
    pub(in crate::dedup) topic: String,
    pub(in crate::dedup) topic_id: Option<Uuid>,
}

impl Subject {
    /// Where ledgers of this topic are or can be, in the order in which they are taken.
    pub(in crate::dedup) fn directories(
        &self,
        state: &Path,
    ) -> impl Iterator<Item = PathBuf> + use<> {
        let name = format!("{}/{}/{:?}", self.cluster_id, self.topic, self.topic_id);
        let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).simple();
        let (short, _) = self
            .topic
            .split_at(self.topic.floor_char_boundary(NAME_BYTES));
        let base = state.join("published").join(format!("{short}-{hash}"));
        (1..=PROCESSES).map(move |process| match process {
            1 => base.clone(),
            other => {
                let mut name = base.clone().into_os_string();
                name.push(format!(".{other}"));
                name.into()
            }
        })
    }

    /// A directory of this topic's that no other process uses, and the lock that keeps it so while it is open.
    ///
    /// # Errors
    /// When a directory cannot be made or locked, or too many processes use them already.
    pub(in crate::dedup) fn claim(&self, state: &Path) -> io::Result<(PathBuf, File)> {
        for directory in self.directories(state) {
            fs::create_dir_all(&directory)?;
            let lock = directory.join("lock");
            only_a_file(&lock)?;
            let lock = File::create(lock)?;
            match lock.try_lock() {
                Ok(()) => return Ok((directory, lock)),
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other(format!(
            "{PROCESSES} processes use topic {} in {} already",
            self.topic,
            state.display()
        )))
    }
}

impl Manifest {
    /// One that says nothing yet.
    pub(in crate::dedup) fn new(subject: &Subject) -> Self {
        Self {
            version: VERSION,
            cluster_id: subject.cluster_id.clone(),
            topic: subject.topic.clone(),
            topic_id: subject.topic_id,
            ..Self::default()
        }
    }

    /// The one in `directory`, if there is one. Of one without a checksum only the runs are believed, which have their own.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or is about something else.
    pub(in crate::dedup) fn read(directory: &Path, subject: &Subject) -> io::Result<Option<Self>> {
        let path = directory.join("manifest.json");
        only_a_file(&path)?;
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let invalid = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
        let manifest: Self = match envelope::unseal(&text) {
            Some(Body::Sealed(body)) => serde_json::from_slice(body)?,
            Some(Body::Bare(body)) => Self {
                since_ms: None,
                partitions: BTreeMap::new(),
                settled: false,
                ..serde_json::from_slice(body)?
            },
            None => return Err(invalid("its checksum does not fit")),
        };
        let same = manifest.version == VERSION
            && manifest.cluster_id == subject.cluster_id
            && manifest.topic == subject.topic
            && manifest.topic_id == subject.topic_id;
        if !same {
            return Err(invalid("it is about something else"));
        }
        Ok(Some(manifest))
    }

    /// Puts it in the place of the one in `directory`, durably.
    ///
    /// # Errors
    /// When it cannot be written; then the old one stands.
    pub(in crate::dedup) fn write(&self, directory: &Path) -> io::Result<()> {
        let temporary = directory.join("manifest.json.new");
        only_a_file(&temporary)?;
        let mut file = File::create(&temporary)?;
        file.write_all(&envelope::seal(&serde_json::to_vec(self)?))?;
        file.sync_all()?;
        fs::rename(&temporary, directory.join("manifest.json"))?;
        File::open(directory)?.sync_all()
    }

    /// Lets all of the topic be read again: ids went that may be anywhere on it.
    pub(in crate::dedup) fn read_anew(&mut self) {
        self.partitions.clear();
        self.since_ms = None;
    }

    /// Opens the runs in `directory` that it names.
    ///
    /// # Errors
    /// When one cannot be read, or is not as it was written.
    pub(in crate::dedup) fn open_runs(&self, directory: &Path) -> io::Result<Vec<SortedRun>> {
        let open = |run| SortedRun::open(directory, run);
        self.runs.iter().map(open).collect()
    }

    /// Removes runs in `directory` that it does not name: a crash came between.
    ///
    /// # Errors
    /// When the directory cannot be read, or a file not removed.
    pub(in crate::dedup) fn sweep(&self, directory: &Path) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name
                .to_str()
                .map(|name| name.strip_suffix(".places").unwrap_or(name))
                .and_then(|name| name.strip_prefix("run-")?.parse().ok());
            let is_named = |number: u64| self.runs.iter().any(|run| run.number == number);
            if number.is_some_and(|number| !is_named(number)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Removes a run that no manifest names any more.
///
/// # Errors
/// When it cannot be removed.
pub(in crate::dedup) fn remove_run(directory: &Path, number: u64) -> io::Result<()> {
    let path = run_path(directory, number);
    match fs::remove_file(places_path(&path)) {
        // It was kept before places were.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    fs::remove_file(path)
}

/// What a batch is recognised by. Its checksum covers its records, their times and their producer, but not its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::dedup) struct Mark {
    pub(in crate::dedup) base: i64,
    pub(in crate::dedup) next: i64,
    /// That of the leader that appended it; -1 where unknown.
    pub(in crate::dedup) epoch: i32,
    pub(in crate::dedup) crc: u32,
    pub(in crate::dedup) first_ms: i64,
    pub(in crate::dedup) last_ms: i64,
}
