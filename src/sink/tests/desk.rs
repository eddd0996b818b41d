//! A sink on the real file system, and trades to give it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::super::{Appended, Committed, InputRecord, Settings, Sink, SinkError};
use super::binding;

pub(super) const HEADER: &str = "Symbol,Side,Quantity,Price,Timestamp,Partition,Offset\n";
const NO_KEY: Option<&[u8]> = None;

pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_000_000, 0).unwrap()
}

pub(super) fn trade(day: u32, quantity: i64) -> String {
    format!(
        r#"{{"TradeId":"t","Symbol":"IBM","Side":"Sell","Quantity":{quantity},"Price":2.5,"Timestamp":"2025-03-{day:02}T10:00:00Z"}}"#
    )
}

pub(super) fn open(settings: Settings) -> Result<Sink, SinkError> {
    let mut sink = Sink::open(settings, binding())?;
    sink.recover(&BTreeMap::new())?;
    Ok(sink)
}

pub(super) fn append(
    sink: &mut Sink,
    offset: i64,
    values: &[Option<&[u8]>],
) -> Result<Appended, SinkError> {
    let records = (offset..).zip(values).map(|(offset, value)| InputRecord {
        offset,
        key: NO_KEY,
        value: *value,
        headers: Default::default(),
        too_large: None,
    });
    sink.append(0, None, records, offset + values.len() as i64, now())
}

/// Appends one trade and lets its commit count.
pub(super) fn append_for_good(sink: &mut Sink, offset: i64, day: u32) {
    append(sink, offset, &[Some(trade(day, offset).as_bytes())]).unwrap();
    let batch = sink.flush().unwrap().unwrap();
    sink.committed(batch.number, &[0]);
}

pub(super) fn read(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap()
}

pub(super) fn committed(offset: i64, metadata: &str) -> Committed {
    Committed {
        offset: Some(offset),
        leader_epoch: None,
        metadata: metadata.to_owned(),
    }
}
