//! What a group has committed. Pure.

use std::collections::BTreeMap;

use crate::wire::error::ErrorCode;

/// The longest text that may go with an offset, in bytes (`offset.metadata.max.bytes`).
pub(super) const MAX_METADATA_BYTES: usize = 4_096;

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    /// The next record to be read.
    pub(super) offset: i64,
    /// Of the last record that was read; -1 when the client did not say.
    pub(super) leader_epoch: i32,
    /// The client's own text.
    pub(super) metadata: String,
}

/// A group's committed offsets.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets {
    topics: BTreeMap<String, BTreeMap<i32, Committed>>,
}

impl Offsets {
    /// Whether nothing was ever committed.
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Commits, over whatever was there.
    ///
    /// # Errors
    /// OFFSET_METADATA_TOO_LARGE beyond [`MAX_METADATA_BYTES`].
    pub(super) fn commit(
        &mut self,
        topic: &str,
        partition: i32,
        committed: Committed,
    ) -> Result<(), ErrorCode> {
        if committed.metadata.len() > MAX_METADATA_BYTES {
            return Err(ErrorCode::OFFSET_METADATA_TOO_LARGE);
        }
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), BTreeMap::new());
        }
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.insert(partition, committed);
        }
        Ok(())
    }

    /// Drops what was committed on a topic.
    pub(super) fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// What was committed last.
    pub(super) fn committed(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.topics.get(topic)?.get(&partition)
    }

    /// All topics with their partitions.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &BTreeMap<i32, Committed>)> {
        self.topics
            .iter()
            .map(|(topic, partitions)| (topic.as_str(), partitions))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_last_commit_counts(
            commits in proptest::collection::vec(("[ab]", 0_i32..3, 0_i64..9, 4_090_usize..4_100), 0..40)
        ) {
            let mut offsets = Offsets::default();
            let mut model = HashMap::new();
            for (topic, partition, offset, length) in commits {
                let committed = Committed { offset, leader_epoch: 0, metadata: "m".repeat(length) };
                let outcome = offsets.commit(&topic, partition, committed.clone());
                prop_assert_eq!(outcome.is_ok(), length <= MAX_METADATA_BYTES);
                if outcome.is_ok() {
                    model.insert((topic, partition), committed);
                }
            }
            prop_assert_eq!(offsets.is_empty(), model.is_empty());
            let mut without_a = offsets.clone();
            without_a.forget("a");
            prop_assert_eq!(without_a.all().map(|(topic, _)| topic).collect::<Vec<_>>(),
                offsets.all().map(|(topic, _)| topic).filter(|topic| *topic != "a").collect::<Vec<_>>());
            prop_assert_eq!(offsets.all().map(|(_, partitions)| partitions.len()).sum::<usize>(), model.len());
            for ((topic, partition), committed) in &model {
                prop_assert_eq!(offsets.committed(topic, *partition), Some(committed));
            }
        }
    }
}
