//! What comes into the machine, and what it wants done.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::wire::{error::ErrorCode, messages::Str};

/// What a generation of the group was agreed on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::consumer::membership) struct Round {
    /// The generation's number.
    pub(in crate::consumer::membership) generation: i32,
    /// Who we are in it.
    pub(in crate::consumer::membership) member_id: Str,
    /// The assignor that the group chose.
    pub(in crate::consumer::membership) protocol: Option<Str>,
    /// Everybody's subscriptions, if we lead the group and have to assign, or to watch what is assigned.
    pub(in crate::consumer::membership) members: Vec<Candidate>,
    /// We lead the group, and its partitions stay shared out as they are: a leader that is a static member came back.
    pub(in crate::consumer::membership) shared_out: bool,
}

/// A member, as the coordinator describes it to the group's leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::consumer::membership) struct Candidate {
    pub(in crate::consumer::membership) member_id: Str,
    pub(in crate::consumer::membership) instance: Option<Str>,
    /// Its subscription, encoded.
    pub(in crate::consumer::membership) metadata: Bytes,
}

/// What happened.
#[derive(Clone, Debug)]
pub(in crate::consumer::membership) enum Event {
    /// JoinGroup succeeded.
    Joined(Round),
    /// JoinGroup was refused; the answer's member id goes with MEMBER_ID_REQUIRED.
    JoinRefused(ErrorCode, Str),
    /// The member id is stored.
    Remembered,
    /// SyncGroup succeeded: our partitions.
    Synced(BTreeSet<i32>),
    /// SyncGroup was refused.
    SyncRefused(ErrorCode),
    /// SyncGroup was not answered.
    Unanswered,
    /// A heartbeat or commit of a generation was answered.
    Answered(i32, Result<(), ErrorCode>),
    /// The caller reads exactly these partitions, in a tenure, and knows what the group has said up to a serial number.
    Owns(u64, u64, BTreeSet<i32>),
    /// The coordinator surely does not take anything from the member id of before any more.
    Fenced,
    /// The leader found that a topic has more partitions than were shared out in this generation.
    PartitionsGrew(i32),
    /// Time has passed.
    Tick,
    /// The caller left the group.
    Left,
}

/// What the driver has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::consumer::membership) enum Step {
    /// Store the member id durably.
    Remember(Str),
    /// Send JoinGroup.
    Join(Joining),
    /// Send SyncGroup.
    Sync(Round),
    /// End the membership of this member id, until that is certain.
    Fence(Str),
    /// Nothing, until something happens.
    Idle,
}

/// Who joins, and what it brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::consumer::membership) struct Joining {
    /// Empty for a newcomer.
    pub(in crate::consumer::membership) member_id: Str,
    /// The partitions that are kept.
    pub(in crate::consumer::membership) owned: BTreeSet<i32>,
    /// What the last generation gave, kept or not, for assignors that give the same again.
    pub(in crate::consumer::membership) previous: BTreeSet<i32>,
    /// The generation in which they were given; -1 if never.
    pub(in crate::consumer::membership) generation: i32,
}
