//! Batches that are given up, and the hole that a numbered one leaves: nothing behind it can pass, until what is numbered is
//! resolved and another epoch begins.

use super::entry::{Completion, Entry, State};
use super::{Epochs, PartitionSequence, ProducerEpoch};
use std::time::Instant;

impl<B> PartitionSequence<B> {
    /// Gives up what has waited beyond its deadline. A batch on its way is waited for: its request has a time limit.
    pub(in crate::producer) fn expire(&mut self, now: Instant) -> Vec<Completion<B>> {
        let mut given_up = Vec::new();
        loop {
            let before = given_up.len();
            self.expire_front(now, &mut given_up);
            self.judge();
            given_up.append(&mut self.settled());
            // What was decided may have brought another one to the front whose time is up.
            if given_up.len() == before {
                return given_up;
            }
        }
    }

    fn expire_front(&mut self, now: Instant, given_up: &mut Vec<Completion<B>>) {
        while let Some(front) = self.queue.front()
            && front.ends().is_some_and(|end| end <= now)
            && matches!(front.state, State::Waiting)
        {
            let numbered = front.identity;
            // The broker takes nothing out of turn: what it took behind this batch proves that it has this one.
            let proven = numbered.is_some()
                && self
                    .queue
                    .iter()
                    .any(|entry| matches!(entry.state, State::Resolved(Ok(_))));
            if let Some(front) = self.queue.front_mut() {
                if proven {
                    front.state = State::Resolved(Ok(None));
                } else {
                    front.give_up(None);
                    self.blind |= numbered.is_some();
                    self.hole |= numbered.is_some();
                }
            }
            given_up.append(&mut self.settled());
        }
    }

    /// Gives up everything, on its way or not.
    pub(in crate::producer) fn abandon(&mut self) -> Vec<Completion<B>> {
        self.hole = true;
        for entry in &mut self.queue {
            if !entry.is_resolved() {
                entry.in_doubt |= matches!(entry.state, State::InFlight(_));
                entry.give_up(None);
            }
        }
        self.settled()
    }

    /// Takes back the numbers of what certainly is not in the log; when nothing numbered is left, begins a new epoch.
    pub(super) fn close_hole(&mut self) {
        for entry in &mut self.queue {
            if entry.is_certainly_absent() {
                entry.unnumber();
            }
        }
        if self.queue.iter().any(Entry::is_numbered_and_unresolved) {
            return;
        }
        (self.hole, self.blind) = (false, false);
        self.acknowledged = None;
        self.next_sequence = 0;
        if self.epochs == Epochs::Without {
            return;
        }
        // Without another epoch a new producer id is needed.
        self.producer = self.producer.and_then(|ProducerEpoch { id, epoch }| {
            let epoch = epoch.checked_add(1)?;
            Some(ProducerEpoch { id, epoch })
        });
    }
}
