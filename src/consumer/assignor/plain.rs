//! The assignors that start from nothing: equal to Java's `RangeAssignor` (without racks) and `RoundRobinAssignor`.

use std::collections::BTreeMap;

use super::share::{Share, Shares, Subscriber, nothing};
use crate::wire::messages::Str;

/// Topic by topic, the subscribed members in their order get consecutive ranges, and the first `partitions % members`
/// get one more.
pub(super) fn range(members: &[&Subscriber], partitions: &BTreeMap<Str, i32>) -> Shares {
    let mut shares = nothing(members);
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
            if !range.is_empty() {
                share(&mut shares, member).insert(topic.clone(), range);
            }
        }
    }
    shares
}

/// All partitions of all topics in order, each to the next member that subscribed to its topic.
pub(super) fn round_robin(members: &[&Subscriber], partitions: &BTreeMap<Str, i32>) -> Shares {
    let mut shares = nothing(members);
    let mut turn = 0;
    for (topic, &count) in partitions {
        if !members.iter().any(|member| member.topics.contains(topic)) {
            continue;
        }
        for partition in 0..count {
            let mut circle = members.iter().cycle().skip(turn % members.len());
            let Some(member) = circle.find(|member| {
                turn += 1;
                member.topics.contains(topic)
            }) else {
                continue;
            };
            share(&mut shares, member)
                .entry(topic.clone())
                .or_default()
                .push(partition);
        }
    }
    shares
}

fn share<'s>(shares: &'s mut Shares, member: &Subscriber) -> &'s mut Share {
    shares.entry(member.member_id.clone()).or_default()
}
