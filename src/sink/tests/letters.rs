//! Dead letters that somebody else keeps.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use super::super::{DeadLetter, DeadLetters, InputRecord, LetterError, Settings, Sink, SinkError};
use super::{binding, settings};
use crate::verify::{Outcome, Report, examine};

pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_000_000, 0).unwrap()
}

pub(super) fn trade(quantity: i64) -> String {
    format!(
        r#"{{"TradeId":"t","Symbol":"IBM","Side":"Sell","Quantity":{quantity},"Price":2.5,"Timestamp":"2025-03-01T10:00:00Z"}}"#
    )
}

pub(super) fn record(offset: i64, value: &[u8]) -> InputRecord<'_> {
    InputRecord {
        offset,
        key: None,
        value: Some(value),
        headers: Default::default(),
        too_large: None,
    }
}

pub(super) fn open(settings: Settings) -> Sink {
    let mut sink = Sink::open(settings, binding()).unwrap();
    sink.recover(&Default::default()).unwrap();
    sink
}

/// Takes values in from offset 0 on and lets their commit count.
pub(super) fn take(sink: &mut Sink, values: &[&[u8]]) -> Result<(), SinkError> {
    sink.start_at(0, 0)?;
    let records = (0..)
        .zip(values)
        .map(|(offset, value)| record(offset, value));
    sink.append(0, None, records, values.len() as i64, now())?;
    let batch = sink.flush()?.unwrap();
    sink.committed(batch.number, &[0]);
    Ok(())
}

pub(super) fn proof(directory: &Path) -> serde_json::Value {
    let report = Report::new(&examine(&[directory.to_owned()]).unwrap());
    assert_eq!(report.verdict, Outcome::Proven, "{}", report.text());
    report.json()
}

#[derive(Default)]
struct Kept {
    put: Vec<(i32, i64)>,
    settled: usize,
    refuses: bool,
}

#[derive(Clone, Default)]
struct Elsewhere(Arc<Mutex<Kept>>);

impl DeadLetters for Elsewhere {
    fn begin(&mut self, _: i32, _: i64) {}

    fn put(&mut self, letter: &DeadLetter<'_>) -> Result<(), LetterError> {
        let mut kept = self.0.lock();
        kept.put.push((letter.partition, letter.record.offset));
        Ok(())
    }

    fn settle(&mut self) -> Result<(), LetterError> {
        let mut kept = self.0.lock();
        if kept.refuses {
            return Err("no room".into());
        }
        kept.settled = kept.put.len();
        Ok(())
    }
}

#[test]
fn letters_that_go_elsewhere_are_settled_before_the_batch_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(settings(directory.path()));
    let elsewhere = Elsewhere::default();
    sink.divert_dead_letters(Box::new(elsewhere.clone()));
    let good = trade(1);
    take(&mut sink, &[b"{}", good.as_bytes(), b"7"]).unwrap();
    assert_eq!(elsewhere.0.lock().put, [(0, 0), (0, 2)]);
    assert_eq!(elsewhere.0.lock().settled, 2);
    sink.close().unwrap();
    let report = proof(directory.path());
    assert_eq!(
        (&report["rows"], &report["dead_letters"]),
        (&1.into(), &2.into())
    );
    assert!(
        !directory
            .path()
            .join("dead_letters_2026-02-02.ndjson")
            .exists()
    );
}

#[test]
fn a_letter_that_is_refused_stops_before_anything_can_be_committed() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(settings(directory.path()));
    let elsewhere = Elsewhere::default();
    elsewhere.0.lock().refuses = true;
    sink.divert_dead_letters(Box::new(elsewhere));
    let error = take(&mut sink, &[b"{}"]).unwrap_err();
    assert!(matches!(error, SinkError::DeadLetters(_)), "{error}");
    assert!(sink.flush().is_err(), "nothing more is accepted");
    drop(sink);
    let report = Report::new(&examine(&[directory.path().to_owned()]).unwrap());
    assert_eq!(report.verdict, Outcome::Undecided, "{}", report.text());
    assert_eq!(report.json()["offsets"], 0);
}
