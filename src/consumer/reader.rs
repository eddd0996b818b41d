//! Reads partitions from one offset to another, outside of any group.

use std::{collections::BTreeMap, sync::Arc, vec};

use super::{
    Chunk, ConsumeError, Isolation,
    fetch::{FetchSettings, Fetched, Fetcher},
};
use crate::wire::cluster::Cluster;

/// The most to ask for at once and of one partition, in bytes; memory demands less than the first.
const MAX_BYTES: usize = 32 << 20;
const MAX_PARTITION_BYTES: usize = 4 << 20;

/// The most of one partition where only what comes first is looked at: a batch that is larger comes whole all the same (KIP-74).
const GLANCE_BYTES: usize = 64 << 10;

/// Reads what is between two offsets of each partition, and ends.
#[derive(Debug)]
pub struct Reader {
    fetcher: Fetcher,
    /// Where each partition ends that is not read to its end yet.
    ends: BTreeMap<i32, i64>,
    /// What was fetched and not taken yet.
    chunks: vec::IntoIter<Chunk>,
}

impl Reader {
    /// Reads each partition of `starts` up to its end; one without an end, or at its end already, is passed over.
    pub fn start(
        cluster: &Arc<Cluster>,
        topic: &Arc<str>,
        isolation: Isolation,
        starts: &BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
    ) -> Self {
        let how = (MAX_PARTITION_BYTES, true);
        Self::asking(how, cluster, topic, isolation, starts, ends)
    }

    /// As [`Self::start`], for who loses nothing by what retention deletes meanwhile.
    pub fn look_through(
        cluster: &Arc<Cluster>,
        topic: &Arc<str>,
        isolation: Isolation,
        starts: &BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
    ) -> Self {
        let how = (MAX_PARTITION_BYTES, false);
        Self::asking(how, cluster, topic, isolation, starts, ends)
    }

    /// As [`Self::look_through`], for a few records of each partition: it asks for no more than it needs, so that also a slow link
    /// brings them soon.
    pub fn glance(
        cluster: &Arc<Cluster>,
        topic: &Arc<str>,
        isolation: Isolation,
        starts: &BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
    ) -> Self {
        let how = (GLANCE_BYTES, false);
        Self::asking(how, cluster, topic, isolation, starts, ends)
    }

    /// With the most to ask for of one partition, and whether a deleted record is lost.
    fn asking(
        (max_partition_bytes, loses): (usize, bool),
        cluster: &Arc<Cluster>,
        topic: &Arc<str>,
        isolation: Isolation,
        starts: &BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
    ) -> Self {
        let mut ends = ends.clone();
        ends.retain(|partition, end| starts.get(partition).is_some_and(|start| start < end));
        let positions = starts
            .iter()
            .filter(|(partition, _)| ends.contains_key(partition))
            .map(|(&partition, &start)| (partition, (start, None)))
            .collect();
        let settings = FetchSettings {
            topic: Arc::clone(topic),
            isolation,
            max_bytes: MAX_BYTES,
            max_partition_bytes,
            loses,
            rack: None,
            topic_id: None,
        };
        Self {
            fetcher: Fetcher::start(Arc::clone(cluster), settings, &positions),
            ends,
            chunks: Vec::new().into_iter(),
        }
    }

    /// The next data; `None` when every partition was read to its end. The last chunk of a partition may go beyond.
    ///
    /// # Errors
    /// When a partition cannot be read on. Where the error is about its data alone ([`ConsumeError::unreadable`]), the
    /// others can be read on.
    pub async fn next(&mut self) -> Result<Option<Chunk>, ConsumeError> {
        while !self.ends.is_empty() {
            if let Some(chunk) = self.chunks.next() {
                self.reached(chunk.partition(), chunk.next_offset());
                return Ok(Some(chunk));
            }
            match self.fetcher.next().await {
                Fetched::Chunks(chunks) => self.chunks = chunks.into_iter(),
                // What was deleted meanwhile is not there to be read.
                Fetched::Moved { partition, to, .. } => self.reached(partition, to),
                Fetched::Failed(error) => {
                    if let Some(what) = error.unreadable() {
                        self.ends.remove(&what.partition);
                    }
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Reads this partition no more.
    pub fn skip(&mut self, partition: i32) {
        self.ends.remove(&partition);
        self.fetcher.remove(&[partition].into());
        let rest = self.chunks.by_ref();
        let rest: Vec<_> = rest.filter(|of| of.partition() != partition).collect();
        self.chunks = rest.into_iter();
    }

    fn reached(&mut self, partition: i32, position: i64) {
        if self
            .ends
            .get(&partition)
            .is_some_and(|end| position >= *end)
        {
            self.ends.remove(&partition);
            // What comes behind would take the room of the others.
            self.fetcher.remove(&[partition].into());
        }
    }
}
