//! Which partitions of which topics a member has.

use std::collections::BTreeMap;

use crate::wire::messages::Str;

/// Topic by topic, the partitions of one member.
pub(in crate::consumer) type Share = BTreeMap<Str, Vec<i32>>;

/// The shares of all members; there is an entry for each, empty where there is nothing for it.
pub(in crate::consumer) type Shares = BTreeMap<Str, Share>;

/// A member as the group's leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::consumer) struct Subscriber {
    pub(in crate::consumer) member_id: Str,
    pub(in crate::consumer) instance: Option<Str>,
    pub(in crate::consumer) topics: Vec<Str>,
    /// What it has, or had before it gave everything up.
    pub(in crate::consumer) owned: Share,
    /// In which generation it was given that; -1 if never.
    pub(in crate::consumer) generation: i32,
}

pub(super) fn nothing(members: &[&Subscriber]) -> Shares {
    members
        .iter()
        .map(|member| (member.member_id.clone(), Share::new()))
        .collect()
}
