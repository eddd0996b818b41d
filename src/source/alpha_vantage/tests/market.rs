//! The truth of a market: which bars there are, and how one looks before it is closed.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::source::market_hours::US;

/// A bar as the service has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) start: DateTime<Utc>,
    pub(super) open: u64,
    pub(super) close: u64,
    pub(super) volume: u64,
}

/// A number that looks random and is always the same.
fn mix(parts: &[i64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |hash: u64, part| {
        let hash = (hash ^ part.cast_unsigned()).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash ^ hash >> 29
    })
}

fn bar(symbol: usize, start: DateTime<Utc>) -> Bar {
    let number = |what: i64| mix(&[symbol as i64, start.timestamp(), what]);
    Bar {
        start,
        open: 10_000 + number(1) % 100_000,
        close: 10_000 + number(2) % 100_000,
        volume: number(3) % 1_000_000,
    }
}

/// The bars of a symbol that began by then, newest first; some minutes have none, because nobody traded. A bar that
/// has not ended yet has other numbers than it will have.
pub(super) fn intraday(symbol: usize, now: DateTime<Utc>, minutes: i64, most: usize) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut session = US.session_before(now, true);
    let length = TimeDelta::minutes(minutes);
    loop {
        let count = (now.min(session.close) - TimeDelta::milliseconds(1) - session.open)
            .num_minutes()
            / minutes;
        for number in (0..=count).rev() {
            let start = session.open + length * i32::try_from(number).expect("a day has few bars");
            if mix(&[symbol as i64, start.timestamp(), 0]).is_multiple_of(8) {
                continue;
            }
            let mut bar = bar(symbol, start);
            if now < start + length {
                bar.close += 7;
                bar.volume /= 2;
            }
            bars.push(bar);
            if bars.len() == most {
                return bars;
            }
        }
        session = US.session_before(session.open - TimeDelta::seconds(1), true);
    }
}

/// The bars of days of a symbol, newest first; that of a day that is not over has other numbers than it will have.
pub(super) fn daily(symbol: usize, now: DateTime<Utc>, most: usize) -> Vec<(NaiveDate, Bar)> {
    let today = now
        .with_timezone(&chrono_tz::America::New_York)
        .date_naive();
    today
        .iter_days()
        .map(|day| today - (day - today))
        .filter(|day| US.trades_on(*day))
        .filter_map(|day| {
            let session = US.session(day, true)?;
            (session.open <= now).then(|| {
                let mut bar = bar(symbol, session.open);
                if now < session.close {
                    bar.volume /= 2;
                }
                (day, bar)
            })
        })
        .take(most)
        .collect()
}
