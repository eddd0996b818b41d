//! CSV files that hold every record of a topic exactly once, also when the process is killed at any instant.
//!
//! The order that makes it so: append rows → fsync → index → checkpoint with the batch pending → commit to Kafka (done
//! by the caller, with the metadata that [`DurableBatch`] names) → note that the commit counted. On start, and whenever a
//! commit's outcome is in doubt, [`Sink::recover`] asks what Kafka has and takes out exactly the rows whose commit did
//! not count.
//!
//! ```text
//! DIR/consumed_trades_YYYY-MM-DD.csv      rows                        (row, naming, outputs)
//! DIR/dead_letters_YYYY-MM-DD.ndjson      records that are no trades  (row, naming, outputs)
//! DIR/.stockflow/lock                     one process a directory
//! DIR/.stockflow/checkpoint               what is certain, the pending batch (checkpoint)
//! DIR/.stockflow/index                    which bytes are which records (index)
//! DIR/.stockflow/redo                     a recovery that is being carried out (redo)
//! DIR/.stockflow/superseded/              rows that are read again after a deliberate reset backwards (supersede)
//! DIR/.stockflow/undecided/               rows of which nobody can tell whether they counted (recover)
//! ```
//!
//! Synchronous and blocking: it belongs on a thread of its own. What decides is pure ([`recover`], [`naming`], [`row`]);
//! every file operation goes through [`fs::Fs`], and the tests stop the world at each of them.

mod append;
mod checkpoint;
mod content;
mod error;
mod flush;
mod fs;
mod index;
mod look;
mod metadata;
mod naming;
mod open;
mod outputs;
mod recover;
mod recovery;
mod redo;
mod rewrite;
mod row;
mod sealed;
mod settings;
#[cfg(test)]
mod sim;
mod supersede;
mod tail;
#[cfg(test)]
mod tests;
pub mod verify;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

pub use append::Appended;
use checkpoint::{Checkpoint, Position};
pub use error::SinkError;
pub use flush::{DurableBatch, DurableOffset};
use fs::{Fs, FsFile};
use index::{Gap, Passed, Why};
pub use look::look;
pub use metadata::shortened;
use metadata::{Author, Chain};
pub use open::FormerMember;
use open::bound;
use outputs::Outputs;
use recover::StartRule;
pub use recover::{Committed, Start, Verdict};
pub use recovery::Recovery;
pub use row::InputRecord;
pub use settings::{BadRecords, Binding, Column, FileDate, Settings, UnknownColumn};
pub use supersede::Superseded;

/// An output directory, opened for writing.
///
/// Call, in this order: [`open`](Self::open); fence [`former_member`](Self::former_member); fetch the committed offsets
/// of [`known_partitions`](Self::known_partitions); [`recover`](Self::recover); then for each partition that is
/// assigned [`start_position`](Self::start_position); then any number of [`append`](Self::append),
/// [`flush`](Self::flush) and [`committed`](Self::committed).
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
    index: Option<Box<dyn FsFile>>,
    progress: BTreeMap<i32, Progress>,
    /// Jumps that the next batch records.
    gaps: Vec<Gap>,
    /// Who had the partitions before.
    tenancies: BTreeMap<i32, Tenancy>,
    /// Offsets without a line since the last batch.
    passed: Vec<Passed>,
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

    /// Decides where an assigned partition is to be read from, and begins it there.
    ///
    /// The caller has flushed the partition and knows the outcome of its commit, or has called [`recover`](Self::recover).
    ///
    /// # Errors
    /// [`SinkError::ResetBackwards`] when reading from the committed offset would double rows; after
    /// [`supersede`](Self::supersede) it does not.
    pub fn start_position(
        &mut self,
        partition: i32,
        committed: &Committed,
    ) -> Result<Start, SinkError> {
        self.ready()?;
        self.settled(partition)?;
        // A claim takes the place of the commit by which a later start could tell that the last batch counted.
        if self.unsaved {
            let saved = self.save();
            self.guard(saved)?;
        }
        let text = committed.offset.map(|_| committed.metadata.as_str());
        let tenancy = Tenancy {
            chain: Chain::carried_on(self.checkpoint.directory, text),
            ours: text.and_then(metadata::decode).is_some_and(|(author, _)| {
                author.directory == self.checkpoint.directory
                    && author.batch >= self.checkpoint.born
            }),
        };
        self.tenancies.insert(partition, tenancy.clone());
        let begun = self
            .progress
            .get(&partition)
            .map(|progress| progress.position.next);
        let held = self
            .checkpoint
            .durable(partition)
            .map(|position| position.next);
        // A partition that was begun but of which nothing came yet is where it was begun.
        let held = held.or(begun);
        let topic = &self.checkpoint.topic;
        let offset = match recover::start(
            self.checkpoint.directory,
            self.checkpoint.born,
            held,
            committed,
        ) {
            StartRule::Reset => return Ok(Start::Reset),
            StartRule::At(offset) => offset,
            StartRule::Forgotten(held) => {
                tracing::warn!(
                    topic,
                    partition,
                    offset = held,
                    "the group has no committed offset any more; going on where the directory ends"
                );
                held
            }
            StartRule::Forwards(held, offset, in_another_directory) => {
                if in_another_directory {
                    tracing::debug!(
                        topic,
                        partition,
                        from = held,
                        to = offset,
                        "another directory of this group has the records between"
                    );
                } else {
                    tracing::warn!(
                        topic,
                        partition,
                        from = held,
                        to = offset,
                        "the group's offset was moved forwards by another program; the records between are not in this directory"
                    );
                }
                self.gaps.retain(|gap| gap.0 != partition);
                let by = if in_another_directory {
                    tenancy.chain.directories()
                } else {
                    Vec::new()
                };
                self.gaps.push(Gap(partition, held, offset, by));
                offset
            }
            StartRule::Backwards(committed, durable) => {
                return Err(SinkError::ResetBackwards {
                    path: self.directory.clone(),
                    topic: topic.clone(),
                    group: self.checkpoint.group.clone(),
                    partition,
                    committed,
                    durable,
                });
            }
        };
        self.begin(partition, offset);
        Ok(Start::At(offset))
    }

    /// What has to be committed, at the offset where the partition was begun and before the first of its rows is taken in,
    /// so that others can tell later whose rows are whose; `None` where the last commit is this directory's already.
    pub fn claim(&self, partition: i32) -> Option<String> {
        let tenancy = self.tenancies.get(&partition)?;
        let author = Author {
            directory: self.checkpoint.directory,
            batch: self.checkpoint.next_batch,
            begun: true,
        };
        (!tenancy.ours).then(|| metadata::encode(author, &tenancy.chain))
    }

    /// Begins a partition for which [`start_position`](Self::start_position) said [`Start::Reset`] at the offset that
    /// `Kafka.AutoOffsetReset` leads to.
    ///
    /// # Errors
    /// [`SinkError::OutOfOrder`] when rows of the partition wait to be flushed or committed;
    /// [`SinkError::ResetBackwards`] when rows from that offset on are there: [`supersede`](Self::supersede) moves them.
    pub fn start_at(&mut self, partition: i32, offset: i64) -> Result<(), SinkError> {
        self.ready()?;
        self.settled(partition)?;
        let held = self
            .checkpoint
            .durable(partition)
            .map(|position| position.next);
        match held.map(|held| (held, offset.cmp(&held))) {
            Some((held, Ordering::Less)) => {
                return Err(SinkError::ResetBackwards {
                    path: self.directory.clone(),
                    topic: self.checkpoint.topic.clone(),
                    group: self.checkpoint.group.clone(),
                    partition,
                    committed: offset,
                    durable: held,
                });
            }
            // What lies between is not on the topic any more.
            Some((held, Ordering::Greater)) => {
                self.gaps.retain(|gap| gap.0 != partition);
                self.gaps.push(Gap(partition, held, offset, Vec::new()));
            }
            _ => {}
        }
        self.begin(partition, offset);
        Ok(())
    }

    /// Notes that offsets of a partition, the next ones after those noted before, have no line in a file.
    fn pass(&mut self, partition: i32, from: i64, to: i64, why: Why) {
        match self.passed.last_mut() {
            Some(last) if (last.0, last.2, last.3) == (partition, from, why) => last.2 = to,
            _ => self.passed.push(Passed(partition, from, to, why)),
        }
    }

    fn begin(&mut self, partition: i32, offset: i64) {
        let position = Position {
            next: offset,
            epoch: None,
        };
        self.progress.insert(
            partition,
            Progress {
                from: offset,
                position,
                counts: Appended::default(),
            },
        );
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

    /// Notes what is known and gives the directory up. What was not flushed is dropped; it will be read again.
    ///
    /// # Errors
    /// When the checkpoint cannot be written; nothing is lost then, the next start asks Kafka.
    pub fn close(mut self) -> Result<(), SinkError> {
        if self.recovered && !self.failed {
            self.checkpoint.clean =
                self.unflushed_bytes() == 0 && self.checkpoint.creating.is_empty();
            if self.unsaved || self.checkpoint.clean {
                self.save()?;
            }
        }
        Ok(())
    }

    /// Writes the checkpoint.
    fn save(&mut self) -> Result<(), SinkError> {
        self.checkpoint.write(&*self.fs, &self.state_directory)?;
        self.unsaved = false;
        Ok(())
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

    /// Whether nothing of the partition waits for a flush or for the outcome of a commit.
    fn settled(&self, partition: i32) -> Result<(), SinkError> {
        let unflushed = self
            .progress
            .get(&partition)
            .is_some_and(|progress| progress.position.next != progress.from);
        let pending = self.checkpoint.pending.as_ref();
        let in_doubt = pending.is_some_and(|pending| {
            pending.partitions.contains_key(&partition) && !pending.counted.contains(&partition)
        });
        if unflushed || in_doubt {
            let why = if unflushed {
                "rows that are not flushed"
            } else {
                "a commit whose outcome is not known"
            };
            return Err(SinkError::OutOfOrder(format!(
                "partition {partition} is begun while it has {why}"
            )));
        }
        Ok(())
    }

    /// Passes a result on; after a failure nothing more is accepted, because nobody knows how far it came.
    fn guard<T>(&mut self, result: Result<T, SinkError>) -> Result<T, SinkError> {
        self.failed |= result.is_err();
        result
    }
}
