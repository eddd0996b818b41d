//! What was found in directories, before the brokers were asked about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::finding::Finding;
use super::ledger::{Ledger, TopicKey};
use crate::sink::recovery::plan;
use crate::sink::{Checkpoint, Committed, Verdict};

/// A batch whose commit is not known to have counted: what has to be asked of the group.
#[derive(Clone, Debug)]
pub struct PendingBatch {
    /// The directory, by its place among those given.
    pub directory: usize,
    /// Whose group has to be asked.
    pub key: TopicKey,
    /// About which partitions.
    pub partitions: Vec<i32>,
    pub(super) checkpoint: Box<Checkpoint>,
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
