//! The range assignor: which member of a classic group reads which partitions. Pure.
//!
//! Equal to Java's `RangeAssignor` without racks: topic by topic, the subscribed members in their order get consecutive
//! ranges of partitions, and the first `partitions % members` get one more. Members with a `group.instance.id` come first,
//! ordered by it, so that static members keep their partitions whatever member ids they are given (KIP-345); the
//! others follow, ordered by member id.
//!
//! Invariant: each partition of a topic that somebody subscribed to is assigned exactly once.

use std::collections::BTreeMap;

use crate::wire::messages::Str;

/// The name under which members announce this assignor.
pub(super) const NAME: &str = "range";

/// A member as the group's leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscriber {
    pub(super) member_id: Str,
    pub(super) instance: Option<Str>,
    pub(super) topics: Vec<Str>,
}

/// Topic by topic, the partitions of one member.
pub(super) type Share = BTreeMap<Str, Vec<i32>>;

/// Shares the partitions out; `partitions` says how many a topic has, topics that are not in it are left out.
///
/// The result has an entry for every member, empty where there is nothing for it.
pub(super) fn range(
    subscribers: &[Subscriber],
    partitions: &BTreeMap<Str, i32>,
) -> BTreeMap<Str, Share> {
    let mut members: Vec<&Subscriber> = subscribers.iter().collect();
    members.sort_by(|a, b| order(a).cmp(&order(b)));
    let mut shares: BTreeMap<Str, Share> = members
        .iter()
        .map(|member| (member.member_id.clone(), Share::new()))
        .collect();
    for (topic, &count) in partitions {
        let subscribed: Vec<_> = members
            .iter()
            .filter(|member| member.topics.contains(topic))
            .collect();
        let Ok(heads) = i32::try_from(subscribed.len()) else {
            continue;
        };
        if heads == 0 {
            continue;
        }
        let (each, more) = (count / heads, count % heads);
        let mut next = 0;
        for (member, place) in subscribed.iter().zip(0..) {
            let size = each + i32::from(place < more);
            let range: Vec<i32> = (next..next + size).collect();
            next += size;
            if !range.is_empty()
                && let Some(share) = shares.get_mut(&member.member_id)
            {
                share.insert(topic.clone(), range);
            }
        }
    }
    shares
}

/// Static members before the others, each kind by its own id.
fn order(member: &Subscriber) -> (bool, &str, &str) {
    match &member.instance {
        Some(instance) => (false, instance, &member.member_id),
        None => (true, &member.member_id, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(id: &str, instance: Option<&str>, topics: &[&str]) -> Subscriber {
        Subscriber {
            member_id: id.into(),
            instance: instance.map(Into::into),
            topics: topics.iter().map(|&topic| topic.into()).collect(),
        }
    }

    #[test]
    fn shares_as_java_does() {
        let members = [
            member("c", None, &["t"]),
            member("a", None, &["t"]),
            member("z", Some("1"), &["t"]),
        ];
        let shares = range(&members, &BTreeMap::from([("t".into(), 8)]));
        let of = |id: &str| shares[id].get("t").cloned().unwrap_or_default();
        assert_eq!(of("z"), [0, 1, 2]);
        assert_eq!(of("a"), [3, 4, 5]);
        assert_eq!(of("c"), [6, 7]);
    }

    #[test]
    fn leaves_members_without_a_share_empty() {
        let members = [
            member("a", None, &["t"]),
            member("b", None, &["t"]),
            member("c", None, &["u"]),
        ];
        let shares = range(
            &members,
            &BTreeMap::from([("t".into(), 1), ("v".into(), 3)]),
        );
        assert_eq!(shares["a"], BTreeMap::from([("t".into(), vec![0])]));
        assert!(shares["b"].is_empty());
        assert!(shares["c"].is_empty());
    }

    proptest! {
        #[test]
        fn every_partition_once_and_balanced(
            members in prop::collection::btree_map("[a-d]{1,3}", (prop::option::of("[x-z]{2}"), any::<bool>(), any::<bool>()), 1..12),
            first in 0..40i32,
            second in 0..40i32,
        ) {
            let members: Vec<_> = members
                .iter()
                .map(|(id, (instance, one, two))| {
                    let topics: Vec<_> = [("one", one), ("two", two)].into_iter().filter(|(_, wanted)| **wanted).map(|(topic, _)| topic).collect();
                    member(id, instance.as_deref(), &topics)
                })
                .collect();
            let counts = BTreeMap::from([("one".into(), first), ("two".into(), second)]);
            let shares = range(&members, &counts);
            prop_assert_eq!(shares.len(), members.len());
            for (topic, &count) in &counts {
                let subscribed: Vec<_> = members.iter().filter(|member| member.topics.contains(topic)).collect();
                let mut seen: Vec<i32> = shares.values().filter_map(|share| share.get(topic)).flatten().copied().collect();
                seen.sort_unstable();
                let expected: Vec<i32> = if subscribed.is_empty() { Vec::new() } else { (0..count).collect() };
                prop_assert_eq!(seen, expected);
                let sizes: Vec<_> = subscribed.iter().map(|member| shares[&member.member_id].get(topic).map_or(0, Vec::len)).collect();
                let (least, most) = (sizes.iter().min().copied().unwrap_or(0), sizes.iter().max().copied().unwrap_or(0));
                prop_assert!(most - least <= 1);
                for member in &members {
                    if !member.topics.contains(topic) {
                        prop_assert!(!shares[&member.member_id].contains_key(topic));
                    }
                }
            }
        }
    }
}
