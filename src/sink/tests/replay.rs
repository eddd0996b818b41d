//! Dead letters that are repaired and replayed.

use std::path::Path;
use std::sync::Arc;

use super::super::files::open_files::Limits;
use super::super::{Compression, Publish, ReplayOutcome, Roll, Settings, Sink, SinkError};
use super::closing::{names, tend};
use super::letters::{now, open, proof, record, take, trade};
use super::{binding, settings};
use crate::durable::sim::SimFs;
use crate::verify::{Outcome, Report, examine_on};

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

/// Replays four letters in two goes, and closes the files.
fn replay_all(fs: &SimFs, settings: &Settings) -> Result<(), SinkError> {
    let mut sink = on(fs, settings)?;
    let mut replay = sink.begin_replay()?;
    for offset in [3, 0, 2, 4] {
        let repaired = trade(offset);
        let record = record(offset, repaired.as_bytes());
        let outcome = sink.replay(&mut replay, 0, &record, now())?;
        assert!(matches!(
            outcome,
            ReplayOutcome::Row | ReplayOutcome::Before
        ));
        if offset == 0 {
            sink.flush_replay(&mut replay)?;
        }
    }
    sink.flush_replay(&mut replay)?;
    sink.end_files()?;
    while let Some(packing) = sink.tend(now())?.packing {
        sink.packed(packing.run(|| false))?;
    }
    sink.close()
}

fn on(fs: &SimFs, settings: &Settings) -> Result<Sink, SinkError> {
    // Every row is written out at once.
    let limits = Limits { file: 1, all: 1 };
    Sink::open_on(Arc::new(fs.clone()), limits, settings.clone(), binding())
}

/// How many steps a replay has that is stopped at each of them in turn, and then done again.
fn stop_at_every_step(settings: &Settings, power: bool) -> u32 {
    for step in 0.. {
        let fs = SimFs::new(u64::from(step));
        let mut sink = on(&fs, settings).unwrap();
        sink.recover(&Default::default()).unwrap();
        let good = trade(1);
        take(&mut sink, &[b"{}", good.as_bytes(), b"7", b"8", b"9"]).unwrap();
        sink.end_files().unwrap();
        tend(&mut sink, now());
        sink.close().unwrap();

        fs.arm(Some(step));
        let stopped = replay_all(&fs, settings).err();
        assert_eq!(stopped.is_some(), fs.is_dead(), "{step}: {stopped:?}");
        if stopped.is_some() {
            fs.restart(power);
        }
        fs.arm(None);
        replay_all(&fs, settings).unwrap();
        let report =
            Report::new(&examine_on(&fs, std::slice::from_ref(&settings.directory)).unwrap());
        assert_eq!(report.verdict, Outcome::Proven, "{step}: {}", report.text());
        let counts = report.json();
        assert_eq!(
            [
                &counts["rows"],
                &counts["replayed"],
                &counts["dead_letters"]
            ],
            [5, 4, 0],
            "{step}"
        );
        if stopped.is_none() {
            return step;
        }
    }
    unreachable!()
}

#[test]
fn a_replay_that_is_stopped_at_any_step_makes_each_row_once() {
    for power in [false, true] {
        let plain = settings(Path::new("/out"));
        let closing = Settings {
            publish: Publish::Atomic,
            compression: Compression::Gzip,
            roll: Roll {
                bytes: Some(180),
                age: None,
            },
            ..plain.clone()
        };
        for settings in [plain, closing] {
            assert!(stop_at_every_step(&settings, power) > 10);
        }
    }
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
