//! The rules, one by one.

use uuid::Uuid;

use super::*;
use crate::sink::state::Before;

const US: Uuid = Uuid::from_u128(1);

fn holder() -> Holder {
    Holder {
        directory: US,
        topic: Some(Uuid::from_u128(7)),
        born: 3,
    }
}

/// A commit in the name of a directory, for a topic.
fn committed(directory: u128, text: &str, topic: u128, offset: i64) -> Committed {
    let (directory, topic) = (Uuid::from_u128(directory), Uuid::from_u128(topic));
    Committed {
        offset: Some(offset),
        leader_epoch: None,
        metadata: format!("stockflow/2 dir={directory} {text} topic={topic}"),
    }
}

fn pending(number: u64, from: i64, next: i64) -> Pending {
    let to = Position { next, epoch: None };
    Pending {
        number,
        files: BTreeMap::new(),
        partitions: [(0, Moved { from, to })].into(),
        index: 0,
        counted: BTreeSet::new(),
    }
}

fn verdict(pending: &Pending, committed: Committed) -> Verdict {
    judge(pending, holder(), &[(0, committed)].into()).unwrap()[&0]
}

/// A host that took a partition over, and was killed before its first row, goes on where it took over and not where
/// it had been before.
#[test]
fn a_take_over_is_where_the_partition_was_begun() {
    let begun = committed(1, "begun=9", 7, 4_154);
    assert_eq!(
        start(holder(), Some(752), &begun),
        StartRule::Forwards(752, 4_154, true)
    );
    assert_eq!(start(holder(), Some(4_200), &begun), StartRule::At(4_200));
    let late = committed(1, "batch=8", 7, 4_154);
    assert_eq!(start(holder(), Some(752), &late), StartRule::At(752));
}

/// Where nobody has read up to what is committed, it is somebody's mistake; where somebody has, the log has lost records.
#[test]
fn an_offset_beyond_the_log_is_no_place_to_go_on_unless_it_was_read() {
    let log = (10, 100);
    let foreign = Committed {
        offset: Some(500),
        ..Committed::default()
    };
    let to = |held, committed: &Committed| beyond(holder(), held, committed, log);
    for (held, goes_on) in [
        (None, None),
        (Some(9), None),
        (Some(10), Some(10)),
        (Some(100), Some(100)),
    ] {
        assert_eq!(to(held, &foreign), Some(StartRule::Beyond(goes_on)));
    }
    assert_eq!(to(Some(101), &foreign), None, "the log has lost records");
    let claim = committed(1, "begun=9", 7, 500);
    assert_eq!(to(Some(20), &claim), Some(StartRule::Beyond(Some(20))));
    for read in [
        committed(1, "batch=8", 7, 500),
        committed(2, "batch=8", 7, 500),
        committed(2, "begun=8", 7, 500),
    ] {
        assert_eq!(to(Some(20), &read), None, "{read:?}");
    }
    let within = committed(1, "begun=9", 7, 100);
    assert_eq!(to(Some(20), &within), None);
    let of_another_topic = committed(1, "begun=9", 6, 500);
    assert_eq!(to(None, &of_another_topic), None);
}

/// Members that began at once: what one of them knows of what appeared later mends what another one began at its end.
#[test]
fn what_appeared_later_and_was_begun_at_its_end_is_begun_anew_while_all_of_it_is_here() {
    let amiss = |partition, committed: &Committed| begun_amiss(holder(), 1, partition, committed);
    let said = |directory: u128, what: &str, more: &str| {
        let (directory, topic) = (Uuid::from_u128(directory), Uuid::from_u128(7));
        Committed {
            offset: Some(50),
            leader_epoch: None,
            metadata: format!("stockflow/2 dir={directory} {what} topic={topic}{more}"),
        }
    };
    for (directory, what) in [(1, "begun=9"), (1, "batch=9"), (2, "begun=9")] {
        let committed = said(directory, what, " met=3");
        let found = [0, 1, 2, 3].map(|partition| amiss(partition, &committed));
        assert_eq!(found, [None, Some(true), Some(true), None], "{what}");
    }
    let theirs = said(2, "batch=9", " met=3");
    assert_eq!(amiss(1, &theirs), Some(false), "rows of it are elsewhere");
    let begun_at_20 = said(2, "batch=9", " met=3 from=20");
    assert_eq!(
        begun_at(holder(), &begun_at_20),
        Some(20),
        "what lay before may be asked for"
    );
    assert_eq!(begun_at(holder(), &theirs), None);
    let before = format!(" met=3 owners={}/4", Uuid::from_u128(3).simple());
    let taken_over = said(1, "begun=9", &before);
    assert_eq!(
        amiss(1, &taken_over),
        Some(false),
        "rows of it are elsewhere"
    );
    for committed in [
        said(1, "begun=9", " met=1"),
        said(1, "begun=9", ""),
        Committed::default(),
    ] {
        assert_eq!(amiss(1, &committed), None);
    }
}

/// Who had the partition says nothing where it stands as the group began it.
#[test]
fn what_was_begun_and_not_read_can_be_begun_again_by_anybody() {
    let said = |offset: i64, what: &str, more: &str| {
        let (directory, topic) = (Uuid::from_u128(2), Uuid::from_u128(7));
        Committed {
            offset: Some(offset),
            leader_epoch: None,
            metadata: format!("stockflow/2 dir={directory} {what} topic={topic} met=3{more}"),
        }
    };
    let owners = format!(" from=50 owners={}/4", Uuid::from_u128(3));
    for (committed, unread) in [
        (said(50, "begun=9", &owners), true),
        (said(50, "begun=9", " from=50"), true),
        (said(60, "begun=9", &owners), false),
        (said(50, "batch=9", &owners), false),
    ] {
        let can = begun_amiss(holder(), 1, 2, &committed);
        assert_eq!(can, Some(unread), "{committed:?}");
        let at = begun_unread(holder(), 2, &committed);
        assert_eq!(at, unread.then_some(50), "{committed:?}");
    }
    let unknown = said(50, "begun=9", "");
    assert_eq!(begun_unread(holder(), 2, &unknown), None);
    let later = said(50, "begun=9", " from=50");
    assert_eq!(begun_unread(holder(), 3, &later), None, "appeared later");
}

/// A stop between the claim and the moving of the rows: what is committed by then tells whether the claim counted.
#[test]
fn a_claim_further_back_counted_where_it_stands_or_others_follow_it() {
    let (us, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let chain = |batch: &str| format!("batch=3 topic={} owners={us}/{batch}", Uuid::from_u128(7));
    let followed = |batch: &str| Committed {
        offset: Some(60),
        leader_epoch: None,
        metadata: format!("stockflow/2 dir={other} {}", chain(batch)),
    };
    let mut reset = followed("-");
    reset.metadata = format!("stockflow group reset, before: {}", reset.metadata);
    for (committed, counted) in [
        (committed(1, "begun=9", 7, 50), true),
        (committed(1, "begun=8", 7, 50), false),
        (committed(1, "batch=8", 7, 90), false),
        (followed("-"), true),
        (followed("8"), false),
        (reset, true),
        (committed(1, "begun=9", 6, 50), false),
        (Committed::default(), false),
    ] {
        assert_eq!(went_back(holder(), 9, &committed), counted, "{committed:?}");
    }
}

/// A commit goes by the topic's name: one for a topic that was deleted may land on the one that was made anew.
#[test]
fn an_offset_of_another_topic_of_that_name_is_none() {
    for (directory, text) in [(1, "batch=8"), (2, "batch=8"), (1, "begun=9")] {
        let of_the_old = committed(directory, text, 6, 500);
        assert_eq!(start(holder(), None, &of_the_old), StartRule::Reset);
        assert_eq!(
            start(holder(), Some(20), &of_the_old),
            StartRule::Forgotten(20)
        );
        assert_eq!(
            verdict(&pending(8, 0, 500), of_the_old.clone()),
            Verdict::Abandoned
        );
        assert!(!holder().is_ours(&of_the_old));
        assert_eq!(holder().before(&of_the_old), Before::Nobody);
        assert_eq!(holder().copied(0, 0, &of_the_old), None);
    }
    // Where a commit or the directory names no topic, the batch's number says what it can.
    let unnamed = |batch| Committed {
        offset: Some(500),
        leader_epoch: None,
        metadata: format!("stockflow/1 dir={US} batch={batch}"),
    };
    assert_eq!(start(holder(), None, &unnamed(2)), StartRule::Reset);
    assert_eq!(start(holder(), None, &unnamed(3)), StartRule::At(500));
}

/// A commit of ours that lay with the broker, behind a connection that broke, lands behind those that came after it.
#[test]
fn an_older_batch_of_ours_that_lands_late_moves_nothing() {
    let late = committed(1, "batch=4", 7, 100);
    assert_eq!(start(holder(), Some(300), &late), StartRule::At(300));
    // What waits for its outcome is read again, from where it began: that is in the checkpoint.
    assert_eq!(
        verdict(&pending(6, 300, 350), late.clone()),
        Verdict::Abandoned
    );
    assert_eq!(holder().copied(7, 7, &late), None);
}

#[test]
fn a_batch_that_was_never_made_here_is_a_copys() {
    let theirs = committed(1, "batch=9", 7, 100);
    assert_eq!(holder().copied(9, 12, &theirs), Some(9));
    assert_eq!(holder().copied(10, 12, &theirs), None);
    // A partition that is taken over names the next batch of the directory.
    let claim = committed(1, "begun=12", 7, 100);
    assert_eq!(holder().copied(5, 11, &claim), Some(12));
    assert_eq!(holder().copied(5, 12, &claim), None);
    assert_eq!(holder().copied(0, 0, &committed(2, "batch=9", 7, 1)), None);
}
