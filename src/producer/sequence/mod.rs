//! One partition's batches on their way to exactly once, in order (KIP-98, KIP-360). Pure: no socket, no clock.
//!
//! The broker remembers a producer's last five batches of a partition by epoch and sequence number, takes the next one
//! in line, recognises those five when they come again, and refuses everything else. What follows for us:
//!
//! - A batch gets its sequence number when it is first sent, and keeps identity and bytes until it is resolved: whether
//!   it was written may be unknown, and only the very same batch is recognised.
//! - At most [`MAX_UNRESOLVED`] numbered batches are unresolved, whichever leader they were sent to; a batch counts until
//!   all before it are resolved, because outcomes are told in order.
//! - A broker that knows nothing of the producer takes any number. So until the first acknowledgement of an epoch only
//!   one batch is on its way, or the second could be written without the first.
//! - After a failure the numbered batches are sent again one at a time, oldest first; new ones wait.
//! - OUT_OF_ORDER_SEQUENCE_NUMBER behind an unresolved batch is only its echo: send again. At the head of the line it
//!   means that the batch is not in the log, unless it is in doubt: a leader that was started again remembers just the
//!   last batch. Then those behind it are tried, and what is acknowledged behind it proves it.
//! - A broker forgets a producer that is silent for long: after a pause, one batch goes alone again, and a batch in doubt
//!   is given up before a broker could take its repetition for a new one.
//! - A batch may have no deadline. Then it is sent under the same numbers until a broker has answered, and whatever a
//!   connection that broke may still deliver, however late, is recognised.
//! - Where brokers keep no numbers, batches go one at a time, so that they stay in order; one in doubt is sent again, and may
//!   be there twice.
//! - The halves of a batch that was too large share its numbers between them, so that all behind it keep theirs.
//! - A numbered batch that is given up leaves a hole that nothing behind it can pass. The partition is drained: what was
//!   numbered is resolved under the old numbers, then the epoch is raised and numbering begins at 0, for this
//!   partition alone. A batch that may still linger in some socket (its answer was lost) and is then refused behind a
//!   hole is reported as in doubt, since filling the hole late would let it in.

mod entry;
mod expire;
#[cfg(test)]
mod model;
mod out_of_order;
#[cfg(test)]
mod tests;

use crate::wire::records::ProducerIdentity;
pub(super) use entry::{Completion, Failure, Refusal, Verdict};
use entry::{Entry, State};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After how long without a batch a broker may have forgotten the producer: well below Kafka's
/// `producer.id.expiration.ms` (a day).
const FORGOTTEN: Duration = Duration::from_secs(600);

/// For how long after it was first sent a batch in doubt may be sent again: half of `producer.id.expiration.ms`.
const RECOGNISED: Duration = Duration::from_secs(12 * 3600);

/// Who raises the epoch after a batch was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epochs {
    /// We do, for one partition alone.
    Ours,
    /// The transaction's coordinator: what the broker does not take in turn ends the transaction.
    Coordinators,
    /// Nobody: the brokers keep no numbers, and take a batch as often as it comes (`Kafka.EnableIdempotence=false`).
    Without,
}

/// How many batches of a producer a broker remembers for each partition.
pub(super) const MAX_UNRESOLVED: usize = 5;

/// Producer id and epoch, as InitProducerId gives them or a partition raised them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProducerEpoch {
    /// Producer id.
    pub(super) id: i64,
    /// Epoch; this partition's may be higher than the others'.
    pub(super) epoch: i16,
}

/// Who sends batches without numbers.
const NOBODY: ProducerEpoch = ProducerEpoch { id: -1, epoch: -1 };

/// An attempt to be made: to be answered with [`PartitionSequence::resolve`] and this ticket.
#[derive(Debug)]
pub(super) struct Attempt<'a, B> {
    pub(super) ticket: u64,
    /// What the batch is to be stamped with, where brokers keep numbers.
    pub(super) identity: ProducerIdentity,
    /// Whether the batch was not stamped with it before; when it was, its bytes must go out as they are.
    pub(super) first: bool,
    pub(super) batch: &'a mut B,
}

/// The batches of one partition, oldest first.
#[derive(Debug)]
pub(super) struct PartitionSequence<B> {
    queue: VecDeque<Entry<B>>,
    producer: Option<ProducerEpoch>,
    next_sequence: i32,
    epochs: Epochs,
    /// When the broker was last known to remember this epoch.
    acknowledged: Option<Instant>,
    /// Whether a numbered batch was given up in this epoch.
    hole: bool,
    /// Whether one was that is in doubt: it can prove nothing of those before it any more, and what lingers of it could
    /// still let them in.
    blind: bool,
    /// Most numbered batches that may be unresolved.
    window: usize,
    /// Where the batches on their way were sent to.
    node: i32,
    retry_at: Option<Instant>,
    tickets: u64,
}

impl<B> PartitionSequence<B> {
    /// An empty one with at most `in_flight` unresolved batches (1 to [`MAX_UNRESOLVED`]).
    pub(super) fn new(in_flight: usize, epochs: Epochs) -> Self {
        let numbered = epochs != Epochs::Without;
        Self {
            queue: VecDeque::new(),
            // Then the numbers are for ourselves alone.
            producer: (!numbered).then_some(NOBODY),
            next_sequence: 0,
            epochs,
            acknowledged: None,
            hole: false,
            blind: false,
            // Nothing but waiting keeps batches in order that brokers cannot tell apart.
            window: if numbered {
                in_flight.clamp(1, MAX_UNRESOLVED)
            } else {
                1
            },
            node: -1,
            retry_at: None,
            tickets: 0,
        }
    }

    /// Queues a batch of `count` records that is to be given up after `deadline`, or never. Deadlines must not go back.
    pub(super) fn push(&mut self, batch: B, count: i32, deadline: Option<Instant>) {
        self.queue.push_back(Entry::new(batch, count, deadline));
    }

    /// Whether nothing is queued or on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Batches that were never sent under the present numbers.
    pub(super) fn unsent(&self) -> usize {
        self.queue.iter().filter(|entry| entry.is_unsent()).count()
    }

    /// Whether a producer id has to be asked for before anything can be sent.
    pub(super) fn needs_producer(&self) -> bool {
        self.producer.is_none() && !self.queue.is_empty()
    }

    /// Takes over a producer id, when there is none or the old one's epochs are used up.
    pub(super) fn set_producer(&mut self, producer: ProducerEpoch) {
        if self.producer.is_none() {
            self.producer = Some(producer);
            self.next_sequence = 0;
            self.acknowledged = None;
        }
    }

    /// Goes on in another epoch, from number 0, because the transaction before has ended with nothing on its way. What is
    /// numbered all the same keeps its epoch, and the brokers refuse it.
    pub(super) fn renew(&mut self, producer: ProducerEpoch) {
        let ended = !self.queue.iter().any(Entry::is_numbered_and_unresolved);
        if self.producer.is_some_and(|of| of != producer) && ended {
            self.producer = None;
            (self.hole, self.blind) = (false, false);
            self.set_producer(producer);
        }
    }

    /// Takes it that the broker may know nothing of the producer: the topic is another one.
    pub(super) fn is_forgotten(&mut self) {
        self.acknowledged = None;
    }

    /// The oldest batch that is not done with, and how its last attempt ended, if there was one.
    pub(super) fn oldest(&self) -> Option<(&B, Option<&Cause>)> {
        let front = self.queue.front()?;
        Some((&front.batch, front.cause.as_ref()))
    }

    /// When to look again even if nothing happens. What is due already is not waited for, and hides nothing that is not.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let front = self.queue.front()?;
        let waiting = matches!(front.state, State::Waiting);
        let end = front.ends().filter(|_| waiting);
        [self.retry_at, end]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min()
    }

    fn in_flight(&self) -> bool {
        let is_in_flight = |entry: &Entry<B>| matches!(entry.state, State::InFlight(_));
        self.queue.iter().any(is_in_flight)
    }

    /// The next batch to send to `node`, the partition's leader, if one may be sent now.
    pub(super) fn take(&mut self, node: i32, now: Instant) -> Option<Attempt<'_, B>> {
        if self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        self.retry_at = None;
        let in_flight = self.in_flight();
        // Two leaders at a time could be passed in either order.
        if in_flight && self.node != node {
            return None;
        }
        if self.hole && !in_flight {
            self.close_hole();
        }
        let producer = self.producer?;

        let again = |entry: &Entry<B>| matches!(entry.state, State::Waiting) && entry.can_tell();
        let index = if let Some(index) = self.queue.iter().position(again) {
            if in_flight {
                return None;
            }
            index
        } else {
            // Acknowledged ones count until they are told: the broker remembers those that come last.
            let is_of_epoch =
                |of: &ProducerIdentity| (of.id, of.epoch) == (producer.id, producer.epoch);
            let numbered = self
                .queue
                .iter()
                .filter(|entry| entry.identity.as_ref().is_some_and(is_of_epoch))
                .count();
            let undecided = self.queue.iter().any(Entry::is_out_of_turn);
            if numbered == 0
                && self
                    .acknowledged
                    .is_some_and(|at| now.duration_since(at) > FORGOTTEN)
            {
                self.acknowledged = None;
            }
            let unknown = self.acknowledged.is_none();
            if self.hole || undecided || numbered >= self.window || (numbered > 0 && unknown) {
                return None;
            }
            self.queue.iter().position(Entry::is_unsent)?
        };

        let entry = self.queue.get_mut(index)?;
        let first = !std::mem::replace(&mut entry.stamped, true);
        let is_new = entry.identity.is_none();
        let identity = *entry.identity.get_or_insert(ProducerIdentity {
            id: producer.id,
            epoch: producer.epoch,
            base_sequence: self.next_sequence,
        });
        if is_new {
            // No broker could forget what none remembers.
            entry.numbered_at = Some(now).filter(|_| self.epochs != Epochs::Without);
            self.next_sequence = advance(self.next_sequence, entry.count);
        }
        self.tickets += 1;
        self.node = node;
        entry.state = State::InFlight(self.tickets);
        Some(Attempt {
            ticket: self.tickets,
            identity,
            first,
            batch: &mut entry.batch,
        })
    }

    /// Notes how an attempt ended; before `retry_at` nothing of the partition is sent again. An unknown ticket is one
    /// whose batch was given up meanwhile.
    pub(super) fn resolve(
        &mut self,
        ticket: u64,
        verdict: Verdict,
        retry_at: Instant,
    ) -> Vec<Completion<B>> {
        let is_it = |entry: &Entry<B>| matches!(entry.state, State::InFlight(of) if of == ticket);
        let Some(index) = self.queue.iter().position(is_it) else {
            return Vec::new();
        };
        let before = || self.queue.iter().take(index);
        let behind = before().any(Entry::can_tell);
        // What comes after a batch that certainly is not in the log, and never will be under these numbers, is not
        // either.
        let shut_out = before().any(Entry::is_unsent);
        let may_linger = self.hole && !shut_out;
        let Some(entry) = self.queue.get_mut(index) else {
            return Vec::new();
        };
        entry.state = State::Waiting;
        match verdict {
            Verdict::Written(offset) => {
                entry.state = State::Resolved(Ok(offset));
                // A success has no pause: `retry_at` is now.
                self.acknowledged = Some(retry_at);
            }
            Verdict::Unknown(cause) => {
                entry.in_doubt = true;
                entry.cause = Some(cause);
                self.retry_at = Some(retry_at);
            }
            Verdict::NotWritten(cause) => {
                entry.cause = Some(cause);
                self.retry_at = Some(retry_at);
            }
            Verdict::OutOfOrder if behind => {}
            Verdict::OutOfOrder if may_linger && entry.in_doubt => {
                self.blind = true;
                entry.give_up(None);
            }
            Verdict::OutOfOrder if entry.in_doubt => entry.out_of_turn = true,
            Verdict::OutOfOrder if self.epochs == Epochs::Coordinators => {
                entry.cause = Some("the broker does not know the batch before this one".into());
                entry.give_up(None);
                self.hole = true;
            }
            Verdict::OutOfOrder => {
                entry.unnumber();
                self.hole = true;
            }
            Verdict::Refused(refusal) => {
                self.blind |= entry.in_doubt;
                entry.give_up(Some(refusal));
                self.hole = true;
            }
        }
        self.judge();
        self.settled()
    }

    /// Puts two batches in the place of one on its way that the broker certainly did not write; `halves` says which, with
    /// their records' numbers. They take over its sequence numbers, so that what is behind them stays as it is. Says
    /// whether it did: what may have been written is never changed.
    pub(super) fn split(
        &mut self,
        ticket: u64,
        halves: impl FnOnce(&B) -> Option<[(B, i32); 2]>,
    ) -> bool {
        let is_it = |entry: &Entry<B>| matches!(entry.state, State::InFlight(of) if of == ticket);
        let Some(index) = self.queue.iter().position(is_it) else {
            return false;
        };
        let Some(entry) = self.queue.get(index).filter(|entry| !entry.in_doubt) else {
            return false;
        };
        let (Some(mut identity), Some(halves)) = (entry.identity, halves(&entry.batch)) else {
            return false;
        };
        let (deadline, numbered_at) = (entry.deadline, entry.numbered_at);
        self.queue.remove(index);
        for (place, (batch, count)) in (index..).zip(halves) {
            let half = Entry::new(batch, count, deadline).numbered(identity, numbered_at);
            identity.base_sequence = advance(identity.base_sequence, count);
            self.queue.insert(place, half);
        }
        true
    }

    /// Outcomes that can be told: those before which nothing is unresolved.
    fn settled(&mut self) -> Vec<Completion<B>> {
        let mut settled = Vec::new();
        while self.queue.front().is_some_and(Entry::is_resolved) {
            settled.extend(self.queue.pop_front().and_then(Entry::into_completion));
        }
        settled
    }
}

/// Sequence numbers count records and wrap from `i32::MAX` to 0.
fn advance(sequence: i32, count: i32) -> i32 {
    sequence.wrapping_add(count) & i32::MAX
}

/// Text that travels with many errors.
pub(super) type Cause = Arc<str>;
