//! What the bars of a saved CSV body are, told by when they begin, because CSV does not say it. Pure.
//!
//! An interval is part of a bar's identity, so it is never guessed: where the rows leave a doubt, they say nothing, and the
//! user is asked. Bars of minutes begin at whole intervals: one that begins at 15:59 is of a minute. Otherwise at least
//! three bars a day have to follow one another at an interval, most of them. Of the bars of weeks and of months no two
//! lie in one week, so two days of a week and a month are days.

use std::collections::BTreeSet;

use chrono::{Datelike as _, NaiveDate, NaiveDateTime, Timelike as _};

use super::bar::Series;
use super::interval::Interval;
use crate::event::timestamp;

/// What is said of a saved body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `AlphaVantage.Interval`, where it is set.
    pub interval: Option<Interval>,
    /// Whether `AlphaVantage.Function` is set to `daily`.
    pub daily: bool,
}

/// The fewest bars that show their interval by following one another.
const FEWEST: usize = 3;

/// What the rows that begin so are; or why that is not known, and what to do.
pub(in crate::source) fn series<'a>(
    starts: impl Iterator<Item = &'a str> + Clone,
    said: Said,
) -> Result<Series, String> {
    let bytes = || starts.clone().map(str::as_bytes);
    let times: BTreeSet<NaiveDateTime> = bytes().filter_map(timestamp::local_time).collect();
    let days: BTreeSet<NaiveDate> = bytes().filter_map(timestamp::date).collect();
    if times.is_empty() && !days.is_empty() {
        return daily(&days, said.daily);
    }
    if times.is_empty() {
        // Each of the rows will be bad for its time.
        return Ok(Series::Intraday(said.interval.unwrap_or(Interval::Min1)));
    }
    let shown = shown(&times);
    match (shown, said.interval) {
        (Shown::Interval(shown), Some(said)) if shown != said => Err(format!(
            "its bars are {} apart, and AlphaVantage.Interval is {}; replay it with --set AlphaVantage.Interval={}",
            shown.as_str(),
            said.as_str(),
            shown.as_str()
        )),
        (Shown::Interval(shown), _) => Ok(Series::Intraday(shown)),
        (Shown::None(why), _) => Err(why),
        (Shown::Doubt { least }, Some(said))
            if least.is_none_or(|least| least >= said.length().num_minutes()) =>
        {
            Ok(Series::Intraday(said))
        }
        (Shown::Doubt { least }, Some(said)) => Err(format!(
            "some of its bars are {} minutes apart, and AlphaVantage.Interval is {}",
            least.unwrap_or_default(),
            said.as_str()
        )),
        (Shown::Doubt { .. }, None) => Err(
            "it is CSV, which does not name its interval, and its bars are too few or too far apart to show it; name it with --set AlphaVantage.Interval=1min (5min, 15min, 30min, 60min)"
                .to_owned(),
        ),
    }
}

/// What the starts of intraday bars show.
enum Shown {
    Interval(Interval),
    /// They can be of several intervals; how many minutes the nearest two of a day are apart.
    Doubt {
        least: Option<i64>,
    },
    /// They are of no interval of the service.
    None(String),
}

fn shown(times: &BTreeSet<NaiveDateTime>) -> Shown {
    if let Some(odd) = times.iter().find(|time| time.second() != 0) {
        return Shown::None(format!(
            "a bar begins at {odd}, and bars begin at whole minutes"
        ));
    }
    if times.iter().any(|time| time.minute() % 5 != 0) {
        return Shown::Interval(Interval::Min1);
    }
    let gaps: Vec<i64> = times
        .iter()
        .zip(times.iter().skip(1))
        .filter(|(before, after)| before.date() == after.date())
        .map(|(before, after)| (*after - *before).num_minutes())
        .collect();
    let Some(least) = gaps.iter().min().copied() else {
        return Shown::Doubt { least: None };
    };
    let regular = gaps.iter().filter(|gap| **gap == least).count();
    let interval = [
        Interval::Min5,
        Interval::Min15,
        Interval::Min30,
        Interval::Min60,
    ]
    .into_iter()
    .find(|interval| interval.length().num_minutes() == least)
    .filter(|_| regular + 1 >= FEWEST && regular * 2 > gaps.len())
    .filter(|_| gaps.iter().all(|gap| gap % least == 0));
    match interval {
        Some(interval) => Shown::Interval(interval),
        None => Shown::Doubt { least: Some(least) },
    }
}

fn daily(days: &BTreeSet<NaiveDate>, said: bool) -> Result<Series, String> {
    let together = |(before, after): (&NaiveDate, &NaiveDate)| {
        before.iso_week() == after.iso_week() && before.month() == after.month()
    };
    let pairs = || days.iter().zip(days.iter().skip(1));
    let (near, all) = (
        pairs()
            .filter(|pair| (*pair.1 - *pair.0).num_days() <= 4)
            .count(),
        pairs().count(),
    );
    let dense = near * 2 > all;
    if dense && pairs().any(together) || said && (dense || days.len() < FEWEST) {
        return Ok(Series::Daily);
    }
    Err(match days.len() < FEWEST {
        true => "it is CSV, which does not name its interval, and it has too few days to show it; if its bars are daily, add --set AlphaVantage.Function=daily",
        false => "its bars are mostly weeks or months apart, and weekly and monthly series are not read, only bars of minutes and of days",
    }
    .to_owned())
}

#[cfg(test)]
mod tests {
    use chrono::{Days, NaiveTime, TimeDelta};
    use proptest::prelude::*;

    use super::*;

    fn of(starts: &[&str]) -> Result<Series, String> {
        series(starts.iter().copied(), Said::default())
    }

    fn with(starts: &[&str], interval: Interval) -> Result<Series, String> {
        let said = Said {
            interval: Some(interval),
            daily: false,
        };
        series(starts.iter().copied(), said)
    }

    const HOURS: [&str; 3] = [
        "2025-11-06 12:00:00",
        "2025-11-06 11:00:00",
        "2025-11-06 10:00:00",
    ];

    #[test]
    fn what_the_starts_show() {
        use Interval::{Min1, Min60};
        assert_eq!(of(&HOURS), Ok(Series::Intraday(Min60)));
        assert_eq!(of(&["2025-11-06 15:59:00"]), Ok(Series::Intraday(Min1)));
        // Two bars an hour apart can be of any interval.
        assert!(of(&HOURS[1..]).is_err_and(|why| why.contains("--set AlphaVantage.Interval")));
        assert_eq!(with(&HOURS[1..], Min1), Ok(Series::Intraday(Min1)));
        assert_eq!(with(&HOURS[1..], Min60), Ok(Series::Intraday(Min60)));
        assert!(with(&HOURS, Min1).is_err_and(|why| why.contains("60min")));
        assert!(with(&["2025-11-06 15:59:00"], Min60).is_err());
        let near = ["2025-11-06 10:00:00", "2025-11-06 10:05:00"];
        assert!(with(&near, Min60).is_err_and(|why| why.contains("5 minutes apart")));
        assert!(of(&["2025-11-06 15:59:30"]).is_err());
        let sparse = [
            "2025-11-06 10:00:00",
            "2025-11-06 10:10:00",
            "2025-11-06 10:20:00",
        ];
        assert!(of(&sparse).is_err(), "no interval is of ten minutes");
    }

    #[test]
    fn days_are_told_from_weeks_and_months() {
        assert_eq!(of(&["2025-11-06", "2025-11-05"]), Ok(Series::Daily));
        // A week's last day and another one's first can be weeks, and the last of a month and the first of the next months.
        for doubt in [
            &["2025-11-06"][..],
            &["2025-11-10", "2025-11-07"],
            &["2025-10-01", "2025-09-30"],
        ] {
            assert!(
                of(doubt).is_err_and(|why| why.contains("Function=daily")),
                "{doubt:?}"
            );
            let said = Said {
                interval: None,
                daily: true,
            };
            assert_eq!(series(doubt.iter().copied(), said), Ok(Series::Daily));
        }
        for long in [
            ["2025-11-05", "2025-10-31", "2025-10-24"],
            ["2025-11-03", "2025-10-31", "2025-09-30"],
        ] {
            for daily in [false, true] {
                let said = Said {
                    interval: None,
                    daily,
                };
                let why = series(long.into_iter(), said).expect_err("no days");
                assert!(why.contains("weeks or months"), "{why}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_day_of_bars_shows_their_interval_in_any_order(
            minutes in prop::sample::select(vec![1_i64, 5, 15, 30, 60]),
            missing in prop::collection::btree_set(0_usize..7, 0..2),
            turned: bool,
        ) {
            let day = NaiveDate::from_ymd_opt(2025, 11, 6).expect("a day");
            let first = day.and_time(NaiveTime::from_hms_opt(10, 0, 0).expect("a time"));
            let mut starts: Vec<String> = (0..8)
                .filter(|place| !missing.contains(place))
                .map(|place| (first + TimeDelta::minutes(minutes * place as i64)).to_string())
                .collect();
            if turned {
                starts.reverse();
            }
            let told = series(starts.iter().map(String::as_str), Said::default());
            let expected = Interval::ALL.into_iter().find(|interval| interval.length().num_minutes() == minutes);
            prop_assert_eq!(told, Ok(Series::Intraday(expected.expect("an interval"))));
        }

        #[test]
        fn no_rows_of_weeks_or_months_are_taken_for_days(first in 0_u64..4_000, count in 1_u64..30, apart in 5_u64..32, partial in 0_u64..7) {
            let begin = NaiveDate::from_ymd_opt(2010, 1, 1).expect("a day") + Days::new(first);
            let mut starts: Vec<String> = (0..count).map(|place| (begin + Days::new(apart * place)).to_string()).collect();
            // The latest is of a week that is not over.
            let last = begin + Days::new(apart * (count - 1));
            let partial = last + Days::new(partial);
            if count > 2 || partial.iso_week() != last.iso_week() {
                starts.push(partial.to_string());
            }
            prop_assert!(series(starts.iter().map(String::as_str), Said::default()).is_err());
        }

        #[test]
        fn any_texts_are_answered(starts in prop::collection::vec("[0-9: -]{0,19}|2025-11-0[1-9] 1[0-9]:[0-5]0:00", 0..6)) {
            let _ = series(starts.iter().map(String::as_str), Said::default());
        }
    }
}
