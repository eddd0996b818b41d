//! What the tests of this room share.

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
