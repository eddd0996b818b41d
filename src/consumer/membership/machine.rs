//! Classic group membership as a state machine. Pure: events and the time go in, the next step comes out.
//!
//! ```text
//!            join                  MEMBER_ID_REQUIRED, or a new member id
//! Unjoined ───────► Joining ◄──────────────────────────────► Naming
//!                   ▲  ▲  │                                    │ id stored
//!                   │  │  └─── JoinGroup answered ─► Syncing ◄─┘
//!                   │  └── REBALANCE_IN_PROGRESS, … ───┤
//!              join │                                  │ SyncGroup answered
//!                   │                                  ▼
//!                   ├──────────────────────────────  Member ──┐ REBALANCE_IN_PROGRESS, partitions grew
//!                   │                                  │      ▼
//!                   ├──────────────────────────────────┼── Revoking     still a member: heartbeats go on, commits count
//!                   │   UNKNOWN_MEMBER_ID,             ▼      │
//!                   ├── ILLEGAL_GENERATION, ───────── Lost ◄──┘
//!                   │   session over
//!                   └── whatever no retry helps ──── Failed
//! ```
//!
//! Invariants:
//! - a member id is in no step and no identity before it was stored (KIP-394: a process that starts again has to be able
//!   to end the membership of the one before it);
//! - commits and heartbeats have an identity only as a member of a generation that is not known to be lost;
//! - an answer that belongs to an earlier generation changes nothing.

mod event;

use std::time::{Duration, Instant};

pub(super) use event::{Candidate, Event, Round, Step};

use crate::wire::{
    error::{ErrorCode, Remedy},
    messages::Str,
};

/// Why a membership ended without our doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// The coordinator no longer knows this member or its generation.
    Refused(ErrorCode),
    /// No heartbeat was answered for `Kafka.SessionTimeoutMs`: the group has gone on without us by now.
    SessionExpired,
}

impl std::fmt::Display for LostReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(code) => code.fmt(f),
            Self::SessionExpired => {
                f.write_str("no heartbeat was answered for Kafka.SessionTimeoutMs")
            }
        }
    }
}

/// Who commits and beats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::consumer) struct Identity {
    pub(in crate::consumer) generation: i32,
    pub(in crate::consumer) member_id: Str,
}

#[derive(Clone, Debug)]
enum State {
    Unjoined,
    Joining,
    /// The member id has to be stored: before JoinGroup, or before the SyncGroup of a round.
    Naming(Option<Round>),
    Syncing(Round),
    Member {
        generation: i32,
        /// When the coordinator last answered.
        heard: Instant,
        revoking: bool,
    },
    Lost(LostReason),
    Failed(&'static str, ErrorCode),
}

/// Where the membership stands, for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::consumer) enum Status {
    /// Not a member yet, or on the way to it.
    Outside,
    /// A member of a stable generation.
    Member,
    /// The group is making a new generation: give everything up and join again.
    Revoking,
    /// No member any more.
    Lost(LostReason),
    /// No member, and no way to become one.
    Failed(&'static str, ErrorCode),
}

/// One member's view of its membership.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    session: Duration,
    /// Empty until the coordinator gave one.
    member_id: Str,
    /// The generation we last were a member of without having been lost since.
    previous: Option<i32>,
    continues: bool,
    state: State,
}

impl Machine {
    /// Not a member; `session` is `Kafka.SessionTimeoutMs`.
    pub(super) fn new(session: Duration) -> Self {
        Self {
            session,
            member_id: Str::new(),
            previous: None,
            continues: false,
            state: State::Unjoined,
        }
    }

    /// What a join has to do next.
    pub(super) fn step(&self) -> Step {
        match &self.state {
            State::Unjoined | State::Lost(_) => Step::Idle,
            State::Joining => Step::Join(self.member_id.clone()),
            State::Naming(_) => Step::Remember(self.member_id.clone()),
            State::Syncing(round) => Step::Sync(round.clone()),
            State::Member { generation, .. } => Step::Done {
                generation: *generation,
                continues: self.continues,
            },
            State::Failed(api, code) => Step::Failed(api, *code),
        }
    }

    /// Where the membership stands.
    pub(super) fn status(&self) -> Status {
        match &self.state {
            State::Unjoined | State::Joining | State::Naming(_) | State::Syncing(_) => {
                Status::Outside
            }
            State::Member { revoking, .. } if *revoking => Status::Revoking,
            State::Member { .. } => Status::Member,
            State::Lost(why) => Status::Lost(*why),
            State::Failed(api, code) => Status::Failed(api, *code),
        }
    }

    /// Who commits and beats, if we are a member.
    pub(super) fn identity(&self) -> Option<Identity> {
        match self.state {
            State::Member { generation, .. } => Some(Identity {
                generation,
                member_id: self.member_id.clone(),
            }),
            _ => None,
        }
    }

    /// The member id to leave with: the group may know us by it, whatever the state.
    pub(super) fn stored_member_id(&self) -> Option<Str> {
        let stored = !self.member_id.is_empty() && !matches!(self.state, State::Naming(_));
        stored.then(|| self.member_id.clone())
    }

    /// Takes an event in. `Some` is trouble that calls for a pause before the next step.
    pub(super) fn on(&mut self, event: Event, now: Instant) -> Option<ErrorCode> {
        match event {
            Event::Join => self.join(),
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
            Event::Synced => {
                if let State::Syncing(round) = &self.state {
                    let generation = round.generation;
                    self.continues = self.previous.is_some_and(|previous| {
                        (previous..=previous.saturating_add(1)).contains(&generation)
                    });
                    self.previous = Some(generation);
                    self.state = State::Member {
                        generation,
                        heard: now,
                        revoking: false,
                    };
                }
            }
            Event::SyncRefused(code) => return self.sync_refused(code),
            Event::Unanswered => {
                if let State::Syncing(_) = self.state {
                    self.state = State::Joining;
                }
            }
            Event::Answered(of, result) => self.answered(of, result, now),
            Event::PartitionsGrew(of) => {
                if let State::Member {
                    generation,
                    revoking,
                    ..
                } = &mut self.state
                    && *generation == of
                {
                    *revoking = true;
                }
            }
            Event::Tick => {
                if let State::Member { heard, .. } = self.state
                    && now.saturating_duration_since(heard) >= self.session
                {
                    self.lose(LostReason::SessionExpired);
                }
            }
            Event::Left => {
                self.rename(Str::new());
                self.state = State::Unjoined;
            }
        }
        None
    }

    fn join(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Joining) {
            // Not stored yet, and the round before it is over.
            State::Naming(_) => State::Naming(None),
            _ => State::Joining,
        };
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
        self.member_id = member_id;
        self.previous = None;
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
                self.forget();
                None
            }
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::UNKNOWN_MEMBER_ID => Some(code),
            code if code.remedy() == Remedy::None => {
                self.state = State::Failed("JoinGroup", code);
                None
            }
            code => Some(code),
        }
    }

    fn sync_refused(&mut self, code: ErrorCode) -> Option<ErrorCode> {
        if !matches!(self.state, State::Syncing(_)) {
            return None;
        }
        self.state = State::Joining;
        match code {
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => None,
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.forget();
                None
            }
            code if code.remedy() == Remedy::None => {
                self.state = State::Failed("SyncGroup", code);
                None
            }
            code => Some(code),
        }
    }

    fn answered(&mut self, of: i32, result: Result<(), ErrorCode>, now: Instant) {
        let State::Member {
            generation,
            heard,
            revoking,
        } = &mut self.state
        else {
            return;
        };
        if *generation != of {
            return;
        }
        match result {
            Ok(()) => *heard = now.max(*heard),
            Err(ErrorCode::REBALANCE_IN_PROGRESS) => {
                *heard = now.max(*heard);
                *revoking = true;
            }
            Err(code @ (ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION)) => {
                self.lose(LostReason::Refused(code));
            }
            Err(code) if code.remedy() == Remedy::None => {
                self.state = State::Failed("Heartbeat", code);
                self.previous = None;
            }
            // The coordinator moves or loads; only time tells whether it still knows us.
            Err(_) => {}
        }
    }

    fn lose(&mut self, why: LostReason) {
        if why == LostReason::Refused(ErrorCode::UNKNOWN_MEMBER_ID) {
            self.member_id = Str::new();
        }
        self.previous = None;
        self.state = State::Lost(why);
    }

    /// The group does not know this member id: join as a newcomer.
    fn forget(&mut self) {
        self.rename(Str::new());
        self.state = State::Joining;
    }
}

#[cfg(test)]
mod tests;
