//! One directory: what its state says, what lies there, and what follows when the state has not moved meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::examination::{Examination, PendingBatch};
use super::files::{Due, Files};
use super::finding::{Finding, FindingKind};
use super::known::Known;
use super::ledger::TopicKey;
use super::listing;
use super::listing::Surplus;
use crate::durable::{Fs, envelope};
use crate::sink::state::{checkpoint, closed_list, index, redo};
use crate::sink::{Checkpoint, FileState, Form, STATE_DIRECTORY, SinkError};

/// The checkpoint's bytes.
pub(super) fn state(fs: &dyn Fs, directory: &Path) -> Result<Vec<u8>, SinkError> {
    let path = directory.join(STATE_DIRECTORY).join(checkpoint::FILE);
    envelope::read(fs, &path)?.ok_or_else(|| SinkError::NotOurs {
        path: directory.to_owned(),
    })
}

/// Looks into one directory.
pub(super) struct Look<'l> {
    pub(super) fs: &'l dyn Fs,
    pub(super) number: usize,
    pub(super) directory: &'l Path,
    /// The forms that files have.
    pub(super) forms: BTreeMap<String, Form>,
    /// Files that are not there.
    pub(super) gone: BTreeSet<String>,
    /// By file and kind, where the last finding is and how many there are.
    pub(super) said: BTreeMap<(String, &'static str), (usize, usize)>,
    /// What is listed and not known.
    pub(super) surplus: Surplus,
    /// Files with so many bytes behind their last row.
    pub(super) longer: Vec<(String, u64)>,
    /// It is not looked again.
    pub(super) is_last: bool,
    pub(super) into: &'l mut Examination,
}

impl Look<'_> {
    /// Looks; says whether the directory changed meanwhile, so that something is of two states.
    pub(super) fn look(&mut self) -> Result<bool, SinkError> {
        let before = self.into.findings.len();
        let state = state(self.fs, self.directory)?;
        let outcome = self.look_at(&state, before);
        // Of an index that is cut while it is read nothing can be said.
        match outcome {
            Err(_) if !self.is_last && self::state(self.fs, self.directory)? != state => Ok(true),
            outcome => outcome,
        }
    }

    pub(super) fn look_at(&mut self, state: &[u8], before: usize) -> Result<bool, SinkError> {
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
        if !checkpoint.going_back.is_empty() {
            self.doubt("rows of a partition that was begun again are still to be moved away; start `stockflow consume` once, which does that");
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
    pub(super) fn conclude(
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
    pub(super) fn due(&self, checkpoint: &Checkpoint) -> Result<BTreeMap<String, Due>, SinkError> {
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
    pub(super) fn is_published(&self, name: &str, state: &FileState) -> Result<bool, SinkError> {
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
    pub(super) fn list(
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

    pub(super) fn doubt(&mut self, doubt: &str) {
        self.into
            .doubts
            .push(format!("{}: {doubt}", self.directory.display()));
    }
}

pub(super) fn key(
    checkpoint: &Checkpoint,
    ids: &BTreeMap<u32, uuid::Uuid>,
    identity: u32,
) -> TopicKey {
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
