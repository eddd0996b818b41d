//! Commits that may land late.
//!
//! A commit that was not answered is tried again, and counts. But the first one may still lie with the broker, behind the
//! connection that broke, and land behind those that came after it: the group's offset goes back then, and whoever takes
//! the partition over would read records again that are in this directory. So after such a commit a partition is given up
//! only when the group says that what was committed last is what stands.

use std::collections::{BTreeMap, BTreeSet};

use crate::consumer::{Committed, Offset};

/// What was committed last, and whether something older may follow.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct LateCommits {
    last: BTreeMap<i32, Offset>,
    doubtful: bool,
}

impl LateCommits {
    /// It counted.
    pub(in crate::pipeline) fn counted(&mut self, offset: &Offset) {
        self.last.insert(offset.partition, offset.clone());
    }

    /// A commit was sent, and not answered.
    pub(in crate::pipeline) fn unanswered(&mut self) {
        self.doubtful = true;
    }

    /// The membership is another: nothing of the one before can land.
    pub(in crate::pipeline) fn fenced(&mut self) {
        *self = Self::default();
    }

    /// Which of these partitions have to be asked about before they are given up.
    pub(in crate::pipeline) fn doubtful(&self, partitions: &BTreeSet<i32>) -> Vec<i32> {
        let ours = partitions.iter().copied();
        ours.filter(|partition| self.doubtful && self.last.contains_key(partition))
            .collect()
    }

    /// What has to be committed again, after what the group says.
    pub(in crate::pipeline) fn overtaken(
        &self,
        committed: &BTreeMap<i32, Committed>,
    ) -> Vec<Offset> {
        let stands = |offset: &&Offset| {
            committed.get(&offset.partition).is_some_and(|found| {
                found.offset == Some(offset.next_offset) && found.metadata == offset.metadata
            })
        };
        let asked = self.last.values();
        asked
            .filter(|offset| committed.contains_key(&offset.partition) && !stands(offset))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(partition: i32, next_offset: i64, metadata: &str) -> Offset {
        Offset {
            partition,
            next_offset,
            leader_epoch: None,
            metadata: metadata.to_owned(),
        }
    }

    fn committed(offset: i64, metadata: &str) -> Committed {
        Committed {
            offset: Some(offset),
            leader_epoch: None,
            metadata: metadata.to_owned(),
        }
    }

    #[test]
    fn what_an_older_commit_has_overtaken_is_committed_again() {
        let mut late_commits = LateCommits::default();
        for offset in [
            offset(0, 5, "a"),
            offset(0, 9, "b"),
            offset(1, 4, "b"),
            offset(2, 7, "b"),
        ] {
            late_commits.counted(&offset);
        }
        let all = BTreeSet::from([0, 1, 3]);
        assert!(
            late_commits.doubtful(&all).is_empty(),
            "every commit was answered"
        );
        late_commits.unanswered();
        assert_eq!(late_commits.doubtful(&all), [0, 1]);
        let found = [(0, committed(5, "a")), (1, committed(4, "b"))].into();
        assert_eq!(late_commits.overtaken(&found), [offset(0, 9, "b")]);
        let stands = [(0, committed(9, "b")), (1, committed(4, "b"))].into();
        assert!(late_commits.overtaken(&stands).is_empty());
        late_commits.fenced();
        assert!(late_commits.doubtful(&all).is_empty());
    }
}
