//! The machine, step by step and against random schedules.

use proptest::prelude::*;

use super::*;

fn set(partitions: &[i32]) -> BTreeSet<i32> {
    partitions.iter().copied().collect()
}

fn beat(machine: &Machine) -> Beat {
    match machine.step(true) {
        Step::Beat(beat) => beat,
        step => panic!("a heartbeat, not {step:?}"),
    }
}

fn member() -> Machine {
    let mut machine = Machine::new(MembershipState::default());
    assert_eq!(machine.step(false), Step::Name);
    assert_eq!(machine.stored_member_id(), None);
    machine.named("m-1".into());
    let first = beat(&machine);
    assert_eq!((first.epoch, &first.owned), (0, &Some(set(&[]))));
    machine.beaten(&first, 3, Some(set(&[0, 1])));
    machine
}

#[test]
fn what_is_given_up_is_told_at_once() {
    let mut machine = member();
    assert_eq!(machine.standing().assigned, set(&[0, 1]));
    let took = beat(&machine);
    assert_eq!(took.owned, Some(set(&[0, 1])));
    machine.beaten(&took, 3, Some(set(&[0])));
    assert_eq!(machine.step(false), Step::Idle, "1 is being drained");
    assert_eq!(machine.identity().unwrap().generation, 3);
    machine.owns(0, 2, &set(&[0]));
    let gave = beat(&machine);
    assert_eq!((gave.epoch, &gave.owned), (3, &Some(set(&[0]))));
    machine.beaten(&gave, 4, None);
    assert_eq!(machine.identity().unwrap().generation, 4);
}

#[test]
fn a_fenced_member_is_ended_and_begins_anew_under_another_id() {
    let mut machine = member();
    let identity = machine.identity().unwrap();
    machine.refused("Heartbeat", &identity, ErrorCode::FENCED_MEMBER_EPOCH);
    assert_eq!(machine.identity(), None);
    assert_eq!(machine.standing().tenure, 1);
    assert_eq!(machine.step(false), Step::Fence("m-1".into()));
    machine.owns(0, 1, &set(&[0, 1]));
    assert!(machine.standing().owned.is_empty(), "of the tenure before");
    machine.fenced();
    assert_eq!(machine.step(false), Step::Name);
    machine.named("m-2".into());
    assert_eq!(beat(&machine).epoch, 0);
}

#[test]
fn whatever_no_retry_helps_ends_it() {
    let mut machine = member();
    let identity = machine.identity().unwrap();
    machine.refused(
        "Heartbeat",
        &identity,
        ErrorCode::GROUP_AUTHORIZATION_FAILED,
    );
    assert_eq!(
        machine.standing().failed,
        Some(("Heartbeat", ErrorCode::GROUP_AUTHORIZATION_FAILED))
    );
    assert_eq!(machine.step(true), Step::Idle);
}

#[derive(Clone, Debug)]
enum Happening {
    Named,
    Beaten(i32, Option<Vec<i32>>),
    Refused(ErrorCode),
    Owns(u64, Vec<i32>),
    Fenced,
    Left,
}

fn happening() -> impl Strategy<Value = Happening> {
    let partitions = || prop::collection::vec(0..4i32, 0..4);
    prop_oneof![
        3 => Just(Happening::Named),
        6 => (0..3i32, prop::option::of(partitions())).prop_map(|(more, assigned)| Happening::Beaten(more, assigned)),
        2 => prop::sample::select(vec![
            ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::FENCED_MEMBER_EPOCH, ErrorCode::STALE_MEMBER_EPOCH,
            ErrorCode::NOT_COORDINATOR, ErrorCode::UNRELEASED_INSTANCE_ID, ErrorCode::INVALID_REQUEST,
        ]).prop_map(Happening::Refused),
        4 => (0..3u64, partitions()).prop_map(|(tenure, owned)| Happening::Owns(tenure, owned)),
        2 => Just(Happening::Fenced),
        1 => Just(Happening::Left),
    ]
}

proptest! {
    #[test]
    fn keeps_its_invariants(schedule in prop::collection::vec(happening(), 0..100)) {
        let mut machine = Machine::new(MembershipState::default());
        let mut names = 0;
        let mut seen: Vec<(u64, Identity)> = Vec::new();
        for happening in schedule {
            let before = (machine.standing().clone(), machine.identity());
            match happening {
                Happening::Named => {
                    names += 1;
                    machine.named(format!("m-{names}").into());
                }
                Happening::Beaten(more, assigned) => {
                    if let Step::Beat(beat) = machine.step(true) {
                        let epoch = beat.epoch + more;
                        machine.beaten(&beat, epoch, assigned.map(|assigned| assigned.into_iter().collect()));
                    }
                }
                Happening::Refused(code) => {
                    if let Some(identity) = machine.identity() {
                        machine.refused("Heartbeat", &identity, code);
                    }
                }
                Happening::Owns(tenure, owned) => {
                    let serial = machine.standing().serial;
                    machine.owns(tenure, serial, &owned.into_iter().collect());
                }
                Happening::Fenced => machine.fenced(),
                Happening::Left => machine.left(),
            }
            let standing = machine.standing();
            if standing.tenure != before.0.tenure {
                prop_assert!(standing.owned.is_empty() && standing.assigned.is_empty());
                prop_assert_eq!(machine.identity(), None);
            }
            if let Some(identity) = machine.identity() {
                // An id belongs to one tenure, and its epoch never falls.
                for (tenure, earlier) in &seen {
                    prop_assert_eq!(*tenure == standing.tenure, earlier.member_id == identity.member_id);
                    if *tenure == standing.tenure {
                        prop_assert!(earlier.generation <= identity.generation);
                    }
                }
                if seen.last().map(|(_, last)| last) != Some(&identity) {
                    seen.push((standing.tenure, identity));
                }
            }
        }
    }
}
