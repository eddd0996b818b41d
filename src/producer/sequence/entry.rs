//! One batch in the line, and what can become of it.

use super::{Cause, RECOGNISED};
use crate::wire::error::ErrorCode;
use crate::wire::records::ProducerIdentity;
use std::time::Instant;

/// How one attempt to write a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::producer) enum Verdict {
    /// It is in the log, by this attempt or an earlier one; the offset where the broker says it.
    Written(Option<i64>),
    /// It may be in the log: no answer, or an error that may follow the append.
    Unknown(Cause),
    /// This attempt did not write it; another may.
    NotWritten(Cause),
    /// The broker waits for another sequence number.
    OutOfOrder,
    /// The broker will not take it, however often it is asked.
    Refused(Refusal),
}

/// Why a broker will not take a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::producer) struct Refusal {
    /// The broker's error code.
    pub(in crate::producer) code: ErrorCode,
    /// What there is to say beyond it.
    pub(in crate::producer) detail: Option<Cause>,
}

/// Why a batch was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::producer) struct Failure {
    /// The broker's refusal; without one, its time was up.
    pub(in crate::producer) refusal: Option<Refusal>,
    /// Whether it may be in the log all the same.
    pub(in crate::producer) possibly_written: bool,
    /// How the last attempt ended, if there was one.
    pub(in crate::producer) cause: Option<Cause>,
}

/// A batch that is done with.
#[derive(Debug)]
pub(in crate::producer) struct Completion<B> {
    /// The batch, as it was pushed.
    pub(in crate::producer) batch: B,
    /// The base offset, where it is known, or why the batch was given up.
    pub(in crate::producer) result: Result<Option<i64>, Failure>,
}

#[derive(Debug)]
pub(super) enum State {
    /// To be sent, for the first time or again.
    Waiting,
    /// On its way, with the attempt's ticket.
    InFlight(u64),
    /// Done, and told as soon as all before it are.
    Resolved(Result<Option<i64>, Failure>),
}

#[derive(Debug)]
pub(super) struct Entry<B> {
    pub(super) batch: B,
    pub(super) count: i32,
    /// After it the batch is given up; `None` is never.
    pub(super) deadline: Option<Instant>,
    /// When its present numbers were first sent.
    pub(super) numbered_at: Option<Instant>,
    /// The numbers it was sent under, until it is certain that they were not used.
    pub(super) identity: Option<ProducerIdentity>,
    /// Whether its bytes carry them.
    pub(super) stamped: bool,
    pub(super) state: State,
    /// Whether an attempt under these numbers ended without a certain outcome.
    pub(super) in_doubt: bool,
    /// Whether a broker refused it as out of order, in doubt as it is: it may be in the log and forgotten.
    pub(super) out_of_turn: bool,
    pub(super) cause: Option<Cause>,
}

impl<B> Entry<B> {
    pub(super) fn new(batch: B, count: i32, deadline: Option<Instant>) -> Self {
        Self {
            batch,
            count,
            deadline,
            numbered_at: None,
            identity: None,
            stamped: false,
            state: State::Waiting,
            in_doubt: false,
            out_of_turn: false,
            cause: None,
        }
    }

    /// It is the first of the parts of a batch that had these numbers, which wrote nothing.
    pub(super) fn numbered(mut self, identity: ProducerIdentity, at: Option<Instant>) -> Self {
        self.identity = Some(identity);
        self.numbered_at = at;
        self
    }

    /// It is certain that these numbers wrote nothing: it will be sent under others.
    pub(super) fn unnumber(&mut self) {
        self.identity = None;
        self.stamped = false;
        self.numbered_at = None;
        self.in_doubt = false;
        self.out_of_turn = false;
    }

    /// Until when it is tried: to its deadline, and in doubt only while a broker can tell it from a new batch.
    pub(super) fn ends(&self) -> Option<Instant> {
        let recognised = self.numbered_at.filter(|_| self.in_doubt);
        let until = recognised.map(|since| since + RECOGNISED);
        [self.deadline, until].into_iter().flatten().min()
    }

    /// Whether it waits to be given numbers.
    pub(super) fn is_unsent(&self) -> bool {
        self.identity.is_none() && matches!(self.state, State::Waiting)
    }

    /// Whether it was given numbers whose fate is not known.
    pub(super) fn is_numbered_and_unresolved(&self) -> bool {
        self.identity.is_some() && !self.is_resolved()
    }

    /// Whether no attempt has written it, and none is on its way.
    pub(super) fn is_certainly_absent(&self) -> bool {
        matches!(self.state, State::Waiting) && !self.in_doubt
    }

    /// Whether it was given numbers whose fate another attempt can tell.
    pub(super) fn can_tell(&self) -> bool {
        self.is_numbered_and_unresolved() && !self.out_of_turn
    }

    /// Whether only what comes behind it can tell its fate.
    pub(super) fn is_out_of_turn(&self) -> bool {
        self.out_of_turn && !self.is_resolved()
    }

    /// Ends it without an acknowledgement; its numbers no longer stand in anyone's way.
    pub(super) fn give_up(&mut self, refusal: Option<Refusal>) {
        self.identity = None;
        self.state = State::Resolved(Err(Failure {
            refusal,
            possibly_written: self.in_doubt,
            cause: self.cause.take(),
        }));
    }

    pub(super) fn is_resolved(&self) -> bool {
        matches!(self.state, State::Resolved(_))
    }

    /// What is to be told of it, when it is resolved.
    pub(super) fn into_completion(self) -> Option<Completion<B>> {
        match self.state {
            State::Resolved(result) => Some(Completion {
                batch: self.batch,
                result,
            }),
            State::Waiting | State::InFlight(_) => None,
        }
    }
}
