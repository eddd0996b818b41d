//! Makes what was taken in durable, as a batch that can be committed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::error::SinkError;
use super::files::Output;
use super::model::layout;
use super::settings::Publish;
use super::state::{
    Batch, CommitAuthor, Moved, OffsetRange, OwnershipHistory, Passed, Pending, commit_metadata,
    index,
};
use super::{Appended, Sink};
use crate::durable::journal;

/// A batch that is durable and now has to be committed, with exactly the metadata that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableBatch {
    /// Its number, never used again in this directory.
    pub number: u64,
    /// What to commit.
    pub offsets: Vec<DurableOffset>,
}

/// What is durable of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableOffset {
    /// The partition.
    pub partition: i32,
    /// The next offset to be read.
    pub next: i64,
    /// The leader epoch of the last record, where known.
    pub leader_epoch: Option<i32>,
    /// The metadata of the commit.
    pub metadata: String,
}

impl Sink {
    /// Makes all that was taken in durable. `None` when no partition moved since the last batch.
    ///
    /// # Errors
    /// [`SinkError::OutOfOrder`] while a batch is pending: say what became of it with [`committed`](Self::committed) or
    /// [`recover`](Self::recover). After [`SinkError::Io`] or [`SinkError::Edited`] the sink accepts nothing more, and
    /// nothing new may be committed.
    pub fn flush(&mut self) -> Result<Option<DurableBatch>, SinkError> {
        self.ready()?;
        if let Some(number) = self.pending_batch() {
            return Err(SinkError::OutOfOrder(format!(
                "batch {number} is still to be resolved"
            )));
        }
        let moved: BTreeMap<i32, Moved> = self
            .progress
            .iter()
            .filter(|(_, progress)| progress.position.next != progress.from)
            .map(|(partition, progress)| {
                (
                    *partition,
                    Moved {
                        from: progress.from,
                        to: progress.position,
                    },
                )
            })
            .collect();
        if moved.is_empty() {
            return Ok(None);
        }
        let batch = self.write_batch(moved);
        self.guard(batch).map(Some)
    }

    /// Bytes that were taken in since the last batch. What a partly counted commit makes recovery hold in memory is
    /// bounded by this, so flush before it is large.
    pub fn unflushed_bytes(&self) -> u64 {
        let passed = self.passed.len() * size_of::<Passed>();
        self.outputs.unflushed + passed as u64
    }

    /// Whether a part was ended since the last batch: a flush now lets it be closed.
    pub fn rolled(&self) -> bool {
        self.rolled
    }

    fn write_batch(&mut self, moved: BTreeMap<i32, Moved>) -> Result<DurableBatch, SinkError> {
        if let Some(letters) = &mut self.letters {
            letters.settle().map_err(SinkError::DeadLetters)?;
        }
        let number = self.checkpoint.next_batch;
        let touched = self.sync_files()?;
        let line = self.batch(number, &moved, &touched).encode()?;
        let index = self.write_index(&line)?;
        let files = touched
            .iter()
            .filter_map(|at| self.outputs.list.get(*at))
            .map(|output| (output.name.clone(), output.state()));
        self.checkpoint.pending = Some(Pending {
            number,
            files: files.collect(),
            partitions: moved.clone(),
            index,
            counted: BTreeSet::new(),
        });
        let identity = self.checkpoint.identity;
        let gaps = &mut self.checkpoint.gaps;
        gaps.retain(|(of, gap)| *of != identity || !moved.contains_key(&gap.0));
        self.checkpoint.next_batch = number + 1;
        let made = moved.keys().map(|partition| (*partition, number));
        self.checkpoint.made.extend(made);
        self.checkpoint.clean = false;
        self.checkpoint.loose.clear();
        self.save()?;

        for at in touched {
            if let Some(output) = self.outputs.list.get_mut(at) {
                output.runs.clear();
            }
        }
        self.outputs.retire();
        self.outputs.unflushed = 0;
        self.rolled = false;
        for progress in self.progress.values_mut() {
            progress.from = progress.position.next;
            progress.counts = Appended::default();
        }
        self.passed.clear();
        let commit_author = CommitAuthor {
            directory: self.checkpoint.directory,
            batch: number,
            begun: false,
            topic: self.checkpoint.topic_id,
            met: None,
            from: None,
        };
        let none = OwnershipHistory::default();
        let offsets = moved.iter().map(|(partition, moved)| DurableOffset {
            partition: *partition,
            next: moved.to.next,
            leader_epoch: moved.to.epoch,
            metadata: commit_metadata::encode(
                CommitAuthor {
                    met: self.met_by(*partition),
                    from: self.checkpoint.begins.get(partition).copied(),
                    ..commit_author
                },
                self.tenancies
                    .get(partition)
                    .map_or(&none, |tenancy| &tenancy.chain),
            ),
        });
        Ok(DurableBatch {
            number,
            offsets: offsets.collect(),
        })
    }

    /// Makes the rows durable that were taken in since the last batch; the files that have some.
    pub(super) fn sync_files(&mut self) -> Result<Vec<usize>, SinkError> {
        let made = self.create_files()?;
        let touched: Vec<usize> = self
            .outputs
            .list
            .iter()
            .enumerate()
            .filter(|(_, output)| !output.runs.is_empty())
            .map(|(at, _)| at)
            .collect();
        for at in &touched {
            self.outputs.spill(&*self.fs, &self.directory, *at)?;
        }
        for at in &touched {
            self.outputs.sync(&*self.fs, &self.directory, *at)?;
        }
        if made || !self.checkpoint.loose.is_empty() {
            self.sync_names()?;
        }
        for at in &touched {
            if let Some(output) = self.outputs.list.get_mut(*at) {
                output.written = self.now;
            }
        }
        Ok(touched)
    }

    /// The batch's line of the index.
    fn batch(&self, number: u64, moved: &BTreeMap<i32, Moved>, touched: &[usize]) -> Batch {
        let outputs = || touched.iter().filter_map(|at| self.outputs.list.get(*at));
        let counts = |partition| {
            self.progress
                .get(partition)
                .map(|progress| progress.counts)
                .unwrap_or_default()
        };
        Batch {
            batch: number,
            identity: self.checkpoint.identity,
            topic_id: self
                .checkpoint
                .topic_id
                .filter(|_| number == self.checkpoint.born),
            partitions: moved
                .iter()
                .map(|(partition, moved)| {
                    let Appended {
                        rows,
                        dead_letters,
                        tombstones,
                        skipped,
                        ..
                    } = counts(partition);
                    OffsetRange(
                        *partition,
                        moved.from,
                        moved.to.next,
                        [rows, dead_letters, tombstones, skipped],
                    )
                })
                .collect(),
            files: outputs().map(|output| output.name.clone()).collect(),
            runs: index::runs(outputs().map(|output| output.runs.as_slice())),
            passed: self.passed.clone(),
            gaps: moved
                .keys()
                .flat_map(|partition| self.checkpoint.gaps_of(*partition).cloned())
                .collect(),
            ..Batch::default()
        }
    }

    /// Appends to the index, durably; its new length.
    pub(super) fn write_index(&mut self, line: &[u8]) -> Result<u64, SinkError> {
        let path = self.state_directory.join(index::FILE);
        let at = self.checkpoint.index();
        let mut write = || {
            let file = match &mut self.index {
                Some(file) => file,
                None => self.index.insert(journal::open_to_write(&*self.fs, &path)?),
            };
            file.write_at(at, line)?;
            file.sync()
        };
        write().map_err(SinkError::io("write", &path))?;
        Ok(at + line.len() as u64)
    }

    /// Makes the files that have only a name so far; whether there were any. Their names are durable in the checkpoint
    /// before the first of them exists, so that recovery can tell them from files that are not ours.
    pub(super) fn create_files(&mut self) -> Result<bool, SinkError> {
        let mut made = false;
        loop {
            let uncreated = self.outputs.uncreated().to_vec();
            if uncreated.is_empty() {
                return Ok(made);
            }
            made = true;
            for at in &uncreated {
                self.rename_if_taken(*at)?;
            }
            let places = uncreated
                .iter()
                .filter_map(|at| self.outputs.list.get(*at))
                .map(Output::place);
            self.checkpoint.loose.extend(places);
            self.save()?;
            for at in uncreated {
                let Some(place) = self.outputs.list.get(at).map(Output::place) else {
                    continue;
                };
                let path = self.directory.join(&place);
                match self.fs.create_new(&path) {
                    Ok(handle) => self.outputs.created(&self.directory, at, handle)?,
                    // Somebody was quicker: the name is theirs, and the next round finds another.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        self.checkpoint.loose.remove(&place);
                        self.save()?;
                    }
                    Err(error) => return Err(SinkError::io("make", &path)(error)),
                }
            }
        }
    }

    /// Makes the names of data files durable.
    pub(super) fn sync_names(&self) -> Result<(), SinkError> {
        let hidden = self.state_directory.join(layout::HIDDEN);
        let atomic = self.settings.publish == Publish::Atomic;
        let hidden = atomic.then_some(&hidden);
        for path in [Some(&self.directory), hidden].into_iter().flatten() {
            self.fs
                .sync_dir(path)
                .map_err(SinkError::io("sync", path))?;
        }
        Ok(())
    }

    /// Gives a file that is not made yet another name, when somebody has taken its.
    fn rename_if_taken(&mut self, at: usize) -> Result<(), SinkError> {
        let Some(output) = self.outputs.list.get(at) else {
            return Ok(());
        };
        let (path, purpose) = (output.path(&self.directory), output.purpose);
        if self
            .fs
            .len(&path)
            .map_err(SinkError::io("read", &path))?
            .is_some()
        {
            let name = self.free_name(purpose)?;
            if let Some(output) = self.outputs.list.get_mut(at) {
                output.name = name;
            }
        }
        Ok(())
    }
}
