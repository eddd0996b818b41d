//! Files that somebody else changed, or took away.

use std::fs;

use super::super::{Committed, SinkError};
use super::desk::{append, append_for_good, open, read, trade};
use super::settings;

#[test]
fn edited_files_are_noticed_and_nothing_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("consumed_trades_2025-03-01.csv");
    let mut sink = open(settings(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    sink.close().unwrap();
    let good = fs::read_to_string(&path).unwrap();
    for edited in [
        good.replace("IBM", "ABC"),
        good[..good.len() - 1].to_owned(),
    ] {
        fs::write(&path, &edited).unwrap();
        assert!(matches!(
            open(settings(directory.path())),
            Err(SinkError::Edited { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), edited);
    }
    // A file that its owner took away is not missed, and its name is not used again.
    fs::remove_file(&path).unwrap();
    let mut sink = open(settings(directory.path())).unwrap();
    sink.start_position(0, &Committed::default()).unwrap();
    append_for_good(&mut sink, 1, 1);
    assert!(!path.exists());
    assert!(read(directory.path(), "consumed_trades_2025-03-01.0001.csv").ends_with(",0,1\n"));
}

#[test]
fn a_directory_that_goes_away_is_an_error_before_anything_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let mut sink = open(settings(&out)).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    append(&mut sink, 1, &[Some(trade(1, 1).as_bytes())]).unwrap();
    fs::remove_dir_all(&out).unwrap();
    let error = sink.flush().unwrap_err();
    assert!(
        matches!(error, SinkError::Edited { .. } | SinkError::Io { .. }),
        "{error}"
    );
    assert!(matches!(sink.flush(), Err(SinkError::OutOfOrder(_))));
}

#[test]
fn what_is_written_behind_our_rows_meanwhile_stays_and_is_told_until_it_is_gone() {
    for foreign in ["mine\n", &"x".repeat(100_000)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("consumed_trades_2025-03-01.csv");
        let mut sink = open(settings(directory.path())).unwrap();
        sink.start_at(0, 0).unwrap();
        append_for_good(&mut sink, 0, 1);
        let good = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{good}{foreign}")).unwrap();
        append(&mut sink, 1, &[Some(trade(1, 1).as_bytes())]).unwrap();
        let error = sink.flush().unwrap_err();
        assert!(matches!(error, SinkError::Edited { .. }), "{error}");
        drop(sink);
        for _ in 0..2 {
            let error = open(settings(directory.path())).err().unwrap();
            assert!(matches!(error, SinkError::Edited { .. }), "{error}");
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                format!("{good}{foreign}")
            );
        }
        fs::write(&path, &good).unwrap();
        let mut sink = open(settings(directory.path())).unwrap();
        sink.start_position(0, &Committed::default()).unwrap();
        append_for_good(&mut sink, 1, 1);
        assert!(read(directory.path(), "consumed_trades_2025-03-01.csv").ends_with(",0,1\n"));
    }
}

#[test]
fn a_header_that_was_edited_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("consumed_trades_2025-03-01.csv");
    let mut sink = open(settings(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    let rows: Vec<_> = (0..500).map(|n| trade(1, n)).collect();
    let rows: Vec<_> = rows.iter().map(|row| Some(row.as_bytes())).collect();
    append(&mut sink, 0, &rows).unwrap();
    let batch = sink.flush().unwrap().unwrap();
    sink.committed(batch.number, &[0]);
    sink.close().unwrap();
    let good = fs::read_to_string(&path).unwrap();
    assert!(good.len() > 2 * 4096, "the header is not in the last block");
    fs::write(&path, good.replacen("Symbol", "Ticker", 1)).unwrap();
    let error = open(settings(directory.path())).err().unwrap().to_string();
    assert!(error.contains("its header is different"), "{error}");
    fs::write(&path, good).unwrap();
    open(settings(directory.path())).unwrap();
}
