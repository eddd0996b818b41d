//! The checkpoint: what the directory holds for certain, and the batch whose commit to Kafka is not yet known.
//!
//! Invariants. At most one batch is pending. A batch's number is never used again, so that a commit that lands late
//! can be told from every other. Every file of ours is in `counting`, in `pending`, in the list of closed files
//! ([`closed`](super::closed)) or in `loose`; a place is put into `loose`, durably, before a file is made there or taken
//! away from there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::SinkError;
use super::fs::Fs;
use super::index::Gap;
use super::place::Form;
use super::recover::{Committed, Holder};
use super::sealed;

pub(super) const FILE: &str = "checkpoint";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// The directory's own id; commits name it.
    pub(super) directory: Uuid,
    pub(super) cluster_id: String,
    pub(super) topic: String,
    pub(super) topic_id: Option<Uuid>,
    pub(super) group: String,
    /// Counts the topics of that name that the directory has rows of, from 0.
    pub(super) identity: u32,
    /// The ids of the topics before, by their identity. A batch of the index names one, too, but can be abandoned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) former_ids: BTreeMap<u32, Uuid>,
    /// The first batch of this identity: commits of earlier ones say nothing about this topic.
    pub(super) born: u64,
    /// How many partitions the topic had when the group met it, where that is known: see [`metadata`](super::metadata).
    #[serde(default)]
    pub(super) met: Option<i32>,
    /// The member id of the last incarnation, to be fenced by the next.
    pub(super) member: Option<String>,
    pub(super) next_batch: u64,
    /// The last batch that was made of each partition, whether or not it counted. Partitions of former versions of this
    /// file are not in it.
    #[serde(default)]
    pub(super) made: BTreeMap<i32, u64>,
    pub(super) counting: State,
    pub(super) pending: Option<Pending>,
    /// Where the group began each partition, as far as the directory knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) begins: BTreeMap<i32, i64>,
    /// Partitions that are about to go back, until their rows have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) going_back: BTreeMap<i32, GoingBack>,
    /// Offsets that the directory went past and that no batch has named yet, each with the topic's identity. A claim takes
    /// the place of the commit that tells why, so they are durable before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gaps: Vec<(u32, Gap)>,
    /// Places, relative to the output directory, of files that are being made or taken away.
    #[serde(rename = "creating")]
    pub(super) loose: BTreeSet<String>,
    /// The directory was closed, and everything in its files counts or waits in `pending`: whatever stands behind a
    /// file's length since then is somebody else's.
    #[serde(default)]
    pub(super) clean: bool,
    /// Files into which somebody else wrote while the process did, each as the process had left it: until that is
    /// mended, what stands behind its length must not be taken for rows that do not count, and cut away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) disturbed: BTreeMap<String, Left>,
}

/// A partition is to be begun again at an offset. The claim that says so is committed first, and its rows go then: whoever
/// is stopped in between finds out whether the claim counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GoingBack {
    pub(super) to: i64,
    /// The batch that the claim names.
    pub(super) batch: u64,
}

/// How a process left a file that somebody else wrote into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    pub(super) len: u64,
    /// CRC-32C of its last block.
    pub(super) tail: u32,
}

/// What the directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Those that may take lines, or are about to be closed.
    pub(super) files: BTreeMap<String, FileState>,
    pub(super) partitions: BTreeMap<i32, Position>,
    /// The length of the index.
    pub(super) index: u64,
    /// The length of the list of closed files.
    #[serde(default)]
    pub(super) closed: u64,
}

/// One file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileState {
    pub(super) len: u64,
    /// CRC-32C of its last block, see [`Tail`](super::tail::Tail).
    pub(super) tail: u32,
    /// CRC-32C of the whole file.
    pub(super) crc: u32,
    /// CRC-32C of its header: rows with other columns go to another file.
    pub(super) header: u32,
    /// Its owner took it away; the name is not used again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) gone: bool,
    /// When it was begun, in seconds since 1970.
    #[serde(default)]
    pub(super) begun: i64,
    /// When it was last written to, in seconds since 1970.
    #[serde(default)]
    pub(super) written: i64,
    /// It takes no more lines, and is closed when all of them count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) closing: bool,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Form::is_plain")]
    pub(super) form: Form,
}

impl FileState {
    /// Takes back times to come, as a clock that was ahead has left them: nothing would be due for as long as it was.
    /// Whether there were any.
    pub(super) fn not_after(&mut self, now: i64) -> bool {
        let ahead = self.begun > now || self.written > now;
        self.begun = self.begun.min(now);
        self.written = self.written.min(now);
        ahead
    }
}

/// How far a partition has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The next offset to be written.
    pub(super) next: i64,
    /// The leader epoch of the last record, where known (KIP-320).
    pub(super) epoch: Option<i32>,
}

/// What a batch adds to the state that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) files: BTreeMap<String, FileState>,
    pub(super) partitions: BTreeMap<i32, Moved>,
    pub(super) index: u64,
    /// The partitions whose commit is known to have counted.
    pub(super) counted: BTreeSet<i32>,
}

/// How a batch moves a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moved {
    /// The offset at which the batch begins.
    pub(super) from: i64,
    pub(super) to: Position,
}

impl Checkpoint {
    /// A file's state, with the pending batch in it.
    pub(super) fn file(&self, name: &str) -> Option<&FileState> {
        self.pending
            .as_ref()
            .and_then(|pending| pending.files.get(name))
            .or_else(|| self.counting.files.get(name))
    }

    /// All files of both states, as they are with the pending batch in them.
    pub(super) fn files(&self) -> impl Iterator<Item = (&String, &FileState)> {
        let pending = self.pending.iter().flat_map(|pending| &pending.files);
        let here = |name: &str| {
            let pending = self.pending.as_ref();
            pending.is_some_and(|pending| pending.files.contains_key(name))
        };
        let counting = self.counting.files.iter();
        counting.filter(move |(name, _)| !here(name)).chain(pending)
    }

    /// A file's state, to be changed.
    pub(super) fn file_mut(&mut self, name: &str) -> Option<&mut FileState> {
        let pending = self.pending.as_mut();
        pending
            .and_then(|pending| pending.files.get_mut(name))
            .or_else(|| self.counting.files.get_mut(name))
    }

    /// The position up to which the directory is durable.
    pub(super) fn durable(&self, partition: i32) -> Option<Position> {
        let pending = self
            .pending
            .as_ref()
            .and_then(|pending| pending.partitions.get(&partition));
        pending
            .map(|moved| moved.to)
            .or_else(|| self.counting.partitions.get(&partition).copied())
    }

    /// The position from which on the directory has nothing: behind what is durable, and behind what it went past.
    pub(super) fn reached(&self, partition: i32) -> Option<i64> {
        let durable = self.durable(partition).map(|position| position.next);
        durable.max(self.gaps_of(partition).map(|gap| gap.2).max())
    }

    /// What it went past since the partition's last batch.
    pub(super) fn gaps_of(&self, partition: i32) -> impl Iterator<Item = &Gap> {
        let ours = self.gaps.iter().filter(|(of, _)| *of == self.identity);
        ours.map(|(_, gap)| gap)
            .filter(move |gap| gap.0 == partition)
    }

    /// Goes back: what it went past from `target` on is to be read.
    pub(super) fn cut_gaps(&mut self, partition: i32, target: i64) {
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
    pub(super) fn index(&self) -> u64 {
        self.pending
            .as_ref()
            .map_or(self.counting.index, |pending| pending.index)
    }

    /// Whose rows these are.
    pub(super) fn holder(&self) -> Holder {
        Holder {
            directory: self.directory,
            topic: self.topic_id,
            born: self.born,
        }
    }

    /// The number of a batch that was committed in this directory's name, and that it never made.
    pub(super) fn copied(&self, partition: i32, committed: &Committed) -> Option<u64> {
        let made = self.made.get(&partition).map(|last| last + 1);
        self.holder()
            .copied(made.unwrap_or(self.next_batch), self.next_batch, committed)
    }

    /// Lets the pending batch count, when its commit counted everywhere.
    pub(super) fn settle(&mut self) {
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

    pub(super) fn encode(&self) -> Result<Vec<u8>, SinkError> {
        let body =
            serde_json::to_vec(self).map_err(|error| SinkError::OutOfOrder(error.to_string()))?;
        Ok(sealed::seal(FILE, &body))
    }

    pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, SinkError> {
        let body = sealed::unseal(FILE, bytes).map_err(|found| SinkError::damaged(path, found))?;
        serde_json::from_slice(body).map_err(|error| SinkError::damaged(path, error.to_string()))
    }

    /// Puts it in place, durably.
    pub(super) fn write(&self, fs: &dyn Fs, state_directory: &Path) -> Result<(), SinkError> {
        sealed::replace(fs, state_directory, FILE, &self.encode()?)
    }
}
