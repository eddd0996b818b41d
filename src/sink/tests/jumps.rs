//! Offsets that a directory is set past.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::{Binding, Sink, Start};
use super::desk::{append, append_for_good, committed, open, trade};
use super::{binding, settings};
use crate::verify::{Outcome, Report, examine};

#[test]
fn what_another_program_read_before_a_reset_is_not_jumped_on_purpose() {
    for (text, program) in [
        ("stockflow group reset", 0),
        ("stockflow group reset, another program before: 1", 0),
        ("stockflow group reset, another program before: 300", 299),
        ("stockflow group reset, another program before: 700", 499),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut sink: Sink = open(settings(directory.path())).unwrap();
        sink.start_at(0, 0).unwrap();
        append_for_good(&mut sink, 0, 1);
        let start = sink.start_position(0, &committed(500, text)).unwrap();
        assert_eq!(start, Start::At(500));
        append_for_good(&mut sink, 500, 1);
        sink.close().unwrap();
        let report = Report::new(&examine(&[directory.path().to_owned()]).unwrap());
        let absent = &report.json()["absent"];
        assert_eq!(absent["another_program"], program, "{}", report.text());
        assert_eq!(absent["jumped"], 499 - program, "{}", report.text());
        let verdict = match program {
            0 => Outcome::Proven,
            _ => Outcome::Undecided,
        };
        assert_eq!(report.verdict, verdict, "{}", report.text());
    }
}

#[test]
fn a_new_directory_does_not_call_what_another_program_read_a_jump() {
    for (text, program, jumped) in [
        ("stockflow group reset", 0, 0),
        (
            "stockflow group reset, another program before: 300",
            300,
            200,
        ),
        ("stockflow group reset, another program before: 700", 500, 0),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut sink: Sink = open(settings(directory.path())).unwrap();
        let start = sink.start_position(0, &committed(500, text)).unwrap();
        assert_eq!(start, Start::At(500));
        append_for_good(&mut sink, 500, 1);
        sink.close().unwrap();
        let report = Report::new(&examine(&[directory.path().to_owned()]).unwrap());
        let absent = &report.json()["absent"];
        assert_eq!(absent["another_program"], program, "{}", report.text());
        assert_eq!(absent["jumped"], jumped, "{}", report.text());
    }
}

/// A reset that could not name all former owners says so, and what they may have is not known.
#[test]
fn owners_that_a_reset_left_out_are_not_taken_for_nobody() {
    let before = "stockflow group reset, before: stockflow/1 dir=00000000-0000-0000-0000-000000000007 batch=1 from=0";
    for (owners, unknown) in [("", 1), (" owners=+", 2)] {
        let directory = tempfile::tempdir().unwrap();
        let mut sink: Sink = open(settings(directory.path())).unwrap();
        let text = format!("{before}{owners}");
        let start = sink.start_position(0, &committed(500, &text)).unwrap();
        assert_eq!(start, Start::At(500));
        append_for_good(&mut sink, 500, 1);
        sink.close().unwrap();
        let index = super::desk::read(directory.path(), ".stockflow/index");
        let nil = "00000000-0000-0000-0000-000000000000";
        assert_eq!(index.contains(nil), unknown == 2, "{index}");
        let report = Report::new(&examine(&[directory.path().to_owned()]).unwrap());
        assert_eq!(report.verdict, Outcome::Undecided, "{}", report.text());
    }
}

/// The batch that names the topic's id is abandoned, and the topic is made anew: its rows are of the topic that they were read
/// from all the same.
#[test]
fn the_id_of_a_topic_outlives_the_batch_that_named_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink: Sink = open(settings(directory.path())).unwrap();
    sink.start_at(0, 0).unwrap();
    append(&mut sink, 0, &[Some(trade(1, 0).as_bytes())]).unwrap();
    sink.flush().unwrap().unwrap();
    drop(sink);
    let mut sink = Sink::open(settings(directory.path()), binding()).unwrap();
    sink.recover(&[(0, committed(0, ""))].into()).unwrap();
    let start = sink.start_position(0, &committed(0, "")).unwrap();
    assert_eq!(start, Start::At(0));
    append_for_good(&mut sink, 0, 1);
    sink.close().unwrap();
    let anew = Binding {
        topic_id: Some(Uuid::from_u128(2)),
        ..binding()
    };
    let mut sink = Sink::open(settings(directory.path()), anew).unwrap();
    sink.recover(&BTreeMap::new()).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    sink.close().unwrap();
    let examination = examine(&[directory.path().to_owned()]).unwrap();
    let accounts = examination.ledger.accounts.keys();
    let ids: Vec<_> = accounts.map(|(key, _)| key.topic_id).collect();
    assert_eq!(ids, [1, 2].map(|id| Some(Uuid::from_u128(id))));
    let report = Report::new(&examination);
    assert_eq!(report.verdict, Outcome::Proven, "{}", report.text());
}
