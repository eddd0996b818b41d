//! Leaves a service that fails alone for a while, then tries it with one request. Pure.
//!
//! ```text
//!            failures in a row reach the limit            the pause is over
//!   closed ───────────────────────────────────► open ───────────────────────► half-open
//!     ▲                                           ▲                              │   │
//!     │                                           └────── the probe fails ───────┘   │
//!     └───────────────────────────── the probe succeeds ─────────────────────────────┘
//! ```
//!
//! A refusal is no failure: a service that says no is there. Each probe that fails doubles the pause, so that a long
//! outage does not use a small budget up.

use chrono::{DateTime, TimeDelta, Utc};

/// How many times the first pause the pause may become.
const LONGEST: i32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    /// Also half-open, once `until` is over: requests go out one at a time.
    Open {
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        pause: TimeDelta,
    },
}

/// What changed with an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source::alpha_vantage) enum Change {
    /// Nothing.
    None,
    /// From now on nothing goes out.
    Opened,
    /// The service is back after so long.
    Closed(TimeDelta),
}

/// The breaker of one service.
#[derive(Clone, Debug)]
pub(in crate::source::alpha_vantage) struct Breaker {
    limit: u32,
    pause: TimeDelta,
    state: State,
}

impl Breaker {
    /// Opens after `limit` failures in a row, for `pause`.
    pub(in crate::source::alpha_vantage) fn new(limit: u32, pause: TimeDelta) -> Self {
        Self {
            limit: limit.max(1),
            pause,
            state: State::Closed { failures: 0 },
        }
    }

    /// When the next request may go out; `None` is at once.
    pub(in crate::source::alpha_vantage) fn ready_at(&self) -> Option<DateTime<Utc>> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } => Some(until),
        }
    }

    /// The clock was set back by so much.
    pub(in crate::source::alpha_vantage) fn set_back(&mut self, by: TimeDelta) {
        if let State::Open { since, until, .. } = &mut self.state {
            *since -= by;
            *until -= by;
        }
    }

    /// Whether the service is left alone, or being probed.
    pub(in crate::source::alpha_vantage) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// A request failed.
    pub(in crate::source::alpha_vantage) fn failed(&mut self, now: DateTime<Utc>) -> Change {
        match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures < self.limit {
                    return Change::None;
                }
                self.state = State::Open {
                    since: now,
                    until: now + self.pause,
                    pause: self.pause,
                };
                Change::Opened
            }
            State::Open { until, pause, .. } => {
                *pause = (*pause * 2).min(self.pause * LONGEST);
                *until = now + *pause;
                Change::None
            }
        }
    }

    /// The service answered.
    pub(in crate::source::alpha_vantage) fn succeeded(&mut self, now: DateTime<Utc>) -> Change {
        match std::mem::replace(&mut self.state, State::Closed { failures: 0 }) {
            State::Closed { .. } => Change::None,
            State::Open { since, .. } => Change::Closed(now - since),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAUSE: TimeDelta = TimeDelta::seconds(60);

    proptest! {
        #[test]
        fn an_outage_costs_one_request_a_pause(limit in 1_u32..10, outcomes in prop::collection::vec(any::<bool>(), 1..200)) {
            let mut breaker = Breaker::new(limit, PAUSE);
            let mut now = DateTime::UNIX_EPOCH;
            let (mut row, mut open) = (0, false);
            for good in outcomes {
                if let Some(at) = breaker.ready_at() {
                    prop_assert!(open && at >= now + PAUSE && at <= now + PAUSE * LONGEST);
                    now = at;
                }
                now += TimeDelta::seconds(1);
                let change = if good { breaker.succeeded(now) } else { breaker.failed(now) };
                row = if good { 0 } else { row + 1 };
                let should = if good { false } else { open || row >= limit };
                prop_assert_eq!(breaker.is_open(), should);
                match change {
                    Change::Opened => prop_assert!(!open && should),
                    Change::Closed(took) => prop_assert!(open && !should && took >= PAUSE),
                    Change::None => prop_assert_eq!(open, should),
                }
                open = should;
            }
        }
    }
}
