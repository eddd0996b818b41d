//! From a bar's texts to a TradeEvent, or the reason why not. Pure; `now` is an argument.
//!
//! Only a closed bar becomes an event, because a bar that still forms would freeze under its TradeId. Closed is a bar
//! whose time was over some seconds ago by the clock (and by the service's delay, where its data come late), unless
//! "Last Refreshed" says that the data end within the bar. A day's bar is closed when trades of its extended session
//! cannot count any more: in New York a quarter of an hour after 20:00, elsewhere at midnight.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use compact_str::CompactString;

use super::super::market_hours::US;
use super::interval::Interval;
use crate::event::identity::Prices;
use crate::event::{Side, TradeEvent, TradeId, identity, price, timestamp};
use crate::source::BadReason;

/// Data that end within a bar for so long after it: nothing more came, so the bar is whole.
const STALE: TimeDelta = TimeDelta::hours(1);

/// What the bars of a body are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// Bars of minutes.
    Intraday(Interval),
    /// Bars of trading days.
    Daily,
    /// The latest price of one symbol.
    Quote,
    /// The latest prices of many symbols.
    BulkQuotes,
}

impl Series {
    /// The record header's value: `intraday/1min`, `daily`, `quote`, `bulk-quotes`.
    pub fn origin(self) -> String {
        match self {
            Self::Intraday(interval) => format!("intraday/{}", interval.as_str()),
            Self::Daily => "daily".to_owned(),
            Self::Quote => "quote".to_owned(),
            Self::BulkQuotes => "bulk-quotes".to_owned(),
        }
    }
}

/// The texts of one bar, as they stood in the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::source) struct BarTexts<'a> {
    pub(in crate::source) open: Option<Cow<'a, str>>,
    pub(in crate::source) close: Option<Cow<'a, str>>,
    pub(in crate::source) volume: Option<Cow<'a, str>>,
}

/// What all bars of a body share.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) struct Frame<'a> {
    pub(in crate::source) symbol: &'a str,
    pub(in crate::source) series: Series,
    /// Whether intraday prices are adjusted.
    pub(in crate::source) adjusted: bool,
    pub(in crate::source) zone: Tz,
    /// Only bars that are closed by then become events; `None` takes all as closed.
    pub(in crate::source) now: Option<DateTime<Utc>>,
    /// How late the service's data are.
    pub(in crate::source) delay: TimeDelta,
    /// Until when the data reach, by the zone's clock, where the body says a time of day.
    pub(in crate::source) refreshed: Option<NaiveDateTime>,
}

/// What became of a good bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) enum Bar {
    Closed(TradeEvent),
    /// Still forming: its numbers change until it is closed. When it began.
    Forming(DateTime<Utc>),
}

/// The event of a bar.
pub(in crate::source) fn event(
    frame: &Frame<'_>,
    start: &str,
    texts: &BarTexts<'_>,
) -> Result<Bar, BadReason> {
    let Span { start, closed } = span(frame, start).ok_or(BadReason::Time)?;
    let (Some(open), Some(close), Some(volume)) = (&texts.open, &texts.close, &texts.volume) else {
        return Err(BadReason::MissingField);
    };
    let open = price::normalise(open).ok_or(BadReason::Price)?;
    let close = price::normalise(close).ok_or(BadReason::Price)?;
    let quantity = whole_number(volume).ok_or(BadReason::Volume)?;
    if frame.now.is_some_and(|now| now < closed) {
        return Ok(Bar::Forming(start));
    }
    let (function, interval) = match frame.series {
        Series::Intraday(interval) => ("intraday", interval.as_str()),
        Series::Daily | Series::Quote | Series::BulkQuotes => ("daily", "1day"),
    };
    // Bars of days are always as traded.
    let prices = match frame.adjusted && matches!(frame.series, Series::Intraday(_)) {
        true => Prices::Adjusted,
        false => Prices::AsTraded,
    };
    let id = identity::bar_id(function, interval, frame.symbol, start, prices);
    Ok(Bar::Closed(TradeEvent {
        trade_id: TradeId::Uuid(id),
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
struct Span {
    start: DateTime<Utc>,
    closed: DateTime<Utc>,
}

fn span(frame: &Frame<'_>, start: &str) -> Option<Span> {
    let refreshed = frame.refreshed.and_then(|local| instant(frame.zone, local));
    match frame.series {
        Series::Intraday(interval) => {
            let start = instant(frame.zone, timestamp::local_time(start.as_bytes())?)?;
            let end = start.checked_add_signed(interval.length())?;
            let within = refreshed.is_some_and(|at| start < at && at < end);
            let wait = if within { STALE } else { SETTLE };
            Some(Span {
                start,
                closed: end.checked_add_signed(wait + frame.delay)?,
            })
        }
        Series::Daily | Series::Quote | Series::BulkQuotes => {
            let day = timestamp::date(start.as_bytes())?;
            let start = instant(frame.zone, day.and_time(NaiveTime::MIN))?;
            // The next midnight may be one that does not exist; an hour later is late enough.
            let next = day.succ_opt()?.and_time(NaiveTime::MIN);
            let midnight = instant(frame.zone, next)
                .or_else(|| instant(frame.zone, next + TimeDelta::hours(1)))?;
            let us = is_new_york(frame.zone);
            let last = if us {
                US.day_is_final(day)?
            } else {
                midnight.checked_add_signed(SETTLE)?
            };
            // Data that end before the close are of half a day.
            let half = us
                && frame.refreshed.is_some_and(|at| {
                    at.date() == day && at.time() < US_CLOSE && at.time() > NaiveTime::MIN
                });
            let closed = if half {
                midnight.checked_add_signed(STALE)?
            } else {
                last
            };
            Some(Span { start, closed })
        }
    }
}

/// When the regular session ends in New York.
const US_CLOSE: NaiveTime = match NaiveTime::from_hms_opt(16, 0, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};

fn is_new_york(zone: Tz) -> bool {
    matches!(
        zone,
        chrono_tz::US::Eastern | chrono_tz::America::New_York | chrono_tz::EST5EDT
    )
}

/// A wall clock's time as an instant: the earlier one of two, `None` where the clock skipped it.
pub(in crate::source) fn instant(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    zone.from_local_datetime(&local)
        .earliest()
        .map(|time| time.to_utc())
}

/// A count of shares; `12.000` is one too.
pub(in crate::source) fn whole_number(text: &str) -> Option<u64> {
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

/// How long after its end a bar counts as closed: a clock that goes a little ahead of the market's would otherwise
/// freeze a bar under its TradeId before its last trades are in.
pub(crate) const SETTLE: TimeDelta = TimeDelta::seconds(5);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(series: Series, now: Option<DateTime<Utc>>) -> Frame<'static> {
        Frame {
            symbol: "IBM",
            series,
            adjusted: false,
            zone: chrono_tz::US::Eastern,
            now,
            delay: TimeDelta::zero(),
            refreshed: None,
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
        assert!(matches!(
            at(end, minute, "2025-11-06 15:59:00"),
            Bar::Forming(_)
        ));
        assert!(matches!(
            at(end + SETTLE, minute, "2025-11-06 15:59:00"),
            Bar::Closed(_)
        ));
    }

    /// The first second at which the bar counts as closed, looked for around what is expected.
    fn closed_at(frame: &Frame<'_>, start: &str, expected: &str) {
        let expected: DateTime<Utc> = expected.parse().expect("a time");
        for (now, closed) in [(expected - TimeDelta::seconds(1), false), (expected, true)] {
            let frame = Frame {
                now: Some(now),
                ..*frame
            };
            let bar = event(&frame, start, &texts()).expect("a good bar");
            assert_eq!(matches!(bar, Bar::Closed(_)), closed, "{start} at {now}");
        }
    }

    #[test]
    fn bars_close_around_midnight_the_close_and_changes_of_the_clock() {
        let minute = frame(Series::Intraday(Interval::Min1), None);
        let hour = frame(Series::Intraday(Interval::Min60), None);
        closed_at(&minute, "2025-11-06 15:59:00", "2025-11-06T21:00:05Z");
        closed_at(&minute, "2025-11-06 19:59:00", "2025-11-07T01:00:05Z");
        closed_at(&minute, "2025-11-06 23:59:00", "2025-11-07T05:00:05Z");
        // The hour before the clocks go back is followed by another of the same name; forward, one is missing.
        closed_at(&hour, "2025-11-02 00:00:00", "2025-11-02T05:00:05Z");
        closed_at(&hour, "2025-11-02 01:00:00", "2025-11-02T06:00:05Z");
        closed_at(&hour, "2026-03-08 01:00:00", "2026-03-08T07:00:05Z");
        let day = frame(Series::Daily, None);
        closed_at(&day, "2025-11-06", "2025-11-07T01:15:00Z");
        closed_at(&day, "2025-07-01", "2025-07-02T00:15:00Z");
        closed_at(
            &Frame {
                zone: chrono_tz::Asia::Tokyo,
                ..day
            },
            "2025-11-06",
            "2025-11-06T15:00:05Z",
        );
        let late = Frame {
            delay: TimeDelta::minutes(15),
            ..minute
        };
        closed_at(&late, "2025-11-06 15:59:00", "2025-11-06T21:15:05Z");
    }

    #[test]
    fn data_that_end_within_a_bar_leave_it_open() {
        let refreshed = |text: &str| timestamp::local_time(text.as_bytes());
        let minute = frame(Series::Intraday(Interval::Min1), None);
        let within = Frame {
            refreshed: refreshed("2025-11-06 15:59:30"),
            ..minute
        };
        closed_at(&within, "2025-11-06 15:59:00", "2025-11-06T22:00:00Z");
        closed_at(&within, "2025-11-06 15:58:00", "2025-11-06T20:59:05Z");
        let day = frame(Series::Daily, None);
        let noon = Frame {
            refreshed: refreshed("2025-11-06 12:00:00"),
            ..day
        };
        closed_at(&noon, "2025-11-06", "2025-11-07T06:00:00Z");
        let close = Frame {
            refreshed: refreshed("2025-11-06 16:00:01"),
            ..day
        };
        closed_at(&close, "2025-11-06", "2025-11-07T01:15:00Z");
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
