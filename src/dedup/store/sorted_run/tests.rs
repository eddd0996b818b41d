//! A run against a set of entries.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn run(directory: &Path, number: u64, entries: &BTreeSet<Entry>) -> SortedRun {
    let expected = entries.len() as u64;
    SortedRun::write(directory, number, expected, entries.iter().copied().map(Ok)).unwrap()
}

fn entries(ids: u128, most: usize) -> impl Strategy<Value = BTreeSet<Entry>> {
    let place =
        (0..3, 0..100_i64).prop_map(|(partition, offset)| RecordPosition::new(partition, offset));
    prop::collection::btree_set((0..ids, place), 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn holds_what_was_written_and_not_cut(
        a in entries(2_000, 2_000),
        b in entries(2_000, 2_000),
        early in prop::collection::btree_map(0..3, 0..110_i64, 0..3),
        late in prop::collection::btree_map(0..3, 0..110_i64, 0..3),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let (mut of_a, mut of_b) = (run(path, 1, &a), run(path, 2, &b));
        prop_assert!(!of_a.cut(&early).unwrap());
        let merged = merge(of_a.entries().unwrap(), of_b.entries().unwrap());
        let both = SortedRun::write(path, 3, 4_000, merged).unwrap();
        let mut both = SortedRun::open(path, both.entry()).unwrap();
        prop_assert!(!both.cut(&late).unwrap());
        let both = SortedRun::open(path, both.entry()).unwrap();
        let of_a = a.iter().filter(|(_, place)| place.counts(&early));
        let all: BTreeSet<u128> = of_a
            .chain(&b)
            .filter(|(_, place)| place.counts(&late))
            .map(|(id, _)| *id)
            .collect();
        for id in 0..2_000 {
            prop_assert_eq!(both.contains(id).unwrap(), all.contains(&id), "{}", id);
        }
    }
}

fn at(id: u128) -> Entry {
    (id, RecordPosition::new(0, id as i64))
}

#[test]
fn a_damaged_file_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let path = run_path(directory.path(), 1);
    let written = run(directory.path(), 1, &(0..1_000).map(at).collect());
    let mut bytes = fs::read(&path).unwrap();
    bytes[8_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(SortedRun::open(directory.path(), written.entry()).is_err());
    fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    assert!(SortedRun::open(directory.path(), written.entry()).is_err());
}

#[test]
fn with_damaged_places_all_of_it_goes_when_something_is_cut() {
    for cut_short in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let written = run(directory.path(), 1, &(0..1_000).map(at).collect());
        let path = places_path(&run_path(directory.path(), 1));
        let mut bytes = fs::read(&path).unwrap();
        bytes[8_000] ^= 1;
        bytes.truncate(bytes.len() - usize::from(cut_short));
        fs::write(&path, &bytes).unwrap();
        let mut opened = SortedRun::open(directory.path(), written.entry()).unwrap();
        assert!(!opened.cut(&Cuts::from([(0, 1_000), (1, 0)])).unwrap());
        assert!(opened.contains(7).unwrap());
        assert!(opened.cut(&Cuts::from([(0, 999)])).unwrap());
        let opened = SortedRun::open(directory.path(), opened.entry()).unwrap();
        assert!(!opened.contains(7).unwrap());
    }
}

#[test]
fn what_goes_with_damaged_places_when_a_cut_run_is_opened_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut written = run(directory.path(), 1, &(0..1_000).map(at).collect());
    assert!(!written.cut(&Cuts::from([(0, 900)])).unwrap());
    let path = places_path(&run_path(directory.path(), 1));
    let mut bytes = fs::read(&path).unwrap();
    bytes[8_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut opened = SortedRun::open(directory.path(), written.entry()).unwrap();
    assert!(!opened.contains(7).unwrap());
    assert!(opened.cut(&Cuts::from([(0, 900)])).unwrap());
    assert!(!opened.cut(&Cuts::from([(0, 900)])).unwrap());
    // The topic was read anew since.
    let mut opened = SortedRun::open(directory.path(), opened.entry()).unwrap();
    assert!(!opened.cut(&Cuts::from([(0, 900)])).unwrap());
}

#[test]
fn ids_without_places_go_only_when_those_are_meant() {
    let directory = tempfile::tempdir().unwrap();
    let written = run(directory.path(), 1, &(0..1_000).map(at).collect());
    // As runs were before.
    fs::remove_file(places_path(&run_path(directory.path(), 1))).unwrap();
    let text = format!(
        r#"{{"number":1,"count":1000,"crc":{}}}"#,
        written.entry().crc
    );
    let entry: RunEntry = serde_json::from_str(&text).unwrap();
    let mut old = SortedRun::open(directory.path(), &entry).unwrap();
    assert!(!old.cut(&Cuts::from([(0, 0), (1, 0)])).unwrap());
    assert!(old.contains(7).unwrap());
    let mut merged = SortedRun::write(directory.path(), 2, 1_000, old.entries().unwrap()).unwrap();
    for run in [&mut old, &mut merged] {
        assert!(run.cut(&Cuts::from([(0, 0), ALL_UNKNOWN])).unwrap());
        assert!(!run.contains(7).unwrap());
        assert_eq!(run.entries().unwrap().count(), 0);
    }
}
