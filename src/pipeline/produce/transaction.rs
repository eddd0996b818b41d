//! How much goes into one transaction. Polls are committed whole, and as soon as the source has nothing more at the moment.

use std::time::{Duration, Instant};

/// How many events a transaction takes before it is committed between two polls.
const EVENTS: usize = 100_000;

/// For how long a transaction is kept open while polls bring events without a pause.
const TIME: Duration = Duration::from_millis(500);

/// A transaction that was begun.
#[derive(Debug)]
pub(in crate::pipeline) struct Open {
    since: Instant,
    events: usize,
}

impl Open {
    /// One without events, begun now.
    pub(in crate::pipeline) fn now() -> Self {
        Self {
            since: Instant::now(),
            events: 0,
        }
    }

    /// Takes note of an event.
    pub(in crate::pipeline) fn add(&mut self) {
        self.events += 1;
    }

    /// Whether it is to be committed when the poll that is under way is complete.
    pub(in crate::pipeline) fn is_full(&self) -> bool {
        self.events >= EVENTS || self.since.elapsed() >= TIME
    }
}
