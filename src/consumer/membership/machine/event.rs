//! What comes into the machine, and what it wants done.

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
    /// Everybody's subscriptions, if we lead the group and have to assign.
    pub(in crate::consumer::membership) members: Vec<Candidate>,
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
    /// The caller wants to be a member of the next generation.
    Join,
    /// JoinGroup succeeded.
    Joined(Round),
    /// JoinGroup was refused; the answer's member id goes with MEMBER_ID_REQUIRED.
    JoinRefused(ErrorCode, Str),
    /// The member id is stored.
    Remembered,
    /// SyncGroup succeeded.
    Synced,
    /// SyncGroup was refused.
    SyncRefused(ErrorCode),
    /// JoinGroup or SyncGroup was not answered.
    Unanswered,
    /// A heartbeat or commit of a generation was answered.
    Answered(i32, Result<(), ErrorCode>),
    /// The leader found that a topic has more partitions than were shared out in this generation.
    PartitionsGrew(i32),
    /// Time has passed.
    Tick,
    /// The caller left the group.
    Left,
}

/// What the driver of a join has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::consumer::membership) enum Step {
    /// Store the member id durably.
    Remember(Str),
    /// Send JoinGroup; the member id is empty for a newcomer.
    Join(Str),
    /// Send SyncGroup.
    Sync(Round),
    /// Nothing: a member.
    Done { generation: i32, continues: bool },
    /// Give up.
    Failed(&'static str, ErrorCode),
    /// Nothing: nobody wants to join.
    Idle,
}
