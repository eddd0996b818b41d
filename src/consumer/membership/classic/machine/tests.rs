//! The membership, step by step and against random schedules of events.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const SESSION: Duration = Duration::from_secs(10);

fn set(partitions: &[i32]) -> BTreeSet<i32> {
    partitions.iter().copied().collect()
}

fn round(generation: i32, member_id: &str, protocol: &str) -> Round {
    Round {
        shared_out: false,
        generation,
        member_id: member_id.into(),
        protocol: Some(protocol.into()),
        members: Vec::new(),
    }
}

fn joining(machine: &Machine) -> Joining {
    match machine.step() {
        Step::Join(joining) => joining,
        step => panic!("a join, not {step:?}"),
    }
}

/// A member of generation 1 as `m-1` that has partitions 0 and 1.
fn member(protocol: &str, now: Instant) -> Machine {
    let mut machine = Machine::new(SESSION, MembershipState::default());
    assert_eq!(joining(&machine).member_id, "");
    machine.on(
        Event::JoinRefused(ErrorCode::MEMBER_ID_REQUIRED, "m-1".into()),
        now,
    );
    assert_eq!(machine.step(), Step::Remember("m-1".into()));
    assert_eq!(machine.stored_member_id(), None);
    machine.on(Event::Remembered, now);
    assert_eq!(joining(&machine).member_id, "m-1");
    machine.on(Event::Joined(round(1, "m-1", protocol)), now);
    assert_eq!(machine.step(), Step::Sync(round(1, "m-1", protocol)));
    machine.on(Event::Synced(set(&[0, 1])), now);
    machine.on(Event::Owns(0, 1, set(&[0, 1])), now);
    assert_eq!(machine.step(), Step::Idle);
    machine
}

fn rebalance(machine: &mut Machine, generation: i32, now: Instant) {
    let answered = Event::Answered(generation, Err(ErrorCode::REBALANCE_IN_PROGRESS));
    machine.on(answered, now);
}

#[test]
fn an_eager_member_gives_everything_up_first() {
    let now = Instant::now();
    let mut machine = member("range", now);
    rebalance(&mut machine, 1, now);
    assert_eq!(machine.step(), Step::Idle, "it has partitions yet");
    assert!(machine.standing().assigned.is_empty());
    assert!(machine.identity().is_some(), "and commits count");
    machine.on(Event::Owns(0, 2, set(&[])), now);
    let joining = joining(&machine);
    assert_eq!((joining.owned, joining.previous), (set(&[]), set(&[0, 1])));
    machine.on(Event::Joined(round(2, "m-1", "range")), now);
    machine.on(Event::Synced(set(&[1])), now);
    assert_eq!(machine.standing().assigned, set(&[1]));
    assert_eq!(machine.standing().tenure, 0);
}

#[test]
fn a_cooperative_member_keeps_its_partitions_and_joins_twice() {
    let now = Instant::now();
    let mut machine = member("cooperative-sticky", now);
    rebalance(&mut machine, 1, now);
    let first = joining(&machine);
    assert_eq!((first.owned, first.generation), (set(&[0, 1]), 1));
    assert_eq!(
        machine.identity().unwrap().generation,
        1,
        "what is kept is committed on"
    );
    machine.on(Event::Joined(round(2, "m-1", "cooperative-sticky")), now);
    machine.on(Event::Synced(set(&[0])), now);
    assert_eq!(machine.step(), Step::Idle, "1 is to be given up first");
    assert_eq!(machine.identity().unwrap().generation, 2);
    machine.on(Event::Owns(0, 2, set(&[0])), now);
    assert_eq!(joining(&machine).owned, set(&[0]));
    assert_eq!(machine.standing().tenure, 0);
}

/// A caller that is slow to begin what it was given has it all the same.
#[test]
fn what_is_about_to_be_begun_is_claimed() {
    let now = Instant::now();
    let mut machine = Machine::new(SESSION, MembershipState::default());
    machine.on(Event::Joined(round(1, "m-1", "cooperative-sticky")), now);
    machine.on(Event::Remembered, now);
    machine.on(Event::Synced(set(&[7])), now);
    rebalance(&mut machine, 1, now);
    assert_eq!(joining(&machine).owned, set(&[7]));
    machine.on(Event::Joined(round(2, "m-1", "cooperative-sticky")), now);
    machine.on(Event::Synced(set(&[])), now);
    assert_eq!(machine.step(), Step::Idle, "it may have been begun");
    machine.on(Event::Owns(0, 1, set(&[7])), now);
    assert_eq!(machine.step(), Step::Idle, "it was begun");
    machine.on(Event::Owns(0, 2, set(&[])), now);
    assert!(joining(&machine).owned.is_empty());
}

#[test]
fn what_another_generation_gave_away_is_lost() {
    let now = Instant::now();
    for (protocol, generation) in [("cooperative-sticky", 3), ("range", 2)] {
        let mut machine = member("cooperative-sticky", now);
        rebalance(&mut machine, 1, now);
        machine.on(Event::Joined(round(generation, "m-1", protocol)), now);
        machine.on(Event::Synced(set(&[0])), now);
        let standing = machine.standing();
        assert_eq!((standing.tenure, &standing.owned), (1, &set(&[0])));
        assert_eq!(standing.lost, Some(LostReason::TakenAway));
        assert_eq!(standing.assigned, set(&[0]));
    }
}

#[test]
fn the_session_ends_when_nothing_is_heard_and_is_ended_there_too() {
    let now = Instant::now();
    let mut machine = member("range", now);
    machine.on(Event::Answered(1, Ok(())), now + SESSION / 2);
    machine.on(Event::Tick, now + SESSION);
    assert!(machine.identity().is_some());
    let moved = Event::Answered(1, Err(ErrorCode::NOT_COORDINATOR));
    machine.on(moved, now + SESSION);
    machine.on(Event::Tick, now + SESSION + SESSION / 2);
    assert!(machine.identity().is_none());
    assert_eq!(
        machine.standing().tenure,
        0,
        "a commit may be under way until it is fenced"
    );
    assert_eq!(machine.step(), Step::Fence("m-1".into()));
    machine.on(Event::Fenced, now);
    assert_eq!(machine.standing().lost, Some(LostReason::SessionExpired));
    assert_eq!(joining(&machine).member_id, "");
}

#[test]
fn an_unknown_member_joins_as_a_newcomer() {
    let now = Instant::now();
    let mut machine = member("range", now);
    machine.on(Event::Answered(1, Err(ErrorCode::UNKNOWN_MEMBER_ID)), now);
    assert_eq!(machine.standing().tenure, 1);
    assert_eq!(joining(&machine).member_id, "");
    let refused = Event::JoinRefused(ErrorCode::GROUP_AUTHORIZATION_FAILED, Str::new());
    machine.on(refused, now);
    assert!(matches!(
        machine.standing().failed,
        Some(("JoinGroup", ErrorCode::GROUP_AUTHORIZATION_FAILED))
    ));
}

fn code() -> impl Strategy<Value = ErrorCode> {
    prop::sample::select(vec![
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::NOT_COORDINATOR,
        ErrorCode::ILLEGAL_GENERATION,
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::REBALANCE_IN_PROGRESS,
        ErrorCode::MEMBER_ID_REQUIRED,
        ErrorCode::FENCED_INSTANCE_ID,
        ErrorCode::GROUP_AUTHORIZATION_FAILED,
        ErrorCode(12_345),
    ])
}

fn event() -> impl Strategy<Value = Event> {
    let member_id = || prop::sample::select(vec!["", "m-1", "m-2", "m-3"]);
    let protocol = || prop::sample::select(vec!["range", "cooperative-sticky"]);
    let partitions = || prop::collection::btree_set(0..4i32, 0..4);
    prop_oneof![
        6 => (0..6i32, member_id(), protocol()).prop_map(|(generation, id, protocol)| Event::Joined(round(generation, id, protocol))),
        1 => (code(), member_id()).prop_map(|(code, id)| Event::JoinRefused(code, id.into())),
        4 => Just(Event::Remembered),
        5 => partitions().prop_map(Event::Synced),
        1 => code().prop_map(Event::SyncRefused),
        1 => Just(Event::Unanswered),
        2 => (0..6i32).prop_map(|of| Event::Answered(of, Ok(()))),
        3 => (0..6i32, code()).prop_map(|(of, code)| Event::Answered(of, Err(code))),
        5 => (0..3u64, 0..3u64, partitions()).prop_map(|(tenure, behind, owned)| Event::Owns(tenure, behind, owned)),
        1 => Just(Event::Fenced),
        1 => (0..6i32).prop_map(Event::PartitionsGrew),
        1 => Just(Event::Tick),
    ]
}

proptest! {
    #[test]
    fn keeps_its_invariants(schedule in prop::collection::vec((event(), 0..4u64), 0..150)) {
        let mut now = Instant::now();
        let mut machine = Machine::new(SESSION, MembershipState::default());
        let mut stored = BTreeSet::from([Str::new()]);
        for (event, seconds) in schedule {
            now += Duration::from_secs(seconds);
            let before = machine.clone();
            if let (Event::Remembered, Step::Remember(id)) = (&event, machine.step()) {
                stored.insert(id);
            }
            // A caller knows the present serial number or an earlier one, and owns what it was let own.
            let event = match event {
                Event::Owns(tenure, behind, owned) => {
                    let standing = machine.standing();
                    let owned = owned.intersection(&standing.owned).copied().collect();
                    Event::Owns(tenure, standing.serial.saturating_sub(behind), owned)
                }
                event => event,
            };
            machine.on(event.clone(), now);
            let (was, is) = (before.standing(), machine.standing());

            // Nothing is used before it is stored.
            match machine.step() {
                Step::Join(joining) => {
                    prop_assert!(stored.contains(&joining.member_id));
                    // What is not kept was given up before the group is joined.
                    if matches!(before.state, State::Member { .. }) {
                        prop_assert!(joining.owned.is_subset(&is.assigned));
                    }
                }
                Step::Sync(round) => prop_assert!(stored.contains(&round.member_id)),
                Step::Fence(id) => prop_assert!(stored.contains(&id)),
                Step::Remember(_) | Step::Idle => {}
            }
            if let Some(identity) = machine.identity() {
                prop_assert!(stored.contains(&identity.member_id));
                // Within a tenure one member id, and generations that follow one another wherever something was kept.
                if let Some(earlier) = before.identity()
                    && was.tenure == is.tenure
                {
                    prop_assert_eq!(&earlier.member_id, &identity.member_id);
                    if !was.owned.is_empty() {
                        prop_assert!((0..=1).contains(&(identity.generation - earlier.generation)));
                    }
                }
            }
            // What the caller may begin is claimed at every join, until the caller says that it will not.
            if let Step::Join(joining) = machine.step() {
                prop_assert_eq!(&joining.owned, &is.owned);
            }
            if !matches!(event, Event::Owns(..)) && was.tenure == is.tenure {
                prop_assert!(was.owned.is_subset(&is.owned));
            }
            prop_assert!(is.serial >= was.serial);
            // A loss takes everything that the caller had.
            prop_assert!(is.tenure >= was.tenure);
            if is.tenure != was.tenure {
                prop_assert_eq!(&is.owned, &is.assigned);
                prop_assert!(is.lost.is_some());
            }
            // An eager generation never leaves the caller with something that it did not get.
            if let (Event::Synced(given), State::Syncing(round)) = (&event, &before.state) {
                prop_assert!(is.assigned == *given || is.assigned.is_empty());
                if round.protocol.as_deref() == Some("range") && is.assigned == *given {
                    prop_assert!(is.owned.is_subset(&is.assigned));
                }
            }
            // Another generation's answer changes nothing.
            if let Event::Answered(of, _) = &event
                && before.generation != Some(*of)
            {
                prop_assert_eq!(was, is);
                prop_assert_eq!(before.identity(), machine.identity());
            }
        }
    }
}
