//! Compares the files of one directory with what its index says of them, and says where they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::directory::{Look, key};
use super::files::{Due, Files, Whole};
use super::finding::{Finding, FindingKind};
use super::packed;
use crate::sink::state::index;
use crate::sink::{Batch, Checkpoint, Extent, SinkError, is_letters};

/// How many places of a file are named in which it was edited; the last stands for all further ones.
const PLACES: usize = 100;

/// How many compressed files are read along their runs at once.
const ALONG: usize = 16;

impl Look<'_> {
    pub(super) fn check(&mut self, files: &mut Files<'_>, batch: &Batch) {
        for run in &batch.runs {
            let Some(name) = batch.files.get(run.file) else {
                continue;
            };
            if let Some(flaw) = files.check(name, run) {
                self.found(flaw.into(), name.clone(), Some(run));
            }
        }
    }

    /// Says where compressed files are not what was written. The index is read once, if not too many of them have rows among
    /// one another.
    pub(super) fn locate(
        &mut self,
        damaged: Vec<String>,
        due: &BTreeMap<String, Due>,
        index: &Path,
        end: u64,
    ) -> Result<(), SinkError> {
        let mut left: BTreeSet<String> = damaged.into_iter().collect();
        let mut buffer = vec![0; 64 * 1024];
        while !left.is_empty() {
            // Those that are read along, each with whether something was found in it.
            let mut open: BTreeMap<String, (packed::Along, bool)> = BTreeMap::new();
            let mut later = BTreeSet::new();
            for line in index::read(self.fs, index, end)? {
                let (_, batch) = line?;
                for run in &batch.runs {
                    let Some(name) = batch.files.get(run.file) else {
                        continue;
                    };
                    let Some(due) = due.get(name).filter(|_| left.contains(name)) else {
                        continue;
                    };
                    if !open.contains_key(name) {
                        if open.len() == ALONG {
                            later.insert(name.clone());
                        }
                        if later.contains(name) {
                            continue;
                        }
                        let Some(along) = self.along(name, due) else {
                            left.remove(name);
                            continue;
                        };
                        open.insert(name.clone(), (along, false));
                    }
                    if let Some((along, found)) = open.get_mut(name)
                        && let Some(flaw) = along.check(run, &mut buffer)
                    {
                        *found = true;
                        self.found(flaw.into(), name.clone(), Some(run));
                    }
                    if run.start + run.len >= due.state.len
                        && let Some((_, found)) = open.remove(name)
                    {
                        left.remove(name);
                        self.found_around(name, found);
                    }
                }
            }
            for name in left.difference(&later) {
                let found = match (open.remove(name), due.get(name)) {
                    (Some((_, found)), _) => found,
                    // It has no rows.
                    (None, Some(due)) => self.along(name, due).is_none(),
                    (None, None) => continue,
                };
                self.found_around(name, found);
            }
            left = later;
        }
        Ok(())
    }

    /// Opens a compressed file to be read along its runs; says so when it cannot be.
    pub(super) fn along(&mut self, name: &str, due: &Due) -> Option<packed::Along> {
        let path = self.directory.join(due.state.form.place(name));
        match packed::Along::open(self.fs, &path, &due.state) {
            Ok(along) => Some(along),
            Err(error) => {
                let kind = FindingKind::Unreadable(error.to_string());
                self.found(kind, name.to_owned(), None);
                None
            }
        }
    }

    /// Where the rows of a file that is not as it was written are right, the header, or what is around them, is not.
    pub(super) fn found_around(&mut self, name: &str, found: bool) {
        if !found {
            self.found(FindingKind::Edited, name.to_owned(), None);
        }
    }

    /// Takes what stood in files that are gone out of the figures.
    pub(super) fn leave_out(
        &mut self,
        checkpoint: &Checkpoint,
        ids: &BTreeMap<u32, uuid::Uuid>,
        index: &Path,
    ) -> Result<(), SinkError> {
        if self.gone.is_empty() {
            return Ok(());
        }
        for line in index::read(self.fs, index, checkpoint.index())? {
            let (_, batch) = line?;
            let key = key(checkpoint, ids, batch.identity);
            for run in &batch.runs {
                let name = batch.files.get(run.file);
                if let Some(name) = name.filter(|name| self.gone.contains(*name)) {
                    let letters = is_letters(name);
                    let ledger = &mut self.into.ledger;
                    ledger.leave_out(&key, run.partition, run.rows, letters);
                }
            }
        }
        Ok(())
    }

    /// Adds a finding, to the one before of the file when it is the same: so there are few, however many runs a file has.
    pub(super) fn found(&mut self, kind: FindingKind, file: String, run: Option<&Extent>) {
        let form = self.forms.get(&file).copied().unwrap_or_default();
        if kind == FindingKind::Missing {
            self.gone.insert(file.clone());
        }
        let finding = Finding {
            kind,
            directory: self.directory.to_owned(),
            file: Some(form.place(&file)),
            partitions: run
                .map(|run| (run.partition, (run.first, run.last)))
                .into_iter()
                .collect(),
            bytes: run.map(|run| (run.start, run.start + run.len)),
            rows: run.map_or(0, |run| run.rows),
        };
        let next = self.into.findings.len();
        let (last, count) = self
            .said
            .entry((file, finding.kind.name()))
            .or_insert((next, 0));
        if let Some(last) = self.into.findings.get_mut(*last)
            // Where rows were edited is said of each place; of another kind all the rest of the file is.
            && (finding.kind != FindingKind::Edited || last.ends_at(&finding) || *count == PLACES)
        {
            last.join(&finding);
            return;
        }
        (*last, *count) = (next, *count + 1);
        self.into.findings.push(finding);
    }

    /// What is left to be said of the files; the names of compressed ones that have to be looked into.
    pub(super) fn finish(&mut self, mut files: Files<'_>) -> Vec<String> {
        let mut damaged = Vec::new();
        for (name, whole) in files.finish() {
            match whole {
                Whole::Right | Whole::Flawed => {}
                Whole::Packed => damaged.push(name),
                Whole::Header => self.found(FindingKind::Header, name, None),
                Whole::Missing => self.found(FindingKind::Missing, name, None),
                Whole::Unreadable(error) => self.found(FindingKind::Unreadable(error), name, None),
                Whole::Longer(more) => self.longer.push((name, more)),
            }
        }
        damaged
    }
}
