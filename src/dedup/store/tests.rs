//! What a ledger keeps across restarts, kills and damage.

use std::fs;

use super::super::divergence::Log;
use super::paths::run_path;
use super::*;

fn subject() -> Subject {
    Subject {
        cluster_id: "c".into(),
        topic: "trades".into(),
        topic_id: Some(Uuid::from_u128(7)),
    }
}

fn span(start: i64, next: i64) -> BTreeMap<i32, Span> {
    let span = Span {
        start,
        next,
        mark: None,
    };
    BTreeMap::from([(0, span)])
}

#[test]
fn what_was_saved_is_known_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), &subject()).unwrap();
    store.cover(span(5, 5), Some(99));
    for id in 0..700_000_u64 {
        // Spread as hashes are.
        let id = u128::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        store.acknowledged(id, 0, None).unwrap();
    }
    store.acknowledged(1, 0, Some(5)).unwrap();
    store.acknowledged(2, 0, Some(9)).unwrap();
    store.save().unwrap();
    assert!(store.runs.len() <= 3, "{}", store.runs.len());
    drop(store);
    let store = Store::open(state.path(), &subject()).unwrap();
    assert_eq!(store.spans(), &span(5, 6), "only up to the gap");
    assert_eq!(store.since_ms(), Some(99));
    for id in [0, 1, 2, 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835] {
        assert!(store.contains(id).unwrap(), "{id}");
    }
    assert!(!store.contains(3).unwrap());
    let files = fs::read_dir(&store.directory).unwrap().count();
    assert_eq!(files, 2 * store.runs.len() + 2, "nothing is left over");
}

#[test]
fn a_kill_is_known_at_the_next_start() {
    let state = tempfile::tempdir().unwrap();
    let open = || Store::open(state.path(), &subject()).unwrap();
    assert_eq!(open().before(), Before::Unknown);
    assert_eq!(open().before(), Before::Unsettled);
    let mut store = open();
    store.note(1, RecordPosition::new(0, 1)).unwrap();
    store.settle();
    store.save().unwrap();
    drop(store);
    assert_eq!(open().before(), Before::Settled);
    assert_eq!(open().before(), Before::Unsettled, "it was opened since");
}

#[test]
fn another_topic_has_its_own_and_another_process_is_consulted() {
    let state = tempfile::tempdir().unwrap();
    let mut first = Store::open(state.path(), &subject()).unwrap();
    first.note(1, RecordPosition::new(0, 1)).unwrap();
    first.save().unwrap();
    let second = Store::open(state.path(), &subject()).unwrap();
    assert_ne!(first.directory, second.directory);
    assert!(second.contains(1).unwrap() && second.spans().is_empty());
    let other = Subject {
        topic_id: Some(Uuid::from_u128(8)),
        ..subject()
    };
    assert!(
        !Store::open(state.path(), &other)
            .unwrap()
            .contains(1)
            .unwrap()
    );
    drop(first);
    let again = Store::open(state.path(), &subject()).unwrap();
    assert!(again.contains(1).unwrap());
}

#[test]
fn a_damaged_ledger_is_begun_anew() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), &subject()).unwrap();
    store.cover(span(0, 10), None);
    store.note(1, RecordPosition::new(0, 1)).unwrap();
    store.save().unwrap();
    let run = run_path(&store.directory, 1);
    drop(store);
    fs::write(run, "x").unwrap();
    let mut store = Store::open(state.path(), &subject()).unwrap();
    assert!(store.spans().is_empty() && !store.contains(1).unwrap());
    store.note(2, RecordPosition::new(0, 2)).unwrap();
    store.save().unwrap();
    drop(store);
    assert!(
        Store::open(state.path(), &subject())
            .unwrap()
            .contains(2)
            .unwrap()
    );
}

/// Opens two ledgers of the topic, of which the first ends cleanly and the second does not.
fn killed_in_the_second_slot(state: &Path) {
    let mut first = Store::open(state, &subject()).unwrap();
    let mut second = Store::open(state, &subject()).unwrap();
    second.cover(span(0, 10), None);
    second.note(2, RecordPosition::new(0, 2)).unwrap();
    second.save().unwrap();
    first.settle();
    first.save().unwrap();
}

#[test]
fn a_kill_is_known_whichever_slot_the_next_start_takes() {
    let state = tempfile::tempdir().unwrap();
    killed_in_the_second_slot(state.path());
    let mut next = Store::open(state.path(), &subject()).unwrap();
    assert_eq!(next.before(), Before::Unsettled);
    assert!(next.contains(2).unwrap(), "what the other slot's runs hold");
    next.settle_others().unwrap();
    next.settle();
    next.save().unwrap();
    drop(next);
    let after = Store::open(state.path(), &subject()).unwrap();
    assert_eq!(after.before(), Before::Settled, "both were settled");
    assert!(after.contains(2).unwrap());
}

#[test]
fn who_took_a_slot_meanwhile_is_not_settled_by_others() {
    let state = tempfile::tempdir().unwrap();
    killed_in_the_second_slot(state.path());
    let mut first = Store::open(state.path(), &subject()).unwrap();
    let second = Store::open(state.path(), &subject()).unwrap();
    first.settle_others().unwrap();
    drop(second);
    first.settle_others().unwrap();
    first.settle();
    first.save().unwrap();
    drop(first);
    let again = Store::open(state.path(), &subject()).unwrap();
    assert_eq!(again.before(), Before::Unsettled);
}

/// What becomes of `spans` when partition 0 holds nothing but the offsets from `start` to `end`.
fn verdict(spans: &BTreeMap<i32, Span>, start: i64, end: i64) -> Verdict {
    let log = Log {
        start,
        end,
        epoch_end: None,
        batch: None,
    };
    Verdict::new(spans, &BTreeMap::from([(0, log)]))
}

#[test]
fn what_others_knew_of_a_longer_topic_is_forgotten() {
    let state = tempfile::tempdir().unwrap();
    killed_in_the_second_slot(state.path());
    let mut next = Store::open(state.path(), &subject()).unwrap();
    let mut cut = |end| {
        let spans = next.others()[0].spans();
        next.cut_others(&[verdict(&spans, 5, end)]).unwrap();
        next.contains(2).unwrap()
    };
    assert!(cut(10), "retention has deleted it");
    let mut killed = |end| {
        let spans = next.others()[0].spans();
        next.cut_others(&[verdict(&spans, 1, end)]).unwrap();
        next.contains(2).unwrap()
    };
    assert!(!killed(9));
    drop(next);
    let after = Store::open(state.path(), &subject()).unwrap();
    assert!(!after.contains(2).unwrap(), "for good");
}

#[test]
fn what_is_cut_is_gone_for_good_and_the_rest_stays() {
    for spilled in [false, true] {
        let state = tempfile::tempdir().unwrap();
        let mut store = Store::open(state.path(), &subject()).unwrap();
        store.cover(span(0, 10), Some(99));
        for id in 0..10_u128 {
            store.note(id, RecordPosition::new(0, id as i64)).unwrap();
        }
        store.note(20, RecordPosition::new(1, 20)).unwrap();
        // Equal records on two partitions: one of them stays.
        store.note(9, RecordPosition::new(1, 3)).unwrap();
        if spilled {
            store.save().unwrap();
        }
        let verdict = verdict(store.spans(), 4, 8);
        store.cut(&verdict).unwrap();
        store.note(7, RecordPosition::new(0, 30)).unwrap();
        for round in 0..3 {
            let known: Vec<u128> = (0..30).filter(|id| store.contains(*id).unwrap()).collect();
            assert_eq!(known, [0, 1, 2, 3, 7, 9, 20], "{spilled} {round}");
            assert_eq!(store.spans(), &span(0, 4));
            assert_eq!(store.since_ms(), Some(99));
            store.save().unwrap();
            drop(store);
            store = Store::open(state.path(), &subject()).unwrap();
        }
    }
}

#[test]
fn what_was_kept_without_places_is_read_again_when_the_log_has_parted() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), &subject()).unwrap();
    store.cover(span(0, 10), Some(99));
    store.note(1, RecordPosition::UNKNOWN).unwrap();
    store.save().unwrap();
    let same = verdict(store.spans(), 4, 10);
    store.cut(&same).unwrap();
    assert!(store.contains(1).unwrap());
    assert_eq!(store.spans(), &span(0, 4));
    let shorter = verdict(&span(0, 10), 4, 9);
    store.cut(&shorter).unwrap();
    assert!(!store.contains(1).unwrap());
    assert!(store.spans().is_empty() && store.since_ms().is_none());
}

#[test]
fn the_topic_is_read_again_when_the_places_of_what_was_cut_are_damaged() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), &subject()).unwrap();
    store.cover(span(0, 10), Some(99));
    for id in 0..10_u128 {
        store.note(id, RecordPosition::new(0, id as i64)).unwrap();
    }
    store.save().unwrap();
    let verdict = verdict(store.spans(), 4, 8);
    store.cut(&verdict).unwrap();
    let path = store.directory.join("run-1.places");
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut store = Store::open(state.path(), &subject()).unwrap();
    assert!(!store.contains(1).unwrap());
    assert!(store.spans().is_empty() && store.since_ms().is_none());
    // Once is enough.
    store.cover(span(0, 10), None);
    store.save().unwrap();
    drop(store);
    let store = Store::open(state.path(), &subject()).unwrap();
    assert_eq!(store.spans(), &span(0, 10));
}

#[test]
fn an_offset_is_believed_only_with_its_checksum() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), &subject()).unwrap();
    store.cover(span(0, 10), None);
    store.note(1, RecordPosition::new(0, 1)).unwrap();
    store.settle();
    store.save().unwrap();
    let path = store.directory.join("manifest.json");
    drop(store);
    let sealed = fs::read_to_string(&path).unwrap();
    let (_, bare) = sealed.split_once('\n').unwrap();
    // As it was kept before there were checksums: the runs have their own.
    fs::write(&path, bare).unwrap();
    let old = Store::open(state.path(), &subject()).unwrap();
    assert_eq!(old.before(), Before::Unsettled);
    assert!(old.spans().is_empty() && old.contains(1).unwrap());
    drop(old);
    let flipped = sealed.replace("\"next\":10", "\"next\":90");
    assert_ne!(flipped, sealed);
    fs::write(&path, flipped).unwrap();
    let new = Store::open(state.path(), &subject()).unwrap();
    assert_eq!(new.before(), Before::Unknown);
    assert!(new.spans().is_empty());
}

#[test]
fn topics_with_the_longest_names_have_a_ledger_each() {
    let state = tempfile::tempdir().unwrap();
    let open = |topic: String| {
        let subject = Subject { topic, ..subject() };
        Store::open(state.path(), &subject).unwrap().directory
    };
    let long = "t".repeat(248);
    let (a, b) = (open(format!("{long}a")), open(format!("{long}b")));
    assert_ne!(a, b);
    assert_eq!(a.file_name().unwrap().len(), 100 + 1 + 32);
    // No topic of Kafka's has such letters; no letter is cut in two all the same.
    open("\u{e4}".repeat(60));
    open(format!("t{}", "\u{e4}".repeat(60)));
}

#[test]
#[cfg(unix)]
fn a_pipe_in_place_of_a_file_is_named_and_not_waited_for() {
    let pipe = |path: PathBuf| {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o600.into()).unwrap();
    };
    // Of a directory of its own, and of one that another process left behind.
    for place in [0, 1] {
        for (name, is_error) in [
            ("lock", true),
            ("manifest.json", false),
            ("manifest.json.new", place == 0),
        ] {
            let state = tempfile::tempdir().unwrap();
            let directory = subject().directories(state.path()).nth(place).unwrap();
            fs::create_dir_all(&directory).unwrap();
            pipe(directory.join(name));
            match Store::open(state.path(), &subject()) {
                Err(error) => {
                    let said = error.to_string();
                    assert!(is_error && said.contains(name), "{place} {name}: {said}");
                    assert!(said.contains("no regular file"), "{said}");
                }
                Ok(store) => {
                    assert!(!is_error, "{place} {name}");
                    assert!(store.contains(1).is_ok_and(|known| !known));
                }
            }
        }
    }
}
