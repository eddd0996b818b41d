//! The sink on the real file system: names, headers, refusals.

use std::collections::BTreeMap;
use std::fs;

use uuid::Uuid;

use super::super::{
    Appended, BadRecords, Binding, Column, Committed, FileDate, Settings, Sink, SinkError, Start,
};
use super::desk::{HEADER, append, append_for_good, committed, open, read, trade};
use super::{binding, settings};
use crate::event::BadRecord;

#[test]
fn rows_go_to_the_file_of_their_date_and_files_are_continued() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("consumed_trades_2025-03-01.csv"),
        "mine",
    )
    .unwrap();
    let mut sink = open(settings(directory.path())).unwrap();
    assert_eq!(
        sink.start_position(0, &Committed::default()).unwrap(),
        Start::Reset
    );
    sink.start_at(0, 5).unwrap();
    for (offset, day) in [(5, 1), (6, 2), (7, 3), (8, 4), (9, 1)] {
        append_for_good(&mut sink, offset, day);
    }
    assert_eq!(sink.flush().unwrap(), None);
    sink.close().unwrap();

    let mut sink = open(settings(directory.path())).unwrap();
    assert_eq!(
        sink.start_position(0, &Committed::default()).unwrap(),
        Start::At(10)
    );
    append_for_good(&mut sink, 10, 2);
    drop(sink);
    let row = |day, offset| format!("IBM,Sell,{offset},2.5,2025-03-0{day}T10:00:00Z,0,{offset}\n");
    assert_eq!(
        read(directory.path(), "consumed_trades_2025-03-01.csv"),
        "mine"
    );
    let first = read(directory.path(), "consumed_trades_2025-03-01.0001.csv");
    assert_eq!(first, format!("{HEADER}{}{}", row(1, 5), row(1, 9)));
    let second = read(directory.path(), "consumed_trades_2025-03-02.csv");
    assert_eq!(second, format!("{HEADER}{}{}", row(2, 6), row(2, 10)));
}

#[test]
fn other_columns_an_instance_and_the_processing_date_make_other_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(settings(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    sink.close().unwrap();
    let mut sink = open(Settings {
        columns: vec![Column::Symbol, Column::TradeId],
        ..settings(directory.path())
    })
    .unwrap();
    sink.start_position(0, &Committed::default()).unwrap();
    append_for_good(&mut sink, 1, 1);
    sink.close().unwrap();
    assert_eq!(
        read(directory.path(), "consumed_trades_2025-03-01.0001.csv"),
        "Symbol,TradeId\nIBM,t\n"
    );
    let other = Settings {
        instance: Some("eu-1".to_owned()),
        file_date: FileDate::Processing,
        ..settings(directory.path())
    };
    let mut sink = open(other).unwrap();
    sink.start_position(0, &Committed::default()).unwrap();
    append_for_good(&mut sink, 2, 1);
    assert!(read(directory.path(), "consumed_trades_2026-02-02.eu-1.csv").ends_with(",0,2\n"));
}

#[test]
fn bad_records_become_dead_letters_or_stop_or_are_passed_over() {
    let values: [Option<&[u8]>; 4] = [Some(b"{}"), None, Some(b"\xff"), Some(b"7")];
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(settings(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    let appended = append(&mut sink, 0, &values).unwrap();
    assert_eq!(
        appended,
        Appended {
            rows: 0,
            dead_letters: 3,
            tombstones: 1,
            skipped: 0,
            reasons: appended.reasons,
        }
    );
    let labels: Vec<_> = appended.reasons.iter().collect();
    assert_eq!(
        labels,
        [("not_utf8", 1), ("not_an_object", 1), ("missing_field", 1)]
    );
    sink.flush().unwrap().unwrap();
    let letters = read(directory.path(), "dead_letters_2026-02-02.ndjson");
    let reasons: Vec<_> = letters
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["reason"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        reasons,
        [
            BadRecord::MissingField("Symbol"),
            BadRecord::NotUtf8,
            BadRecord::NotAnObject
        ]
        .map(|r| r.to_string())
    );

    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(Settings {
        bad_records: BadRecords::Skip,
        ..settings(directory.path())
    })
    .unwrap();
    sink.start_at(0, 0).unwrap();
    assert_eq!(append(&mut sink, 0, &values).unwrap().skipped, 3);

    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(Settings {
        bad_records: BadRecords::Fail,
        ..settings(directory.path())
    })
    .unwrap();
    sink.start_at(0, 0).unwrap();
    let good = trade(1, 0);
    let error = append(&mut sink, 0, &[Some(good.as_bytes()), Some(b"{}")]).unwrap_err();
    assert!(
        matches!(
            error,
            SinkError::BadRecord {
                partition: 0,
                offset: 1,
                ..
            }
        ),
        "{error}"
    );
    let offsets = sink.flush().unwrap().unwrap().offsets;
    assert_eq!(
        (offsets.len(), offsets[0].partition, offsets[0].next),
        (1, 0, 1)
    );
}

#[test]
fn a_directory_has_one_process_and_one_topic() {
    let directory = tempfile::tempdir().unwrap();
    let sink = open(settings(directory.path())).unwrap();
    assert!(matches!(
        open(settings(directory.path())),
        Err(SinkError::Locked { .. })
    ));
    drop(sink);
    for other in [
        Binding {
            cluster_id: "other".to_owned(),
            ..binding()
        },
        Binding {
            topic: "other".to_owned(),
            ..binding()
        },
        Binding {
            group: "other".to_owned(),
            ..binding()
        },
    ] {
        let error = Sink::open(settings(directory.path()), other)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("other") && error.contains("--out"),
            "{error}"
        );
    }
}

#[test]
fn a_topic_made_anew_is_read_from_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(settings(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    append(&mut sink, 0, &[Some(trade(1, 0).as_bytes())]).unwrap();
    let batch = sink.flush().unwrap().unwrap();
    drop(sink);
    let anew = Binding {
        topic_id: Some(Uuid::from_u128(2)),
        ..binding()
    };
    let mut sink = Sink::open(settings(directory.path()), anew).unwrap();
    sink.recover(&BTreeMap::new()).unwrap();
    // What the old topic's batch committed says nothing about the new one.
    assert_eq!(
        sink.start_position(0, &committed(1, &batch.offsets[0].metadata))
            .unwrap(),
        Start::Reset
    );
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    assert_eq!(
        read(directory.path(), "consumed_trades_2025-03-01.csv")
            .lines()
            .count(),
        3
    );
}

#[test]
fn an_offset_moved_by_somebody_else_is_followed_forwards_and_told_backwards() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(settings(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    assert_eq!(
        sink.start_position(0, &committed(9, "")).unwrap(),
        Start::At(9)
    );
    append_for_good(&mut sink, 9, 1);
    assert!(read(directory.path(), ".stockflow/index").contains(r#""gaps":[[0,1,9,[],"p"]]"#));
    let back = sink.start_position(0, &committed(3, "")).unwrap();
    assert_eq!(back, Start::Backwards(3));
    assert!(sink.holds_beyond(0, 9) && !sink.holds_beyond(0, 10));
    assert!(sink.start_at(0, 3).is_err());
    let held = sink.start_position(0, &Committed::default()).unwrap();
    assert_eq!(held, Start::At(10));
}

/// A directory and its copy say that they are one: with both in a group rows would be doubled. Whichever goes on, the
/// other sees a batch of its own that it never made.
#[test]
fn a_copy_is_refused_on_either_side() {
    for original_goes_on in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let [original, copy] = ["original", "copy"].map(|name| home.path().join(name));
        let mut sink = open(settings(&original)).unwrap();
        sink.start_at(0, 0).unwrap();
        append_for_good(&mut sink, 0, 1);
        sink.close().unwrap();
        std::fs::create_dir_all(copy.join(".stockflow")).unwrap();
        for folder in ["", ".stockflow"] {
            for entry in std::fs::read_dir(original.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    std::fs::copy(&path, copy.join(path.strip_prefix(&original).unwrap())).unwrap();
                }
            }
        }
        let (goes_on, other) = match original_goes_on {
            true => (original, copy),
            false => (copy, original),
        };
        let mut sink = open(settings(&goes_on)).unwrap();
        sink.start_position(0, &Committed::default()).unwrap();
        append(&mut sink, 1, &[Some(trade(1, 1).as_bytes())]).unwrap();
        let batch = sink.flush().unwrap().unwrap();
        let theirs = committed(2, &batch.offsets[0].metadata);
        drop(sink);
        let mut sink = Sink::open(settings(&other), binding()).unwrap();
        let error = sink.recover(&[(0, theirs.clone())].into()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, SinkError::Copied { .. }), "{text}");
        assert!(text.contains("is a copy") && text.contains("group reset"));
        drop(sink);
        // It may also come up while partitions move.
        let mut sink = open(settings(&other)).unwrap();
        assert!(sink.start_position(0, &theirs).is_err());
        drop(sink);
        // The one that went on goes on.
        let mut sink = Sink::open(settings(&goes_on), binding()).unwrap();
        sink.recover(&[(0, theirs)].into()).unwrap();
    }
}

#[test]
fn a_claim_that_no_row_followed_is_where_reading_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(settings(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    let other = "stockflow/1 dir=00000000-0000-0000-0000-000000000009 batch=4";
    let start = sink.start_position(0, &committed(9, other)).unwrap();
    assert_eq!(start, Start::At(9));
    let claim = sink.claim(0).unwrap().unwrap();
    drop(sink);
    // Killed before the first row: what the other directory holds is not read again.
    let mut sink = open(settings(directory.path())).unwrap();
    let start = sink.start_position(0, &committed(9, &claim)).unwrap();
    assert_eq!(start, Start::At(9));
    append_for_good(&mut sink, 9, 1);
    let gap = r#""gaps":[[0,1,9,["00000000-0000-0000-0000-000000000009"]]]"#;
    assert!(read(directory.path(), ".stockflow/index").contains(gap));
}

#[test]
fn steps_out_of_order_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = Sink::open(settings(directory.path()), binding()).unwrap();
    assert!(matches!(sink.flush(), Err(SinkError::OutOfOrder(_))));
    sink.recover(&BTreeMap::new()).unwrap();
    assert!(matches!(
        append(&mut sink, 0, &[None]),
        Err(SinkError::OutOfOrder(_))
    ));
    sink.start_at(0, 0).unwrap();
    append(&mut sink, 0, &[None]).unwrap();
    assert!(matches!(
        sink.start_position(0, &Committed::default()),
        Err(SinkError::OutOfOrder(_))
    ));
    sink.flush().unwrap().unwrap();
    append(&mut sink, 1, &[None]).unwrap();
    assert!(matches!(sink.flush(), Err(SinkError::OutOfOrder(_))));
    assert!(matches!(
        sink.recover(&BTreeMap::new()),
        Err(SinkError::OutOfOrder(_))
    ));
    sink.recover(&[(0, Committed::default())].into()).unwrap();
    assert_eq!(
        sink.start_position(0, &Committed::default()).unwrap(),
        Start::At(0)
    );
    let bad = Settings {
        instance: Some("../x".to_owned()),
        ..settings(directory.path())
    };
    assert!(matches!(
        Sink::open(bad, binding()),
        Err(SinkError::Settings(_))
    ));
}

#[test]
fn the_former_member_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(settings(directory.path())).unwrap();
    assert_eq!(sink.former_member(), None);
    sink.remember_member("member-1").unwrap();
    drop(sink);
    let sink = open(settings(directory.path())).unwrap();
    let former = sink.former_member().unwrap();
    assert_eq!(
        (former.member_id.as_str(), former.group.as_str()),
        ("member-1", "group")
    );
}

/// Recovery would do the same, but it takes what it finds for the rows of a process that was killed, and warns.
#[test]
fn a_sink_that_failed_takes_back_what_it_wrote_since_its_last_batch() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = open(settings(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    append(&mut sink, 0, &[Some(trade(1, 0).as_bytes())]).unwrap();
    let first = sink.flush().unwrap().unwrap();
    sink.committed(first.number, &[0]);
    let first = committed(1, &first.offsets[0].metadata);
    let name = "consumed_trades_2025-03-01.csv";
    let good = read(directory.path(), name);
    // Rows of two days are written, and then the batch cannot be noted down.
    let blocker = directory.path().join(".stockflow/checkpoint.new");
    append(&mut sink, 1, &[Some(trade(1, 1).as_bytes())]).unwrap();
    fs::create_dir(&blocker).unwrap();
    assert!(matches!(sink.flush(), Err(SinkError::Io { .. })));
    assert!(read(directory.path(), name).len() > good.len());
    sink.close().unwrap();
    assert_eq!(read(directory.path(), name), good);
    fs::remove_dir(&blocker).unwrap();

    // What somebody else has written stays.
    let mut sink = Sink::open(settings(directory.path()), binding()).unwrap();
    sink.recover(&[(0, first.clone())].into()).unwrap();
    sink.start_position(0, &first).unwrap();
    append(&mut sink, 1, &[Some(trade(1, 1).as_bytes())]).unwrap();
    fs::create_dir(&blocker).unwrap();
    assert!(matches!(sink.flush(), Err(SinkError::Io { .. })));
    let edited = read(directory.path(), name) + "mine\n";
    fs::write(directory.path().join(name), &edited).unwrap();
    sink.close().unwrap();
    assert_eq!(read(directory.path(), name), edited);
}
