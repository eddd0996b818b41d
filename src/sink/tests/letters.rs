//! Dead letters that somebody else keeps, and dead letters that are repaired and replayed.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use super::super::verify::{Outcome, Report, examine};
use super::super::{
    Compression, DeadLetter, DeadLetters, InputRecord, LetterError, Publish, ReplayOutcome, Roll,
    Settings, Sink, SinkError,
};
use super::closing::{names, tend};
use super::{binding, settings};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_000_000, 0).unwrap()
}

fn trade(quantity: i64) -> String {
    format!(
        r#"{{"TradeId":"t","Symbol":"IBM","Side":"Sell","Quantity":{quantity},"Price":2.5,"Timestamp":"2025-03-01T10:00:00Z"}}"#
    )
}

fn record(offset: i64, value: &[u8]) -> InputRecord<'_> {
    InputRecord {
        offset,
        key: None,
        value: Some(value),
        headers: Default::default(),
    }
}

fn open(settings: Settings) -> Sink {
    let mut sink = Sink::open(settings, binding()).unwrap();
    sink.recover(&Default::default()).unwrap();
    sink
}

/// Takes values in from offset 0 on and lets their commit count.
fn take(sink: &mut Sink, values: &[&[u8]]) -> Result<(), SinkError> {
    sink.start_at(0, 0)?;
    let records = (0..)
        .zip(values)
        .map(|(offset, value)| record(offset, value));
    sink.append(0, None, records, values.len() as i64, now())?;
    let batch = sink.flush()?.unwrap();
    sink.committed(batch.number, &[0]);
    Ok(())
}

fn proof(directory: &Path) -> serde_json::Value {
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
    assert_eq!(proof(directory.path())["offsets"], 0);
}

#[test]
fn repaired_letters_become_rows_once_and_the_proof_knows() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(settings(directory.path()));
    let good = trade(1);
    take(&mut sink, &[b"{}", good.as_bytes(), b"7", b"8", b"9"]).unwrap();
    sink.close().unwrap();
    assert_eq!(proof(directory.path())["dead_letters"], 4);

    let (mut sink, bound) = Sink::open_bound(settings(directory.path())).unwrap();
    assert_eq!(bound, binding());
    let mut replay = sink.begin_replay().unwrap();
    let repaired = trade(3);
    // In any order; a place that is none, one that is a row, one that is still bad, one twice.
    for (offset, value, expected) in [
        (3, repaired.as_str(), ReplayOutcome::Row),
        (0, &repaired, ReplayOutcome::Row),
        (0, &repaired, ReplayOutcome::Before),
        (1, &repaired, ReplayOutcome::Unknown),
        (5, &repaired, ReplayOutcome::Unknown),
        (
            2,
            "7",
            ReplayOutcome::Bad(crate::event::BadRecord::NotAnObject),
        ),
    ] {
        let record = record(offset, value.as_bytes());
        let outcome = sink.replay(&mut replay, 0, &record, now()).unwrap();
        assert_eq!(outcome, expected, "{offset}");
    }
    assert_eq!(sink.flush_replay(&mut replay).unwrap(), 2);
    let again = record(3, repaired.as_bytes());
    let outcome = sink.replay(&mut replay, 0, &again, now()).unwrap();
    assert_eq!(outcome, ReplayOutcome::Before);
    sink.close().unwrap();
    let report = proof(directory.path());
    assert_eq!(report["rows"], 3, "{report}");
    assert_eq!(
        (&report["dead_letters"], &report["replayed"]),
        (&2.into(), &2.into())
    );

    // A second run knows of the first, and one that is stopped before its flush has replayed nothing.
    let (mut sink, _) = Sink::open_bound(settings(directory.path())).unwrap();
    let mut replay = sink.begin_replay().unwrap();
    for (offset, expected) in [(0, ReplayOutcome::Before), (4, ReplayOutcome::Row)] {
        let record = record(offset, repaired.as_bytes());
        let outcome = sink.replay(&mut replay, 0, &record, now()).unwrap();
        assert_eq!(outcome, expected);
    }
    drop(sink);
    assert_eq!(proof(directory.path())["replayed"], 2);

    // Reading goes on behind them, and back before them makes letters of them again.
    let mut sink = open(settings(directory.path()));
    sink.start_at(0, 5).unwrap();
    sink.supersede(0, 2).unwrap();
    sink.close().unwrap();
    let report = proof(directory.path());
    assert_eq!(
        (&report["rows"], &report["replayed"]),
        (&2.into(), &1.into()),
        "{report}"
    );
}

#[test]
fn replayed_rows_go_to_new_parts_where_files_are_closed() {
    let directory = tempfile::tempdir().unwrap();
    let settings = || Settings {
        publish: Publish::Atomic,
        compression: Compression::Gzip,
        // Two rows and the header.
        roll: Roll {
            bytes: Some(180),
            age: None,
        },
        ..settings(directory.path())
    };
    let visible = || -> Vec<String> {
        let names = names(directory.path()).into_iter();
        names.filter(|name| !name.starts_with("dead")).collect()
    };
    let mut sink = open(settings());
    let good = trade(1);
    take(&mut sink, &[b"{}", good.as_bytes(), b"7", b"8", b"9"]).unwrap();
    sink.end_files().unwrap();
    tend(&mut sink, now());
    assert!(matches!(
        Sink::open_bound(settings()).err(),
        Some(SinkError::Locked { .. })
    ));
    sink.close().unwrap();
    let closed = "consumed_trades_2025-03-01.csv.gz";
    assert_eq!(visible(), [closed]);
    let before = std::fs::read(directory.path().join(closed)).unwrap();

    let repaired = trade(3);
    let (mut sink, _) = Sink::open_bound(settings()).unwrap();
    let mut replay = sink.begin_replay().unwrap();
    for offset in [2, 0, 3] {
        let record = record(offset, repaired.as_bytes());
        let outcome = sink.replay(&mut replay, 0, &record, now()).unwrap();
        assert_eq!(outcome, ReplayOutcome::Row);
    }
    assert_eq!(sink.flush_replay(&mut replay).unwrap(), 3);
    let last = record(4, repaired.as_bytes());
    sink.replay(&mut replay, 0, &last, now()).unwrap();
    // Killed: what was flushed counts, and is not seen before it is closed.
    drop(sink);
    assert_eq!(visible(), [closed]);
    assert_eq!(proof(directory.path())["replayed"], 3);

    let (mut sink, _) = Sink::open_bound(settings()).unwrap();
    let mut replay = sink.begin_replay().unwrap();
    for (offset, expected) in [(3, ReplayOutcome::Before), (4, ReplayOutcome::Row)] {
        let record = record(offset, repaired.as_bytes());
        let outcome = sink.replay(&mut replay, 0, &record, now()).unwrap();
        assert_eq!(outcome, expected);
    }
    assert_eq!(sink.flush_replay(&mut replay).unwrap(), 1);
    sink.end_files().unwrap();
    tend(&mut sink, now());
    sink.close().unwrap();
    assert_eq!(
        visible(),
        [
            "consumed_trades_2025-03-01.0001.csv.gz",
            "consumed_trades_2025-03-01.0002.csv.gz",
            closed
        ]
    );
    let after = std::fs::read(directory.path().join(closed)).unwrap();
    assert_eq!(after, before, "a closed file does not change");
    let report = proof(directory.path());
    assert_eq!(
        (
            &report["rows"],
            &report["replayed"],
            &report["dead_letters"]
        ),
        (&5.into(), &4.into(), &0.into()),
        "{report}"
    );
}

#[test]
fn what_is_for_the_brokers_to_say_is_not_replayed_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(settings(directory.path()));
    sink.start_at(0, 0).unwrap();
    sink.append(0, None, [record(0, b"{}")], 1, now()).unwrap();
    sink.flush().unwrap().unwrap();
    drop(sink);
    let (mut sink, _) = Sink::open_bound(settings(directory.path())).unwrap();
    let error = sink.begin_replay().unwrap_err();
    assert!(matches!(error, SinkError::Unresolved { .. }), "{error}");
    let nothing = tempfile::tempdir().unwrap();
    let refused = Sink::open_bound(settings(nothing.path())).err();
    assert!(matches!(refused, Some(SinkError::NotOurs { .. })));
    assert_eq!(std::fs::read_dir(nothing.path()).unwrap().count(), 0);
}
