//! A batch that is too large for the broker becomes two. Pure.

use crate::wire::records::{BatchBuilder, Batches, Codec, FrozenBatch, Header, NewRecord, Scratch};

/// The first and the second half of a batch of two records or more, encoded anew under no identity; `None` when there
/// is nothing to split.
pub(super) fn halves(
    batch: &FrozenBatch,
    codec: Codec,
    transactional: bool,
) -> Option<(FrozenBatch, FrozenBatch)> {
    let first = usize::try_from(batch.count()).ok()? / 2;
    if first == 0 {
        return None;
    }
    let view = Batches::new(batch.bytes().clone()).next()?.ok()?;
    let mut scratch = Scratch::new();
    let mut parts = [
        BatchBuilder::with_capacity(0),
        BatchBuilder::with_capacity(0),
    ];
    for (place, record) in view.records(&mut scratch).ok()?.enumerate() {
        let record = record.ok()?;
        let headers: Vec<Header<'_>> = record.headers.iter().collect::<Option<_>>()?;
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|header| Some((std::str::from_utf8(header.key).ok()?, header.value?)))
            .collect::<Option<_>>()?;
        parts[usize::from(place >= first)]
            .append(&NewRecord {
                key: record.key,
                value: record.value,
                headers: &headers,
                timestamp_ms: record.timestamp_ms,
            })
            .ok()?;
    }
    let [first, second] = parts.map(|part| part.finish(codec, None, transactional).ok());
    Some((first?, second?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>);

    fn read(batch: &FrozenBatch) -> Vec<Owned> {
        let view = Batches::new(batch.bytes().clone()).next().unwrap().unwrap();
        let mut scratch = Scratch::new();
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        view.records(&mut scratch)
            .unwrap()
            .map(|record| {
                let record = record.unwrap();
                let header = record.headers.iter().next().unwrap().unwrap();
                let value = header.value.unwrap().to_vec();
                (
                    record.timestamp_ms,
                    owned(record.key),
                    owned(record.value),
                    value,
                )
            })
            .collect()
    }

    proptest! {
        #[test]
        fn both_halves_are_the_whole(
            records in prop::collection::vec((any::<Option<Vec<u8>>>(), any::<Option<Vec<u8>>>(), 0..1_000_i64), 1..40),
            compressed: bool,
        ) {
            let codec = if compressed { Codec::Lz4 } else { Codec::None };
            let mut whole = BatchBuilder::with_capacity(0);
            for (key, value, time) in &records {
                whole.append(&NewRecord {
                    key: key.as_deref(),
                    value: value.as_deref(),
                    headers: &[("h", b"v")],
                    timestamp_ms: *time,
                }).unwrap();
            }
            let whole = whole.finish(codec, None, false).unwrap();
            match halves(&whole, codec, false) {
                None => prop_assert_eq!(records.len(), 1),
                Some((first, second)) => {
                    prop_assert_eq!([read(&first), read(&second)].concat(), read(&whole));
                    prop_assert!(first.count().abs_diff(second.count()) <= 1);
                }
            }
        }
    }
}
