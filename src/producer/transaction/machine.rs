//! Where a producer's transaction stands, and what may be sent in it (KIP-98, KIP-890). Pure: no socket, no clock.
//!
//! ```text
//!  first version    nothing ── added ──► open ── end ──► ending ── ended ──► nothing, same epoch, numbers go on
//!  second version   nothing ── sent  ──► open ── end ──► ending ── ended ──► nothing, next epoch, numbers from 0
//! ```
//!
//! - In the second version the first batch of a partition adds it to the transaction, and it may do so though it is refused or its
//!   answer is lost: what was sent is ended, whatever became of it.
//! - While an end is not answered nothing is sent: it could count in either transaction.
//! - An end is asked for until it is answered, in the epoch of its transaction; the coordinator knows the question again and
//!   answers as it did. One that may have been carried out is not asked for the other way round.
//! - Brokers of the second version serve the first one as well, so a producer that began in it stays in it when they are
//!   upgraded. When they go back, it goes back with the next transaction.

use crate::producer::sequence::ProducerEpoch;
use std::collections::BTreeSet;

/// The level of `transaction.version` from which on brokers serve the second version.
const SECOND: i16 = 2;

/// How transactions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::producer) enum Protocol {
    /// Partitions are added before their first batch; the epoch stays.
    First,
    /// Batches add their partitions; each transaction has an epoch of its own.
    Second,
}

/// What may be done with a partition's batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::producer) enum Turn {
    /// They may be sent.
    Send,
    /// The partition has to be added first.
    Add,
    /// The transaction is being ended.
    Wait,
}

/// A producer's transactions, one after the other.
#[derive(Debug)]
pub(super) struct Machine {
    protocol: Protocol,
    producer: ProducerEpoch,
    /// The partitions that take part in the present one, or may.
    partitions: BTreeSet<i32>,
    /// An end that is not answered: whether it commits.
    ending: Option<bool>,
}

impl Machine {
    /// As the coordinator gave the id and epoch; the brokers have agreed on this level of `transaction.version`.
    pub(super) fn new(producer: ProducerEpoch, level: i16) -> Self {
        Self {
            protocol: match level {
                SECOND.. => Protocol::Second,
                _ => Protocol::First,
            },
            producer,
            partitions: BTreeSet::new(),
            ending: None,
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What the present transaction's batches are to be stamped with.
    pub(super) fn producer(&self) -> ProducerEpoch {
        self.producer
    }

    /// What may be done with a partition's batches now.
    pub(super) fn turn(&self, partition: i32) -> Turn {
        match self.protocol {
            _ if self.ending.is_some() => Turn::Wait,
            Protocol::First if !self.partitions.contains(&partition) => Turn::Add,
            Protocol::First | Protocol::Second => Turn::Send,
        }
    }

    /// Partitions take part, because the coordinator said so or a batch of theirs is sent.
    pub(super) fn takes_part(&mut self, partitions: &[i32]) {
        self.partitions.extend(partitions);
    }

    /// Begins to end the present transaction, or goes on doing so; says whether the coordinator has to be asked.
    pub(super) fn end(&mut self, commits: bool) -> bool {
        if self.partitions.is_empty() {
            return false;
        }
        *self.ending.get_or_insert(commits) == commits
    }

    /// The coordinator has ended it. `next` is what it gave for the next one; the brokers have agreed on `level` by now.
    pub(super) fn ended(&mut self, next: Option<ProducerEpoch>, level: i16) {
        self.partitions.clear();
        self.ending = None;
        if let Some(next) = next {
            self.producer = next;
        }
        if level < SECOND {
            self.protocol = Protocol::First;
        }
    }
}

#[cfg(test)]
mod tests;
