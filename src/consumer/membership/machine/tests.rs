//! The membership against random schedules of events.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const SESSION: Duration = Duration::from_secs(10);

fn round(generation: i32, member_id: &str) -> Round {
    Round {
        generation,
        member_id: member_id.into(),
        protocol: Some("range".into()),
        members: Vec::new(),
    }
}

/// A member of generation 1 as `m-1`.
fn member(now: Instant) -> Machine {
    let mut machine = Machine::new(SESSION);
    machine.on(Event::Join, now);
    assert_eq!(machine.step(), Step::Join(Str::new()));
    machine.on(
        Event::JoinRefused(ErrorCode::MEMBER_ID_REQUIRED, "m-1".into()),
        now,
    );
    assert_eq!(machine.step(), Step::Remember("m-1".into()));
    assert_eq!(machine.stored_member_id(), None);
    machine.on(Event::Remembered, now);
    assert_eq!(machine.step(), Step::Join("m-1".into()));
    machine.on(Event::Joined(round(1, "m-1")), now);
    assert_eq!(machine.step(), Step::Sync(round(1, "m-1")));
    machine.on(Event::Synced, now);
    machine
}

#[test]
fn joins_revokes_and_joins_again() {
    let now = Instant::now();
    let mut machine = member(now);
    assert_eq!(
        machine.step(),
        Step::Done {
            generation: 1,
            continues: false
        }
    );
    machine.on(
        Event::Answered(1, Err(ErrorCode::REBALANCE_IN_PROGRESS)),
        now,
    );
    assert_eq!(machine.status(), Status::Revoking);
    assert!(
        machine.identity().is_some(),
        "commits count until we join again"
    );
    machine.on(Event::Join, now);
    assert!(machine.identity().is_none());
    machine.on(Event::Joined(round(2, "m-1")), now);
    machine.on(Event::Synced, now);
    assert_eq!(
        machine.step(),
        Step::Done {
            generation: 2,
            continues: true
        }
    );
}

#[test]
fn a_generation_in_between_breaks_continuity() {
    let now = Instant::now();
    let mut machine = member(now);
    machine.on(Event::Join, now);
    machine.on(Event::Joined(round(2, "m-1")), now);
    machine.on(Event::SyncRefused(ErrorCode::REBALANCE_IN_PROGRESS), now);
    machine.on(Event::Joined(round(3, "m-1")), now);
    machine.on(Event::Synced, now);
    assert_eq!(
        machine.step(),
        Step::Done {
            generation: 3,
            continues: false
        }
    );
}

#[test]
fn the_session_ends_when_nothing_is_heard() {
    let now = Instant::now();
    let mut machine = member(now);
    machine.on(Event::Answered(1, Ok(())), now + SESSION / 2);
    machine.on(Event::Tick, now + SESSION);
    assert_eq!(machine.status(), Status::Member);
    machine.on(
        Event::Answered(1, Err(ErrorCode::NOT_COORDINATOR)),
        now + SESSION,
    );
    machine.on(Event::Tick, now + SESSION + SESSION / 2);
    assert_eq!(machine.status(), Status::Lost(LostReason::SessionExpired));
    machine.on(Event::Join, now);
    assert_eq!(
        machine.step(),
        Step::Join("m-1".into()),
        "the group may know us yet"
    );
}

#[test]
fn an_unknown_member_joins_as_a_newcomer() {
    let now = Instant::now();
    let mut machine = member(now);
    machine.on(Event::Answered(1, Err(ErrorCode::UNKNOWN_MEMBER_ID)), now);
    assert!(matches!(machine.status(), Status::Lost(_)));
    machine.on(Event::Join, now);
    assert_eq!(machine.step(), Step::Join(Str::new()));
    machine.on(
        Event::JoinRefused(ErrorCode::GROUP_AUTHORIZATION_FAILED, Str::new()),
        now,
    );
    assert!(matches!(machine.step(), Step::Failed("JoinGroup", _)));
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

fn member_id() -> impl Strategy<Value = Str> {
    prop::sample::select(vec!["", "m-1", "m-2", "m-3"]).prop_map(Str::from)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Join),
        4 => (0..6i32, member_id()).prop_map(|(generation, id)| Event::Joined(round(generation, &id))),
        2 => (code(), member_id()).prop_map(|(code, id)| Event::JoinRefused(code, id)),
        4 => Just(Event::Remembered),
        4 => Just(Event::Synced),
        1 => code().prop_map(Event::SyncRefused),
        1 => Just(Event::Unanswered),
        2 => (0..6i32).prop_map(|of| Event::Answered(of, Ok(()))),
        2 => (0..6i32, code()).prop_map(|(of, code)| Event::Answered(of, Err(code))),
        1 => (0..6i32).prop_map(Event::PartitionsGrew),
        1 => Just(Event::Tick),
        1 => Just(Event::Left),
    ]
}

proptest! {
    #[test]
    fn keeps_its_invariants(schedule in prop::collection::vec((event(), 0..8u64), 0..120)) {
        let mut now = Instant::now();
        let mut machine = Machine::new(SESSION);
        let mut stored = BTreeSet::from([Str::new()]);
        let mut heard = now;
        // The generations since the membership was last begun anew.
        let mut unbroken: Vec<i32> = Vec::new();
        for (event, seconds) in schedule {
            now += Duration::from_secs(seconds);
            let before = (machine.status(), machine.identity());
            let known_as = machine.member_id.clone();
            if let (Event::Remembered, Step::Remember(id)) = (&event, machine.step()) {
                stored.insert(id);
            }
            machine.on(event.clone(), now);
            let (status, identity) = (machine.status(), machine.identity());

            // Nothing is used before it is stored.
            if let Step::Join(id) = machine.step() {
                prop_assert!(stored.contains(&id));
            }
            if let Step::Sync(round) = machine.step() {
                prop_assert!(stored.contains(&round.member_id));
            }
            if let Some(id) = machine.stored_member_id() {
                prop_assert!(stored.contains(&id));
            }
            if let Some(identity) = &identity {
                prop_assert!(stored.contains(&identity.member_id));
            }
            // An identity and only an identity is a membership.
            prop_assert_eq!(identity.is_some(), matches!(status, Status::Member | Status::Revoking));

            match &event {
                Event::Answered(of, result) => match &before.1 {
                    Some(was) if was.generation == *of => {
                        if matches!(result, Ok(()) | Err(ErrorCode::REBALANCE_IN_PROGRESS)) {
                            heard = now;
                        }
                    }
                    _ => prop_assert_eq!(&(status, identity.clone()), &before, "another generation's answer"),
                },
                Event::Tick if before.1.is_some() => {
                    prop_assert_eq!(status == Status::Lost(LostReason::SessionExpired), now - heard >= SESSION);
                }
                Event::Synced if before.1.is_none() => {
                    if let Step::Done { generation, continues } = machine.step() {
                        heard = now;
                        let adjacent = unbroken.last().is_some_and(|last| (0..=1).contains(&(generation - last)));
                        prop_assert_eq!(continues, adjacent);
                        unbroken.push(generation);
                    }
                }
                _ => {}
            }
            // Lost, failed as a member, or known by another id: what follows is a new beginning.
            if matches!(status, Status::Lost(_) | Status::Failed("Heartbeat", _)) || machine.member_id != known_as {
                unbroken.clear();
            }
        }
    }
}
