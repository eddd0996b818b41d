//! Files that are closed: when, under which name, and what becomes of names that are taken.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::files::open_files::Limits;
use super::super::state::checkpoint::Checkpoint;
use super::super::{Committed, Compression, InputRecord, Publish, Roll, Settings, Sink, SinkError};
use super::desk::{HEADER, append_for_good, now, open, read, trade};
use super::{binding, settings};
use crate::durable::envelope;
use crate::durable::sim::SimFs;
use crate::verify::{Outcome, Report, examine};

/// Closes what is due, compressing it at once.
pub(super) fn tend(sink: &mut Sink, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    loop {
        let tended = sink.tend(now).unwrap();
        let Some(packing) = tended.packing else {
            return tended.next;
        };
        sink.packed(packing.run(|| false)).unwrap();
    }
}

pub(super) fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".stockflow")
        .collect()
}

fn gzip(directory: &Path) -> Settings {
    Settings {
        compression: Compression::Gzip,
        ..settings(directory)
    }
}

#[test]
fn a_closed_file_that_loses_all_its_rows_in_two_resets_is_missed_by_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(gzip(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    append_for_good(&mut sink, 1, 1);
    sink.end_files().unwrap();
    tend(&mut sink, now());
    // The first opens it again, the second comes before it is closed.
    for target in [1, 0] {
        assert_eq!(sink.supersede(0, target).unwrap().rows, 1);
    }
    sink.close().unwrap();
    assert_eq!(names(directory.path()), BTreeSet::new());
    let report = Report::new(&examine(&[directory.path().to_owned()]).unwrap());
    // There is nothing to prove any more, and nothing is missing.
    assert_eq!(report.verdict, Outcome::Undecided, "{}", report.text());
    let nothing = "[\"no offset was covered: there is nothing here that could be proven\"]";
    assert_eq!(report.json()["doubts"].to_string(), nothing);
}

/// Appends a trade to each of two partitions and lets both count.
fn append_both(sink: &mut Sink, offset: i64, day: u32) {
    for partition in [0, 1] {
        let value = trade(day, i64::from(partition));
        let record = InputRecord {
            offset,
            key: None::<&[u8]>,
            value: Some(value.as_bytes()),
            headers: Default::default(),
            too_large: None,
        };
        sink.append(partition, None, [record], offset + 1, now())
            .unwrap();
    }
    let batch = sink.flush().unwrap().unwrap();
    sink.committed(batch.number, &[0, 1]);
}

#[test]
fn a_file_that_was_taken_away_is_missed_no_more_when_its_rows_are_read_again() {
    for closed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = open(gzip(directory.path())).unwrap();
        sink.start_at(0, 0).unwrap();
        sink.start_at(1, 0).unwrap();
        append_both(&mut sink, 0, 1);
        if closed {
            sink.end_files().unwrap();
            tend(&mut sink, now());
        }
        sink.close().unwrap();
        for name in names(directory.path()) {
            fs::remove_file(directory.path().join(name)).unwrap();
        }
        let verdict = || Report::new(&examine(&[directory.path().to_owned()]).unwrap());
        assert_eq!(verdict().verdict, Outcome::Broken);
        let mut sink = open(gzip(directory.path())).unwrap();
        sink.supersede(0, 0).unwrap();
        // Rows of the other partition are still missed.
        assert_eq!(verdict().verdict, Outcome::Broken);
        sink.supersede(1, 0).unwrap();
        sink.start_at(0, 0).unwrap();
        sink.start_at(1, 0).unwrap();
        append_both(&mut sink, 0, 1);
        sink.close().unwrap();
        let report = verdict();
        assert_eq!(report.verdict, Outcome::Proven, "{}", report.text());
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_once_however_many_runs_it_has() {
    const ROWS: i64 = 150;
    for compressed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let settings = match compressed {
            true => gzip(directory.path()),
            false => settings(directory.path()),
        };
        let mut sink = open(settings).unwrap();
        sink.start_at(0, 0).unwrap();
        sink.start_at(1, 0).unwrap();
        // Two days by turns: two files.
        for offset in 0..2 * ROWS {
            append_both(&mut sink, offset, 1 + (offset % 2) as u32);
        }
        if compressed {
            sink.end_files().unwrap();
            tend(&mut sink, now());
        }
        sink.close().unwrap();
        let findings = || {
            let report = Report::new(&examine(&[directory.path().to_owned()]).unwrap());
            report.json()["findings"].as_array().unwrap().clone()
        };
        assert_eq!(findings().len(), 0);
        let paths: Vec<_> = names(directory.path())
            .iter()
            .map(|name| directory.path().join(name))
            .collect();
        assert_eq!(paths.len(), 2);
        let whole: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
        for path in &paths {
            fs::write(path, half(&fs::read(path).unwrap())).unwrap();
        }
        let found = findings();
        assert_eq!(found.len(), 2, "{found:?}");
        for finding in &found {
            assert_eq!(finding["kind"], "truncated", "{finding}");
            assert!((1..=2 * ROWS).contains(&finding["rows"].as_i64().unwrap()));
        }
        // Each row in its place is another one.
        if !compressed {
            for (path, whole) in paths.iter().zip(&whole) {
                let text = std::str::from_utf8(whole).unwrap();
                fs::write(path, text.replace("IBM", "XYZ")).unwrap();
            }
            let found = findings();
            assert_eq!(found.len(), 2, "{found:?}");
            // Every other one is: so many places are said, and the last stands for the rest.
            for (path, whole) in paths.iter().zip(&whole) {
                let text = std::str::from_utf8(whole).unwrap();
                fs::write(path, text.replace(",0,", ",9,")).unwrap();
            }
            let found = findings();
            assert_eq!(found.len(), 200, "{}", found.len());
            let rows: i64 = found.iter().map(|one| one["rows"].as_i64().unwrap()).sum();
            assert_eq!(rows, 2 * ROWS);
        }
        for path in &paths {
            fs::remove_file(path).unwrap();
        }
        let found = findings();
        assert_eq!(found.len(), 2, "{found:?}");
        for (day, finding) in (0..).zip(&found) {
            assert_eq!(finding["kind"], "missing", "{finding}");
            if !compressed {
                assert_eq!(finding["rows"], 2 * ROWS);
                let last = 2 * (ROWS - 1) + day;
                let of = |partition: i32| serde_json::json!({"partition": partition, "first_offset": day, "last_offset": last});
                assert_eq!(finding["partitions"], serde_json::json!([of(0), of(1)]));
            }
        }
    }
}

#[test]
fn a_day_that_is_over_is_closed_when_nothing_comes_and_late_rows_get_a_part_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(gzip(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    let quiet = now() + TimeDelta::minutes(10);
    assert_eq!(tend(&mut sink, now()), Some(quiet));
    append_for_good(&mut sink, 1, 1);
    assert_eq!(
        names(directory.path()),
        ["consumed_trades_2025-03-01.csv".to_owned()].into()
    );
    assert_eq!(tend(&mut sink, quiet), None);
    assert_eq!(
        names(directory.path()),
        ["consumed_trades_2025-03-01.csv.gz".to_owned()].into()
    );
    append_for_good(&mut sink, 2, 1);
    sink.close().unwrap();
    // Also after a restart, and after its owner took the closed file away.
    fs::remove_file(directory.path().join("consumed_trades_2025-03-01.csv.gz")).unwrap();
    let mut sink = open(gzip(directory.path())).unwrap();
    sink.start_position(0, &Committed::default()).unwrap();
    append_for_good(&mut sink, 3, 1);
    assert_eq!(tend(&mut sink, quiet + TimeDelta::days(1)), None);
    append_for_good(&mut sink, 4, 1);
    let expected = [
        "consumed_trades_2025-03-01.0001.csv.gz",
        "consumed_trades_2025-03-01.0002.csv",
    ];
    assert_eq!(names(directory.path()), expected.map(str::to_owned).into());
}

#[test]
fn a_name_that_is_taken_is_left_to_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(gzip(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    let foreign = directory.path().join("consumed_trades_2025-03-01.csv.gz");
    fs::write(&foreign, "mine").unwrap();
    tend(&mut sink, now() + TimeDelta::days(1));
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "mine");
    let plain = read(directory.path(), "consumed_trades_2025-03-01.csv");
    assert!(plain.starts_with(HEADER) && plain.ends_with(",0,0\n"));

    let directory = tempfile::tempdir().unwrap();
    let atomic = Settings {
        publish: Publish::Atomic,
        ..settings(directory.path())
    };
    let mut sink = open(atomic.clone()).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    let foreign = directory.path().join("consumed_trades_2025-03-01.csv");
    fs::write(&foreign, "mine").unwrap();
    let error = sink.tend(now() + TimeDelta::days(1)).err().unwrap();
    assert!(matches!(error, SinkError::NameTaken { .. }), "{error}");
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "mine");
    fs::remove_file(&foreign).unwrap();
    let mut sink = {
        drop(sink);
        open(atomic).unwrap()
    };
    tend(&mut sink, now() + TimeDelta::days(1));
    assert!(fs::read_to_string(&foreign).unwrap().ends_with(",0,0\n"));
}

#[test]
fn a_file_that_was_edited_is_not_compressed() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(gzip(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    let path = directory.path().join("consumed_trades_2025-03-01.csv");
    let good = fs::read_to_string(&path).unwrap();
    let edited = good.replace("Sell", "Sale");
    fs::write(&path, &edited).unwrap();
    let packing = sink
        .tend(now() + TimeDelta::days(1))
        .unwrap()
        .packing
        .unwrap();
    let error = sink.packed(packing.run(|| false)).unwrap_err();
    assert!(matches!(error, SinkError::Edited { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), edited);
    assert_eq!(names(directory.path()).len(), 1);
}

/// What the first version wrote is read, and goes on.
#[test]
fn a_directory_of_the_first_version_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(settings(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    sink.close().unwrap();
    let path = directory.path().join(".stockflow/checkpoint");
    let now_sealed = fs::read(&path).unwrap();
    let mut first: serde_json::Value =
        serde_json::from_slice(envelope::unseal("checkpoint", &now_sealed).unwrap()).unwrap();
    first["counting"]
        .as_object_mut()
        .unwrap()
        .remove("closed")
        .unwrap();
    for file in first["counting"]["files"]
        .as_object_mut()
        .unwrap()
        .values_mut()
    {
        let file = file.as_object_mut().unwrap();
        file.remove("begun").unwrap();
        file.remove("written").unwrap();
        let fields: Vec<_> = file.keys().map(String::as_str).collect();
        assert_eq!(fields, ["crc", "header", "len", "tail"]);
    }
    let body = first.to_string();
    let crc = crc32c::crc32c(body.as_bytes());
    fs::write(&path, format!("stockflow checkpoint 1 {crc:08x}\n{body}")).unwrap();
    let mut sink = open(gzip(directory.path())).unwrap();
    sink.start_position(0, &Committed::default()).unwrap();
    append_for_good(&mut sink, 1, 1);
    let text = read(directory.path(), "consumed_trades_2025-03-01.csv");
    assert!(
        text.starts_with(HEADER) && text.ends_with(",0,1\n"),
        "{text}"
    );
    tend(&mut sink, super::desk::now() + TimeDelta::days(1));
    assert_eq!(
        names(directory.path()),
        ["consumed_trades_2025-03-01.csv.gz".to_owned()].into()
    );
    let newer = fs::read_to_string(&path).unwrap();
    assert!(newer.starts_with("stockflow checkpoint 2 "));
}

/// 24 hours of an event a second, by a clock of its own: a part a minute, and what is kept of them does not grow.
#[test]
fn a_day_of_parts_leaves_nothing_in_the_checkpoint() {
    let fs = SimFs::new(0);
    let settings = Settings {
        roll: Roll {
            bytes: None,
            age: Some(Duration::from_secs(60)),
        },
        ..gzip(Path::new("/out"))
    };
    let mut sink =
        Sink::open_on(Arc::new(fs.clone()), Limits::DEFAULT, settings, binding()).unwrap();
    sink.recover(&Default::default()).unwrap();
    sink.start_at(0, 0).unwrap();
    let mut sizes = Vec::new();
    for second in 0..86_400 {
        let now = now() + TimeDelta::seconds(second);
        let value = trade(1 + (second / 43_200) as u32, second);
        let record = InputRecord {
            offset: second,
            key: None,
            value: Some(value.as_bytes()),
            headers: Default::default(),
            too_large: None,
        };
        sink.append(0, None, [record], second + 1, now).unwrap();
        if second % 20 == 0 {
            let batch = sink.flush().unwrap().unwrap();
            sink.committed(batch.number, &[0]);
            tend(&mut sink, now);
        }
        if second % 3600 == 1800 {
            let files = fs.files();
            let checkpoint = &files[Path::new("/out/.stockflow/checkpoint")];
            let read = Checkpoint::decode(Path::new("/"), checkpoint).unwrap();
            assert!(read.counting.files.len() <= 3, "{:?}", read.counting.files);
            assert!(sink.outputs.list.len() <= 2 && sink.parts.len() <= 2);
            sizes.push(checkpoint.len());
        }
    }
    assert!(
        sizes.iter().max() < sizes.iter().min().map(|least| least + 300).as_ref(),
        "{sizes:?}"
    );
    let parts = fs
        .files()
        .keys()
        .filter(|path| path.extension().is_some_and(|e| e == "gz"))
        .count();
    assert!((1000..1500).contains(&parts), "{parts}");
}

/// A file that was begun by a clock that was days ahead is closed when it is due by the clock that is right.
#[test]
fn a_clock_that_was_ahead_keeps_no_file_open() {
    for restarts in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let published = || Settings {
            publish: Publish::Atomic,
            ..settings(directory.path())
        };
        let mut sink = open(published()).unwrap();
        sink.start_at(0, 0).unwrap();
        append_for_good(&mut sink, 0, 1);
        if restarts {
            sink.close().unwrap();
            sink = open(published()).unwrap();
        }
        let right = now() - TimeDelta::days(5);
        // Noticed now, and closed when nothing has come for a while.
        let due = sink.tend(right).unwrap().next.expect("it is due");
        assert!(due - right < TimeDelta::hours(1), "{due}");
        sink.tend(due).unwrap();
        let name = "consumed_trades_2025-03-01.csv".to_owned();
        assert_eq!(names(directory.path()), [name].into());
    }
}
