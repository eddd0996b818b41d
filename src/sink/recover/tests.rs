//! The rules, one by one.

use super::*;

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
