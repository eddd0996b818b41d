//! A partition that is begun again further back: its rows go when the claim counts, whoever is stopped in between.

use super::super::{Committed, Sink, Start};
use super::desk::{append, committed, open, read, trade};
use super::{binding, settings};

const FILE: &str = "consumed_trades_2025-03-01.csv";

/// A directory with a row at 5 and the text of its commit, in which the partition is to go back to 5, and that claim.
fn stopped_after_the_claim(directory: &std::path::Path) -> (String, String) {
    let mut sink: Sink = open(settings(directory)).unwrap();
    assert_eq!(sink.met(&[].into(), 3), 3);
    let start = sink.start_position(0, &Committed::default()).unwrap();
    assert_eq!(start, Start::Reset);
    sink.start_at(0, 5).unwrap();
    sink.claim(0).unwrap().unwrap();
    append(&mut sink, 5, &[Some(trade(1, 5).as_bytes())]).unwrap();
    let batch = sink.flush().unwrap().unwrap();
    sink.committed(batch.number, &[0]);
    sink.go_back(0, 5);
    let claim = sink.claim(0).unwrap().unwrap();
    (batch.offsets[0].metadata.clone(), claim)
}

#[test]
fn rows_of_a_partition_that_goes_back_go_when_the_claim_counted() {
    let other = uuid::Uuid::from_u128(9);
    let followed = |text: &str, owner: &str| {
        let mut words = text.split(' ');
        let us = words.nth(1).unwrap().strip_prefix("dir=").unwrap();
        let topic = words.nth(1).unwrap();
        format!("stockflow/2 dir={other} batch=4 {topic} met=3 from=5 owners={us}/{owner}")
    };
    for (what, offset, goes) in [
        ("the batch stands", 6, false),
        ("the claim stands", 5, true),
        ("others followed the batch", 9, false),
        ("others followed the claim", 9, true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (batch, claim) = stopped_after_the_claim(directory.path());
        let text = match what {
            "the batch stands" => batch.clone(),
            "the claim stands" => claim.clone(),
            "others followed the batch" => followed(&batch, "0"),
            _ => followed(&claim, "-"),
        };
        let found = committed(offset, &text);
        let mut sink = Sink::open(settings(directory.path()), binding()).unwrap();
        sink.recover(&[(0, found.clone())].into()).unwrap();
        let start = sink.start_position(0, &found).unwrap();
        assert_eq!(start, Start::At(offset), "{what}");
        sink.close().unwrap();
        let path = directory.path().join(FILE);
        let rows = match path.exists() {
            true => read(directory.path(), FILE).lines().count() - 1,
            false => 0,
        };
        assert_eq!(rows, usize::from(!goes), "{what}");
    }
}

/// What began a partition at its end without knowing better says so in its commits, also when it knows better by then:
/// otherwise nobody could tell after a stop.
#[test]
fn a_partition_begun_amiss_says_so_until_it_is_mended() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink: Sink = open(settings(directory.path())).unwrap();
    assert_eq!(sink.met(&[].into(), 3), 3);
    sink.start_position(0, &Committed::default()).unwrap();
    sink.start_at(0, 5).unwrap();
    sink.claim(0).unwrap().unwrap();
    let other = "stockflow/1 dir=00000000-0000-0000-0000-000000000009 begun=0 met=0 from=0";
    assert_eq!(sink.met(&[(1, committed(0, other))].into(), 3), 0);
    append(&mut sink, 5, &[Some(trade(1, 5).as_bytes())]).unwrap();
    let batch = sink.flush().unwrap().unwrap();
    let found = committed(6, &batch.offsets[0].metadata);
    sink.committed(batch.number, &[0]);
    sink.close().unwrap();

    let mut sink = Sink::open(settings(directory.path()), binding()).unwrap();
    sink.recover(&[(0, found.clone())].into()).unwrap();
    assert_eq!(sink.start_position(0, &found).unwrap(), Start::At(6));
    assert_eq!(sink.begun_amiss(0, &found), Some(true));
    sink.go_back(0, 2);
    let found = committed(2, &sink.claim(0).unwrap().unwrap());
    let moved = sink.gone_back(0).unwrap().unwrap();
    assert_eq!(moved.rows, 1);
    assert_eq!(sink.begun_amiss(0, &found), None, "{found:?}");
}
