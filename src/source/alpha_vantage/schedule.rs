//! Which symbol is asked next, and when. Pure: instants and jitter are arguments.
//!
//! Invariants: requests keep a least distance from one another, however many symbols there are; the symbol that is
//! longest overdue comes first, so none starves; a symbol that is set aside keeps no other waiting.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use tokio::time::Instant;

/// The longest pause between two tries.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Added to the next midnight, against clocks that do not agree.
const AFTER_MIDNIGHT: TimeDelta = TimeDelta::minutes(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    /// Asked, and only one poll was wanted.
    Done,
    /// Refused for good.
    Out,
}

#[derive(Clone, Debug)]
struct Slot {
    due: Instant,
    tries: u32,
    state: State,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for the symbol at this place.
    Ask(usize),
    /// Nothing before then.
    Wait(Instant),
    /// Every symbol had its one poll.
    Ended,
    /// Every symbol was refused.
    NoneLeft,
}

/// The timetable of one poller.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    slots: Vec<Slot>,
    quiet_until: Instant,
    gap: Duration,
    poll: Duration,
    once: bool,
}

impl Schedule {
    pub(super) fn new(
        symbols: usize,
        gap: Duration,
        poll: Duration,
        once: bool,
        now: Instant,
    ) -> Self {
        let slot = Slot {
            due: now,
            tries: 0,
            state: State::Active,
        };
        Self {
            slots: vec![slot; symbols],
            quiet_until: now,
            gap,
            poll,
            once,
        }
    }

    pub(super) fn next(&self, now: Instant) -> Next {
        let active = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.state == State::Active);
        let Some((place, slot)) = active.min_by_key(|(_, slot)| slot.due) else {
            return if self.once {
                Next::Ended
            } else {
                Next::NoneLeft
            };
        };
        let at = slot.due.max(self.quiet_until);
        if at <= now {
            Next::Ask(place)
        } else {
            Next::Wait(at)
        }
    }

    /// A request goes out.
    pub(super) fn sent(&mut self, now: Instant) {
        self.quiet_until = self.quiet_until.max(now + self.gap);
    }

    /// No request before then.
    pub(super) fn keep_still(&mut self, until: Instant) {
        self.quiet_until = self.quiet_until.max(until);
    }

    /// How often the symbol was tried again in this poll.
    pub(super) fn tries(&self, place: usize) -> u32 {
        self.slots.get(place).map_or(0, |slot| slot.tries)
    }

    /// The symbol is asked again.
    pub(super) fn retry(&mut self, place: usize, at: Instant) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.tries += 1;
            slot.due = at;
        }
    }

    /// This poll of the symbol is over, well or not.
    pub(super) fn polled(&mut self, place: usize, now: Instant) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.tries = 0;
            slot.due = (slot.due + self.poll).max(now);
            if self.once {
                slot.state = State::Done;
            }
        }
    }

    /// No more of this symbol.
    pub(super) fn out(&mut self, place: usize) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.state = State::Out;
        }
    }
}

/// The pause before try number `tries` + 1: doubled each time, and spread over its upper half by `jitter` (0 to 1).
pub(super) fn backoff(base: Duration, tries: u32, jitter: f64) -> Duration {
    let full = base.saturating_mul(1_u32 << tries.min(16)).min(MAX_BACKOFF);
    full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// How long it is until the next day has begun in the zone.
pub(super) fn until_next_day(now: DateTime<Utc>, zone: Tz) -> Duration {
    let tomorrow =
        (now.with_timezone(&zone).date_naive() + TimeDelta::days(1)).and_time(NaiveTime::MIN);
    let midnight = zone.from_local_datetime(&tomorrow).earliest();
    let midnight = midnight.map_or(now + TimeDelta::days(1), |time| time.to_utc());
    (midnight + AFTER_MIDNIGHT - now)
        .to_std()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GAP: Duration = Duration::from_secs(1);
    const POLL: Duration = Duration::from_secs(60);

    #[test]
    fn the_next_day_begins_at_midnight_there() {
        let wait = |now: &str| {
            until_next_day(now.parse().expect("a time"), chrono_tz::America::New_York).as_secs()
        };
        assert_eq!(wait("2025-11-07T04:59:00Z"), 60 + 60);
        assert_eq!(wait("2025-11-07T05:00:00Z"), 24 * 3600 + 60);
        // The day on which the clocks go back has 25 hours.
        assert_eq!(wait("2025-11-02T04:00:00Z"), 25 * 3600 + 60);
    }

    proptest! {
        #[test]
        fn requests_keep_their_distance_and_no_symbol_starves(symbols in 1_usize..40, outcomes in prop::collection::vec(0_u8..4, 200)) {
            let start = Instant::now();
            let mut now = start;
            let mut schedule = Schedule::new(symbols, GAP, POLL, false, now);
            let mut last: Option<Instant> = None;
            let mut asked = vec![0_u32; symbols];
            let mut out = vec![false; symbols];
            for outcome in outcomes {
                match schedule.next(now) {
                    Next::Ask(place) => {
                        prop_assert!(!out[place]);
                        prop_assert!(last.is_none_or(|last| now >= last + GAP));
                        last = Some(now);
                        asked[place] += 1;
                        schedule.sent(now);
                        match outcome {
                            0 => schedule.retry(place, now + Duration::from_millis(500)),
                            1 if place > 0 => { schedule.out(place); out[place] = true; }
                            _ => schedule.polled(place, now),
                        }
                    }
                    Next::Wait(until) => { prop_assert!(until > now); now = until; }
                    Next::Ended | Next::NoneLeft => prop_assert!(out.iter().all(|out| *out)),
                }
            }
        }

        #[test]
        fn one_poll_of_each_and_then_the_end(symbols in 1_usize..20) {
            let mut now = Instant::now();
            let mut schedule = Schedule::new(symbols, GAP, POLL, true, now);
            let mut asked = vec![0_u32; symbols];
            loop {
                match schedule.next(now) {
                    Next::Ask(place) => { asked[place] += 1; schedule.sent(now); schedule.polled(place, now); }
                    Next::Wait(until) => now = until,
                    Next::Ended => break,
                    Next::NoneLeft => prop_assert!(false),
                }
            }
            prop_assert!(asked.iter().all(|asked| *asked == 1));
        }

        #[test]
        fn pauses_grow_within_their_bounds(base in 1_u64..10_000, tries: u32, jitter in 0.0_f64..1.0) {
            let pause = backoff(Duration::from_millis(base), tries, jitter);
            prop_assert!(pause <= MAX_BACKOFF);
            prop_assert!(pause >= Duration::from_millis(base).min(MAX_BACKOFF) / 2);
        }
    }
}
