//! Membership of a group whose partitions the broker shares out (KIP-848), as a state machine. Pure.
//!
//! ```text
//!            heartbeat with epoch 0                 FENCED_MEMBER_EPOCH: lost
//!  Joining ─────────────────────────► Member ─────────────────────────────────► Fencing
//!     ▲ ▲                               │                                          │ left, by the old id
//!     │ └───── UNKNOWN_MEMBER_ID: lost ─┘                                          │
//!     └────────────────────────────────────────────────────────────────────────────┘
//!                                    (Failed: whatever no retry helps; Left)
//! ```
//!
//! The broker names the partitions that this member may have; those that it wants back go to others only when a
//! heartbeat says that they were given up. So the next heartbeat is due at once when the caller gives something up.
//!
//! Invariants, beside those of the classic machine: every tenure has a member id of its own, so that a commit of one
//! before, wherever it still is, cannot count in it; and the epoch never falls within a tenure.

use std::collections::BTreeSet;

use super::super::state::MembershipState;
use super::super::{Identity, LostReason};
use crate::wire::{
    error::{ErrorCode, Remedy},
    messages::Str,
};

/// Tells the broker that a member leaves for good.
pub(in crate::consumer::membership) const LEAVE: i32 = -1;

/// Tells the broker that a static member will be back.
pub(in crate::consumer::membership) const LEAVE_FOR_A_WHILE: i32 = -2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The id has to be stored first.
    Naming,
    Joining,
    Member,
    Fencing,
    Failed,
    Left,
}

/// What the driver has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::consumer::membership) enum Step {
    /// Make a member id up that nobody else has, and store it durably.
    Name,
    /// Send a heartbeat, now.
    Beat(Beat),
    /// End the membership of this member id, until that is certain.
    Fence(Str),
    /// Nothing, until something happens or the next heartbeat is due.
    Idle,
}

/// What a heartbeat says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::consumer::membership) struct Beat {
    pub(in crate::consumer::membership) member_id: Str,
    /// 0 joins.
    pub(in crate::consumer::membership) epoch: i32,
    /// What the member has; said when it joins and when it changed.
    pub(in crate::consumer::membership) owned: Option<BTreeSet<i32>>,
}

/// One member's view of its membership.
#[derive(Clone, Debug)]
pub(in crate::consumer::membership) struct Machine {
    member_id: Str,
    epoch: i32,
    /// What the broker knows that we have.
    told: Option<BTreeSet<i32>>,
    standing: MembershipState,
    state: State,
}

impl Machine {
    pub(in crate::consumer::membership) fn new(standing: MembershipState) -> Self {
        Self {
            member_id: Str::new(),
            epoch: 0,
            told: None,
            standing,
            state: State::Naming,
        }
    }

    pub(in crate::consumer::membership) fn standing(&self) -> &MembershipState {
        &self.standing
    }

    /// Who commits, in this tenure.
    pub(in crate::consumer::membership) fn identity(&self) -> Option<Identity> {
        (self.state == State::Member).then(|| Identity {
            generation: self.epoch,
            member_id: self.member_id.clone(),
        })
    }

    pub(in crate::consumer::membership) fn stored_member_id(&self) -> Option<Str> {
        (!self.member_id.is_empty() && self.state != State::Naming).then(|| self.member_id.clone())
    }

    /// What to do now; `due` when it is time for a heartbeat.
    pub(in crate::consumer::membership) fn step(&self, due: bool) -> Step {
        let beat = |owned| {
            Step::Beat(Beat {
                member_id: self.member_id.clone(),
                epoch: self.epoch,
                owned,
            })
        };
        let changed = self.told.as_ref() != Some(&self.standing.owned);
        match self.state {
            State::Naming => Step::Name,
            State::Joining => beat(Some(BTreeSet::new())),
            State::Member if changed => beat(Some(self.standing.owned.clone())),
            State::Member if due => beat(None),
            State::Fencing => Step::Fence(self.member_id.clone()),
            State::Member | State::Failed | State::Left => Step::Idle,
        }
    }

    /// The member id is stored.
    pub(in crate::consumer::membership) fn named(&mut self, member_id: Str) {
        if self.state == State::Naming {
            self.member_id = member_id;
            self.state = State::Joining;
        }
    }

    /// The caller reads exactly these partitions now.
    pub(in crate::consumer::membership) fn owns(
        &mut self,
        tenure: u64,
        serial: u64,
        partitions: &BTreeSet<i32>,
    ) {
        self.standing.own(tenure, serial, partitions);
    }

    /// A heartbeat was answered: the epoch, and the partitions where they are said.
    pub(in crate::consumer::membership) fn beaten(
        &mut self,
        beat: &Beat,
        epoch: i32,
        assigned: Option<BTreeSet<i32>>,
    ) {
        let current = matches!(self.state, State::Joining | State::Member);
        if !current || beat.member_id != self.member_id || beat.epoch != self.epoch {
            return;
        }
        self.state = State::Member;
        self.epoch = self.epoch.max(epoch);
        if let Some(owned) = &beat.owned {
            self.told = Some(owned.clone());
        }
        if let Some(assigned) = assigned {
            self.standing.assign(assigned);
        }
    }

    /// A heartbeat or commit of an identity was refused. `Some` is trouble that calls for a pause.
    pub(in crate::consumer::membership) fn refused(
        &mut self,
        api: &'static str,
        of: &Identity,
        code: ErrorCode,
    ) -> Option<ErrorCode> {
        let current = matches!(self.state, State::Joining | State::Member);
        if !current || of.member_id != self.member_id {
            return None;
        }
        match code {
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_MEMBER_EPOCH
                if self.state == State::Member =>
            {
                self.standing.lose(LostReason::Refused(code));
                self.state = if code == ErrorCode::UNKNOWN_MEMBER_ID {
                    State::Naming
                } else {
                    State::Fencing
                };
                self.forget();
                None
            }
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_MEMBER_EPOCH => Some(code),
            // The next heartbeat tells the epoch.
            ErrorCode::STALE_MEMBER_EPOCH => {
                self.told = None;
                Some(code)
            }
            // The process before us is still counted in, until its session ends.
            ErrorCode::UNRELEASED_INSTANCE_ID => Some(code),
            code if code.remedy() == Remedy::None => {
                self.standing.fail(api, code);
                self.state = State::Failed;
                None
            }
            code => Some(code),
        }
    }

    /// The broker surely does not take anything from the member id of before any more.
    pub(in crate::consumer::membership) fn fenced(&mut self) {
        if self.state == State::Fencing {
            self.state = State::Naming;
        }
    }

    pub(in crate::consumer::membership) fn left(&mut self) {
        self.state = State::Left;
    }

    fn forget(&mut self) {
        self.epoch = 0;
        self.told = None;
    }
}

#[cfg(test)]
mod tests;
