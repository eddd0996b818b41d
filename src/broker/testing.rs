//! What the tests of this room share.

use std::sync::Arc;

use super::{Broker, Shared};
use crate::wire::records::{Batch, BatchBuilder, Batches, Codec, NewRecord, ProducerIdentity};

/// A batch with one small record for each timestamp.
pub(super) fn batch(timestamps: &[i64], identity: Option<ProducerIdentity>) -> Batch {
    let mut builder = BatchBuilder::with_capacity(0);
    for timestamp_ms in timestamps {
        let record = NewRecord {
            key: Some(b"IBM"),
            value: Some(b"{}"),
            headers: &[],
            timestamp_ms: *timestamp_ms,
        };
        builder.append(&record).unwrap();
    }
    let frozen = builder.finish(Codec::None, identity, false).unwrap();
    Batches::new(frozen.bytes().clone())
        .next()
        .unwrap()
        .unwrap()
}

/// The logs of a broker that runs, for tests of other rooms: as a disk that fails, or retention, changes them.
pub(crate) struct Logs(Arc<Shared>);

impl Broker {
    pub(crate) fn logs(&self) -> Logs {
        Logs(Arc::clone(&self.shared))
    }
}

impl Logs {
    /// Loses the last batches of a partition. What producers are remembered by stays, which new ones do not meet.
    pub(crate) fn lose(&self, topic: &str, partition: i32, batches: usize) {
        let mut topics = self.0.topics.lock();
        let log = topics.log_mut(topic, partition).expect("a partition");
        (0..batches).for_each(|_| log.lose());
    }

    /// Deletes the oldest batches of a partition.
    pub(crate) fn delete(&self, topic: &str, partition: i32, batches: usize) {
        let mut topics = self.0.topics.lock();
        let log = topics.log_mut(topic, partition).expect("a partition");
        for _ in 0..batches {
            log.evict();
        }
    }
}
