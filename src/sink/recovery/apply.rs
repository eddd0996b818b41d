//! Carries out what [`plan`](super::plan) decides.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::super::Sink;
use super::super::error::SinkError;
use super::super::files::TailChecksum;
use super::super::model::STATE_DIRECTORY;
use super::super::state::{
    Batch, Committed, FileState, Position, Redo, State, Step, closed_list, index,
};
use super::plan::{self, FilePlan, Plan, Verdict};
use crate::durable::FsFile;

/// What recovery found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// What became of the pending batch, if there was one, on each of its partitions.
    pub verdicts: BTreeMap<i32, Verdict>,
    /// Bytes of rows that were taken out of files; their records are read again.
    pub bytes_removed: u64,
}

impl Sink {
    /// Resolves the pending batch, and drops all that was taken in since the last one. To be called once after
    /// [`open`](Self::open), and whenever a commit's outcome is in doubt or a partition was lost; after it every
    /// partition has to be begun again with [`start_position`](Self::start_position).
    ///
    /// `committed` has what OffsetFetch says of at least the partitions that [`known_partitions`](Self::known_partitions)
    /// names, asked for after the former member was fenced.
    ///
    /// # Errors
    /// [`SinkError::OutOfOrder`] when a partition of the pending batch is missing in `committed`, and
    /// [`SinkError::Copied`]; nothing was changed then. After any other the sink accepts nothing more; opening the directory again finishes the work.
    pub fn recover(&mut self, committed: &BTreeMap<i32, Committed>) -> Result<Recovery, SinkError> {
        if self.failed {
            return Err(SinkError::OutOfOrder(
                "it failed before; open the directory again".to_owned(),
            ));
        }
        // Before anything is taken out on the word of a commit that may be a copy's.
        for (partition, committed) in committed {
            self.is_no_copy(*partition, committed)?;
        }
        let verdicts = match &self.checkpoint.pending {
            None => BTreeMap::new(),
            Some(pending) => {
                plan::judge(pending, self.checkpoint.holder(), committed).map_err(|partition| {
                    SinkError::OutOfOrder(format!(
                        "recovery needs the committed offset of partition {partition}"
                    ))
                })?
            }
        };
        let recovered = self.carry_out(verdicts);
        let recovered = self.guard(recovered)?;
        self.go_back_at_last(committed)?;
        Ok(recovered)
    }

    fn carry_out(&mut self, verdicts: BTreeMap<i32, Verdict>) -> Result<Recovery, SinkError> {
        self.outputs.clear();
        self.rolled = false;
        self.index = None;
        self.closed = None;
        let batch = self.pending_line()?;
        let plan = plan::plan(&self.checkpoint, batch.as_ref(), &verdicts);
        let mut work = Work::default();
        self.prepare(&plan, &mut work)?;
        say_what_is_cut(&work.cut);

        let mut checkpoint = self.checkpoint.clone();
        checkpoint.counting = State {
            files: work.files,
            partitions: plan.partitions.clone(),
            index: work.index,
            closed: checkpoint.counting.closed,
        };
        let identity = checkpoint.identity;
        let again = plan.gaps.iter().map(|gap| (identity, gap.clone()));
        checkpoint.gaps.extend(again);
        checkpoint.pending = None;
        checkpoint.loose.clear();
        checkpoint.disturbed.clear();
        checkpoint.clean = false;
        // Where a partition was begun stays known, also when nothing of it was ever committed.
        for (partition, progress) in std::mem::take(&mut self.progress) {
            let begun = Position {
                next: progress.from,
                epoch: None,
            };
            let partitions = &mut checkpoint.counting.partitions;
            partitions.entry(partition).or_insert(begun);
        }
        self.passed.clear();

        if !work.steps.is_empty() || self.unsaved || checkpoint != self.checkpoint {
            let redo = Redo {
                steps: work.steps,
                checkpoint,
                bytes: work.bytes,
            };
            if plan.destructive {
                redo.write(&*self.fs, &self.state_directory)?;
            }
            redo.apply(&*self.fs, &self.directory, &self.state_directory)?;
            self.checkpoint = redo.checkpoint;
            self.unsaved = false;
        }
        self.learn_parts()?;
        self.recovered = true;
        let undecided = verdicts
            .iter()
            .filter(|(_, verdict)| **verdict == Verdict::Undecided);
        for (partition, _) in undecided {
            tracing::warn!(
                topic = self.checkpoint.topic,
                partition,
                "another program moved the group's offset before the outcome of the last commit was known; its rows are in {}",
                self.state_directory.join(UNDECIDED).display()
            );
        }
        Ok(Recovery {
            verdicts,
            bytes_removed: work.removed,
        })
    }

    /// The pending batch's line of the index.
    fn pending_line(&self) -> Result<Option<Batch>, SinkError> {
        let Some(pending) = &self.checkpoint.pending else {
            return Ok(None);
        };
        let path = self.state_directory.join(index::FILE);
        let from = self.checkpoint.counting.index;
        let mut file = self.fs.open(&path).map_err(SinkError::io("open", &path))?;
        let len = file.len().map_err(SinkError::io("read", &path))?;
        let size = pending
            .index
            .checked_sub(from)
            .filter(|_| pending.index <= len);
        let size = size.ok_or_else(|| {
            SinkError::damaged(
                &path,
                format!("it is {len} bytes long and was {}", pending.index),
            )
        })?;
        let mut line = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        file.read_at(from, &mut line)
            .map_err(SinkError::io("read", &path))?;
        Batch::decode(&path, &line).map(Some)
    }

    /// Turns the plan into steps, and the states that the files have after them.
    fn prepare(&self, plan: &Plan, work: &mut Work) -> Result<(), SinkError> {
        for (name, partition, range) in &plan.aside {
            let number = self.pending_batch().unwrap_or_default();
            let aside = self.state_directory.join(UNDECIDED);
            self.fs
                .create_dir_all(&aside)
                .map_err(SinkError::io("make", &aside))?;
            let to = format!(
                "{STATE_DIRECTORY}/{UNDECIDED}/batch-{number}.partition-{partition}.{:020}.{name}",
                range.start
            );
            let form = self.checkpoint.file(name).map(|state| state.form);
            let place = form.unwrap_or_default().place(name);
            let bytes = self.read_ranges(&place, std::slice::from_ref(range))?;
            work.write(to, 0, &bytes);
        }
        for place in &plan.remove {
            let path = self.directory.join(place);
            let len = self.fs.len(&path).map_err(SinkError::io("read", &path))?;
            // Also when it is gone: who removed it may have been stopped before that was durable.
            work.removed += len.unwrap_or_default();
            self.cuts(&mut work.cut, &path, 0, len);
            work.steps.push(Step::Remove {
                name: place.clone(),
            });
        }
        // A process that was killed may have cut a file back without making that durable: a loss of power would bring
        // back what it cut off, in part, when nobody expects it any more.
        let unsettled = !self.recovered && !self.checkpoint.clean;
        for (name, target) in &plan.files {
            let form = match target {
                FilePlan::Keep(state) | FilePlan::Rewrite { file: state, .. } => state.form,
                FilePlan::Remove => continue,
            };
            let place = form.place(name);
            let path = self.directory.join(&place);
            let len = self.fs.len(&path).map_err(SinkError::io("read", &path))?;
            match target {
                FilePlan::Keep(state) | FilePlan::Rewrite { file: state, .. } => {
                    self.cuts(&mut work.cut, &path, state.len, len);
                }
                FilePlan::Remove => {}
            }
            match target {
                FilePlan::Remove => {}
                FilePlan::Keep(state) => {
                    work.files.insert(name.clone(), *state);
                    let Some(len) = len.filter(|len| *len > state.len || unsettled) else {
                        continue;
                    };
                    work.removed += len.saturating_sub(state.len);
                    work.write(place, state.len, &[]);
                }
                FilePlan::Rewrite { cut, keep, file } => {
                    let bytes = self.read_ranges(&place, keep)?;
                    let base = self
                        .checkpoint
                        .counting
                        .files
                        .get(name)
                        .copied()
                        .unwrap_or_default();
                    let fresh =
                        self.read_ranges(&place, std::slice::from_ref(&(base.len..*cut)))?;
                    let crc =
                        crc32c::crc32c_append(crc32c::crc32c_append(base.crc, &fresh), &bytes);
                    let mut tail = (self.fs.open(&path))
                        .and_then(|mut file| TailChecksum::read(&mut *file, *cut))
                        .map_err(SinkError::io("read", &path))?;
                    tail.extend(*cut, &bytes);
                    let after = cut + bytes.len() as u64;
                    work.removed += len.unwrap_or_default().saturating_sub(after);
                    work.files.insert(
                        name.clone(),
                        FileState {
                            len: after,
                            tail: tail.crc,
                            crc,
                            ..*file
                        },
                    );
                    work.write(place, *cut, &bytes);
                }
            }
        }
        for (name, state) in self
            .checkpoint
            .counting
            .files
            .iter()
            .filter(|(_, state)| state.gone)
        {
            work.files.insert(name.clone(), *state);
        }
        let list = self.state_directory.join(closed_list::FILE);
        let len = self.fs.len(&list).map_err(SinkError::io("read", &list))?;
        let end = self.checkpoint.counting.closed;
        if len.is_some_and(|len| len > end) {
            let name = format!("{STATE_DIRECTORY}/{}", closed_list::FILE);
            work.write(name, end, &[]);
        }
        self.prepare_index(plan, work)
    }

    /// Bytes that no checkpoint covers are those of a process that did not come to its end, whose records are read again;
    /// or somebody else has appended since, and nobody can tell.
    fn cuts(&self, cut: &mut Vec<Cut>, path: &Path, known: u64, len: Option<u64>) {
        if let Some(len) = len.filter(|len| *len > known && !self.recovered) {
            tracing::debug!(file = %path.display(), from = known, bytes = len - known, "cut away");
            cut.push(Cut {
                path: path.to_owned(),
                from: known,
                bytes: len - known,
            });
        }
    }

    /// The index keeps the pending batch's line as far as the batch counts.
    fn prepare_index(&self, plan: &Plan, work: &mut Work) -> Result<(), SinkError> {
        let name = format!("{STATE_DIRECTORY}/{}", index::FILE);
        let path = self.directory.join(&name);
        let len = self
            .fs
            .len(&path)
            .map_err(SinkError::io("read", &path))?
            .unwrap_or_default();
        if plan.destructive {
            let line = plan
                .batch
                .as_ref()
                .map_or_else(|| Ok(Vec::new()), Batch::encode)?;
            work.index = self.checkpoint.counting.index + line.len() as u64;
            work.write(name, self.checkpoint.counting.index, &line);
        } else {
            work.index = self.checkpoint.index();
            if len < work.index {
                // A pipe in its place has no length.
                self.fs
                    .open_to_read(&path)
                    .map_err(SinkError::io("read", &path))?;
                return Err(SinkError::damaged(
                    &path,
                    format!("it is {len} bytes long and was {}", work.index),
                ));
            }
            if len > work.index {
                work.write(name, work.index, &[]);
            }
        }
        Ok(())
    }

    fn read_ranges(&self, place: &str, ranges: &[Range<u64>]) -> Result<Vec<u8>, SinkError> {
        let path = self.directory.join(place);
        let read = || {
            let mut file: Box<dyn FsFile> = self.fs.open(&path)?;
            let len = file.len()?;
            let mut bytes = Vec::new();
            for range in ranges {
                // Believed only as far as the file goes.
                let size = range.end.min(len).saturating_sub(range.start);
                let at = bytes.len();
                bytes.resize(at + usize::try_from(size).unwrap_or(usize::MAX), 0);
                file.read_at(range.start, bytes.get_mut(at..).unwrap_or_default())?;
            }
            Ok(bytes)
        };
        read().map_err(SinkError::io("read", &path))
    }
}

/// The directory of what is set aside, in the sidecar.
const UNDECIDED: &str = "undecided";

/// Bytes that no checkpoint covers.
struct Cut {
    path: PathBuf,
    from: u64,
    bytes: u64,
}

/// Who appended to a file has to hear that it is gone, and from where; of very many files, the first few stand for all.
fn say_what_is_cut(cut: &[Cut]) {
    const NAMED: usize = 5;
    if cut.is_empty() {
        return;
    }
    let named = cut.iter().take(NAMED).map(|cut| {
        let Cut { path, from, bytes } = cut;
        format!("{} ({bytes} bytes from byte {from} on)", path.display())
    });
    let named: Vec<String> = named.collect();
    let more = match cut.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more (-v names them)"),
    };
    tracing::warn!(
        files = cut.len(),
        bytes = cut.iter().map(|cut| cut.bytes).sum::<u64>(),
        "the process before did not come to its end (it was killed, or ended by force), and left rows that no commit \
         covers: they are cut away, and their records are read again; what somebody else has appended there since is gone \
         with them: {}{more}",
        named.join(", ")
    );
}

/// Steps in the making.
#[derive(Default)]
struct Work {
    cut: Vec<Cut>,
    steps: Vec<Step>,
    bytes: Vec<u8>,
    files: BTreeMap<String, FileState>,
    index: u64,
    removed: u64,
}

impl Work {
    fn write(&mut self, name: String, cut: u64, bytes: &[u8]) {
        self.steps.push(Step::Write {
            name,
            cut,
            append: bytes.len() as u64,
        });
        self.bytes.extend_from_slice(bytes);
    }
}
