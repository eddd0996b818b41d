//! What the group has committed of a partition, and what of that is about this directory.

use uuid::Uuid;

use super::commit_metadata::{self, Before, CommitAuthor, OwnershipHistory};

/// What OffsetFetch said of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to be read; `None` where the group has none (Kafka says -1).
    pub offset: Option<i64>,
    /// The leader epoch of the last record read, where known.
    pub leader_epoch: Option<i32>,
    /// The text that was committed with it.
    pub metadata: String,
}

/// Whose rows are judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    /// The directory's own id.
    pub(in crate::sink) directory: Uuid,
    /// The topic's id, where the brokers have such.
    pub(in crate::sink) topic: Option<Uuid>,
    /// Commits of this directory's batches before this one were for another topic of that name.
    pub(in crate::sink) born: u64,
}

impl Holder {
    /// What was committed, and what its metadata says; nothing where it was for another topic of that name.
    pub(crate) fn read(
        &self,
        committed: &Committed,
    ) -> Option<(i64, Option<(CommitAuthor, OwnershipHistory)>)> {
        let offset = committed.offset?;
        let note = commit_metadata::decode(&committed.metadata);
        let elsewhere = note
            .as_ref()
            .is_some_and(|(commit_author, _)| self.is_elsewhere(commit_author));
        (!elsewhere).then_some((offset, note))
    }

    /// Whether a commit was for another topic of that name.
    pub(crate) fn is_elsewhere(&self, commit_author: &CommitAuthor) -> bool {
        let other = commit_author.topic.zip(self.topic);
        other.is_some_and(|(theirs, ours)| theirs != ours)
            || (commit_author.directory == self.directory && commit_author.batch < self.born)
    }

    /// Whether the last commit is this directory's.
    pub(in crate::sink) fn is_ours(&self, committed: &Committed) -> bool {
        let note = self.read(committed).and_then(|(_, note)| note);
        note.is_some_and(|(commit_author, _)| commit_author.directory == self.directory)
    }

    /// What was committed last for this topic.
    pub(in crate::sink) fn before(&self, committed: &Committed) -> Before {
        if self.read(committed).is_none() {
            return Before::Nobody;
        }
        match Before::read(&committed.metadata) {
            Before::Reset(Some((commit_author, _))) if self.is_elsewhere(&commit_author) => {
                Before::Reset(None)
            }
            before => before,
        }
    }

    /// The number of a batch that was committed in this directory's name, and that it never made: `made` counts the
    /// batches up to the last that it made of the partition, `all` all of them.
    pub(in crate::sink) fn copied(
        &self,
        made: u64,
        all: u64,
        committed: &Committed,
    ) -> Option<u64> {
        let (commit_author, _) = self.read(committed)?.1?;
        let unknown = if commit_author.begun {
            commit_author.batch > all
        } else {
            commit_author.batch >= made
        };
        (commit_author.directory == self.directory && unknown).then_some(commit_author.batch)
    }
}
