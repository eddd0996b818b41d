//! The checkpoint: what the directory holds for certain, and the batch whose commit to Kafka is not yet known.
//!
//! Invariants. At most one batch is pending. A batch's number is never used again, so that a commit that lands late
//! can be told from every other. Every file of ours is in `counting`, in `pending`, in the list of closed files
//! ([`closed_list`](super::closed_list)) or in `loose`; a place is put into `loose`, durably, before a file is made there or taken
//! away from there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::error::SinkError;
use super::super::model::Form;
use super::committed::{Committed, Holder};
use super::index::Gap;
use crate::durable::{Fs, envelope};

pub(crate) const FILE: &str = "checkpoint";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// The directory's own id; commits name it.
    pub(crate) directory: Uuid,
    pub(crate) cluster_id: String,
    pub(crate) topic: String,
    pub(crate) topic_id: Option<Uuid>,
    pub(crate) group: String,
    /// Counts the topics of that name that the directory has rows of, from 0.
    pub(crate) identity: u32,
    /// The ids of the topics before, by their identity. A batch of the index names one, too, but can be abandoned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) former_ids: BTreeMap<u32, Uuid>,
    /// The first batch of this identity: commits of earlier ones say nothing about this topic.
    pub(crate) born: u64,
    /// How many partitions the topic had when the group met it, where that is known: see [`metadata`](super::commit_metadata).
    #[serde(default)]
    pub(crate) met: Option<i32>,
    /// The member id of the last incarnation, to be fenced by the next.
    pub(crate) member: Option<String>,
    pub(crate) next_batch: u64,
    /// The last batch that was made of each partition, whether or not it counted. Partitions of former versions of this
    /// file are not in it.
    #[serde(default)]
    pub(crate) made: BTreeMap<i32, u64>,
    pub(crate) counting: State,
    pub(crate) pending: Option<Pending>,
    /// Where the group began each partition, as far as the directory knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) begins: BTreeMap<i32, i64>,
    /// Partitions that are about to go back, until their rows have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) going_back: BTreeMap<i32, GoingBack>,
    /// Offsets that the directory went past and that no batch has named yet, each with the topic's identity. A claim takes
    /// the place of the commit that tells why, so they are durable before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gaps: Vec<(u32, Gap)>,
    /// Places, relative to the output directory, of files that are being made or taken away.
    #[serde(rename = "creating")]
    pub(crate) loose: BTreeSet<String>,
    /// The directory was closed, and everything in its files counts or waits in `pending`: whatever stands behind a
    /// file's length since then is somebody else's.
    #[serde(default)]
    pub(crate) clean: bool,
    /// Files into which somebody else wrote while the process did, each as the process had left it: until that is
    /// mended, what stands behind its length must not be taken for rows that do not count, and cut away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) disturbed: BTreeMap<String, Left>,
}

/// A partition is to be begun again at an offset. The claim that says so is committed first, and its rows go then: whoever
/// is stopped in between finds out whether the claim counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GoingBack {
    pub(crate) to: i64,
    /// The batch that the claim names.
    pub(crate) batch: u64,
}

/// How a process left a file that somebody else wrote into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    pub(crate) len: u64,
    /// CRC-32C of its last block.
    pub(crate) tail: u32,
}

/// What the directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Those that may take lines, or are about to be closed.
    pub(crate) files: BTreeMap<String, FileState>,
    pub(crate) partitions: BTreeMap<i32, Position>,
    /// The length of the index.
    pub(crate) index: u64,
    /// The length of the list of closed files.
    #[serde(default)]
    pub(crate) closed: u64,
}

/// One file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileState {
    pub(crate) len: u64,
    /// CRC-32C of its last block, see [`TailChecksum`](crate::sink::files::TailChecksum).
    pub(crate) tail: u32,
    /// CRC-32C of the whole file.
    pub(crate) crc: u32,
    /// CRC-32C of its header: rows with other columns go to another file.
    pub(crate) header: u32,
    /// Its owner took it away; the name is not used again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) gone: bool,
    /// When it was begun, in seconds since 1970.
    #[serde(default)]
    pub(crate) begun: i64,
    /// When it was last written to, in seconds since 1970.
    #[serde(default)]
    pub(crate) written: i64,
    /// It takes no more lines, and is closed when all of them count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) closing: bool,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Form::is_plain")]
    pub(crate) form: Form,
}

impl FileState {
    /// Takes back times to come, as a clock that was ahead has left them: nothing would be due for as long as it was.
    /// Whether there were any.
    pub(crate) fn not_after(&mut self, now: i64) -> bool {
        let ahead = self.begun > now || self.written > now;
        self.begun = self.begun.min(now);
        self.written = self.written.min(now);
        ahead
    }
}

/// How far a partition has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The next offset to be written.
    pub(crate) next: i64,
    /// The leader epoch of the last record, where known (KIP-320).
    pub(crate) epoch: Option<i32>,
}

/// What a batch adds to the state that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) number: u64,
    pub(crate) files: BTreeMap<String, FileState>,
    pub(crate) partitions: BTreeMap<i32, Moved>,
    pub(crate) index: u64,
    /// The partitions whose commit is known to have counted.
    pub(crate) counted: BTreeSet<i32>,
}

/// How a batch moves a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moved {
    /// The offset at which the batch begins.
    pub(crate) from: i64,
    pub(crate) to: Position,
}

impl Checkpoint {
    /// A file's state, with the pending batch in it.
    pub(crate) fn file(&self, name: &str) -> Option<&FileState> {
        self.pending
            .as_ref()
            .and_then(|pending| pending.files.get(name))
            .or_else(|| self.counting.files.get(name))
    }

    /// All files of both states, as they are with the pending batch in them.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&String, &FileState)> {
        let pending = self.pending.iter().flat_map(|pending| &pending.files);
        let here = |name: &str| {
            let pending = self.pending.as_ref();
            pending.is_some_and(|pending| pending.files.contains_key(name))
        };
        let counting = self.counting.files.iter();
        counting.filter(move |(name, _)| !here(name)).chain(pending)
    }

    /// A file's state, to be changed.
    pub(crate) fn file_mut(&mut self, name: &str) -> Option<&mut FileState> {
        let pending = self.pending.as_mut();
        pending
            .and_then(|pending| pending.files.get_mut(name))
            .or_else(|| self.counting.files.get_mut(name))
    }

    /// The position up to which the directory is durable.
    pub(crate) fn durable(&self, partition: i32) -> Option<Position> {
        let pending = self
            .pending
            .as_ref()
            .and_then(|pending| pending.partitions.get(&partition));
        pending
            .map(|moved| moved.to)
            .or_else(|| self.counting.partitions.get(&partition).copied())
    }

    /// The position from which on the directory has nothing: behind what is durable, and behind what it went past.
    pub(crate) fn reached(&self, partition: i32) -> Option<i64> {
        let durable = self.durable(partition).map(|position| position.next);
        durable.max(self.gaps_of(partition).map(|gap| gap.2).max())
    }

    /// What it went past since the partition's last batch.
    pub(crate) fn gaps_of(&self, partition: i32) -> impl Iterator<Item = &Gap> {
        let ours = self.gaps.iter().filter(|(of, _)| *of == self.identity);
        ours.map(|(_, gap)| gap)
            .filter(move |gap| gap.0 == partition)
    }

    /// Goes back: what it went past from `target` on is to be read.
    pub(crate) fn cut_gaps(&mut self, partition: i32, target: i64) {
        let identity = self.identity;
        self.gaps.retain_mut(|(of, gap)| {
            if *of == identity && gap.0 == partition {
                gap.2 = gap.2.min(target);
            }
            gap.1 < gap.2
        });
        self.going_back.remove(&partition);
        if let Some(begins) = self.begins.get_mut(&partition) {
            *begins = target.min(*begins);
        }
    }

    /// The length of the index, with the pending batch's part.
    pub(crate) fn index(&self) -> u64 {
        self.pending
            .as_ref()
            .map_or(self.counting.index, |pending| pending.index)
    }

    /// Whose rows these are.
    pub(crate) fn holder(&self) -> Holder {
        Holder {
            directory: self.directory,
            topic: self.topic_id,
            born: self.born,
        }
    }

    /// The number of a batch that was committed in this directory's name, and that it never made.
    pub(crate) fn copied(&self, partition: i32, committed: &Committed) -> Option<u64> {
        let made = self.made.get(&partition).map(|last| last + 1);
        self.holder()
            .copied(made.unwrap_or(self.next_batch), self.next_batch, committed)
    }

    /// Lets the pending batch count, when its commit counted everywhere.
    pub(crate) fn settle(&mut self) {
        let all = |pending: &mut Pending| {
            pending
                .partitions
                .keys()
                .all(|p| pending.counted.contains(p))
        };
        if let Some(pending) = self.pending.take_if(all) {
            self.counting.files.extend(pending.files);
            self.counting.partitions.extend(
                pending
                    .partitions
                    .into_iter()
                    .map(|(p, moved)| (p, moved.to)),
            );
            self.counting.index = pending.index;
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, SinkError> {
        let body = serde_json::to_vec(self)?;
        Ok(envelope::seal(FILE, &body))
    }

    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, SinkError> {
        let body =
            envelope::unseal(FILE, bytes).map_err(|found| SinkError::damaged(path, found))?;
        serde_json::from_slice(body).map_err(|error| SinkError::damaged(path, error.to_string()))
    }

    /// Puts it in place, durably.
    pub(crate) fn write(&self, fs: &dyn Fs, state_directory: &Path) -> Result<(), SinkError> {
        Ok(envelope::replace(
            fs,
            state_directory,
            FILE,
            &self.encode()?,
        )?)
    }
}

/// The group member that wrote into the directory last. It must leave the group before committed offsets are asked
/// for: a commit of a dead process may still be on its way, and would count after the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerMember {
    /// Its member id.
    pub member_id: String,
    /// The group it was a member of.
    pub group: String,
}
