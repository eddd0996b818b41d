//! When a symbol's market trades, so that nobody is asked for a bar that cannot be there. Pure.
//!
//! Symbols without a suffix are US ones (NYSE's calendar, its holidays by rule); a suffix names the exchange
//! (`TSCO.LON`), whose holidays are not known here. What is not known at all trades around the clock. The calendar only
//! saves requests: a market that trades when it should not is asked later, and none of its bars is lost.

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc, Weekday,
};
use chrono_tz::Tz;

/// From the end of a US trading day's last session (20:00) until its daily bar is final.
const DAILY_SETTLE: TimeDelta = TimeDelta::minutes(15);

/// How many days a market is closed at most, holidays and weekends together.
const MAX_CLOSED_DAYS: u32 = 10;

/// A span of trading: from the opening to the close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) open: DateTime<Utc>,
    pub(super) close: DateTime<Utc>,
}

/// An exchange, as far as its hours go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Market {
    zone: Tz,
    /// Minutes since midnight of opening and close.
    regular: (u32, u32),
    extended: (u32, u32),
    holidays: bool,
    weekends: bool,
}

/// NYSE and Nasdaq.
pub(super) const US: Market = Market {
    zone: chrono_tz::America::New_York,
    regular: (9 * 60 + 30, 16 * 60),
    extended: (4 * 60, 20 * 60),
    holidays: true,
    weekends: false,
};

const AROUND_THE_CLOCK: Market = Market {
    zone: chrono_tz::UTC,
    regular: (0, 24 * 60),
    extended: (0, 24 * 60),
    holidays: false,
    weekends: true,
};

/// Suffix, zone, opening and close of exchanges elsewhere.
const ELSEWHERE: &[(&str, Tz, u32, u32)] = &[
    ("LON", chrono_tz::Europe::London, 8 * 60, 16 * 60 + 35),
    ("TRT", chrono_tz::America::Toronto, 9 * 60 + 30, 16 * 60),
    ("TRV", chrono_tz::America::Toronto, 9 * 60 + 30, 16 * 60),
    ("DEX", chrono_tz::Europe::Berlin, 8 * 60, 22 * 60),
    ("FRK", chrono_tz::Europe::Berlin, 8 * 60, 22 * 60),
    ("PAR", chrono_tz::Europe::Paris, 9 * 60, 17 * 60 + 35),
    ("AMS", chrono_tz::Europe::Amsterdam, 9 * 60, 17 * 60 + 35),
    ("BSE", chrono_tz::Asia::Kolkata, 9 * 60 + 15, 15 * 60 + 30),
    ("NSE", chrono_tz::Asia::Kolkata, 9 * 60 + 15, 15 * 60 + 30),
    ("SHH", chrono_tz::Asia::Shanghai, 9 * 60 + 30, 15 * 60),
    ("SHZ", chrono_tz::Asia::Shanghai, 9 * 60 + 30, 15 * 60),
    ("SAO", chrono_tz::America::Sao_Paulo, 10 * 60, 18 * 60),
];

impl Market {
    /// The market of a symbol. A suffix of one letter is a share class (`BRK.B`), not an exchange.
    pub(super) fn of(symbol: &str) -> Self {
        if symbol.contains(':') {
            return AROUND_THE_CLOCK;
        }
        let suffix = symbol.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        if suffix.len() < 2 {
            return US;
        }
        ELSEWHERE
            .iter()
            .find(|(name, ..)| name.eq_ignore_ascii_case(suffix))
            .map_or(AROUND_THE_CLOCK, |&(_, zone, open, close)| Self {
                zone,
                regular: (open, close),
                extended: (open, close),
                holidays: false,
                weekends: false,
            })
    }

    /// The day that it is there.
    pub(super) fn day_of(&self, time: DateTime<Utc>) -> NaiveDate {
        time.with_timezone(&self.zone).date_naive()
    }

    /// Whether the market trades on that day.
    pub(super) fn trades_on(&self, day: NaiveDate) -> bool {
        let weekend = matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        (self.weekends || !weekend) && !(self.holidays && is_us_holiday(day))
    }

    /// The session of a day, if it trades on it.
    pub(super) fn session(&self, day: NaiveDate, extended: bool) -> Option<Session> {
        let (open, close) = if extended {
            self.extended
        } else {
            self.regular
        };
        self.trades_on(day).then_some(())?;
        Some(Session {
            open: self.at(day, open)?,
            close: self.at(day, close)?,
        })
    }

    /// The session that goes on, or else the next one.
    pub(super) fn session_after(&self, now: DateTime<Utc>, extended: bool) -> Session {
        self.days_from(now, true)
            .filter_map(|day| self.session(day, extended))
            .find(|session| session.close > now)
            .unwrap_or(Session {
                open: now,
                close: now + TimeDelta::days(1),
            })
    }

    /// The session that goes on, or else the latest one.
    pub(super) fn session_before(&self, now: DateTime<Utc>, extended: bool) -> Session {
        self.days_from(now, false)
            .filter_map(|day| self.session(day, extended))
            .find(|session| session.open <= now)
            .unwrap_or(Session {
                open: now - TimeDelta::days(1),
                close: now,
            })
    }

    /// Whether the market is open.
    pub(super) fn is_open(&self, now: DateTime<Utc>, extended: bool) -> bool {
        self.session_before(now, extended).close > now
    }

    /// When the bar of a day is final: not at the close of the regular session, because trades of the extended one
    /// still count in its volume.
    pub(super) fn day_is_final(&self, day: NaiveDate) -> Option<DateTime<Utc>> {
        self.at(day, self.extended.1)?
            .checked_add_signed(DAILY_SETTLE)
    }

    /// The next time at which a daily bar becomes final, after `now`.
    pub(super) fn next_final(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.days_from(now, true)
            .filter(|day| self.trades_on(*day))
            .filter_map(|day| self.day_is_final(day))
            .find(|at| *at > now)
            .unwrap_or(now + TimeDelta::days(1))
    }

    /// The latest day whose bar is final.
    pub(super) fn latest_final_day(&self, now: DateTime<Utc>) -> Option<NaiveDate> {
        self.days_from(now, false)
            .filter(|day| self.trades_on(*day))
            .find(|day| self.day_is_final(*day).is_some_and(|at| at <= now))
    }

    /// Days from a little before today on, or from a little after today backwards: enough to meet a trading day.
    fn days_from(
        &self,
        now: DateTime<Utc>,
        forwards: bool,
    ) -> impl Iterator<Item = NaiveDate> + use<> {
        let today = self.day_of(now);
        (0..=MAX_CLOSED_DAYS).filter_map(move |number| {
            let days = TimeDelta::days(i64::from(number) - 1);
            today.checked_add_signed(if forwards { days } else { -days })
        })
    }

    fn at(&self, day: NaiveDate, minutes: u32) -> Option<DateTime<Utc>> {
        let local = day.and_time(NaiveTime::MIN) + TimeDelta::minutes(i64::from(minutes));
        // Where the clock skips that hour, the next one that there is.
        (0..4).find_map(|hours| {
            let local = local.checked_add_signed(TimeDelta::hours(hours))?;
            let time = self.zone.from_local_datetime(&local).earliest()?;
            Some(time.to_utc())
        })
    }
}

/// The days on which NYSE does not trade (rule 7.2): those that come every year.
fn is_us_holiday(day: NaiveDate) -> bool {
    let (year, month, number) = (day.year(), day.month(), day.day());
    let monday = day.weekday() == Weekday::Mon;
    let nth = number.div_ceil(7);
    let fixed = |month, number, since| {
        year >= since
            && NaiveDate::from_ymd_opt(year, month, number)
                .is_some_and(|holiday| observed(holiday) == Some(day))
    };
    fixed(1, 1, 0)
        || fixed(6, 19, 2022)
        || fixed(7, 4, 0)
        || fixed(12, 25, 0)
        || (monday && month == 1 && nth == 3)
        || (monday && month == 2 && nth == 3)
        || (monday && month == 5 && number > 24)
        || (monday && month == 9 && nth == 1)
        || (month == 11 && day.weekday() == Weekday::Thu && nth == 4)
        || easter(year).and_then(|easter| easter.checked_sub_days(chrono::Days::new(2)))
            == Some(day)
}

/// A holiday on a Sunday is kept on Monday, one on a Saturday on Friday; but New Year's Day on a Saturday not at all,
/// because that Friday ends the year's books.
fn observed(holiday: NaiveDate) -> Option<NaiveDate> {
    match holiday.weekday() {
        Weekday::Sun => holiday.succ_opt(),
        Weekday::Sat if holiday.month() == 1 => None,
        Weekday::Sat => holiday.pred_opt(),
        _ => Some(holiday),
    }
}

/// Easter Sunday of the Gregorian calendar (Meeus, Jones, Butcher).
fn easter(year: i32) -> Option<NaiveDate> {
    let (a, b, c) = (year % 19, year / 100, year % 100);
    let (d, e, g) = (b / 4, b % 4, (8 * b + 13) / 25);
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 19 * l) / 433;
    let month = (h + l - 7 * m + 90) / 25;
    let day = (h + l - 7 * m + 33 * month + 19) % 32;
    NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn the_holidays_of_some_years() {
        // As NYSE publishes them.
        for holiday in [
            "2025-01-01",
            "2025-01-20",
            "2025-02-17",
            "2025-04-18",
            "2025-05-26",
            "2025-06-19",
            "2025-07-04",
            "2025-09-01",
            "2025-11-27",
            "2025-12-25",
            "2026-01-01",
            "2026-01-19",
            "2026-02-16",
            "2026-04-03",
            "2026-05-25",
            "2026-06-19",
            "2026-07-03",
            "2026-09-07",
            "2026-11-26",
            "2026-12-25",
            "2027-01-01",
            "2027-03-26",
            "2027-06-18",
            "2027-07-05",
            "2027-12-24",
        ] {
            assert!(!US.trades_on(day(holiday)), "{holiday}");
        }
        for trading in [
            "2025-11-28",
            "2021-12-31",
            "2026-07-02",
            "2021-06-18",
            "2025-10-13",
            "2025-11-11",
        ] {
            assert!(US.trades_on(day(trading)), "{trading}");
        }
        let days = |year: i32| {
            (1..=366)
                .filter_map(|number| NaiveDate::from_yo_opt(year, number))
                .filter(|day| US.trades_on(*day))
                .count()
        };
        // 2025 had one more closing, a day of mourning.
        assert_eq!([days(2023), days(2024), days(2025)], [250, 252, 251]);
    }

    #[test]
    fn sessions_follow_the_zone() {
        let summer = US.session(day("2025-07-01"), false).expect("a session");
        assert_eq!(summer.open, time("2025-07-01T13:30:00Z"));
        let winter = US.session(day("2025-12-01"), true).expect("a session");
        assert_eq!(
            (winter.open, winter.close),
            (time("2025-12-01T09:00:00Z"), time("2025-12-02T01:00:00Z"))
        );
        assert_eq!(Market::of("BRK.B"), US);
        let london = Market::of("TSCO.LON")
            .session(day("2025-07-01"), true)
            .expect("a session");
        assert_eq!(london.open, time("2025-07-01T07:00:00Z"));
        assert!(Market::of("BTC:USD").is_open(time("2025-11-08T00:00:00Z"), false));
    }

    #[test]
    fn sessions_before_and_after() {
        let friday_evening = time("2025-11-08T01:30:00Z");
        assert_eq!(
            US.session_after(friday_evening, true).open,
            time("2025-11-10T09:00:00Z")
        );
        assert_eq!(
            US.session_before(friday_evening, true).close,
            time("2025-11-08T01:00:00Z")
        );
        let open = time("2025-11-07T15:00:00Z");
        assert_eq!(US.session_after(open, true), US.session_before(open, true));
        assert!(US.is_open(open, false) && !US.is_open(friday_evening, true));
        // A daily bar is final a quarter of an hour after the last session.
        assert_eq!(
            US.latest_final_day(time("2025-11-07T01:14:59Z")),
            Some(day("2025-11-05"))
        );
        assert_eq!(
            US.latest_final_day(time("2025-11-07T01:15:00Z")),
            Some(day("2025-11-06"))
        );
        assert_eq!(
            US.next_final(time("2025-11-08T01:15:00Z")),
            time("2025-11-11T01:15:00Z")
        );
    }

    proptest! {
        #[test]
        fn there_is_always_a_session(seconds in 0_i64..4_000_000_000, symbol in prop::sample::select(vec!["IBM", "A.LON", "A.BSE", "A.SAO", "A:B"]), extended: bool) {
            let market = Market::of(symbol);
            let now = DateTime::from_timestamp(seconds, 0).expect("a time");
            let after = market.session_after(now, extended);
            let before = market.session_before(now, extended);
            prop_assert!(after.open < after.close && after.close > now && after.close < now + TimeDelta::days(6));
            prop_assert!(before.open < before.close && before.open <= now && before.close > now - TimeDelta::days(6));
            prop_assert_eq!(market.is_open(now, extended), after == before);
            prop_assert!(market.next_final(now) > now && market.next_final(now) < now + TimeDelta::days(6));
            prop_assert!(market.latest_final_day(now).is_some());
        }
    }
}
