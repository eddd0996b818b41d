//! A consumer group of the classic protocol (KIP-62, KIP-345, KIP-394) as a state machine. Pure: time is an argument, and a
//! request that has to wait is a [`Ticket`], which one of the later calls answers with a [`Reply`].
//!
//! ```text
//!                   first member joins
//!         Empty ───────────────────────────► PreparingRebalance ◄───────────────┐
//!           ▲                                   │  waits for JoinGroup of all    │ a member joins, leaves, changes,
//!           │ no member left                    │  members, or for the longest   │ falls silent, or does not sync
//!           └───────────────────────────────────┤  rebalance timeout             │
//!                                               │ generation + 1, one protocol   │
//!                                               ▼ that all have, a leader        │
//!                                           CompletingRebalance ─────────────────┤
//!                                               │  waits for the leader's        │
//!                                               │  SyncGroup                     │
//!                                               ▼                                │
//!                                             Stable ────────────────────────────┘
//! ```
//!
//! * The generation never falls; who names another one is told so and changes nothing.
//! * Every ticket is answered exactly once: by the next step, by the member's own next request, or when the member is
//!   given up. The exception is a group that nobody ticks.
//! * An instance id belongs to one member at a time; whoever held it before is FENCED_INSTANCE_ID.
//! * There is no delay before a first member's rebalance, so that a lone consumer starts at once.

mod join;
mod member;
mod sync;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;

pub(super) use self::{
    member::{Join, Member, Protocol, Ticket},
    sync::Sync,
};
use crate::wire::error::ErrorCode;

/// The most members of a group, with those that have only got an id yet (`group.max.size`).
pub(super) const MAX_MEMBERS: usize = 1_000;

/// Where a group stands; see the drawing above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    PreparingRebalance { ends: Instant },
    CompletingRebalance { ends: Instant },
    Stable { sync_ends: Option<Instant> },
}

/// What a member learns when the group has come together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) generation: i32,
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    pub(super) leader: String,
    pub(super) skip_assignment: bool,
    pub(super) member_id: String,
    /// Id, instance id and metadata of all members, for the leader only.
    pub(super) members: Vec<(String, Option<String>, Bytes)>,
}

/// A JoinGroup that failed, and the member id that goes with the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotJoined {
    pub(super) code: ErrorCode,
    pub(super) member_id: String,
}

/// A member's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Synced {
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    pub(super) assignment: Bytes,
}

/// The answer to a request that waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Join(Result<Joined, NotJoined>),
    Sync(Result<Synced, ErrorCode>),
}

/// Answers, and whom they go to.
pub(super) type Replies = Vec<(Ticket, Reply)>;

/// A group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    state: State,
    generation: i32,
    protocol_type: String,
    /// Chosen when the rebalance was complete; empty before the first.
    protocol: String,
    leader: String,
    members: BTreeMap<String, Member>,
    /// Instance id → member id.
    instances: BTreeMap<String, String>,
    /// Member ids that were given out and not used yet, and how long they hold.
    pending: BTreeMap<String, Instant>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }
}

impl Group {
    /// The state's name, as Kafka's tools show it.
    pub(super) fn state(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::PreparingRebalance { .. } => "PreparingRebalance",
            State::CompletingRebalance { .. } => "CompletingRebalance",
            State::Stable { .. } => "Stable",
        }
    }

    /// `consumer`, or what else the members are; empty before the first member.
    pub(super) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// The chosen protocol, while it holds.
    pub(super) fn protocol(&self) -> Option<&str> {
        matches!(self.state, State::Stable { .. }).then_some(self.protocol.as_str())
    }

    /// The members, in the order of their ids.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Whether there is neither a member nor one that is about to be.
    pub(super) fn is_deserted(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// Who a request comes from, by its member id and, where it has one, its instance id.
    fn identify(&self, member_id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                Some(current) if current != member_id => {
                    return Err(ErrorCode::FENCED_INSTANCE_ID);
                }
                Some(_) => {}
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UNKNOWN_MEMBER_ID)
        }
    }

    fn identify_in(
        &self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.identify(member_id, instance)?;
        if generation == self.generation {
            Ok(())
        } else {
            Err(ErrorCode::ILLEGAL_GENERATION)
        }
    }

    fn touch(&mut self, member_id: &str, now: Instant) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.touch(now);
        }
    }

    /// A member's sign of life.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION; REBALANCE_IN_PROGRESS when it has to join again.
    pub(super) fn heartbeat(
        &mut self,
        now: Instant,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.identify_in(member_id, instance, generation)?;
        self.touch(member_id, now);
        match self.state {
            State::PreparingRebalance { .. } => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            _ => Ok(()),
        }
    }

    /// Whether a commit of offsets counts. Without a generation (-1) it does only in a group without members.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION; REBALANCE_IN_PROGRESS when another member may own the
    /// partitions already.
    pub(super) fn check_commit(
        &mut self,
        now: Instant,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.identify_in(member_id, instance, generation)?;
        self.touch(member_id, now);
        match self.state {
            State::CompletingRebalance { .. } => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            _ => Ok(()),
        }
    }

    /// A member leaves, or somebody takes it out by its instance id alone.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        member_id: &str,
        instance: Option<&str>,
        replies: &mut Replies,
    ) -> Result<(), ErrorCode> {
        if instance.is_none() && self.pending.remove(member_id).is_some() {
            self.complete_join_if_all_here(now, replies);
            return Ok(());
        }
        let member_id = match instance.and_then(|instance| self.instances.get(instance)) {
            Some(current) if member_id.is_empty() => current.clone(),
            _ => member_id.to_owned(),
        };
        self.identify(&member_id, instance)?;
        self.remove(&member_id, replies);
        self.rebalance(now, replies);
        Ok(())
    }

    /// Lets time pass: gives up members that fell silent, and rebalances that waited long enough.
    pub(super) fn tick(&mut self, now: Instant, replies: &mut Replies) {
        let pending = self.pending.len();
        self.pending.retain(|_, ends| now < *ends);
        if self.pending.len() != pending {
            self.complete_join_if_all_here(now, replies);
        }
        let unsynced = match self.state {
            State::CompletingRebalance { ends }
            | State::Stable {
                sync_ends: Some(ends),
            } => now >= ends,
            _ => false,
        };
        let gone: Vec<_> = self
            .members
            .values()
            .filter(|member| {
                (!member.waits() && now >= member.session_ends) || (unsynced && !member.synced)
            })
            .map(|member| member.id.clone())
            .collect();
        for member_id in &gone {
            self.remove(member_id, replies);
        }
        if !gone.is_empty() {
            self.rebalance(now, replies);
        }
        if let State::PreparingRebalance { ends } = self.state
            && now >= ends
        {
            self.complete_join(now, replies);
        }
    }

    /// When [`Group::tick`] has something to do, if nothing happens before.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let state = match self.state {
            State::Empty => None,
            State::PreparingRebalance { ends } | State::CompletingRebalance { ends } => Some(ends),
            State::Stable { sync_ends } => sync_ends,
        };
        let silent = self.members.values().filter(|member| !member.waits());
        silent
            .map(|member| member.session_ends)
            .chain(self.pending.values().copied())
            .chain(state)
            .min()
    }

    /// Takes a member out and tells it so, where it waits.
    fn remove(&mut self, member_id: &str, replies: &mut Replies) {
        let Some(mut member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        dismiss(&mut member, ErrorCode::UNKNOWN_MEMBER_ID, replies);
    }

    /// The longest that a member may take to come back.
    fn rebalance_timeout(&self) -> Duration {
        self.members
            .values()
            .map(|member| member.rebalance_timeout)
            .max()
            .unwrap_or_default()
    }
}

/// Answers whatever a member waits for with an error.
fn dismiss(member: &mut Member, code: ErrorCode, replies: &mut Replies) {
    if let Some(ticket) = member.joining.take() {
        let member_id = member.id.clone();
        replies.push((ticket, Reply::Join(Err(NotJoined { code, member_id }))));
    }
    if let Some(ticket) = member.syncing.take() {
        replies.push((ticket, Reply::Sync(Err(code))));
    }
}
