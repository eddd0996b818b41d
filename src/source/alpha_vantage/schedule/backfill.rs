//! Months that are filled back: which ones, and which symbols still lack them. Pure.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};

use crate::source::market_hours::Market;

/// The first month of which the service has bars.
const FIRST: Month = Month {
    year: 2000,
    month: 1,
};

/// A month of a year, from 2000-01 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    year: i32,
    month: u32,
}

impl Month {
    /// The month of a time, in New York.
    pub fn of(time: DateTime<Utc>) -> Self {
        let day = time
            .with_timezone(&chrono_tz::America::New_York)
            .date_naive();
        Self {
            year: day.year(),
            month: day.month(),
        }
    }

    /// The present month.
    pub fn present() -> Self {
        Self::of(Utc::now())
    }

    fn next(self) -> Self {
        if self.month == 12 {
            Self {
                year: self.year + 1,
                month: 1,
            }
        } else {
            Self {
                year: self.year,
                month: self.month + 1,
            }
        }
    }

    /// Its first day.
    pub(in crate::source::alpha_vantage) fn first_day(self) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(self.year, self.month, 1)
    }

    /// Whether its first day is before that day.
    pub(in crate::source::alpha_vantage) fn begins_before(self, day: NaiveDate) -> bool {
        self.first_day().is_some_and(|first| first < day)
    }

    /// Whether bars from that day on are all that the month has: none of its trading days is before it.
    pub(in crate::source::alpha_vantage) fn is_whole_from(
        self,
        oldest: NaiveDate,
        market: &Market,
    ) -> bool {
        self.first_day().is_some_and(|first| {
            let mut before = first.iter_days().take_while(|day| *day < oldest);
            // At most some days into the month one has traded.
            !before.any(|day| market.trades_on(day))
        })
    }

    /// Whether its last day is before that day.
    pub(in crate::source::alpha_vantage) fn ends_before(self, day: NaiveDate) -> bool {
        (self.year, self.month) < (day.year(), day.month())
    }

    /// Whether nothing can be added to the month any more.
    pub(in crate::source::alpha_vantage) fn is_over(self, now: DateTime<Utc>) -> bool {
        let next = self.next();
        NaiveDate::from_ymd_opt(next.year, next.month, 1)
            .and_then(|day| day.and_hms_opt(0, 0, 0))
            .is_some_and(|end| now > end.and_utc() + TimeDelta::days(2))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04}-{:02}", self.year, self.month)
    }
}

/// A text that is no month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has to be a month from {FIRST} on, YYYY-MM")]
pub struct NotAMonth;

impl FromStr for Month {
    type Err = NotAMonth;

    fn from_str(text: &str) -> Result<Self, NotAMonth> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match text.split_once('-') {
            Some((year, month))
                if year.len() == 4 && month.len() == 2 && digits(year) && digits(month) =>
            {
                let month = Self {
                    year: year.parse().map_err(|_| NotAMonth)?,
                    month: month.parse().map_err(|_| NotAMonth)?,
                };
                let is_one = (1..=12).contains(&month.month) && month >= FIRST;
                is_one.then_some(month).ok_or(NotAMonth)
            }
            _ => Err(NotAMonth),
        }
    }
}

/// A span of months, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Months {
    /// The first.
    pub from: Month,
    /// The last.
    pub to: Month,
    /// Where their events go: what was filled back elsewhere is not filled back here. `Source::goes_to` sets it.
    pub destination: String,
    /// Also what was filled back already.
    pub again: bool,
}

impl Months {
    /// Each month, oldest first.
    pub(in crate::source::alpha_vantage) fn each(&self) -> impl Iterator<Item = Month> + use<> {
        let to = self.to;
        std::iter::successors(Some(self.from), |month| Some(month.next()))
            .take_while(move |month| *month <= to)
    }

    /// Whether an event of that time is wanted.
    pub(in crate::source::alpha_vantage) fn hold(&self, time: DateTime<Utc>) -> bool {
        (self.from..=self.to).contains(&Month::of(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::market_hours::US;

    #[test]
    fn months() {
        let month = |text: &str| text.parse::<Month>();
        for text in [
            "2025-13",
            "2025-00",
            "1999-12",
            "2025-1",
            "25-01",
            "2025-+1",
            "",
            "2025",
            "2025-01-01",
        ] {
            assert_eq!(month(text), Err(NotAMonth), "{text}");
        }
        let months = Months {
            from: month("2024-11").expect("a month"),
            to: month("2025-02").expect("a month"),
            destination: String::new(),
            again: false,
        };
        let names: Vec<_> = months.each().map(|month| month.to_string()).collect();
        assert_eq!(names, ["2024-11", "2024-12", "2025-01", "2025-02"]);
        // The last evening of a month in New York is the next month's morning in UTC.
        assert!(months.hold("2025-03-01T01:00:00Z".parse().expect("a time")));
        assert!(!months.hold("2025-03-01T05:00:00Z".parse().expect("a time")));
        // 2025-09-01 is Labor Day; 2025-08-01 is a Friday.
        for (text, oldest, whole) in [
            ("2025-09", "2025-09-02", true),
            ("2025-09", "2025-09-03", false),
            ("2025-09", "2025-06-30", true),
            ("2025-08", "2025-08-04", false),
            ("2025-07", "2025-09-02", false),
        ] {
            let oldest = oldest.parse().expect("a day");
            let is_whole = month(text).map(|month| month.is_whole_from(oldest, &US));
            assert_eq!(is_whole, Ok(whole), "{text} from {oldest}");
        }
        let over = |now: &str| months.to.is_over(now.parse().expect("a time"));
        assert!(!over("2025-03-02T12:00:00Z") && over("2025-03-03T12:00:00Z"));
    }
}
