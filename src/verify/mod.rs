//! Proves, from the offset index alone, that directories hold every record once, and that nobody changed a row.
//!
//! The index says of every offset which row of which file it is, or why it has none; and of every run of rows its
//! checksum. So: the offsets that the batches answer for, of all directories together, must cover the partition without
//! a gap and without an overlap ([`ledger`]); and each run must still be in its file, byte for byte ([`files`]).
//! What cannot be told without the brokers is named, for the caller to ask.

mod balance;
mod files;
mod finding;
mod known;
mod ledger;
mod listing;
mod packed;
pub(crate) mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use balance::{Imbalance, ImbalanceKind};
use files::{Due, Files, Whole};
pub use finding::{Finding, FindingKind};
use known::Known;
pub use ledger::{Account, Counts, Ledger, Ruling, TopicKey};
use listing::Surplus;
pub use report::{Report, Verdict as Outcome};

use crate::durable::{Disk, Fs, envelope};
use crate::sink::recovery::plan;
use crate::sink::state::{checkpoint, closed_list, index, redo};
use crate::sink::{
    Batch, Checkpoint, Committed, Extent, FileState, Form, STATE_DIRECTORY, SinkError, Verdict,
    is_letters,
};

/// A batch whose commit is not known to have counted: what has to be asked of the group.
#[derive(Clone, Debug)]
pub struct PendingBatch {
    /// The directory, by its place among those given.
    pub directory: usize,
    /// Whose group has to be asked.
    pub key: TopicKey,
    /// About which partitions.
    pub partitions: Vec<i32>,
    checkpoint: Box<Checkpoint>,
}

impl PendingBatch {
    /// Whether the batch counts on all of its partitions, going by what the group has committed.
    pub fn counted(&self, committed: &BTreeMap<i32, Committed>) -> bool {
        let pending = self.checkpoint.pending.as_ref();
        pending.is_none_or(|pending| {
            plan::judge(pending, self.checkpoint.holder(), committed).is_ok_and(|verdicts| {
                verdicts
                    .values()
                    .all(|verdict| *verdict == Verdict::Counted)
            })
        })
    }
}

/// What was found in directories, before the brokers were asked about it.
#[derive(Clone, Debug, Default)]
pub struct Examination {
    /// The directories, in the order given.
    pub directories: Vec<PathBuf>,
    /// Which offsets they hold.
    pub ledger: Ledger,
    /// What is wrong with files.
    pub findings: Vec<Finding>,
    /// Why something cannot be decided.
    pub doubts: Vec<String>,
    /// What nobody looked at.
    pub unseen: Vec<String>,
    /// The topics that the directories are of.
    pub topics: BTreeSet<TopicKey>,
    /// Batches that the group has to be asked about.
    pub pending: Vec<PendingBatch>,
    /// Files that were read.
    pub files: u64,
}

/// How many places of a file are named in which it was edited; the last stands for all further ones.
const PLACES: usize = 100;

/// How many compressed files are read along their runs at once.
const ALONG: usize = 16;

/// How often a directory that changes while it is read is read again.
const ATTEMPTS: u32 = 3;

/// The pause before that: a file that is being published or compressed is both there and not for as long as that takes.
const PAUSE: Duration = Duration::from_millis(100);

/// Reads directories; each may be in use meanwhile.
///
/// One that does not exist, or that has no state, is a doubt: nothing of it was looked at.
///
/// # Errors
/// When the state files of a directory are damaged or cannot be read.
pub fn examine(directories: &[PathBuf]) -> Result<Examination, SinkError> {
    examine_on(&Disk, directories)
}

pub(crate) fn examine_on(fs: &dyn Fs, directories: &[PathBuf]) -> Result<Examination, SinkError> {
    let mut examination = Examination {
        directories: directories.to_vec(),
        ..Examination::default()
    };
    for (number, directory) in directories.iter().enumerate() {
        if let Some(why) = closed_to_us(fs, directory) {
            examination.doubts.push(why);
            continue;
        }
        for attempt in 1..=ATTEMPTS {
            let mut looked = examination.clone();
            let changed = Look {
                fs,
                number,
                directory,
                forms: BTreeMap::new(),
                gone: BTreeSet::new(),
                said: BTreeMap::new(),
                surplus: Surplus::default(),
                longer: Vec::new(),
                is_last: attempt == ATTEMPTS,
                into: &mut looked,
            }
            .look()?;
            if !changed || attempt == ATTEMPTS {
                examination = looked;
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
    Ok(examination)
}

/// The checkpoint's bytes.
fn state(fs: &dyn Fs, directory: &Path) -> Result<Vec<u8>, SinkError> {
    let path = directory.join(STATE_DIRECTORY).join(checkpoint::FILE);
    envelope::read(fs, &path)?.ok_or_else(|| SinkError::NotOurs {
        path: directory.to_owned(),
    })
}

/// Why nothing of a directory can be looked at, where that is so.
fn closed_to_us(fs: &dyn Fs, directory: &Path) -> Option<String> {
    let error = state(fs, directory).err()?;
    let why = match (&error, fs.list(directory)) {
        (_, Err(list)) if list.kind() == ErrorKind::NotFound => {
            "there is no such directory".to_owned()
        }
        (SinkError::NotOurs { .. }, _) => format!(
            "no directory of stockflow: it has no {STATE_DIRECTORY}/{}",
            checkpoint::FILE
        ),
        _ => error.to_string(),
    };
    let directory = directory.display();
    Some(format!(
        "{directory}: {why}; nothing of it was looked at (is the name right? what `stockflow consume` wrote to, --out, is to be named)"
    ))
}

/// Looks into one directory.
struct Look<'l> {
    fs: &'l dyn Fs,
    number: usize,
    directory: &'l Path,
    /// The forms that files have.
    forms: BTreeMap<String, Form>,
    /// Files that are not there.
    gone: BTreeSet<String>,
    /// By file and kind, where the last finding is and how many there are.
    said: BTreeMap<(String, &'static str), (usize, usize)>,
    /// What is listed and not known.
    surplus: Surplus,
    /// Files with so many bytes behind their last row.
    longer: Vec<(String, u64)>,
    /// It is not looked again.
    is_last: bool,
    into: &'l mut Examination,
}

impl Look<'_> {
    /// Looks; says whether the directory changed meanwhile, so that something is of two states.
    fn look(&mut self) -> Result<bool, SinkError> {
        let before = self.into.findings.len();
        let state = state(self.fs, self.directory)?;
        let outcome = self.look_at(&state, before);
        // Of an index that is cut while it is read nothing can be said.
        match outcome {
            Err(_) if !self.is_last && self::state(self.fs, self.directory)? != state => Ok(true),
            outcome => outcome,
        }
    }

    fn look_at(&mut self, state: &[u8], before: usize) -> Result<bool, SinkError> {
        let sidecar = self.directory.join(STATE_DIRECTORY);
        let path = sidecar.join(index::FILE);
        let checkpoint = Checkpoint::decode(&sidecar.join(checkpoint::FILE), state)?;
        self.into.ledger.ids.insert(checkpoint.directory);
        let redo = sidecar.join(redo::FILE);
        if self
            .fs
            .len(&redo)
            .map_err(SinkError::io("read", &redo))?
            .is_some()
        {
            self.doubt("a recovery was stopped half-way; start `stockflow consume` once, which finishes it");
        }
        let due = self.due(&checkpoint)?;
        let forms = due.iter().map(|(name, due)| (name.clone(), due.state.form));
        self.forms = forms.filter(|(_, form)| *form != Form::Plain).collect();
        self.into.files += due.len() as u64;
        let mut files = Files::new(self.fs, self.directory, due.clone());
        let mut ids = checkpoint.former_ids.clone();
        for line in index::read(self.fs, &path, checkpoint.index())? {
            let (_, batch) = line?;
            if let Some(id) = batch.topic_id {
                ids.insert(batch.identity, id);
            }
            let key = key(&checkpoint, &ids, batch.identity);
            if let Some(partition) = self.into.ledger.enter(&key, self.number, &batch) {
                return Err(SinkError::damaged(
                    &path,
                    format!(
                        "batch {} does not answer for each offset of partition {partition} once",
                        batch.batch
                    ),
                ));
            }
            self.check(&mut files, &batch);
        }
        let damaged = self.finish(files);
        self.list(&checkpoint, &due)?;
        self.locate(damaged, &due, &path, checkpoint.index())?;
        let changed = self.conclude(state, &checkpoint, due, before)?;
        self.leave_out(&checkpoint, &ids, &path)?;
        let topic = key(&checkpoint, &ids, checkpoint.identity);
        self.into.topics.insert(topic.clone());
        for (identity, gap) in &checkpoint.gaps {
            let key = key(&checkpoint, &ids, *identity);
            self.into.ledger.enter_gap(&key, self.number, gap);
        }
        for (partition, begins) in &checkpoint.begins {
            self.into.ledger.begins(&topic, *partition, *begins);
        }
        for (partition, position) in &checkpoint.counting.partitions {
            self.into.ledger.stands(&topic, *partition, position.next);
        }
        if let Some(pending) = &checkpoint.pending {
            let partitions = pending
                .partitions
                .keys()
                .filter(|p| !pending.counted.contains(p))
                .copied()
                .collect();
            self.into.pending.push(PendingBatch {
                directory: self.number,
                key: topic,
                partitions,
                checkpoint: Box::new(checkpoint),
            });
        }
        Ok(changed)
    }

    /// Says what there is to be said of files, from `before` on: only of what is the same in the state that there is now.
    /// Whether there is more.
    fn conclude(
        &mut self,
        state: &[u8],
        checkpoint: &Checkpoint,
        due: BTreeMap<String, Due>,
        before: usize,
    ) -> Result<bool, SinkError> {
        let first = self.into.findings.len();
        let surplus = std::mem::take(&mut self.surplus);
        let longer = std::mem::take(&mut self.longer);
        if first == before && surplus == Surplus::default() && longer.is_empty() {
            return Ok(false);
        }
        let then = Known::new(checkpoint, due);
        let now = self::state(self.fs, self.directory)?;
        let moved = now != state;
        let now = if moved {
            let path = self.directory.join(STATE_DIRECTORY).join(checkpoint::FILE);
            let checkpoint = Checkpoint::decode(&path, &now)?;
            Known::new(&checkpoint, self.due(&checkpoint)?)
        } else {
            then.clone()
        };
        let settled = self.is_last && !moved;
        let mut passed = Vec::new();
        let mut index = 0;
        self.into.findings.retain(|finding| {
            let file = finding.file.as_deref().filter(|_| index >= before);
            index += 1;
            let stays = settled || file.is_none_or(|place| then.is_still(place, &now));
            if !stays {
                passed.extend(file.map(str::to_owned));
            }
            stays
        });
        // Which findings there are has changed.
        self.said.clear();
        let mut changed = !passed.is_empty();
        self.gone.retain(|name| {
            !passed.contains(
                &self
                    .forms
                    .get(name)
                    .copied()
                    .unwrap_or_default()
                    .place(name),
            )
        });
        for (name, place) in surplus.beside {
            // One of the two is being made, or taken away.
            let is_loose = then.is_loose(&name) || now.is_loose(&name);
            if !settled && (is_loose || !then.is_still(&place, &now)) {
                changed |= !now.has(&name);
                continue;
            }
            self.into.findings.push(Finding {
                kind: FindingKind::Beside(place),
                directory: self.directory.to_owned(),
                file: Some(name),
                partitions: BTreeMap::new(),
                bytes: None,
                rows: 0,
            });
        }
        for (name, more) in longer {
            if !moved && now.clean {
                self.found(FindingKind::Longer(more), name, None);
            } else if !moved {
                // A process writes into it, or was killed while it did.
                self.doubt(&format!(
                    "{name}: {more} bytes stand behind the last batch; they are written just now, or `stockflow consume` was killed, \
                     and its next start takes them out"
                ));
            } else {
                // What was written is a batch now.
                let place = self
                    .forms
                    .get(&name)
                    .copied()
                    .unwrap_or_default()
                    .place(&name);
                changed |= !then.has_grown(&place, more, &now);
            }
        }
        let is_new = |name: &String| !moved || !now.has(name);
        let [loose, unknown] = [surplus.loose, surplus.unknown]
            .map(|names| names.into_iter().filter(is_new).collect::<Vec<_>>());
        if moved {
            changed |= !loose.is_empty() || !unknown.is_empty();
        } else {
            if !loose.is_empty() {
                self.doubt(&format!(
                    "{}: no batch says yet what is in there; they are written just now, or `stockflow consume` was killed, and its \
                     next start takes them away",
                    listing::some(&loose)
                ));
            }
            if !unknown.is_empty() {
                self.doubt(&format!(
                    "{}: named like files of stockflow, and not in this directory's state; nobody knows whether rows are in there a \
                     second time; move what does not belong here away",
                    listing::some(&unknown)
                ));
            }
        }
        if changed {
            self.doubt(
                "it changes while it is read, so that not all of it could be compared; `stockflow consume` writes here: ask again, or \
                 when it is stopped",
            );
        }
        Ok(changed)
    }

    /// How each file ought to be.
    fn due(&self, checkpoint: &Checkpoint) -> Result<BTreeMap<String, Due>, SinkError> {
        let sidecar = self.directory.join(STATE_DIRECTORY);
        let closed = closed_list::read(self.fs, &sidecar, checkpoint.counting.closed)?;
        let closed = closed.into_iter().filter(|(_, closed)| !closed.emptied);
        let closed = closed.map(|(name, closed)| {
            let (state, packed) = (closed.state, closed.packed);
            (name, Due { state, packed })
        });
        // A file that is open again after a reset is in the list as it was before.
        let open = checkpoint.files().map(|(name, state)| {
            let mut state = *state;
            if self.is_published(name, &state)? {
                state.form = Form::Plain;
            }
            Ok((
                name.clone(),
                Due {
                    state,
                    packed: None,
                },
            ))
        });
        closed.map(Ok).chain(open).collect()
    }

    /// Whether a file got its name, and the process was stopped before that was noted.
    fn is_published(&self, name: &str, state: &FileState) -> Result<bool, SinkError> {
        if !state.closing || state.form != Form::Hidden {
            return Ok(false);
        }
        let is_there = |path: &Path| {
            let len = self.fs.len(path).map_err(SinkError::io("read", path));
            len.map(|len| len.is_some())
        };
        let hidden = self.directory.join(state.form.place(name));
        Ok(!is_there(&hidden)? && is_there(&self.directory.join(name))?)
    }

    /// Looks for files that have names like ours and that the state does not know.
    fn list(
        &mut self,
        checkpoint: &Checkpoint,
        due: &BTreeMap<String, Due>,
    ) -> Result<(), SinkError> {
        let names = self.fs.list(self.directory);
        let names = names.map_err(SinkError::io("list", self.directory))?;
        let others = listing::others(&names);
        if !others.is_empty() {
            self.into.unseen.push(format!(
                "{}: CSV files of other names, which whoever reads the whole directory takes for trades, too: {}",
                self.directory.display(),
                listing::some(&others)
            ));
        }
        let known = due.iter().map(|(name, due)| (name.clone(), due.state.form));
        self.surplus = listing::surplus(names, &known.collect(), &checkpoint.loose);
        Ok(())
    }

    fn check(&mut self, files: &mut Files<'_>, batch: &Batch) {
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
    fn locate(
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
    fn along(&mut self, name: &str, due: &Due) -> Option<packed::Along> {
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
    fn found_around(&mut self, name: &str, found: bool) {
        if !found {
            self.found(FindingKind::Edited, name.to_owned(), None);
        }
    }

    /// Takes what stood in files that are gone out of the figures.
    fn leave_out(
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
    fn found(&mut self, kind: FindingKind, file: String, run: Option<&Extent>) {
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
    fn finish(&mut self, mut files: Files<'_>) -> Vec<String> {
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

    fn doubt(&mut self, doubt: &str) {
        self.into
            .doubts
            .push(format!("{}: {doubt}", self.directory.display()));
    }
}

fn key(checkpoint: &Checkpoint, ids: &BTreeMap<u32, uuid::Uuid>, identity: u32) -> TopicKey {
    let latest = (identity == checkpoint.identity)
        .then_some(checkpoint.topic_id)
        .flatten();
    let topic_id = ids.get(&identity).copied().or(latest);
    TopicKey {
        cluster_id: checkpoint.cluster_id.clone(),
        topic: checkpoint.topic.clone(),
        topic_id,
        identity: if topic_id.is_some() { 0 } else { identity },
        group: checkpoint.group.clone(),
    }
}
