//! CSV files that hold every record of a topic exactly once, also when the process is killed at any instant.
//!
//! The order that makes it so: append rows → fsync → index → checkpoint with the batch pending → commit to Kafka (done
//! by the caller, with the metadata that [`DurableBatch`] names) → note that the commit counted. On start, and whenever a
//! commit's outcome is in doubt, [`Sink::recover`] asks what Kafka has and takes out exactly the rows whose commit did
//! not count.
//!
//! ```text
//! DIR/consumed_trades_YYYY-MM-DD.csv      rows                        (row, naming, outputs)
//! DIR/consumed_trades_YYYY-MM-DD.csv.gz   a closed file of them       (rolling, packing, seal)
//! DIR/dead_letters_YYYY-MM-DD.ndjson      records that are no trades  (row, naming, outputs, letters)
//! DIR/.stockflow/lock                     one process a directory
//! DIR/.stockflow/checkpoint               what is certain, the pending batch (checkpoint)
//! DIR/.stockflow/index                    which bytes are which records (index)
//! DIR/.stockflow/closed                   files that do not change any more (closed)
//! DIR/.stockflow/open/                    files that nobody is to see before they are closed (place)
//! DIR/.stockflow/staged/                  files that are being compressed or written anew (packing, anew)
//! DIR/.stockflow/redo                     a recovery that is being carried out (redo)
//! DIR/.stockflow/superseded/              rows that are read again after a deliberate reset backwards (supersede)
//! DIR/.stockflow/undecided/               rows of which nobody can tell whether they counted (recover)
//! ```
//!
//! Synchronous and blocking: it belongs on a thread of its own. What decides is pure ([`recover`], [`naming`], [`row`]);
//! every file operation goes through [`fs::Fs`], and the tests stop the world at each of them.

mod anew;
mod append;
mod bad;
mod begin;
mod checkpoint;
mod closed;
mod complaints;
mod content;
mod ending;
mod error;
mod flush;
mod fs;
mod going_back;
mod index;
mod letters;
mod lines;
mod look;
mod metadata;
mod naming;
mod open;
mod output;
mod outputs;
mod packing;
mod peek;
mod place;
mod recover;
mod recovery;
mod redo;
mod replay;
mod rewrite;
mod rolling;
mod row;
mod seal;
mod sealed;
mod settings;
#[cfg(test)]
mod sim;
mod split;
mod supersede;
mod tail;
mod taking_back;
#[cfg(test)]
mod tests;
pub mod verify;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use append::Appended;
use checkpoint::{Checkpoint, Position};
use complaints::Complaints;
pub use error::SinkError;
pub use flush::{DurableBatch, DurableOffset};
use fs::{Fs, FsFile};
use index::Passed;
pub use letters::{DeadLetter, DeadLetters, LetterError};
use metadata::Chain;
pub use metadata::shortened;
use naming::Purpose;
pub use open::FormerMember;
use open::bound;
use outputs::Outputs;
pub use packing::{Packed, Packing};
pub use peek::peek;
pub use recover::{Committed, Start, Verdict};
pub use recovery::Recovery;
pub use replay::{Replay, ReplayOutcome};
pub use row::{InputRecord, RawHeaders, TooLarge};
pub use seal::Tended;
pub use settings::{
    BadRecords, Binding, Column, Compression, FileDate, Publish, Roll, Settings, UnknownColumn,
};
pub use supersede::Superseded;

/// An output directory, opened for writing.
///
/// Call, in this order: [`open`](Self::open); fence [`former_member`](Self::former_member); fetch the committed offsets
/// of [`known_partitions`](Self::known_partitions); [`recover`](Self::recover); then for each partition that is
/// assigned [`start_position`](Self::start_position); then any number of [`append`](Self::append),
/// [`flush`](Self::flush) and [`committed`](Self::committed), with [`tend`](Self::tend) in between.
pub struct Sink {
    fs: Arc<dyn Fs>,
    settings: Settings,
    directory: PathBuf,
    state_directory: PathBuf,
    checkpoint: Checkpoint,
    /// Whether `checkpoint` says more than the file.
    unsaved: bool,
    former: Option<FormerMember>,
    /// The header of the CSV files, with its line end.
    header: Vec<u8>,
    outputs: Outputs,
    /// The last part of each purpose that ever had a file.
    parts: HashMap<Purpose, u32>,
    /// The most bytes of a file of rows.
    roll_bytes: u64,
    /// Whether a file was ended since the last batch.
    rolled: bool,
    /// When records were last taken in, in seconds since 1970.
    now: i64,
    index: Option<Box<dyn FsFile>>,
    /// The list of closed files.
    closed: Option<Box<dyn FsFile>>,
    progress: BTreeMap<i32, Progress>,
    /// Who had the partitions before.
    tenancies: BTreeMap<i32, Tenancy>,
    /// Offsets without a line since the last batch.
    passed: Vec<Passed>,
    complaints: Complaints,
    /// Where dead letters go instead of into files.
    letters: Option<Box<dyn DeadLetters>>,
    recovered: bool,
    failed: bool,
    /// Held as long as the directory is in use.
    _lock: Box<dyn Send>,
}

/// Who had a partition before, as its last commit said when it was begun.
#[derive(Clone, Debug, Default)]
struct Tenancy {
    chain: Chain,
    /// Whether the last commit was this directory's.
    ours: bool,
    /// With how many partitions the group had met the topic, as whoever began the partition knew then.
    met: Option<i32>,
}

/// A partition since the last batch.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Where the last batch ended, or the partition was begun.
    from: i64,
    position: Position,
    counts: Appended,
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
    fn save(&mut self) -> Result<(), SinkError> {
        self.checkpoint.write(&*self.fs, &self.state_directory)?;
        self.unsaved = false;
        Ok(())
    }

    /// Refuses what a copy of this directory has committed.
    fn is_no_copy(&self, partition: i32, committed: &Committed) -> Result<(), SinkError> {
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
    fn ready(&self) -> Result<(), SinkError> {
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
    fn guard<T>(&mut self, result: Result<T, SinkError>) -> Result<T, SinkError> {
        self.failed |= result.is_err();
        if let Err(SinkError::Edited { path, .. } | SinkError::Replaced { path, .. }) = &result {
            self.remember_disturbed(&path.clone());
        }
        result
    }

    /// Notes how a file was left into which somebody else writes, so that the next start does not take what they wrote
    /// for rows that do not count. Where that cannot be noted, the error that is told says it.
    fn remember_disturbed(&mut self, path: &Path) {
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
