//! Balance, completeness and stickiness, over random groups and over generations that follow one another.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{sticky::places, *};

fn member(id: &str, instance: Option<&str>, topics: &[&str]) -> Subscriber {
    Subscriber {
        member_id: id.into(),
        instance: instance.map(Into::into),
        topics: topics.iter().map(|topic| Str::from(*topic)).collect(),
        generation: -1,
        ..Subscriber::default()
    }
}

fn counts(partitions: &[(&str, i32)]) -> BTreeMap<Str, i32> {
    partitions
        .iter()
        .map(|(topic, count)| (Str::from(*topic), *count))
        .collect()
}

#[test]
fn ranges_as_java_does() {
    let members = [
        member("b", None, &["t"]),
        member("a", None, &["t", "u"]),
        member("z", Some("1"), &["t"]),
    ];
    let shares = assign("range", &members, &counts(&[("t", 7), ("u", 2)])).unwrap();
    assert_eq!(shares["z"]["t"], [0, 1, 2]);
    assert_eq!(shares["a"]["t"], [3, 4]);
    assert_eq!(shares["a"]["u"], [0, 1]);
    assert_eq!(shares["b"]["t"], [5, 6]);
}

#[test]
fn goes_round_as_java_does() {
    let members = [
        member("a", None, &["t0"]),
        member("b", None, &["t0", "t1"]),
        member("c", None, &["t0", "t1", "t2"]),
    ];
    let partitions = counts(&[("t0", 1), ("t1", 2), ("t2", 3)]);
    let shares = assign("roundrobin", &members, &partitions).unwrap();
    assert_eq!(shares["a"], Share::from([("t0".into(), vec![0])]));
    assert_eq!(shares["b"], Share::from([("t1".into(), vec![0])]));
    assert_eq!(
        shares["c"],
        Share::from([("t1".into(), vec![1]), ("t2".into(), vec![0, 1, 2])])
    );
}

#[test]
fn an_unknown_assignor_assigns_nothing() {
    assert_eq!(assign("rack-aware", &[], &BTreeMap::new()), None);
}

#[test]
fn what_moves_is_first_given_up_and_then_given() {
    let mut a = member("a", None, &["t"]);
    a.owned = Share::from([("t".into(), vec![0, 1, 2, 3])]);
    a.generation = 1;
    let b = member("b", None, &["t"]);
    let partitions = counts(&[("t", 4)]);
    let first = assign("cooperative-sticky", &[a.clone(), b.clone()], &partitions).unwrap();
    assert_eq!(first["a"]["t"].len(), 2);
    assert!(first["b"].is_empty());
    a.owned = first["a"].clone();
    let second = assign("cooperative-sticky", &[a.clone(), b], &partitions).unwrap();
    assert_eq!(second["a"], a.owned);
    assert_eq!(second["b"]["t"].len(), 2);
}

#[test]
fn the_later_generation_has_the_better_claim() {
    let mut a = member("a", None, &["t"]);
    a.owned = Share::from([("t".into(), vec![0])]);
    a.generation = 3;
    let mut b = member("b", None, &["t"]);
    b.owned = Share::from([("t".into(), vec![0, 1])]);
    b.generation = 4;
    let shares = assign("sticky", &[a, b], &counts(&[("t", 2)])).unwrap();
    assert!(shares["b"]["t"].contains(&0) || shares["b"]["t"].contains(&1));
    assert_eq!(shares["a"]["t"].len(), 1);
}

fn group() -> impl Strategy<Value = (Vec<Subscriber>, BTreeMap<Str, i32>)> {
    let topics = ["t", "u", "v"];
    let subscribed = prop::collection::vec(any::<[bool; 3]>(), 1..8);
    let counts = prop::collection::vec(0..12i32, 3);
    (subscribed, counts).prop_map(move |(subscribed, counts)| {
        let members = subscribed.iter().enumerate().map(|(index, wants)| {
            let topics: Vec<&str> = topics
                .iter()
                .zip(wants)
                .filter(|(_, wants)| **wants)
                .map(|(topic, _)| *topic)
                .collect();
            member(&format!("m{index}"), None, &topics)
        });
        let partitions = topics.iter().zip(counts);
        (
            members.collect(),
            partitions
                .map(|(topic, count)| (Str::from(*topic), count))
                .collect(),
        )
    })
}

fn all_given_once(members: &[Subscriber], partitions: &BTreeMap<Str, i32>, shares: &Shares) {
    let mut given = BTreeSet::new();
    for (id, share) in shares {
        let member = members
            .iter()
            .find(|member| member.member_id == id)
            .unwrap();
        for (topic, partition) in places(share) {
            assert!(member.topics.contains(topic));
            assert!(given.insert((topic.clone(), partition)), "given twice");
        }
    }
    let wanted = partitions
        .iter()
        .filter(|(topic, _)| members.iter().any(|member| member.topics.contains(topic)))
        .flat_map(|(topic, count)| (0..*count).map(move |partition| (topic.clone(), partition)));
    assert_eq!(given, wanted.collect());
    assert_eq!(shares.len(), members.len());
}

proptest! {
    #[test]
    fn every_partition_goes_to_one_member((members, partitions) in group(), name in prop::sample::select(vec!["range", "roundrobin", "sticky", "cooperative-sticky"])) {
        let shares = assign(name, &members, &partitions).unwrap();
        all_given_once(&members, &partitions, &shares);
    }

    /// Members come and go and partitions grow; each time the group comes to rest within two generations, in balance,
    /// without a partition ever being given to one member while another has it.
    #[test]
    fn a_cooperative_group_comes_to_rest(
        changes in prop::collection::vec((0..6usize, any::<bool>(), 0..3i32), 1..12),
    ) {
        let mut members: Vec<Subscriber> = vec![member("m0", None, &["t"])];
        let mut partitions = counts(&[("t", 5)]);
        let mut generation = 0;
        for (who, comes, more) in changes {
            let id = format!("m{who}");
            let there = members.iter().position(|member| *member.member_id == *id);
            match there {
                None if comes => members.push(member(&id, None, &["t"])),
                Some(at) if !comes && members.len() > 1 => {
                    members.remove(at);
                }
                _ => {}
            }
            *partitions.get_mut("t").unwrap() += more;
            for round in 0..2 {
                generation += 1;
                let shares = assign("cooperative-sticky", &members, &partitions).unwrap();
                let before: Vec<_> = members.clone();
                for member in &mut members {
                    let new = &shares[&member.member_id];
                    for (topic, partition) in places(new) {
                        let held = before.iter().filter(|other| other.member_id != member.member_id)
                            .any(|other| other.owned.get(topic).is_some_and(|owned| owned.contains(&partition)));
                        prop_assert!(!held, "given while another has it");
                    }
                    if round == 1 {
                        for (topic, partition) in places(&member.owned) {
                            prop_assert!(new.get(topic).is_some_and(|kept| kept.contains(&partition)), "moved without need");
                        }
                    }
                    member.owned = new.clone();
                    member.generation = generation;
                }
            }
            let shares: Shares = members.iter().map(|member| (member.member_id.clone(), member.owned.clone())).collect();
            all_given_once(&members, &partitions, &shares);
            let loads: Vec<usize> = shares.values().map(|share| places(share).count()).collect();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
        }
    }

    /// When a member leaves, the others keep everything that they had.
    #[test]
    fn who_stays_keeps_what_it_has(heads in 2..8usize, count in 0..40i32) {
        let partitions = counts(&[("t", count)]);
        let mut members: Vec<_> = (0..heads).map(|head| member(&format!("m{head}"), None, &["t"])).collect();
        let shares = assign("sticky", &members, &partitions).unwrap();
        for member in &mut members {
            member.owned = shares[&member.member_id].clone();
            member.generation = 1;
        }
        members.pop();
        let after = assign("sticky", &members, &partitions).unwrap();
        for member in &members {
            for (topic, partition) in places(&member.owned) {
                prop_assert!(after[&member.member_id][topic].contains(&partition));
            }
        }
    }
}
