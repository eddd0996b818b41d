//! What other processes know of the same topic, or knew: those that share a `State.Directory` have a directory each, and
//! which one a start gets is chance. So a start looks into all of them: their runs are consulted, never changed, and it
//! matters to everybody how a process ended.
//!
//! A directory that nobody uses is locked only for the moment in which its manifest is read or replaced: who
//! starts in that moment gets another one. A manifest is replaced only if nobody opened the ledger since it was read.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::super::divergence::Verdict;
use super::manifest::{Manifest, Span, Subject};
use super::paths::only_a_file;
use super::sorted_run::{RunEntry, SortedRun};

/// How often a ledger is read anew whose process merges runs meanwhile.
const TRIES: usize = 5;

/// Another ledger of the same topic.
#[derive(Debug)]
pub(in crate::dedup) struct OtherProcess {
    directory: PathBuf,
    idle: bool,
    /// `None` if it cannot be used.
    manifest: Option<Manifest>,
    runs: Vec<SortedRun>,
}

/// All ledgers of the topic in `state` but the one in `own`.
///
/// # Errors
/// When a directory cannot be read or locked. One that is damaged is no error.
pub(in crate::dedup) fn read(
    state: &Path,
    subject: &Subject,
    own: &Path,
) -> io::Result<Vec<OtherProcess>> {
    let mut found = vec![];
    for directory in subject.directories(state) {
        if directory != own && directory.is_dir() {
            found.extend(OtherProcess::read(directory, subject)?);
        }
    }
    Ok(found)
}

impl OtherProcess {
    fn read(directory: PathBuf, subject: &Subject) -> io::Result<Option<Self>> {
        let mut tries = 0;
        loop {
            tries += 1;
            let lock = lock(&directory)?;
            let manifest = Manifest::read(&directory, subject);
            let idle = lock.is_some();
            drop(lock);
            let read = manifest.and_then(|manifest| {
                let Some(manifest) = manifest else {
                    return Ok(None);
                };
                let runs = manifest.open_runs(&directory)?;
                Ok(Some((manifest, runs)))
            });
            match read {
                Ok(None) => return Ok(None),
                Ok(Some((manifest, runs))) => {
                    return Ok(Some(Self {
                        directory,
                        idle,
                        manifest: Some(manifest),
                        runs,
                    }));
                }
                Err(_) if tries < TRIES => {}
                Err(error) => {
                    tracing::warn!(
                        directory = %directory.display(), %error,
                        "what another process kept of this topic cannot be used (State.Directory)"
                    );
                    return Ok(Some(Self {
                        directory,
                        idle,
                        manifest: None,
                        runs: vec![],
                    }));
                }
            }
        }
    }

    /// Whether its process was killed, or ended in doubt.
    pub(in crate::dedup) fn is_unsettled(&self) -> bool {
        self.idle && self.manifest.as_ref().is_none_or(|found| !found.settled)
    }

    /// Between which offsets it knows everything.
    pub(in crate::dedup) fn spans(&self) -> BTreeMap<i32, Span> {
        let found = self.manifest.as_ref();
        found.map_or_else(BTreeMap::new, |found| found.partitions.clone())
    }

    /// Forgets what lies behind the cuts. Where the log has parted from the one that it knew, whoever takes it next does so,
    /// too: what shows that may not be there for ever.
    pub(in crate::dedup) fn cut(&mut self, subject: &Subject, verdict: &Verdict) -> io::Result<()> {
        let mut blind = false;
        for run in &mut self.runs {
            blind |= run.cut(&verdict.cuts())?;
        }
        if verdict.parted.is_empty() {
            return Ok(());
        }
        let runs: Vec<RunEntry> = self.runs.iter().map(|run| run.entry().clone()).collect();
        self.change(subject, |manifest| {
            // Nobody has opened it since, so these are its runs.
            manifest.runs = runs;
            for (partition, span) in &mut manifest.partitions {
                verdict.shorten(*partition, span);
            }
            if blind {
                manifest.read_anew();
            }
        })
    }

    pub(in crate::dedup) fn contains(&self, id: u128) -> io::Result<bool> {
        for run in &self.runs {
            if run.contains(id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes for whoever takes it next that nothing of its process is on its way any more.
    pub(in crate::dedup) fn settle(&self, subject: &Subject) -> io::Result<()> {
        match self.is_unsettled() {
            true => self.change(subject, |manifest| manifest.settled = true),
            false => Ok(()),
        }
    }

    fn change(&self, subject: &Subject, change: impl FnOnce(&mut Manifest)) -> io::Result<()> {
        let Some(read) = &self.manifest else {
            return Ok(());
        };
        let Some(_lock) = lock(&self.directory)? else {
            return Ok(());
        };
        if let Ok(Some(mut manifest)) = Manifest::read(&self.directory, subject)
            && self.idle
            && manifest.opened == read.opened
        {
            change(&mut manifest);
            manifest.write(&self.directory)?;
        }
        Ok(())
    }
}

/// The lock of a directory that nobody uses.
fn lock(directory: &Path) -> io::Result<Option<File>> {
    let path = directory.join("lock");
    only_a_file(&path)?;
    let lock = match File::options().write(true).open(path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
