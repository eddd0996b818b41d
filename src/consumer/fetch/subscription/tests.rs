//! The board, step by step and against random schedules.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::wire::cluster::Partition;

fn topic(leaders: &[Option<i32>], leader_epoch: i32) -> Topic {
    Topic {
        name: "t".into(),
        id: None,
        partitions: leaders
            .iter()
            .map(|&leader| Partition {
                leader,
                leader_epoch,
            })
            .collect(),
        learnt: Instant::now(),
    }
}

fn subscription(partitions: i32) -> SubscriptionState {
    SubscriptionState::new(
        &(0..partitions)
            .map(|partition| (partition, (10, None)))
            .collect(),
    )
}

#[test]
fn rotates_what_brought_data() {
    let mut subscription = subscription(3);
    subscription.place(&topic(&[Some(1); 3], 0));
    assert_eq!(subscription.staff(), [1]);
    assert!(subscription.staff().is_empty());
    let asks = subscription.asks(1).unwrap();
    subscription.advance(1, &asks[0], Cursor::at(20, None));
    subscription.advance(1, &asks[1], Cursor::at(10, None));
    let order: Vec<_> = subscription
        .asks(1)
        .unwrap()
        .iter()
        .map(|ask| ask.partition)
        .collect();
    assert_eq!(order, [1, 2, 0]);
}

#[test]
fn follows_the_leader_and_ends_the_task_of_the_one_before() {
    let mut subscription = subscription(1);
    subscription.place(&topic(&[Some(1)], 4));
    subscription.staff();
    let ask = subscription.asks(1).unwrap()[0];
    subscription.displace(1, &ask);
    assert_eq!(subscription.asks(1), None);
    assert_eq!(subscription.homeless(), Some((vec![0], Duration::ZERO)));
    subscription.place(&topic(&[None], 4));
    assert_eq!(subscription.homeless(), Some((vec![0], FIRST_PAUSE)));
    assert_eq!(subscription.tell(), [0]);
    assert!(subscription.tell().is_empty());
    subscription.place(&topic(&[Some(2)], 5));
    assert_eq!(subscription.staff(), [2]);
    let ask = subscription.asks(2).unwrap()[0];
    assert_eq!(
        subscription.advance(2, &ask, Cursor::at(11, None)),
        (true, true)
    );
    assert_eq!(
        subscription.advance(2, &ask, Cursor::at(12, None)),
        (false, false),
        "an answer from before"
    );
}

#[test]
fn reports_bad_data_after_a_few_tries() {
    let mut subscription = subscription(1);
    for _ in 0..MOST_FAULTS {
        subscription.place(&topic(&[Some(1)], 0));
        let ask = subscription.asks(1).unwrap()[0];
        assert!(!subscription.suspect(1, &ask));
    }
    subscription.place(&topic(&[Some(1)], 0));
    let ask = subscription.asks(1).unwrap()[0];
    assert!(subscription.suspect(1, &ask));
    subscription.place(&topic(&[Some(1)], 0));
    assert_eq!(subscription.asks(1), None);
    assert_eq!(subscription.homeless(), None);
}

proptest! {
    /// Whatever happens, a partition is asked of one broker, waits for a leader, for a reset, or was reported.
    #[test]
    fn no_partition_is_forgotten(ops in prop::collection::vec((0..7u8, 0..4i32, 1..4i32), 0..200)) {
        let mut subscription = subscription(4);
        let mut stopped = BTreeSet::new();
        let mut resetting = Vec::new();
        for (op, partition, node) in ops {
            let ask = subscription.asks(node).unwrap_or_default().into_iter().find(|ask| ask.partition == partition);
            match (op, ask) {
                (0, _) => subscription.place(&topic(&[Some(node), Some(1), None, Some(3)], i32::from(op))),
                (1, Some(ask)) => { subscription.advance(node, &ask, Cursor::at(ask.cursor.position() + 1, None)); }
                (2, Some(ask)) => subscription.displace(node, &ask),
                (3, Some(ask)) if subscription.suspect(node, &ask) => { stopped.insert(partition); }
                (4, Some(ask)) => subscription.out_of_range(node, &ask),
                (5, _) => for partition in std::mem::take(&mut resetting) { subscription.reset(partition, 3); },
                (6, _) => subscription.not_placed(),
                _ => {}
            }
            subscription.staff();
            let mut found: Vec<i32> = (1..4).flat_map(|node| subscription.asks(node).unwrap_or_default()).map(|ask| ask.partition).collect();
            subscription.staff();
            found.extend(subscription.homeless().map(|(homeless, _)| homeless).unwrap_or_default());
            resetting.extend(subscription.take_resets().iter().map(|(partition, _)| *partition));
            found.extend(&resetting);
            found.extend(&stopped);
            found.sort_unstable();
            prop_assert_eq!(found, [0, 1, 2, 3]);
        }
    }
}

/// A leader is asked once whether its log holds what was read, and the next one again.
#[test]
fn each_leader_has_to_say_that_its_log_holds_what_was_read() {
    let mut subscription = SubscriptionState::new(&[(0, (10, Some(2))), (1, (10, None))].into());
    let unproven = |subscription: &mut SubscriptionState, node| -> Vec<bool> {
        let asks = subscription.asks(node).unwrap();
        asks.iter().map(|ask| ask.unproven).collect()
    };
    subscription.place(&topic(&[Some(1); 2], 4));
    assert_eq!(
        unproven(&mut subscription, 1),
        [true, false],
        "without an epoch nobody can be asked"
    );
    let asks = subscription.asks(1).unwrap();
    subscription.proven(2, &asks[0]);
    assert_eq!(
        unproven(&mut subscription, 1),
        [true, false],
        "another broker says nothing of it"
    );
    subscription.proven(1, &asks[0]);
    assert_eq!(unproven(&mut subscription, 1), [false, false]);
    let asks = subscription.asks(1).unwrap();
    subscription.advance(1, &asks[0], Cursor::at(20, Some(4)));
    assert_eq!(
        unproven(&mut subscription, 1),
        [false, false],
        "it is read on from the same log"
    );
    subscription.place(&topic(&[Some(2); 2], 5));
    assert_eq!(
        subscription
            .asks(2)
            .unwrap()
            .iter()
            .filter(|ask| ask.unproven)
            .count(),
        1
    );
    // Said twice, it goes back, and the place it goes to is to be proven, too.
    let ask = *subscription
        .asks(2)
        .unwrap()
        .iter()
        .find(|ask| ask.unproven)
        .unwrap();
    assert!(!subscription.go_back(2, &ask, 15, 3));
    assert!(subscription.go_back(2, &ask, 15, 3));
    let asks = subscription.asks(2).unwrap();
    let back = asks.iter().find(|ask| ask.partition == 0).unwrap();
    assert_eq!(back.cursor, Cursor::at(15, Some(3)));
    assert!(back.unproven);
}
