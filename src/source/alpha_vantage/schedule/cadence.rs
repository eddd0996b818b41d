//! When a symbol is asked next: not before something new can be there, and no more often than the day's budget lasts.
//! Pure.
//!
//! Intraday bars: at the end of the first bar that ends after the pause between two polls, and once more at the close,
//! so that the last bars are never left to the next day. Bars of days, and quotes of keys without an entitlement: once
//! a trading day, when its bar is final. A bar that is late then is asked for twice more.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::source::bars::SETTLE;
use crate::source::market_hours::Market;

/// When a daily bar that is late is asked for again, counted from the time at which it became final.
const LATE: [TimeDelta; 2] = [TimeDelta::hours(1), TimeDelta::hours(6)];

/// How often something new can be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source::alpha_vantage) enum Cadence {
    /// With every bar, in the sessions of its market.
    Bars {
        /// From a bar's start to its end.
        length: TimeDelta,
        /// How late the service's data are.
        delay: TimeDelta,
        /// Also before the opening and after the close.
        extended: bool,
    },
    /// Once a trading day.
    Days,
}

/// What is left of a day's budget for those that share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source::alpha_vantage) struct Share {
    /// Requests left today; `None` is no limit.
    pub(in crate::source::alpha_vantage) left: Option<u64>,
    /// How many ask.
    pub(in crate::source::alpha_vantage) askers: u64,
}

impl Cadence {
    /// When to ask next, after an answer at `now`. `due` is when it should have been asked, `poll` the least pause,
    /// `newest` the latest day that the answer had.
    pub(in crate::source::alpha_vantage) fn next(
        self,
        market: Market,
        due: DateTime<Utc>,
        now: DateTime<Utc>,
        poll: TimeDelta,
        share: Share,
        newest: Option<NaiveDate>,
    ) -> DateTime<Utc> {
        match self {
            Self::Days => next_day(market, now, newest),
            Self::Bars {
                length,
                delay,
                extended,
            } => {
                let lag = SETTLE + delay;
                let session = market.session_after(now - lag, extended);
                let pause = stretched(poll, session.close - now.max(session.open), share);
                // From when it was due, so that a queue before it does not slow it down; unless it is late by more.
                let from = (due + pause).max(now).max(session.open) - lag;
                let whole = (from - session.open).num_milliseconds();
                let step = length.num_milliseconds().max(1);
                let bars = whole.div_euclid(step) + i64::from(whole.rem_euclid(step) > 0);
                let mut end =
                    session.open + length * i32::try_from(bars.max(1)).unwrap_or(i32::MAX);
                if end <= now - lag {
                    end += length;
                }
                end.min(session.close) + lag
            }
        }
    }

    /// When to ask again after a poll that brought nothing but failures: soon, because what is missing is still to be had;
    /// but in the session not so often that the others have to wait for it.
    pub(in crate::source::alpha_vantage) fn after_failure(
        self,
        market: Market,
        now: DateTime<Utc>,
        poll: TimeDelta,
        share: Share,
    ) -> DateTime<Utc> {
        let (usual, sparing) = match self {
            Self::Days => (TimeDelta::minutes(15), TimeDelta::hours(1)),
            Self::Bars { extended, .. } if market.is_open(now, extended) => {
                let until_close = market.session_after(now, extended).close - now;
                return now + stretched(poll.max(TimeDelta::minutes(5)), until_close, share);
            }
            Self::Bars { .. } => (TimeDelta::minutes(5), TimeDelta::minutes(30)),
        };
        now + poll.max(if share.left.is_some() { sparing } else { usual })
    }
}

fn next_day(market: Market, now: DateTime<Utc>, newest: Option<NaiveDate>) -> DateTime<Utc> {
    let next = market.next_final(now);
    let Some(expected) = market.latest_final_day(now) else {
        return next;
    };
    if newest.is_none_or(|newest| newest >= expected) {
        return next;
    }
    market
        .day_is_final(expected)
        .and_then(|last| {
            LATE.into_iter()
                .map(|late| last + late)
                .find(|at| *at > now)
        })
        .map_or(next, |again| again.min(next))
}

/// The pause between two polls of one asker with which the budget lasts until the close, the polls at the close
/// included.
fn stretched(poll: TimeDelta, until_close: TimeDelta, share: Share) -> TimeDelta {
    let Some(left) = share.left else {
        return poll;
    };
    let Ok(spare) = i32::try_from(left.saturating_sub(share.askers)) else {
        return poll;
    };
    let askers = i32::try_from(share.askers).unwrap_or(i32::MAX);
    if spare == 0 {
        return until_close.max(poll);
    }
    let seconds =
        (i128::from(until_close.num_seconds().max(0)) * i128::from(askers)) / i128::from(spare);
    poll.max(TimeDelta::seconds(
        i64::try_from(seconds)
            .unwrap_or(i64::MAX / 1000)
            .min(86_400),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::market_hours::US;

    const FREE: Share = Share {
        left: None,
        askers: 1,
    };
    const MINUTE: Cadence = Cadence::Bars {
        length: TimeDelta::minutes(1),
        delay: TimeDelta::zero(),
        extended: true,
    };

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn next(cadence: Cadence, now: &str, poll: i64, share: Share) -> DateTime<Utc> {
        cadence.next(
            US,
            time(now),
            time(now),
            TimeDelta::seconds(poll),
            share,
            None,
        )
    }

    #[test]
    fn the_next_bar_its_close_and_the_next_session() {
        assert_eq!(
            next(MINUTE, "2025-11-06T15:00:05Z", 60, FREE),
            time("2025-11-06T15:01:05Z")
        );
        assert_eq!(
            next(MINUTE, "2025-11-06T15:00:30Z", 60, FREE),
            time("2025-11-06T15:02:05Z")
        );
        // Ten to eight in the evening, every half hour: the close comes before the half hour is over.
        assert_eq!(
            next(MINUTE, "2025-11-07T00:50:00Z", 1800, FREE),
            time("2025-11-07T01:00:05Z")
        );
        assert_eq!(
            next(MINUTE, "2025-11-07T01:00:05Z", 60, FREE),
            time("2025-11-07T09:01:05Z")
        );
        // Friday evening: Monday's first bar. Night: the morning's.
        assert_eq!(
            next(MINUTE, "2025-11-08T01:00:06Z", 60, FREE),
            time("2025-11-10T09:01:05Z")
        );
        assert_eq!(
            next(MINUTE, "2025-11-06T06:00:00Z", 60, FREE),
            time("2025-11-06T09:01:05Z")
        );
        let delayed = Cadence::Bars {
            length: TimeDelta::minutes(5),
            delay: TimeDelta::minutes(15),
            extended: false,
        };
        assert_eq!(
            next(delayed, "2025-11-06T15:00:05Z", 60, FREE),
            time("2025-11-06T15:05:05Z")
        );
        assert_eq!(
            next(delayed, "2025-11-06T21:10:05Z", 60, FREE),
            time("2025-11-06T21:15:05Z")
        );
    }

    #[test]
    fn days_are_asked_once_each_and_late_ones_again() {
        let ask = |now: &str, newest: &str| {
            Cadence::Days.next(
                US,
                time(now),
                time(now),
                TimeDelta::seconds(60),
                FREE,
                Some(newest.parse().expect("a day")),
            )
        };
        assert_eq!(
            ask("2025-11-06T15:00:00Z", "2025-11-05"),
            time("2025-11-07T01:15:00Z")
        );
        assert_eq!(
            ask("2025-11-07T01:15:30Z", "2025-11-06"),
            time("2025-11-08T01:15:00Z")
        );
        assert_eq!(
            ask("2025-11-07T01:15:30Z", "2025-11-05"),
            time("2025-11-07T02:15:00Z")
        );
        assert_eq!(
            ask("2025-11-07T02:15:30Z", "2025-11-05"),
            time("2025-11-07T07:15:00Z")
        );
        assert_eq!(
            ask("2025-11-07T07:15:30Z", "2025-11-05"),
            time("2025-11-08T01:15:00Z")
        );
    }

    #[test]
    fn a_small_budget_is_spread_over_the_session() {
        // Six hours are left, 120 requests for 10 symbols, 10 of them for the close.
        let share = Share {
            left: Some(120),
            askers: 10,
        };
        let at = next(MINUTE, "2025-11-06T19:00:05Z", 60, share);
        assert_eq!(at, time("2025-11-06T19:33:05Z"));
        assert_eq!(
            next(
                MINUTE,
                "2025-11-06T19:00:05Z",
                60,
                Share {
                    left: Some(10),
                    askers: 10
                }
            ),
            time("2025-11-07T01:00:05Z")
        );
    }

    proptest! {
        #[test]
        fn it_is_later_and_something_new_can_be_there(seconds in 1_700_000_000_i64..1_900_000_000, late in 0_i64..100_000, poll in 60_i64..10_000, minutes in prop::sample::select(vec![1_i64, 5, 15, 30, 60]), delay in 0_i64..20, left in prop::option::of(0_u64..2000), askers in 1_u64..60, extended: bool) {
            let now = DateTime::from_timestamp(seconds, 0).expect("a time");
            let length = TimeDelta::minutes(minutes);
            let cadence = Cadence::Bars { length, delay: TimeDelta::minutes(delay), extended };
            let at = cadence.next(US, now - TimeDelta::seconds(late), now, TimeDelta::seconds(poll), Share { left, askers }, None);
            prop_assert!(at > now, "{at} {now}");
            // It is the end of a bar of a session.
            let end = at - SETTLE - TimeDelta::minutes(delay);
            let session = US.session_before(end - TimeDelta::seconds(1), extended);
            prop_assert!(session.open < end && end <= session.close);
            prop_assert!((end - session.open).num_seconds() % length.num_seconds() == 0 || end == session.close);
            // No close is passed over.
            let first = US.session_after(now - SETTLE - TimeDelta::minutes(delay), extended);
            prop_assert!(end <= first.close);
        }
    }
}
