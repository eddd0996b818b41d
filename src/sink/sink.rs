//! The sink: an output directory that is open for writing, and the state that its operations share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::SinkError;
use super::files::{OpenFiles, Purpose};
use super::rows::{Appended, Complaints, DeadLetters};
use super::settings::Settings;
use super::state::{Checkpoint, Committed, FormerMember, OwnershipHistory, Passed, Position};
use crate::durable::{Fs, FsFile};

/// An output directory, opened for writing.
///
/// Call, in this order: [`open`](Self::open); fence [`former_member`](Self::former_member); fetch the committed offsets
/// of [`known_partitions`](Self::known_partitions); [`recover`](Self::recover); then for each partition that is
/// assigned [`start_position`](Self::start_position); then any number of [`append`](Self::append),
/// [`flush`](Self::flush) and [`committed`](Self::committed), with [`tend`](Self::tend) in between.
pub struct Sink {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) settings: Settings,
    pub(super) directory: PathBuf,
    pub(super) state_directory: PathBuf,
    pub(super) checkpoint: Checkpoint,
    /// Whether `checkpoint` says more than the file.
    pub(super) unsaved: bool,
    pub(super) former: Option<FormerMember>,
    /// The header of the CSV files, with its line end.
    pub(super) header: Vec<u8>,
    pub(super) outputs: OpenFiles,
    /// The last part of each purpose that ever had a file.
    pub(super) parts: HashMap<Purpose, u32>,
    /// The most bytes of a file of rows.
    pub(super) roll_bytes: u64,
    /// Whether a file was ended since the last batch.
    pub(super) rolled: bool,
    /// When records were last taken in, in seconds since 1970.
    pub(super) now: i64,
    pub(super) index: Option<Box<dyn FsFile>>,
    /// The list of closed files.
    pub(super) closed: Option<Box<dyn FsFile>>,
    pub(super) progress: BTreeMap<i32, Progress>,
    /// Who had the partitions before.
    pub(super) tenancies: BTreeMap<i32, FormerOwners>,
    /// Offsets without a line since the last batch.
    pub(super) passed: Vec<Passed>,
    pub(super) complaints: Complaints,
    /// Where dead letters go instead of into files.
    pub(super) letters: Option<Box<dyn DeadLetters>>,
    pub(super) recovered: bool,
    pub(super) failed: bool,
    /// Held as long as the directory is in use.
    pub(super) _lock: Box<dyn Send>,
}

/// Who had a partition before, as its last commit said when it was begun.
#[derive(Clone, Debug, Default)]
pub(super) struct FormerOwners {
    pub(super) chain: OwnershipHistory,
    /// Whether the last commit was this directory's.
    pub(super) ours: bool,
    /// With how many partitions the group had met the topic, as whoever began the partition knew then.
    pub(super) met: Option<i32>,
}

/// A partition since the last batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Where the last batch ended, or the partition was begun.
    pub(super) from: i64,
    pub(super) position: Position,
    pub(super) counts: Appended,
}

impl Sink {
    /// The directory's own id, as commits name it.
    pub fn directory_id(&self) -> uuid::Uuid {
        self.checkpoint.directory
    }

    /// Gives dead letters to somebody else instead of writing them into files. To be called before the first partition is
    /// begun.
    pub fn divert_dead_letters(&mut self, letters: Box<dyn DeadLetters>) {
        self.letters = Some(letters);
    }

    /// The partitions whose committed offsets [`recover`](Self::recover) needs.
    pub fn known_partitions(&self) -> BTreeSet<i32> {
        let pending = self
            .checkpoint
            .pending
            .iter()
            .flat_map(|pending| pending.partitions.keys());
        self.checkpoint
            .counting
            .partitions
            .keys()
            .chain(pending)
            .copied()
            .collect()
    }

    /// The number of the batch whose commit is not yet known to have counted everywhere.
    pub fn pending_batch(&self) -> Option<u64> {
        self.checkpoint
            .pending
            .as_ref()
            .map(|pending| pending.number)
    }

    /// Notes that the batch's commit counted on these partitions; durable with the next batch or at
    /// [`close`](Self::close). A batch that is not pending (any more) is left alone.
    pub fn committed(&mut self, number: u64, partitions: &[i32]) {
        if let Some(pending) = self
            .checkpoint
            .pending
            .as_mut()
            .filter(|pending| pending.number == number)
        {
            pending.counted.extend(
                partitions
                    .iter()
                    .filter(|p| pending.partitions.contains_key(p)),
            );
            self.checkpoint.settle();
            self.unsaved = true;
        }
    }

    /// Notes what is known and gives the directory up. What was not flushed is dropped; it will be read again. After a
    /// failure what was written since the last batch is cut off, where that can be done.
    ///
    /// # Errors
    /// When the checkpoint cannot be written; nothing is lost then, the next start asks Kafka.
    pub fn close(mut self) -> Result<(), SinkError> {
        if self.recovered && !self.failed {
            self.checkpoint.clean = self.unflushed_bytes() == 0 && self.checkpoint.loose.is_empty();
            if self.unsaved || self.checkpoint.clean {
                self.save()?;
            }
        } else if self.failed
            && let Err(error) = self.take_back()
        {
            tracing::debug!("{error}; the next start cuts the files back");
        }
        Ok(())
    }

    /// Writes the checkpoint.
    pub(super) fn save(&mut self) -> Result<(), SinkError> {
        self.checkpoint.write(&*self.fs, &self.state_directory)?;
        self.unsaved = false;
        Ok(())
    }

    /// Refuses what a copy of this directory has committed.
    pub(super) fn is_no_copy(
        &self,
        partition: i32,
        committed: &Committed,
    ) -> Result<(), SinkError> {
        match self.checkpoint.copied(partition, committed) {
            None => Ok(()),
            Some(batch) => Err(SinkError::Copied {
                path: self.directory.clone(),
                topic: self.checkpoint.topic.clone(),
                group: self.checkpoint.group.clone(),
                partition,
                batch,
            }),
        }
    }

    /// Whether nothing was ever written to the directory.
    pub fn is_new(&self) -> bool {
        self.checkpoint.next_batch == 0
    }

    /// Whether rows may be taken in.
    pub(super) fn ready(&self) -> Result<(), SinkError> {
        if self.failed {
            return Err(SinkError::OutOfOrder(
                "it failed before; open the directory again".to_owned(),
            ));
        }
        if !self.recovered {
            return Err(SinkError::OutOfOrder("recover comes first".to_owned()));
        }
        Ok(())
    }

    /// Passes a result on; after a failure nothing more is accepted, because nobody knows how far it came.
    pub(super) fn guard<T>(&mut self, result: Result<T, SinkError>) -> Result<T, SinkError> {
        self.failed |= result.is_err();
        if let Err(SinkError::Edited { path, .. } | SinkError::Replaced { path, .. }) = &result {
            self.remember_disturbed(&path.clone());
        }
        result
    }

    /// Notes how a file was left into which somebody else writes, so that the next start does not take what they wrote
    /// for rows that do not count. Where that cannot be noted, the error that is told says it.
    pub(super) fn remember_disturbed(&mut self, path: &Path) {
        let output = self.outputs.list.iter();
        let Some(output) = output
            .filter(|o| o.created)
            .find(|o| o.path(&self.directory) == path)
        else {
            return;
        };
        let disturbed = &mut self.checkpoint.disturbed;
        disturbed.insert(output.place(), output.left());
        if let Err(error) = self.save() {
            tracing::warn!("{error}");
        }
    }
}
