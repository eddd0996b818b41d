//! Which symbols are asked next, and when. Pure: instants and jitter are arguments.
//!
//! Invariants: those whose market is open come before those whose market is closed; among them the longest overdue comes
//! first, so none starves; one that is set aside, or waits for its next try, keeps no other waiting.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::source::market_hours::Market;

/// The longest pause between two tries.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// One that is overdue for this long goes before all others, whether its market is open or not.
const PATIENCE: TimeDelta = TimeDelta::hours(12);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    /// Asked, and no more was wanted.
    Done,
    /// Refused for good.
    Out,
}

/// One that is asked for.
#[derive(Clone, Debug)]
struct Slot {
    market: Market,
    due: DateTime<Utc>,
    /// When it was asked last, by this process or one before: of those that are due at the same time, the one that was
    /// asked the longest time ago comes first.
    asked: Option<DateTime<Utc>>,
    /// Not before then: the pause between two tries.
    held: DateTime<Utc>,
    tries: u32,
    state: State,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source::alpha_vantage) enum Next {
    /// Ask for the one at this place.
    Ask(usize),
    /// Nothing before then.
    Wait(DateTime<Utc>),
    /// Every one had what was wanted of it.
    Ended,
    /// Every one was refused.
    NoneLeft,
}

/// The timetable of one poller.
#[derive(Clone, Debug)]
pub(in crate::source::alpha_vantage) struct Plan {
    slots: Vec<Slot>,
    extended: bool,
}

impl Plan {
    /// All are due at once.
    pub(in crate::source::alpha_vantage) fn new(
        markets: impl IntoIterator<Item = Market>,
        extended: bool,
        now: DateTime<Utc>,
    ) -> Self {
        let slot = |market| Slot {
            market,
            due: now,
            asked: None,
            held: now,
            tries: 0,
            state: State::Active,
        };
        Self {
            slots: markets.into_iter().map(slot).collect(),
            extended,
        }
    }

    /// What to do; `ready` is when the budget and the service take the next request.
    pub(in crate::source::alpha_vantage) fn next(
        &self,
        now: DateTime<Utc>,
        ready: DateTime<Utc>,
    ) -> Next {
        let active = || {
            self.slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| slot.state == State::Active)
        };
        let Some(first) = active().map(|(_, slot)| slot.due.max(slot.held)).min() else {
            return if self.slots.iter().any(|slot| slot.state == State::Done) {
                Next::Ended
            } else {
                Next::NoneLeft
            };
        };
        let at = first.max(ready);
        if at > now {
            return Next::Wait(at);
        }
        let order = |slot: &Slot| {
            let waits = now - slot.due < PATIENCE && !slot.market.is_open(now, self.extended);
            (waits, slot.due, slot.asked)
        };
        active()
            .filter(|(_, slot)| slot.due.max(slot.held) <= now)
            .min_by_key(|(_, slot)| order(slot))
            .map_or(Next::Wait(at), |(place, _)| Next::Ask(place))
    }

    /// The clock was set back by so much: what was due in a minute is not to be due in days.
    pub(in crate::source::alpha_vantage) fn set_back(&mut self, by: TimeDelta) {
        for slot in &mut self.slots {
            slot.due -= by;
            slot.held -= by;
            slot.asked = slot.asked.map(|asked| asked - by);
        }
    }

    /// It was asked then.
    pub(in crate::source::alpha_vantage) fn asked(&mut self, place: usize, at: DateTime<Utc>) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.asked = Some(at);
        }
    }

    /// How many are asked for still.
    pub(in crate::source::alpha_vantage) fn active(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| slot.state == State::Active)
            .count()
    }

    /// When it was to be asked.
    pub(in crate::source::alpha_vantage) fn due(&self, place: usize) -> DateTime<Utc> {
        self.slots
            .get(place)
            .map_or(DateTime::UNIX_EPOCH, |slot| slot.due)
    }

    /// Its market.
    pub(in crate::source::alpha_vantage) fn market(&self, place: usize) -> Option<Market> {
        self.slots.get(place).map(|slot| slot.market)
    }

    /// How often it was tried again in this poll.
    pub(in crate::source::alpha_vantage) fn tries(&self, place: usize) -> u32 {
        self.slots.get(place).map_or(0, |slot| slot.tries)
    }

    /// It is tried again.
    pub(in crate::source::alpha_vantage) fn retry(&mut self, place: usize, at: DateTime<Utc>) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.tries += 1;
            slot.held = at;
        }
    }

    /// It is asked again, which is no fault of its own.
    pub(in crate::source::alpha_vantage) fn again(&mut self, place: usize, at: DateTime<Utc>) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.held = at;
        }
    }

    /// This poll is over, well or not; the next is due at that time.
    pub(in crate::source::alpha_vantage) fn polled(&mut self, place: usize, due: DateTime<Utc>) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.tries = 0;
            slot.due = due;
        }
    }

    /// No more is wanted of it.
    pub(in crate::source::alpha_vantage) fn done(&mut self, place: usize) {
        self.set(place, State::Done);
    }

    /// It is refused for good.
    pub(in crate::source::alpha_vantage) fn out(&mut self, place: usize) {
        self.set(place, State::Out);
    }

    fn set(&mut self, place: usize, state: State) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.state = state;
        }
    }

    /// Adds one, due at once; says its place.
    pub(in crate::source::alpha_vantage) fn add(
        &mut self,
        market: Market,
        now: DateTime<Utc>,
    ) -> usize {
        self.slots.push(Slot {
            market,
            due: now,
            asked: None,
            held: now,
            tries: 0,
            state: State::Active,
        });
        self.slots.len() - 1
    }
}

/// The pause before try number `tries` + 1: doubled each time, and spread over its upper half by `jitter` (0 to 1).
pub(in crate::source::alpha_vantage) fn backoff(
    base: Duration,
    tries: u32,
    jitter: f64,
) -> Duration {
    let full = base.saturating_mul(1_u32 << tries.min(16)).min(MAX_BACKOFF);
    full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn an_open_market_comes_first_but_nobody_starves() {
        // Nine in the morning in London, four in New York: an hour before its extended session.
        let now = time("2025-11-06T09:00:00Z") - TimeDelta::minutes(30);
        let markets = [Market::of("IBM"), Market::of("TSCO.LON")];
        let mut plan = Plan::new(markets, true, now);
        assert_eq!(plan.next(now, now), Next::Ask(1));
        plan.polled(1, now);
        assert_eq!(plan.next(now, now), Next::Ask(1));
        let weekend = time("2025-11-08T09:00:00Z");
        let mut plan = Plan::new([Market::of("IBM"), Market::of("X:Y")], true, weekend);
        plan.polled(1, weekend + TimeDelta::hours(11));
        assert_eq!(
            plan.next(weekend + TimeDelta::hours(13), weekend),
            Next::Ask(0)
        );
    }

    proptest! {
        #[test]
        fn no_symbol_starves_and_none_waits_for_another(symbols in 1_usize..40, outcomes in prop::collection::vec(0_u8..5, 400)) {
            let mut now = time("2025-11-06T15:00:00Z");
            let mut ready = now;
            let mut plan = Plan::new(vec![Market::of("IBM"); symbols], true, now);
            let (mut out, mut last) = (vec![false; symbols], vec![now; symbols]);
            for outcome in outcomes {
                match plan.next(now, ready) {
                    Next::Ask(place) => {
                        prop_assert!(!out[place] && ready <= now);
                        // Each waits for one turn of all others at most, their tries included.
                        prop_assert!(now - last[place] <= TimeDelta::seconds(61 + 2 * 400));
                        last[place] = now;
                        ready = now + TimeDelta::seconds(1);
                        match outcome {
                            0 => plan.retry(place, now + TimeDelta::milliseconds(500)),
                            1 if place > 0 => { plan.out(place); out[place] = true; }
                            2 => plan.again(place, now + TimeDelta::seconds(3)),
                            _ => plan.polled(place, (plan.due(place) + TimeDelta::seconds(60)).max(now)),
                        }
                    }
                    Next::Wait(until) => { prop_assert!(until > now); now = until; }
                    Next::Ended | Next::NoneLeft => prop_assert!(out.iter().all(|out| *out)),
                }
            }
        }

        #[test]
        fn one_poll_of_each_and_then_the_end(symbols in 1_usize..20) {
            let mut now = time("2025-11-06T15:00:00Z");
            let mut plan = Plan::new(vec![Market::of("IBM"); symbols], true, now);
            let mut asked = vec![0_u32; symbols];
            loop {
                match plan.next(now, now) {
                    Next::Ask(place) => { asked[place] += 1; plan.done(place); }
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
