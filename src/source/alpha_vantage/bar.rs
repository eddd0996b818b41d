//! From a bar's texts to a TradeEvent, or the reason why not. Pure; `now` is an argument.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use compact_str::CompactString;

use super::Interval;
use crate::event::{Side, TradeEvent, TradeId, identity, price, timestamp};
use crate::source::BadReason;

/// How long after its end a bar counts as closed: a clock that goes a little ahead of the market's would otherwise
/// freeze a bar under its TradeId before its last trades are in.
const SETTLE: TimeDelta = TimeDelta::seconds(5);

/// What the bars of a body are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// Bars of minutes.
    Intraday(Interval),
    /// Bars of trading days.
    Daily,
}

impl Series {
    /// The record header's value: `intraday/1min`, `daily`.
    pub fn origin(self) -> String {
        match self {
            Self::Intraday(interval) => format!("intraday/{}", interval.as_str()),
            Self::Daily => "daily".to_owned(),
        }
    }
}

/// The texts of one bar, as they stood in the body.
#[derive(Clone, Debug, Default)]
pub(super) struct BarTexts<'a> {
    pub(super) open: Option<Cow<'a, str>>,
    pub(super) close: Option<Cow<'a, str>>,
    pub(super) volume: Option<Cow<'a, str>>,
}

/// What all bars of a body share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) symbol: &'a str,
    pub(super) series: Series,
    pub(super) zone: Tz,
    /// Only bars that are closed by then become events; `None` takes all as closed.
    pub(super) now: Option<DateTime<Utc>>,
}

/// What became of a good bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bar {
    Closed(TradeEvent),
    /// Still forming: its numbers change until it is closed.
    Forming,
}

/// The event of a bar.
pub(super) fn event(
    frame: &Frame<'_>,
    start: &str,
    texts: &BarTexts<'_>,
) -> Result<Bar, BadReason> {
    let (start, end) = span(frame, start).ok_or(BadReason::Time)?;
    let (Some(open), Some(close), Some(volume)) = (&texts.open, &texts.close, &texts.volume) else {
        return Err(BadReason::MissingField);
    };
    let open = price::normalise(open).ok_or(BadReason::Price)?;
    let close = price::normalise(close).ok_or(BadReason::Price)?;
    let quantity = whole_number(volume).ok_or(BadReason::Volume)?;
    if frame.now.is_some_and(|now| now < end) {
        return Ok(Bar::Forming);
    }
    let (function, interval) = match frame.series {
        Series::Intraday(interval) => ("intraday", interval.as_str()),
        Series::Daily => ("daily", "1day"),
    };
    Ok(Bar::Closed(TradeEvent {
        trade_id: TradeId::Uuid(identity::bar_id(function, interval, frame.symbol, start)),
        symbol: CompactString::from(frame.symbol),
        side: if at_least(&close, &open) {
            Side::Buy
        } else {
            Side::Sell
        },
        quantity,
        price: open,
        timestamp: start.into(),
    }))
}

/// When a bar began, and from when on it is closed.
fn span(frame: &Frame<'_>, start: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    match frame.series {
        Series::Intraday(interval) => {
            let start = instant(frame.zone, timestamp::local_time(start.as_bytes())?)?;
            Some((start, start.checked_add_signed(interval.length() + SETTLE)?))
        }
        Series::Daily => {
            let day = timestamp::date(start.as_bytes())?;
            let start = instant(frame.zone, day.and_time(NaiveTime::MIN))?;
            // The next midnight may be one that does not exist; an hour later is late enough.
            let next = day.succ_opt()?.and_time(NaiveTime::MIN);
            let end = instant(frame.zone, next)
                .or_else(|| instant(frame.zone, next + TimeDelta::hours(1)))?;
            Some((start, end.checked_add_signed(SETTLE)?))
        }
    }
}

/// A wall clock's time as an instant: the earlier one of two, `None` where the clock skipped it.
fn instant(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    zone.from_local_datetime(&local)
        .earliest()
        .map(|time| time.to_utc())
}

/// A count of shares; `12.000` is one too.
fn whole_number(text: &str) -> Option<u64> {
    let text = text.trim_matches([' ', '\t']);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit());
    (digits && fraction.bytes().all(|byte| byte == b'0')).then(|| whole.parse().ok())?
}

/// Whether `left` ≥ `right`, both as [`price::normalise`] makes them: decided on the digits, not on floats.
fn at_least(left: &str, right: &str) -> bool {
    if [left, right].iter().any(|text| text.contains('e')) {
        // An exponent is no market's form. The side is derived, not data, so here a float's error does no harm.
        return left.parse::<f64>().unwrap_or(0.0) >= right.parse::<f64>().unwrap_or(0.0);
    }
    match (left.strip_prefix('-'), right.strip_prefix('-')) {
        (None, None) => magnitude(left) >= magnitude(right),
        (None, Some(_)) => true,
        (Some(_), None) => false,
        (Some(left), Some(right)) => magnitude(left) <= magnitude(right),
    }
}

/// Orders as the number does: more digits before the point is more, then digit by digit.
fn magnitude(text: &str) -> (usize, &str, &str) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    (whole.len(), whole, fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(series: Series, now: Option<DateTime<Utc>>) -> Frame<'static> {
        Frame {
            symbol: "IBM",
            series,
            zone: chrono_tz::US::Eastern,
            now,
        }
    }

    fn texts() -> BarTexts<'static> {
        BarTexts {
            open: Some("2.50".into()),
            close: Some("2.5".into()),
            volume: Some("7".into()),
        }
    }

    fn start_of(series: Series, text: &str) -> Option<String> {
        match event(&frame(series, None), text, &texts()) {
            Ok(Bar::Closed(event)) => Some(event.timestamp.text.to_string()),
            _ => None,
        }
    }

    #[test]
    fn wall_clock_to_utc() {
        let minute = Series::Intraday(Interval::Min1);
        for (text, expected) in [
            ("2025-11-06 15:59:00", Some("2025-11-06T20:59:00Z")),
            ("2025-07-01 09:30:00", Some("2025-07-01T13:30:00Z")),
            ("2025-11-02 01:30:00", Some("2025-11-02T05:30:00Z")),
            ("2025-11-02 02:00:00", Some("2025-11-02T07:00:00Z")),
            ("2026-03-08 02:30:00", None),
            ("2026-03-08 03:00:00", Some("2026-03-08T07:00:00Z")),
            ("2025-11-06 25:61:00", None),
            ("2025-11-06", None),
        ] {
            assert_eq!(start_of(minute, text).as_deref(), expected, "{text}");
        }
        assert_eq!(
            start_of(Series::Daily, "2025-11-06").as_deref(),
            Some("2025-11-06T05:00:00Z")
        );
        assert_eq!(start_of(Series::Daily, "2025-02-29"), None);
    }

    #[test]
    fn a_bar_is_closed_when_its_time_is_over() {
        let end: DateTime<Utc> = "2025-11-06T21:00:00Z".parse().expect("a time");
        let at = |now, series, text| {
            event(&frame(series, Some(now)), text, &texts()).expect("a good bar")
        };
        let minute = Series::Intraday(Interval::Min1);
        assert_eq!(at(end, minute, "2025-11-06 15:59:00"), Bar::Forming);
        assert!(matches!(
            at(end + SETTLE, minute, "2025-11-06 15:59:00"),
            Bar::Closed(_)
        ));
        assert_eq!(at(end, Series::Daily, "2025-11-06"), Bar::Forming);
        let midnight: DateTime<Utc> = "2025-11-07T05:00:00Z".parse().expect("a time");
        assert!(matches!(
            at(midnight + SETTLE, Series::Daily, "2025-11-06"),
            Bar::Closed(_)
        ));
    }

    #[test]
    fn volumes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("4294967299", Some(4_294_967_299)),
            ("12.000", Some(12)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-120", None),
            ("+1", None),
            ("", None),
            (".0", None),
            ("1.5", None),
            ("None", None),
        ] {
            assert_eq!(whole_number(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn sides_compare_as_numbers(left in -1_000_000_i64..1_000_000, right in -1_000_000_i64..1_000_000) {
            let text = |number: i64| price::normalise(&format!("{}{}.{:03}", if number < 0 { "-" } else { "" }, number.abs() / 1000, number.abs() % 1000)).expect("a decimal");
            prop_assert_eq!(at_least(&text(left), &text(right)), left >= right);
        }
    }
}
