//! Assignors: which member of a classic group reads which partitions. Pure.
//!
//! Members announce by name which of these they know, the coordinator picks one that all know, and the group's leader
//! uses it. Names, and what members tell one another for them, are Java's.
//!
//! | name | partitions go to | at a rebalance |
//! | --- | --- | --- |
//! | `range` | consecutive ranges of each topic | all are given up first |
//! | `roundrobin` | members in turn | all are given up first |
//! | `sticky` | whoever had them, as far as that is balanced | all are given up first |
//! | `cooperative-sticky` | the same | only what moves is given up (KIP-429) |
//!
//! Invariant: each partition of a topic that somebody subscribed to is assigned exactly once; under
//! `cooperative-sticky` at most once, and not while another member has it.

mod plain;
mod share;
mod sticky;
#[cfg(test)]
mod tests;

pub(super) use share::{Share, Shares, Subscriber};

use std::collections::BTreeMap;

use crate::wire::messages::Str;

/// How partitions are shared out in a classic group (`Kafka.PartitionAssignmentStrategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assignor {
    /// Consecutive ranges of each topic.
    Range,
    /// Members in turn.
    RoundRobin,
    /// Members keep what they have, as far as that is balanced.
    Sticky,
    /// The same, and only what moves is given up (KIP-429).
    #[default]
    CooperativeSticky,
}

impl Assignor {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [
            Self::Range,
            Self::RoundRobin,
            Self::Sticky,
            Self::CooperativeSticky,
        ]
        .into_iter()
        .find(|assignor| assignor.name() == name)
    }

    /// What a member offers that prefers this one. Beside the default also what librdkafka's and older Java clients
    /// have by default, so that a group can be shared with them.
    pub(super) const fn offered(self) -> &'static [Self] {
        match self {
            Self::Range => &[Self::Range],
            Self::RoundRobin => &[Self::RoundRobin],
            Self::Sticky => &[Self::Sticky],
            Self::CooperativeSticky => &[Self::CooperativeSticky, Self::Range, Self::RoundRobin],
        }
    }
}

/// Shares the partitions out with the assignor of that name; `partitions` says how many a topic has, topics that are not
/// in it are left out. `None` for a name that this program does not know, and so never offered.
pub(super) fn assign(
    name: &str,
    subscribers: &[Subscriber],
    partitions: &BTreeMap<Str, i32>,
) -> Option<Shares> {
    let mut members: Vec<&Subscriber> = subscribers.iter().collect();
    members.sort_by(|a, b| order(a).cmp(&order(b)));
    Some(match Assignor::of_name(name)? {
        Assignor::Range => plain::range(&members, partitions),
        Assignor::RoundRobin => plain::round_robin(&members, partitions),
        Assignor::Sticky => sticky::sticky(&members, partitions),
        Assignor::CooperativeSticky => {
            let mut shares = sticky::sticky(&members, partitions);
            sticky::withhold(&members, &mut shares);
            shares
        }
    })
}

/// Static members before the others, each kind by its own id, so that static members keep their places whatever member
/// ids they are given (KIP-345).
fn order(member: &Subscriber) -> (bool, &str, &str) {
    match &member.instance {
        Some(instance) => (false, instance, &member.member_id),
        None => (true, &member.member_id, ""),
    }
}
