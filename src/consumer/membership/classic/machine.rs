//! Classic group membership as a state machine. Pure: events and the time go in, the next step comes out.
//!
//! ```text
//!            MEMBER_ID_REQUIRED, or a new member id
//! Joining ◄──────────────────────────────► Naming
//!   ▲  ▲ │                                   │ id stored
//!   │  │ └────── JoinGroup answered ─► Syncing ◄┘
//!   │  └── REBALANCE_IN_PROGRESS, … ────┤
//!   │                                   │ SyncGroup answered
//!   │   the group wants a rebalance,    ▼
//!   ├── and what it wants back was ─── Member      heartbeats, commits
//!   │   given up                        │
//!   │                                   │ UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION: lost
//!   ├───────────────────────────────────┤
//!   │    fenced                         │ session over by our own clock
//!   ├──────────────────── Fencing ◄─────┘
//!   └── (Failed: whatever no retry helps; Left)
//! ```
//!
//! Under an eager assignor everything is given up before JoinGroup. Under a cooperative one (KIP-429) the partitions
//! are kept and named in JoinGroup; what the new generation takes away is given up afterwards, and then the group is
//! joined once more, so that it can go to another member.
//!
//! Invariants:
//! - a member id is in no step and no identity before it was stored (KIP-394: a process that starts again has to be able
//!   to end the membership of the one before it);
//! - there is an identity only within a tenure: from the first generation until the membership is lost;
//! - partitions are given back cooperatively only where this generation follows directly on the one in which we had
//!   them; otherwise another member may have them already, and they are lost;
//! - an answer that belongs to an earlier generation changes nothing.

mod event;

use crate::consumer::LostReason;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

pub(in crate::consumer::membership) use event::{Candidate, Event, Joining, Round, Step};

use super::super::state::MembershipState;
use crate::{
    consumer::assignor::Assignor,
    wire::{
        error::{ErrorCode, Remedy},
        messages::Str,
    },
};

/// Who commits and beats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::consumer) struct Identity {
    /// The generation, or the member epoch of KIP-848.
    pub(in crate::consumer) generation: i32,
    pub(in crate::consumer) member_id: Str,
}

#[derive(Clone, Debug)]
enum State {
    Joining,
    /// The member id has to be stored: before JoinGroup, or before the SyncGroup of a round.
    Naming(Option<Round>),
    Syncing(Round),
    Member {
        /// When the coordinator last answered.
        heard: Instant,
        /// The group has to be joined again.
        rebalance: bool,
    },
    Fencing,
    Failed,
    Left,
}

/// One member's view of its membership.
#[derive(Clone, Debug)]
pub(in crate::consumer::membership) struct Machine {
    session: Duration,
    /// Empty until the coordinator gave one.
    member_id: Str,
    /// The generation that this tenure has reached.
    generation: Option<i32>,
    /// Whether partitions are kept while the group is joined again, under the assignor in force.
    cooperative: bool,
    standing: MembershipState,
    /// What the last generation gave.
    previous: BTreeSet<i32>,
    state: State,
}

impl Machine {
    /// Not a member; `session` is `Kafka.SessionTimeoutMs`.
    pub(in crate::consumer::membership) fn new(
        session: Duration,
        standing: MembershipState,
    ) -> Self {
        Self {
            session,
            member_id: Str::new(),
            generation: None,
            cooperative: false,
            standing,
            previous: BTreeSet::new(),
            state: State::Joining,
        }
    }

    /// What the driver has to do next.
    pub(in crate::consumer::membership) fn step(&self) -> Step {
        match &self.state {
            State::Joining => Step::Join(Joining {
                member_id: self.member_id.clone(),
                owned: self.standing.owned.clone(),
                previous: self.previous.clone(),
                generation: self.generation.unwrap_or(-1),
            }),
            State::Naming(_) => Step::Remember(self.member_id.clone()),
            State::Syncing(round) => Step::Sync(round.clone()),
            State::Fencing => Step::Fence(self.member_id.clone()),
            State::Member { .. } | State::Failed | State::Left => Step::Idle,
        }
    }

    /// Where the membership stands.
    pub(in crate::consumer::membership) fn standing(&self) -> &MembershipState {
        &self.standing
    }

    /// Who commits, in this tenure.
    pub(in crate::consumer::membership) fn identity(&self) -> Option<Identity> {
        if matches!(self.state, State::Fencing | State::Failed | State::Left) {
            return None;
        }
        self.generation.map(|generation| Identity {
            generation,
            member_id: self.member_id.clone(),
        })
    }

    /// Who beats: not while the group is being joined, which the coordinator takes for a sign of life.
    pub(in crate::consumer::membership) fn beats_as(&self) -> Option<Identity> {
        self.identity()
            .filter(|_| matches!(self.state, State::Member { .. }))
    }

    /// The member id to leave with: the group may know us by it, whatever the state.
    pub(in crate::consumer::membership) fn stored_member_id(&self) -> Option<Str> {
        let stored = !self.member_id.is_empty() && !matches!(self.state, State::Naming(_));
        stored.then(|| self.member_id.clone())
    }

    /// Takes an event in. `Some` is trouble that calls for a pause before the next step.
    pub(in crate::consumer::membership) fn on(
        &mut self,
        event: Event,
        now: Instant,
    ) -> Option<ErrorCode> {
        let trouble = self.take_in(event, now);
        self.go_on();
        trouble
    }

    fn take_in(&mut self, event: Event, now: Instant) -> Option<ErrorCode> {
        match event {
            Event::Joined(round) => return self.joined(round),
            Event::JoinRefused(code, member_id) => return self.join_refused(code, member_id),
            Event::Remembered => {
                if let State::Naming(round) = &mut self.state {
                    self.state = match round.take() {
                        Some(round) => State::Syncing(round),
                        None => State::Joining,
                    };
                }
            }
            Event::Synced(assigned) => {
                if let State::Syncing(round) = &self.state {
                    let round = round.clone();
                    self.synced(&round, assigned, now);
                }
            }
            Event::SyncRefused(code) => return self.sync_refused(code),
            Event::Unanswered => {
                if let State::Syncing(_) = self.state {
                    self.state = State::Joining;
                }
            }
            Event::Answered(of, result) => self.answered(of, result, now),
            Event::Owns(tenure, serial, partitions) => {
                self.standing.own(tenure, serial, &partitions);
            }
            Event::Fenced => {
                if let State::Fencing = self.state {
                    self.begin_anew(LostReason::SessionExpired);
                    self.member_id = Str::new();
                }
            }
            Event::PartitionsGrew(of) => {
                if let State::Member { rebalance, .. } = &mut self.state
                    && self.generation == Some(of)
                {
                    *rebalance = true;
                }
            }
            Event::Tick => {
                if let State::Member { heard, .. } = self.state
                    && now.saturating_duration_since(heard) >= self.session
                {
                    // The coordinator may know us yet, and a commit of ours be under way.
                    self.state = State::Fencing;
                }
            }
            Event::Left => {
                self.state = State::Left;
                self.generation = None;
            }
        }
        None
    }

    /// Joins again as soon as that is wanted and what has to be given up before it was.
    fn go_on(&mut self) {
        if !matches!(
            self.state,
            State::Member {
                rebalance: true,
                ..
            }
        ) {
            return;
        }
        if !self.cooperative && !self.standing.assigned.is_empty() {
            self.standing.assign(BTreeSet::new());
        }
        if self.standing.gave_up() {
            self.state = State::Joining;
        }
    }

    fn joined(&mut self, round: Round) -> Option<ErrorCode> {
        if !matches!(self.state, State::Joining) {
            return None;
        }
        if round.member_id.is_empty() {
            // No broker does this; without a name there is nothing to sync with.
            return Some(ErrorCode::UNKNOWN_SERVER_ERROR);
        }
        self.state = if round.member_id == self.member_id {
            State::Syncing(round)
        } else {
            self.rename(round.member_id.clone());
            State::Naming(Some(round))
        };
        None
    }

    /// The coordinator calls us something else: whatever was before is not ours any more.
    fn rename(&mut self, member_id: Str) {
        if self.generation.is_some() {
            self.begin_anew(LostReason::Refused(ErrorCode::UNKNOWN_MEMBER_ID));
        }
        self.member_id = member_id;
    }

    fn join_refused(&mut self, code: ErrorCode, member_id: Str) -> Option<ErrorCode> {
        if !matches!(self.state, State::Joining) {
            return None;
        }
        match code {
            ErrorCode::MEMBER_ID_REQUIRED if !member_id.is_empty() => {
                self.rename(member_id);
                self.state = State::Naming(None);
                None
            }
            ErrorCode::UNKNOWN_MEMBER_ID if !self.member_id.is_empty() => {
                self.rename(Str::new());
                self.state = State::Joining;
                None
            }
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::UNKNOWN_MEMBER_ID => Some(code),
            code if code.remedy() == Remedy::None => {
                self.fail("JoinGroup", code);
                None
            }
            code => Some(code),
        }
    }

    fn synced(&mut self, round: &Round, assigned: BTreeSet<i32>, now: Instant) {
        let follows = self
            .generation
            .is_some_and(|last| (last..=last.saturating_add(1)).contains(&round.generation));
        self.cooperative = round.protocol.as_deref() == Some(Assignor::CooperativeSticky.name());
        let all_kept = self.standing.owned.is_subset(&assigned);
        let continues = follows && (self.cooperative || all_kept);
        if !self.standing.owned.is_empty() && !continues {
            self.standing.lose(LostReason::TakenAway);
        }
        self.generation = Some(round.generation);
        self.previous.clone_from(&assigned);
        self.standing.assign(assigned);
        self.state = State::Member {
            heard: now,
            // What is taken away can go to another member only in the generation after this one.
            rebalance: self.cooperative && !all_kept,
        };
    }

    fn sync_refused(&mut self, code: ErrorCode) -> Option<ErrorCode> {
        if !matches!(self.state, State::Syncing(_)) {
            return None;
        }
        self.state = State::Joining;
        match code {
            ErrorCode::REBALANCE_IN_PROGRESS => None,
            ErrorCode::ILLEGAL_GENERATION | ErrorCode::UNKNOWN_MEMBER_ID => {
                if self.generation.is_some() {
                    self.begin_anew(LostReason::Refused(code));
                }
                if code == ErrorCode::UNKNOWN_MEMBER_ID {
                    self.member_id = Str::new();
                }
                None
            }
            code if code.remedy() == Remedy::None => {
                self.fail("SyncGroup", code);
                None
            }
            code => Some(code),
        }
    }

    fn answered(&mut self, of: i32, result: Result<(), ErrorCode>, now: Instant) {
        let State::Member { heard, rebalance } = &mut self.state else {
            return;
        };
        if self.generation != Some(of) {
            return;
        }
        match result {
            Ok(()) => *heard = now.max(*heard),
            Err(ErrorCode::REBALANCE_IN_PROGRESS) => {
                *heard = now.max(*heard);
                *rebalance = true;
            }
            Err(code @ (ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION)) => {
                self.begin_anew(LostReason::Refused(code));
                if code == ErrorCode::UNKNOWN_MEMBER_ID {
                    self.member_id = Str::new();
                }
            }
            Err(code) if code.remedy() == Remedy::None => self.fail("Heartbeat", code),
            // The coordinator moves or loads; only time tells whether it still knows us.
            Err(_) => {}
        }
    }

    fn fail(&mut self, api: &'static str, code: ErrorCode) {
        self.generation = None;
        self.standing.fail(api, code);
        self.state = State::Failed;
    }

    /// The tenure is over; the next one begins with joining.
    fn begin_anew(&mut self, why: LostReason) {
        self.generation = None;
        self.cooperative = false;
        self.standing.lose(why);
        self.state = State::Joining;
    }
}

#[cfg(test)]
mod tests;
