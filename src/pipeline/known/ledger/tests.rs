//! What a ledger keeps across restarts, kills and damage.

use uuid::Uuid;

use super::*;

fn subject() -> Subject {
    Subject {
        cluster_id: "c".into(),
        topic: "trades".into(),
        topic_id: Some(Uuid::from_u128(7)),
    }
}

fn span(start: i64, next: i64) -> BTreeMap<i32, Span> {
    BTreeMap::from([(0, Span { start, next })])
}

#[test]
fn what_was_saved_is_known_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path(), &subject()).unwrap();
    ledger.cover(span(5, 5), Some(99));
    for id in 0..700_000_u64 {
        // Spread as hashes are.
        let id = u128::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        ledger.acknowledged(id, 0, None).unwrap();
    }
    ledger.acknowledged(1, 0, Some(5)).unwrap();
    ledger.acknowledged(2, 0, Some(9)).unwrap();
    ledger.save().unwrap();
    assert!(ledger.runs.len() <= 3, "{}", ledger.runs.len());
    drop(ledger);
    let ledger = Ledger::open(state.path(), &subject()).unwrap();
    assert_eq!(ledger.spans(), &span(5, 6), "only up to the gap");
    assert_eq!(ledger.since_ms(), Some(99));
    for id in [0, 1, 2, 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835] {
        assert!(ledger.contains(id).unwrap(), "{id}");
    }
    assert!(!ledger.contains(3).unwrap());
    let files = fs::read_dir(&ledger.directory).unwrap().count();
    assert_eq!(files, ledger.runs.len() + 2, "nothing is left over");
}

#[test]
fn a_kill_is_known_at_the_next_start() {
    let state = tempfile::tempdir().unwrap();
    let open = || Ledger::open(state.path(), &subject()).unwrap();
    assert_eq!(open().before(), Before::Unknown);
    assert_eq!(open().before(), Before::Unsettled);
    let mut ledger = open();
    ledger.note(1).unwrap();
    ledger.settle();
    ledger.save().unwrap();
    drop(ledger);
    assert_eq!(open().before(), Before::Settled);
    assert_eq!(open().before(), Before::Unsettled, "it was opened since");
}

#[test]
fn another_topic_and_another_process_have_their_own() {
    let state = tempfile::tempdir().unwrap();
    let mut first = Ledger::open(state.path(), &subject()).unwrap();
    first.note(1).unwrap();
    first.save().unwrap();
    let second = Ledger::open(state.path(), &subject()).unwrap();
    assert!(!second.contains(1).unwrap());
    let other = Subject {
        topic_id: Some(Uuid::from_u128(8)),
        ..subject()
    };
    assert!(
        !Ledger::open(state.path(), &other)
            .unwrap()
            .contains(1)
            .unwrap()
    );
    drop(first);
    let again = Ledger::open(state.path(), &subject()).unwrap();
    assert!(again.contains(1).unwrap());
}

#[test]
fn a_damaged_ledger_is_begun_anew() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path(), &subject()).unwrap();
    ledger.cover(span(0, 10), None);
    ledger.note(1).unwrap();
    ledger.save().unwrap();
    let run = ledger.path(1);
    drop(ledger);
    fs::write(run, "x").unwrap();
    let mut ledger = Ledger::open(state.path(), &subject()).unwrap();
    assert!(ledger.spans().is_empty() && !ledger.contains(1).unwrap());
    ledger.note(2).unwrap();
    ledger.save().unwrap();
    drop(ledger);
    assert!(
        Ledger::open(state.path(), &subject())
            .unwrap()
            .contains(2)
            .unwrap()
    );
}
