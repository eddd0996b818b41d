//! The topics and, across all of them, the bound on memory. Pure.
//!
//! Batches are evicted in the order in which they were appended, whatever their partition: within a partition that is the
//! log's own order, so each eviction takes a partition's oldest batch. The newest batch always stays, so a log is never
//! smaller than what was just acknowledged.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    log::Log,
    producers::{Producers, Verdict},
};
use crate::wire::{error::ErrorCode, records::Batch};

/// The most partitions of all topics together: an empty one costs under a kilobyte.
const MAX_PARTITIONS: usize = 20_000;

/// The longest topic name, in bytes, as Kafka has it.
const MAX_NAME_BYTES: usize = 249;

/// One partition of a topic.
#[derive(Debug, Default)]
pub(super) struct Partition {
    log: Log,
    producers: Producers,
}

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    /// What tells it from another of its name (KIP-516).
    pub(super) id: Uuid,
    partitions: Vec<Partition>,
}

impl Topic {
    /// How many partitions it has.
    pub(super) fn partitions(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// The log of a partition, if there is one of this number.
    pub(super) fn log(&self, partition: i32) -> Option<&Log> {
        let partition = usize::try_from(partition).ok()?;
        Some(&self.partitions.get(partition)?.log)
    }
}

/// Where a batch is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Appended {
    pub(super) base_offset: i64,
    pub(super) log_start_offset: i64,
}

/// All topics.
#[derive(Debug)]
pub(super) struct Topics {
    by_name: BTreeMap<Arc<str>, Topic>,
    names: HashMap<Uuid, Arc<str>>,
    partitions: usize,
    /// The partition of each batch, in the order of appending.
    oldest: VecDeque<(Arc<str>, i32)>,
    bytes: usize,
    max_bytes: usize,
}

/// Whether a topic may be called so, by Kafka's rules.
fn is_legal(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(legal)
}

impl Topics {
    /// None yet; their batches may take `max_bytes` together.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            by_name: BTreeMap::new(),
            names: HashMap::new(),
            partitions: 0,
            oldest: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// A topic by its name.
    pub(super) fn get(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    /// A topic's name by its id.
    pub(super) fn name_of(&self, id: Uuid) -> Option<&str> {
        self.names.get(&id).map(|name| &**name)
    }

    /// All topics, in the order of their names.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.by_name.iter().map(|(name, topic)| (&**name, topic))
    }

    /// The log of a partition.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION.
    pub(super) fn log(&self, topic: &str, partition: i32) -> Result<&Log, ErrorCode> {
        self.get(topic)
            .and_then(|topic| topic.log(partition))
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    }

    /// Whether a topic of this name and size could be made.
    ///
    /// # Errors
    /// INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS or INVALID_PARTITIONS.
    pub(super) fn check_new(&self, name: &str, partitions: i32) -> Result<usize, ErrorCode> {
        if !is_legal(name) {
            return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
        }
        if self.by_name.contains_key(name) {
            return Err(ErrorCode::TOPIC_ALREADY_EXISTS);
        }
        let room = MAX_PARTITIONS.saturating_sub(self.partitions);
        usize::try_from(partitions)
            .ok()
            .filter(|partitions| (1..=room).contains(partitions))
            .ok_or(ErrorCode::INVALID_PARTITIONS)
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// As [`Topics::check_new`].
    pub(super) fn create(
        &mut self,
        name: &str,
        partitions: i32,
        id: Uuid,
    ) -> Result<&Topic, ErrorCode> {
        let count = self.check_new(name, partitions)?;
        let name: Arc<str> = name.into();
        let partitions = std::iter::repeat_with(Partition::default)
            .take(count)
            .collect();
        self.partitions += count;
        self.names.insert(id, Arc::clone(&name));
        Ok(self.by_name.entry(name).or_insert(Topic { id, partitions }))
    }

    /// Forgets a topic and all that is in it.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION.
    pub(super) fn delete(&mut self, name: &str) -> Result<(), ErrorCode> {
        let (name, topic) = self
            .by_name
            .remove_entry(name)
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        self.names.remove(&topic.id);
        self.partitions -= topic.partitions.len();
        self.oldest.retain(|(of, _)| *of != name);
        let costs = topic.partitions.iter().map(|of| of.log.cost());
        self.bytes = self.bytes.saturating_sub(costs.sum());
        Ok(())
    }

    /// Appends a batch, unless the partition has it already.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, and those of [`Producers::judge`].
    pub(super) fn append(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &Batch,
    ) -> Result<Appended, ErrorCode> {
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let index = usize::try_from(partition).map_err(|_| unknown)?;
        let name = self.by_name.get_key_value(topic).map(|(name, _)| name);
        let name = Arc::clone(name.ok_or(unknown)?);
        let found = self.by_name.get_mut(topic).ok_or(unknown)?;
        let Partition { log, producers } = found.partitions.get_mut(index).ok_or(unknown)?;
        let base_offset = match producers.judge(batch)? {
            Verdict::Duplicate(base_offset) => base_offset,
            Verdict::Append => {
                let (base_offset, cost) = log.append(batch);
                producers.appended(batch, base_offset);
                self.bytes = self.bytes.saturating_add(cost);
                self.oldest.push_back((name, partition));
                base_offset
            }
        };
        self.evict();
        Ok(Appended {
            base_offset,
            log_start_offset: self.log(topic, partition)?.start(),
        })
    }

    #[cfg(test)]
    pub(super) fn log_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Log> {
        let index = usize::try_from(partition).ok()?;
        let found = self.by_name.get_mut(topic)?;
        Some(&mut found.partitions.get_mut(index)?.log)
    }

    fn evict(&mut self) {
        while self.bytes > self.max_bytes && self.oldest.len() > 1 {
            let Some((topic, partition)) = self.oldest.pop_front() else {
                return;
            };
            let Ok(index) = usize::try_from(partition) else {
                continue;
            };
            let topic = self.by_name.get_mut(&topic);
            if let Some(partition) = topic.and_then(|topic| topic.partitions.get_mut(index)) {
                self.bytes = self.bytes.saturating_sub(partition.log.evict());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::broker::testing::batch;

    #[test]
    fn names_are_kafkas() {
        for name in ["a", "stock-trades", "A.b_c-9", &"x".repeat(249)] {
            assert!(is_legal(name), "{name}");
        }
        for name in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert!(!is_legal(name), "{name}");
        }
    }

    #[test]
    fn the_number_of_partitions_is_bounded() {
        let mut topics = Topics::new(usize::MAX);
        let most = MAX_PARTITIONS as i32;
        let create = |topics: &mut Topics, name: &str, partitions| {
            topics
                .create(name, partitions, Uuid::new_v4())
                .map(Topic::partitions)
        };
        assert_eq!(create(&mut topics, "a", most - 1), Ok(most - 1));
        for wrong in [2, 0, -1, i32::MAX, i32::MIN] {
            let refused = create(&mut topics, "b", wrong);
            assert_eq!(refused, Err(ErrorCode::INVALID_PARTITIONS));
        }
        assert_eq!(create(&mut topics, "b", 1), Ok(1));
        let again = create(&mut topics, "a", 1);
        assert_eq!(again, Err(ErrorCode::TOPIC_ALREADY_EXISTS));
    }

    #[test]
    fn a_deleted_topic_gives_its_memory_back() {
        let mut topics = Topics::new(usize::MAX);
        for (name, id) in [("kept", 1), ("gone", 2)] {
            topics.create(name, 2, Uuid::from_u128(id)).unwrap();
        }
        topics.append("kept", 0, &batch(&[0], None)).unwrap();
        let before = (topics.bytes, topics.oldest.len());
        for partition in [0, 1, 1] {
            topics
                .append("gone", partition, &batch(&[0; 9], None))
                .unwrap();
        }
        assert!(topics.bytes > before.0);
        assert_eq!(topics.delete("gone"), Ok(()));
        assert_eq!((topics.bytes, topics.oldest.len()), before);
        assert!(topics.get("gone").is_none() && topics.get("kept").is_some());
        assert_eq!(topics.name_of(Uuid::from_u128(2)), None);
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        assert_eq!(topics.delete("gone"), Err(unknown));
        let again = topics.create("gone", MAX_PARTITIONS as i32 - 2, Uuid::from_u128(3));
        assert!(again.is_ok(), "its partitions are free again");
    }

    proptest! {
        /// Memory stays below its bound, the oldest batches go first, and the newest stays.
        #[test]
        fn the_oldest_go_first(
            appends in proptest::collection::vec((0_i32..3, 1_usize..20), 1..40),
            max_bytes in 0_usize..4_000,
        ) {
            let mut topics = Topics::new(max_bytes);
            topics.create("t", 3, Uuid::nil()).unwrap();
            let mut model = VecDeque::new();
            for (partition, records) in appends {
                let batch = batch(&vec![0; records], None);
                let appended = topics.append("t", partition, &batch).unwrap();
                model.push_back((partition, appended.base_offset));
                prop_assert!(topics.bytes <= max_bytes || topics.oldest.len() == 1);
                while model.len() > topics.oldest.len() {
                    model.pop_front();
                }
                for partition in 0..3 {
                    let log = topics.log("t", partition).unwrap();
                    let oldest = model.iter().find(|(of, _)| *of == partition);
                    prop_assert_eq!(log.start(), oldest.map_or(log.end(), |(_, offset)| *offset));
                }
            }
        }
    }
}
