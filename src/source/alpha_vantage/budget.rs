//! How many requests a key has: a second, a minute, a day. Pure; what is used up is data that a file keeps.
//!
//! Invariants: whatever is asked, and whenever the process starts anew, no window of a second or a minute and no day of
//! the service holds more requests than its limit. Windows slide; days end at midnight of `DayResetTimeZone`. A clock
//! that is set back frees nothing of what can be true still; what the file has of times beyond that, from a clock that
//! was ahead once or from damage, is not believed, or it would hold the key for years.

use std::borrow::Cow;
use std::collections::VecDeque;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// What free keys have: requests a minute and a day.
pub(super) const FREE_MINUTE: u32 = 5;
pub(super) const FREE_DAY: u32 = 25;

/// What the smallest paid plan has in a minute; none has a limit a day.
const PAID_MINUTE: u32 = 75;

/// Added to the next midnight, against clocks that do not agree.
const AFTER_MIDNIGHT: TimeDelta = TimeDelta::minutes(1);

/// Added to the windows of a second and a minute, against delays that differ on the way.
const SLACK_PERCENT: i32 = 5;

/// A limit as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The free limit, until the key proves to be a paid one.
    Auto,
    /// No limit.
    Unlimited,
    /// So many requests.
    Of(u32),
}

/// The limits that are in force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    /// The least distance of two requests.
    pub(super) gap: TimeDelta,
    pub(super) minute: Option<u32>,
    pub(super) day: Option<u32>,
    pub(super) zone: Tz,
}

impl Limits {
    /// `paid` is whether the key has proved to be a paid one.
    pub(super) fn new(per_second: f64, minute: Limit, day: Limit, paid: bool, zone: Tz) -> Self {
        let of = |limit, free, paid_limit| match limit {
            Limit::Auto if paid => paid_limit,
            Limit::Auto => Some(free),
            Limit::Unlimited => None,
            Limit::Of(number) => Some(number),
        };
        let micros = (1e6 / per_second).clamp(0.0, 86_400e6) as i64;
        Self {
            gap: with_slack(TimeDelta::microseconds(micros)),
            minute: of(minute, FREE_MINUTE, Some(PAID_MINUTE)),
            day: of(day, FREE_DAY, None),
            zone,
        }
    }
}

fn with_slack(span: TimeDelta) -> TimeDelta {
    span * (100 + SLACK_PERCENT) / 100
}

/// What keeps a request waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The distance of two requests.
    Second,
    /// The requests of a minute are used up.
    Minute,
    /// The requests of the day are used up.
    Day,
    /// The service said that it will not answer before.
    Service,
}

/// The longest of the waits that a request has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) cause: Cause,
    pub(super) until: DateTime<Utc>,
}

/// What was used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Spent {
    /// The service's day that `used` counts.
    day: NaiveDate,
    used: u32,
    /// Requests of the last minute, oldest first; at least the latest one, whenever it was.
    recent: VecDeque<DateTime<Utc>>,
    /// The service said that it will not answer before.
    shut_until: Option<DateTime<Utc>>,
}

/// The most requests of a minute that are remembered one by one.
const MAX_RECENT: usize = 6_000;

impl Spent {
    /// When the next request may go out; `now` is at once.
    pub(super) fn ready_at(&self, limits: &Limits, now: DateTime<Utc>) -> DateTime<Utc> {
        self.held(limits, now).map_or(now, |hold| hold.until)
    }

    /// What the next request has to wait for, if it has to.
    pub(super) fn held(&self, limits: &Limits, now: DateTime<Utc>) -> Option<Hold> {
        let hold = |cause, until| Some(Hold { cause, until });
        let service = self
            .shut_until(now)
            .and_then(|until| hold(Cause::Service, until));
        let recent = self.recent(now);
        let second = recent
            .back()
            .and_then(|last| hold(Cause::Second, *last + limits.gap));
        let minute = limits.minute.and_then(|minute| {
            if minute == 0 {
                return hold(Cause::Minute, next_day(limits.zone, now));
            }
            let oldest = recent.len().checked_sub(to_usize(minute))?;
            let first = recent.get(oldest)?;
            hold(Cause::Minute, *first + with_slack(TimeDelta::minutes(1)))
        });
        let day = (self.left_today(limits, now) == Some(0)).then(|| Hold {
            cause: Cause::Day,
            until: next_day(limits.zone, self.within_its_day(limits.zone, now)),
        });
        [second, minute, day, service]
            .into_iter()
            .flatten()
            .filter(|hold| hold.until > now)
            .max_by_key(|hold| hold.until)
    }

    /// A request goes out.
    pub(super) fn spend(&mut self, limits: &Limits, now: DateTime<Utc>) {
        let today = day_of(limits.zone, now);
        // Not `!=`: a clock that was set back does not begin a day anew.
        if today > self.day || self.day > tomorrow(limits.zone, now) {
            self.day = today;
            self.used = 0;
        }
        self.used = self.used.saturating_add(1);
        self.recent.retain(|time| is_recent(*time, now));
        let last = self.recent.back().copied().unwrap_or(now);
        self.recent.push_back(now.max(last));
        let minute_ago = now - with_slack(TimeDelta::minutes(1));
        while self.recent.len() > MAX_RECENT
            || self.recent.front().is_some_and(|first| *first < minute_ago)
        {
            self.recent.pop_front();
        }
    }

    /// The last request never reached the service.
    pub(super) fn refund(&mut self) {
        self.used = self.used.saturating_sub(1);
        self.recent.pop_back();
    }

    /// Nothing goes out before then.
    pub(super) fn shut(&mut self, until: DateTime<Utc>, now: DateTime<Utc>) {
        self.shut_until = self.shut_until(now).max(Some(until));
    }

    /// When the service opens again, if it is shut.
    pub(super) fn shut_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.shut_until
            .filter(|until| *until > now && *until <= now + LONGEST_SHUT)
    }

    /// Whether it has times that are not believed.
    pub(super) fn is_ahead(&self, zone: Tz, now: DateTime<Utc>) -> bool {
        self.day > tomorrow(zone, now)
            || self.shut_until.is_some_and(|at| at > now + LONGEST_SHUT)
            || self.recent.iter().any(|at| !is_recent(*at, now))
    }

    /// Requests of the last minute, without those that are not believed.
    fn recent(&self, now: DateTime<Utc>) -> Cow<'_, VecDeque<DateTime<Utc>>> {
        let believed = |time: &DateTime<Utc>| is_recent(*time, now);
        if self.recent.iter().all(believed) {
            return Cow::Borrowed(&self.recent);
        }
        let recent = self.recent.iter().copied();
        Cow::Owned(recent.filter(believed).collect())
    }

    /// Requests used on the service's present day.
    pub(super) fn used_today(&self, zone: Tz, now: DateTime<Utc>) -> u32 {
        if day_of(zone, now) > self.day || self.day > tomorrow(zone, now) {
            0
        } else {
            self.used
        }
    }

    /// Requests left on the service's present day; `None` is no limit.
    pub(super) fn left_today(&self, limits: &Limits, now: DateTime<Utc>) -> Option<u32> {
        let used = self.used_today(limits.zone, now);
        limits.day.map(|day| day.saturating_sub(used))
    }

    /// Some time within the day that is counted: now, unless the clock was set back.
    fn within_its_day(&self, zone: Tz, now: DateTime<Utc>) -> DateTime<Utc> {
        if self.day != tomorrow(zone, now) {
            return now;
        }
        let midday = self
            .day
            .and_time(NaiveTime::MIN)
            .checked_add_signed(TimeDelta::hours(12));
        midday
            .and_then(|local| zone.from_local_datetime(&local).earliest())
            .map_or(now, |time| time.to_utc().max(now))
    }
}

/// The longest that the service is believed to be shut: until its next day begins, which can be 25 hours long.
const LONGEST_SHUT: TimeDelta = TimeDelta::hours(26);

/// Whether a request can have gone out then, by a clock that is a minute's window ahead at most.
fn is_recent(time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    time <= now + with_slack(TimeDelta::minutes(1))
}

/// The day after the service's present one: the latest that a clock which was set back can have counted.
fn tomorrow(zone: Tz, now: DateTime<Utc>) -> NaiveDate {
    let today = day_of(zone, now);
    today.succ_opt().unwrap_or(today)
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn day_of(zone: Tz, now: DateTime<Utc>) -> NaiveDate {
    now.with_timezone(&zone).date_naive()
}

/// When the next day of requests begins for sure.
pub(super) fn next_day(zone: Tz, now: DateTime<Utc>) -> DateTime<Utc> {
    let tomorrow = day_of(zone, now)
        .succ_opt()
        .map(|day| day.and_time(NaiveTime::MIN));
    let midnight = tomorrow.and_then(|midnight| {
        // Where the clock skips midnight, the hour after it.
        (0..3).find_map(|hours| {
            zone.from_local_datetime(&(midnight + TimeDelta::hours(hours)))
                .earliest()
        })
    });
    midnight.map_or(now + TimeDelta::days(1), |time| time.to_utc()) + AFTER_MIDNIGHT
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEW_YORK: Tz = chrono_tz::America::New_York;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn the_next_day_begins_at_midnight_there() {
        let wait = |now: &str| (next_day(NEW_YORK, time(now)) - time(now)).num_seconds();
        assert_eq!(wait("2025-11-07T04:59:00Z"), 60 + 60);
        assert_eq!(wait("2025-11-07T05:00:00Z"), 24 * 3600 + 60);
        // The day on which the clocks go back has 25 hours, the one on which they go forward 23.
        assert_eq!(wait("2025-11-02T04:00:00Z"), 25 * 3600 + 60);
        assert_eq!(wait("2026-03-08T05:00:00Z"), 23 * 3600 + 60);
    }

    #[test]
    fn auto_is_free_until_the_key_proves_to_be_paid() {
        let limits = |minute, day, paid| {
            let limits = Limits::new(1.0, minute, day, paid, NEW_YORK);
            (limits.minute, limits.day)
        };
        assert_eq!(limits(Limit::Auto, Limit::Auto, false), (Some(5), Some(25)));
        assert_eq!(limits(Limit::Auto, Limit::Auto, true), (Some(75), None));
        assert_eq!(
            limits(Limit::Unlimited, Limit::Of(500), true),
            (None, Some(500))
        );
    }

    #[test]
    fn a_wait_says_what_it_is_for() {
        let limits = Limits::new(1.0, Limit::Of(2), Limit::Of(3), false, NEW_YORK);
        let now = time("2025-11-07T12:00:00Z");
        let mut spent = Spent::default();
        let held = |spent: &Spent, now| {
            let hold = spent.held(&limits, now)?;
            Some((hold.cause, (hold.until - now).num_milliseconds()))
        };
        assert_eq!(held(&spent, now), None);
        spent.spend(&limits, now);
        assert_eq!(held(&spent, now), Some((Cause::Second, 1_050)));
        let later = now + TimeDelta::seconds(2);
        assert_eq!(held(&spent, later), None);
        spent.spend(&limits, later);
        assert_eq!(held(&spent, later), Some((Cause::Minute, 61_000)));
        spent.refund();
        assert_eq!(held(&spent, later), None, "one that never went out");
        spent.shut(later + TimeDelta::seconds(9), later);
        assert_eq!(held(&spent, later), Some((Cause::Service, 9_000)));
        spent.spend(&limits, later);
        spent.spend(&limits, later);
        let (cause, _) = held(&spent, later).expect("a wait");
        assert_eq!(cause, Cause::Day);
    }

    #[test]
    fn a_clock_that_is_set_back_frees_nothing() {
        let limits = Limits::new(1.0, Limit::Unlimited, Limit::Of(1), false, NEW_YORK);
        let mut spent = Spent::default();
        spent.spend(&limits, time("2025-11-07T12:00:00Z"));
        let before = time("2025-11-06T12:00:00Z");
        assert_eq!(spent.left_today(&limits, before), Some(0));
        assert_eq!(
            spent.ready_at(&limits, before),
            time("2025-11-08T05:01:00Z")
        );
    }

    #[test]
    fn damage_and_a_clock_that_was_ahead_hold_nothing() {
        let limits = Limits::new(1.0, Limit::Of(5), Limit::Of(25), false, NEW_YORK);
        let now = time("2026-11-24T12:00:00Z");
        for text in [
            r#"{"day":"2026-11-24","used":1,"recent":["+262142-12-31T23:59:59Z"]}"#,
            r#"{"day":"+262142-12-31","used":30}"#,
            r#"{"day":"-262143-01-01","used":30,"recent":["-262143-01-01T00:00:00Z"]}"#,
            r#"{"day":"2036-11-24","used":30,"recent":["2036-11-24T12:00:00Z"],"shut_until":"2036-11-24T12:00:00Z"}"#,
        ] {
            let mut spent: Spent = serde_json::from_str(text).expect("JSON");
            assert_eq!(spent.held(&limits, now), None, "{text}");
            assert_eq!(
                spent.is_ahead(NEW_YORK, now),
                !text.contains("-262143"),
                "{text}"
            );
            spent.spend(&limits, now);
            spent.shut(now + TimeDelta::seconds(9), now);
            assert!(!spent.is_ahead(NEW_YORK, now), "{text}");
            assert_eq!(spent.shut_until(now), Some(now + TimeDelta::seconds(9)));
        }
    }

    proptest! {
        #[test]
        fn no_date_of_a_file_panics_or_holds_for_longer_than_a_day_and_the_reset(
            days in prop::collection::vec(prop_oneof![-96_000_000_i32..96_000_000, 20_750..20_800_i32], 5),
            near in prop::collection::vec(-200_000_i64..200_000, 4), used: u32, minute in 0_u32..4,
        ) {
            let limits = Limits::new(1.0, Limit::Of(minute), Limit::Of(25), false, NEW_YORK);
            let now = time("2026-11-24T12:00:00Z");
            let day = |days: i32| {
                let days = TimeDelta::days(days.into());
                NaiveDate::default().checked_add_signed(days).unwrap_or(NaiveDate::MAX)
            };
            let at = |days| day(days).and_time(NaiveTime::MIN).and_utc();
            let mut spent = Spent {
                day: day(days[0]),
                used,
                recent: days[1..4].iter().map(|days| at(*days)).collect(),
                shut_until: Some(at(days[4])),
            };
            spent.recent.extend(near.into_iter().map(|near| now + TimeDelta::seconds(near)));
            for _ in 0..3 {
                let ready = spent.ready_at(&limits, now);
                prop_assert!(ready <= next_day(NEW_YORK, now + TimeDelta::days(1)), "{ready}");
                let _ = (spent.is_ahead(NEW_YORK, now), spent.left_today(&limits, now));
                spent.spend(&limits, now);
            }
        }

        #[test]
        fn no_window_ever_holds_more_than_its_limit(
            minute in 1_u32..8, day in 1_u32..40, per_second in prop::sample::select(vec![0.2, 1.0, 3.0]),
            waits in prop::collection::vec(0_i64..5_000_000, 1..120), restarts in 1_usize..10,
        ) {
            let limits = Limits::new(per_second, Limit::Of(minute), Limit::Of(day), false, NEW_YORK);
            let mut spent = Spent::default();
            let mut now = time("2025-11-01T20:00:00Z");
            let mut sent: Vec<DateTime<Utc>> = Vec::new();
            for (number, wait) in waits.into_iter().enumerate() {
                now = spent.ready_at(&limits, now + TimeDelta::milliseconds(wait));
                prop_assert!(spent.ready_at(&limits, now) <= now, "it is ready when it said so");
                spent.spend(&limits, now);
                sent.push(now);
                if number % restarts == 0 {
                    let json = serde_json::to_string(&spent).expect("JSON");
                    let again: Spent = serde_json::from_str(&json).expect("JSON");
                    prop_assert_eq!(&again, &spent);
                    spent = again;
                }
            }
            for (place, at) in sent.iter().enumerate() {
                let within = |span: TimeDelta| sent[..=place].iter().filter(|other| **other > *at - span).count();
                prop_assert!(within(TimeDelta::minutes(1)) <= minute as usize);
                prop_assert!(within(TimeDelta::microseconds((1e6 / per_second) as i64)) <= 1);
                let today = |time: &&DateTime<Utc>| day_of(NEW_YORK, **time) == day_of(NEW_YORK, *at);
                prop_assert!(sent.iter().filter(today).count() <= day as usize);
            }
        }
    }
}
