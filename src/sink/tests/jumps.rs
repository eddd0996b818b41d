//! Offsets that a directory is set past.

use super::super::verify::{Outcome, Report, examine};
use super::super::{Sink, Start};
use super::desk::{append_for_good, committed, open};
use super::settings;

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
