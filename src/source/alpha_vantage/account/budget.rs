//! How many requests a key has used up, and when the next one may go out. Pure; what is used up is data that a file keeps.
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

use super::limits::{Limits, with_slack};

/// Added to the next midnight, against clocks that do not agree.
const AFTER_MIDNIGHT: TimeDelta = TimeDelta::minutes(1);

/// What keeps a request waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source::alpha_vantage) enum Cause {
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
pub(in crate::source::alpha_vantage) struct Hold {
    pub(in crate::source::alpha_vantage) cause: Cause,
    pub(in crate::source::alpha_vantage) until: DateTime<Utc>,
}

/// What was used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::source::alpha_vantage) struct Spent {
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
    pub(in crate::source::alpha_vantage) fn ready_at(
        &self,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> DateTime<Utc> {
        self.held(limits, now).map_or(now, |hold| hold.until)
    }

    /// What the next request has to wait for, if it has to.
    pub(in crate::source::alpha_vantage) fn held(
        &self,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> Option<Hold> {
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
    pub(in crate::source::alpha_vantage) fn spend(&mut self, limits: &Limits, now: DateTime<Utc>) {
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
    pub(in crate::source::alpha_vantage) fn refund(&mut self) {
        self.used = self.used.saturating_sub(1);
        self.recent.pop_back();
    }

    /// Nothing goes out before then.
    pub(in crate::source::alpha_vantage) fn shut(
        &mut self,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) {
        self.shut_until = self.shut_until(now).max(Some(until));
    }

    /// When the service opens again, if it is shut.
    pub(in crate::source::alpha_vantage) fn shut_until(
        &self,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        self.shut_until
            .filter(|until| *until > now && *until <= now + LONGEST_SHUT)
    }

    /// Whether it has times that are not believed.
    pub(in crate::source::alpha_vantage) fn is_ahead(&self, zone: Tz, now: DateTime<Utc>) -> bool {
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
    pub(in crate::source::alpha_vantage) fn used_today(&self, zone: Tz, now: DateTime<Utc>) -> u32 {
        if day_of(zone, now) > self.day || self.day > tomorrow(zone, now) {
            0
        } else {
            self.used
        }
    }

    /// Requests left on the service's present day; `None` is no limit.
    pub(in crate::source::alpha_vantage) fn left_today(
        &self,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> Option<u32> {
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
pub(in crate::source::alpha_vantage) fn next_day(zone: Tz, now: DateTime<Utc>) -> DateTime<Utc> {
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
mod tests;
