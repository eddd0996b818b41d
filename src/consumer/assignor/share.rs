//! Which partitions of which topics a member has.

use std::collections::BTreeMap;

use crate::wire::messages::Str;

/// Topic by topic, the partitions of one member.
pub(in crate::consumer) type Share = BTreeMap<Str, Vec<i32>>;

/// The shares of all members; there is an entry for each, empty where there is nothing for it.
pub(in crate::consumer) type Shares = BTreeMap<Str, Share>;
