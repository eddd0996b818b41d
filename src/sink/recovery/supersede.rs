//! Reading goes back, because the group's offset was set back on purpose or the log was truncated: a partition's rows
//! from the target on leave their files for `.stockflow/superseded/`, and the partition is read again from there.
//!
//! Files and index are written anew beside the old ones first. Then one redo record says which of them take whose
//! place; so a stop at any instant leaves all of it done, or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::super::Sink;
use super::super::error::SinkError;
use super::super::files::STAGED;
use super::super::model::{Form, STATE_DIRECTORY};
use super::super::state::{
    Batch, Checkpoint, Closed, FileState, Position, Redo, Step, closed_list, index,
};
use super::inspect::first_of;
use super::rewrite;
use super::split::Split;
use crate::durable::journal;

/// Where superseded rows are kept, in the sidecar.
const SUPERSEDED: &str = "superseded";

/// What a reset backwards moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// Rows and dead letters that are in [`directory`](Self::directory) now.
    pub rows: u64,
    /// Files that they were in.
    pub files: usize,
    /// Where they are kept.
    pub directory: PathBuf,
}

impl Sink {
    /// Moves a partition's rows from the offset `target` on out of the files; the partition then goes on at `target`,
    /// and has to be begun again with [`start_position`](Self::start_position). The other partitions stay as they are.
    ///
    /// To be called between batches: with nothing unflushed and no batch pending. A `target` at or behind what the
    /// directory holds moves nothing.
    ///
    /// # Errors
    /// [`SinkError::OutOfOrder`] when something waits to be flushed or committed, [`SinkError::Edited`] when rows are
    /// not as they were written; nothing was changed then. After any other the sink accepts nothing more; opening the
    /// directory again finishes the work.
    pub fn supersede(&mut self, partition: i32, target: i64) -> Result<Superseded, SinkError> {
        self.ready()?;
        if self.pending_batch().is_some() || self.unflushed_bytes() > 0 {
            return Err(SinkError::OutOfOrder(format!(
                "rows of partition {partition} are to be superseded while a batch is under way"
            )));
        }
        let held = self.checkpoint.counting.partitions.get(&partition);
        if held.is_none_or(|held| held.next <= target) {
            // It may have been begun further on, with nothing read yet.
            self.progress.remove(&partition);
            self.checkpoint.cut_gaps(partition, target);
            let saved = self.save();
            self.guard(saved)?;
            return Ok(Superseded {
                rows: 0,
                files: 0,
                directory: self.state_directory.join(SUPERSEDED),
            });
        }
        let moved = self.move_rows(partition, target);
        self.guard(moved)
    }

    fn move_rows(&mut self, partition: i32, target: i64) -> Result<Superseded, SinkError> {
        let mut tail = self.index_from(partition, target)?;
        let mut work = Work {
            checkpoint: self.checkpoint.clone(),
            steps: Vec::new(),
            rows: 0,
            emptied: Vec::new(),
            gone: Vec::new(),
        };
        let closed = closed_list::read(
            &*self.fs,
            &self.state_directory,
            self.checkpoint.counting.closed,
        )?;
        let names: BTreeSet<String> = tail
            .batches
            .iter()
            .flat_map(|batch| batch.runs.iter().map(move |run| (batch, run)))
            .filter(|(batch, run)| {
                batch.identity == tail.identity
                    && run.partition == partition
                    && rewrite::kept_rows(run, target).is_some()
            })
            .filter_map(|(batch, run)| batch.files.get(run.file).cloned())
            .collect();
        for (number, name) in names.iter().enumerate() {
            let open = work.checkpoint.counting.files.get(name);
            let listed = closed.get(name).filter(|closed| !closed.emptied);
            let Some(state) = open.or(listed.map(|closed| &closed.state)).copied() else {
                continue;
            };
            let file = File {
                number,
                name,
                state,
                is_listed: listed.is_some(),
            };
            self.write_anew(&mut tail, &mut work, &file, partition, target)?;
        }
        for batch in &mut tail.batches {
            if batch.identity == tail.identity {
                rewrite::narrow(batch, partition, target);
            }
        }
        tail.batches.retain(|batch| !batch.says_nothing());
        self.drop_gone(&tail, &mut work)?;

        let mut bytes = Vec::new();
        for batch in &tail.batches {
            bytes.extend_from_slice(&batch.encode()?);
        }
        let Work {
            mut checkpoint,
            mut steps,
            rows,
            emptied,
            gone,
        } = work;
        if let [(first, _), ..] = gone.as_slice() {
            tracing::warn!(
                partition,
                files = gone.len(),
                "files with rows that are read again were taken away from {} ({}): their rows stay wherever they are, too",
                self.directory.display(),
                first_of(first, gone.len())
            );
        }
        steps.push(Step::Write {
            name: format!("{STATE_DIRECTORY}/{}", index::FILE),
            cut: tail.cut,
            append: bytes.len() as u64,
        });
        checkpoint.counting.index = tail.cut + bytes.len() as u64;
        checkpoint.cut_gaps(partition, target);
        checkpoint.counting.partitions.insert(
            partition,
            Position {
                next: target,
                epoch: None,
            },
        );
        // Lines of closed files of which nothing is left.
        if !emptied.is_empty() {
            steps.push(Step::Write {
                name: format!("{STATE_DIRECTORY}/{}", closed_list::FILE),
                cut: checkpoint.counting.closed,
                append: emptied.len() as u64,
            });
        }
        checkpoint.counting.closed += emptied.len() as u64;
        bytes.extend_from_slice(&emptied);
        // The number is in the names of the superseded files.
        checkpoint.next_batch += 1;
        let redo = Redo {
            steps,
            checkpoint,
            bytes,
        };
        self.outputs.clear();
        self.index = None;
        self.closed = None;
        self.progress.remove(&partition);
        redo.write(&*self.fs, &self.state_directory)?;
        redo.apply(&*self.fs, &self.directory, &self.state_directory)?;
        self.checkpoint = redo.checkpoint;
        self.unsaved = false;
        self.learn_parts()?;
        Ok(Superseded {
            rows,
            files: names.len(),
            directory: self.state_directory.join(SUPERSEDED),
        })
    }

    /// Nobody misses a file that was taken away when no batch has rows in it any more.
    fn drop_gone(&self, tail: &Ending, work: &mut Work) -> Result<(), SinkError> {
        if work.gone.is_empty() {
            return Ok(());
        }
        let mut empty: BTreeMap<&str, Option<FileState>> = work
            .gone
            .iter()
            .map(|(name, listed)| (name.as_str(), *listed))
            .collect();
        let mut look = |batch: &Batch| {
            for run in &batch.runs {
                if let Some(name) = batch.files.get(run.file) {
                    empty.remove(name.as_str());
                }
            }
        };
        let path = self.state_directory.join(index::FILE);
        for line in index::read(&*self.fs, &path, tail.cut)? {
            look(&line?.1);
        }
        tail.batches.iter().for_each(look);
        if empty.is_empty() {
            return Ok(());
        }
        // Whoever took them away may not have made that durable, and their names are free now.
        self.fs
            .sync_dir(&self.directory)
            .map_err(SinkError::io("sync", &self.directory))?;
        for (name, listed) in empty {
            work.checkpoint.counting.files.remove(name);
            if let Some(state) = listed {
                work.emptied.extend(emptied(name, state)?);
            }
        }
        Ok(())
    }

    /// The index from the first batch on that has to change.
    fn index_from(&self, partition: i32, target: i64) -> Result<Ending, SinkError> {
        let path = self.state_directory.join(index::FILE);
        let mut tail = Ending {
            cut: 0,
            batches: Vec::new(),
            identity: self.checkpoint.identity,
        };
        for line in index::read(&*self.fs, &path, self.checkpoint.counting.index)? {
            let (at, batch) = line?;
            let changes = batch.identity == tail.identity
                && (batch
                    .partitions
                    .iter()
                    .any(|span| span.0 == partition && span.2 > target)
                    || batch
                        .runs
                        .iter()
                        .any(|run| run.partition == partition && run.last >= target)
                    || batch
                        .gaps
                        .iter()
                        .chain(&batch.undecided)
                        .any(|gap| gap.0 == partition && gap.2 > target));
            if tail.batches.is_empty() {
                tail.cut = at;
            }
            if changes || !tail.batches.is_empty() {
                tail.batches.push(batch);
            }
        }
        if tail.batches.is_empty() {
            tail.cut = self.checkpoint.counting.index;
        }
        Ok(tail)
    }

    /// Writes one file anew without the rows that are superseded, these beside it, and both as steps.
    fn write_anew(
        &self,
        tail: &mut Ending,
        work: &mut Work,
        file: &File<'_>,
        partition: i32,
        target: i64,
    ) -> Result<(), SinkError> {
        let File { number, name, .. } = *file;
        let place = file.state.form.place(name);
        let path = self.directory.join(&place);
        if self
            .fs
            .len(&path)
            .map_err(SinkError::io("read", &path))?
            .is_none()
        {
            tracing::debug!(file = %path.display(), "the file was taken away");
            let listed = file.is_listed.then_some(file.state);
            work.gone.push((name.to_owned(), listed));
            tail.forget(name, partition, target);
            return Ok(());
        }
        let staged = self.state_directory.join(STAGED);
        let aside = self.state_directory.join(SUPERSEDED);
        for directory in [&staged, &aside] {
            self.fs
                .create_dir_all(directory)
                .map_err(SinkError::io("make", directory))?;
        }
        self.fs
            .sync_dir(&self.state_directory)
            .map_err(SinkError::io("sync", &self.state_directory))?;
        let mut split = Split::begin(self, number, name, &path, &file.state)?;
        let identity = tail.identity;
        for batch in &mut tail.batches {
            let Some(at) = batch.files.iter().position(|file| file == name) else {
                continue;
            };
            for run in batch.runs.iter_mut().filter(|run| run.file == at) {
                let ours = batch.identity == identity && run.partition == partition;
                let rows = ours.then(|| rewrite::kept_rows(run, target)).flatten();
                split.run(run, rows)?;
            }
            batch.runs.retain(|run| run.rows > 0);
        }
        // A closed file is closed again, with what is left of it. Meanwhile nobody sees it: a plain file of that name may
        // be somebody else's.
        let is_packed = matches!(file.state.form, Form::Gzip | Form::Zstd);
        if is_packed {
            self.make_hidden()?;
        }
        let halves = split.finish(&FileState {
            form: if is_packed {
                Form::Hidden
            } else {
                file.state.form
            },
            closing: file.state.closing || file.is_listed,
            ..file.state
        })?;
        self.fs
            .sync_dir(&staged)
            .map_err(SinkError::io("sync", &staged))?;
        work.rows += halves.rows;
        let state = halves.state;
        let any_left = halves.kept.is_some();
        if let Some(from) = halves.kept {
            let to = state.form.place(name);
            work.steps.push(Step::Replace { from, to });
        }
        if !any_left || is_packed {
            work.steps.push(Step::Remove { name: place });
        }
        let to = format!(
            "{STATE_DIRECTORY}/{SUPERSEDED}/reset-{}.partition-{partition}.from-{target}.{name}",
            self.checkpoint.next_batch
        );
        work.steps.push(Step::Replace {
            from: halves.moved,
            to,
        });
        let files = &mut work.checkpoint.counting.files;
        if any_left {
            files.insert(name.to_owned(), state);
            return Ok(());
        }
        files.remove(name);
        if file.is_listed {
            work.emptied.extend(emptied(name, state)?);
        }
        Ok(())
    }
}

/// A line of the list of closed files: nothing is left of this one.
fn emptied(name: &str, state: FileState) -> Result<Vec<u8>, SinkError> {
    Ok(journal::encode(&Closed {
        name: name.to_owned(),
        state,
        packed: None,
        emptied: true,
    })?)
}

/// A file that is to be written anew.
struct File<'f> {
    number: usize,
    name: &'f str,
    state: FileState,
    /// Whether the list of closed files names it: also one that an earlier reset opened again stands there, as it was.
    is_listed: bool,
}

/// What is being done.
struct Work {
    checkpoint: Checkpoint,
    steps: Vec<Step>,
    rows: u64,
    /// Lines for the list of closed files.
    emptied: Vec<u8>,
    /// Files that are not there any more, with what the list of closed files says of those that it names.
    gone: Vec<(String, Option<FileState>)>,
}

/// The end of the index, in memory.
struct Ending {
    /// Where it begins.
    cut: u64,
    batches: Vec<Batch>,
    identity: u32,
}

impl Ending {
    /// Drops the runs of a file that is not there any more.
    fn forget(&mut self, name: &str, partition: i32, target: i64) {
        let identity = self.identity;
        for batch in self
            .batches
            .iter_mut()
            .filter(|batch| batch.identity == identity)
        {
            let Some(place) = batch.files.iter().position(|file| file == name) else {
                continue;
            };
            batch.runs.retain_mut(|run| {
                let ours = run.file == place && run.partition == partition;
                match ours.then(|| rewrite::kept_rows(run, target)).flatten() {
                    None => true,
                    // What is left of the run cannot be checked, and its bytes are not there.
                    Some(rows) if rows > 0 => {
                        *run = rewrite::head(run, rows, run.len, run.crc);
                        true
                    }
                    Some(_) => false,
                }
            });
        }
    }
}
