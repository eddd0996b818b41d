//! What makes an event that event: RFC 9562 version 5 (name-based) UUIDs.
//!
//! The same bar is always the same event, whoever fetched it, however often and in whatever form, so that a
//! publisher can tell what is on the topic already. The namespace and the form of the names are frozen: a change
//! would publish every bar a second time.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use compact_str::CompactString;
use uuid::{Uuid, uuid};

/// The namespace of every TradeId that we derive: drawn once at random (version 4), never to be changed.
pub const TRADE_NAMESPACE: Uuid = uuid!("6f1d2c0a-94b7-4e53-8c39-2ad7b1e05f68");

/// On which basis a bar's prices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prices {
    /// As they were traded.
    AsTraded,
    /// Adjusted for splits and dividends: they change with each.
    Adjusted,
}

/// Identity of a bar: function (`intraday`, `daily`), interval (`1min`, …; `1day`), symbol, and bar start in UTC.
///
/// The name is the four joined by `/`, the instant as RFC 3339 in whole seconds with `Z`; of adjusted prices `/adjusted`
/// follows.
pub fn bar_id(
    function: &str,
    interval: &str,
    symbol: &str,
    start: DateTime<Utc>,
    prices: Prices,
) -> Uuid {
    let mut name = CompactString::with_capacity(64);
    let start = start.to_rfc3339_opts(SecondsFormat::Secs, true);
    // Writing into a string cannot fail.
    let _ = write!(name, "{function}/{interval}/{symbol}/{start}");
    if prices == Prices::Adjusted {
        name.push_str("/adjusted");
    }
    Uuid::new_v5(&TRADE_NAMESPACE, name.as_bytes())
}

/// Identity of a quote: function (`quote`, `bulk-quotes`), symbol, its day or instant in UTC, price and volume: the same
/// quote, served again, is the same event.
pub fn quote_id(function: &str, symbol: &str, at: DateTime<Utc>, price: &str, volume: u64) -> Uuid {
    let mut name = CompactString::with_capacity(96);
    let at = at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let _ = write!(name, "{function}/{symbol}/{at}/{price}/{volume}");
    Uuid::new_v5(&TRADE_NAMESPACE, name.as_bytes())
}

/// Identity of an event that came without one: its fields, and its place among its kind (a line number), which
/// keeps two equal trades two.
pub fn content_id(
    symbol: &str,
    side: &str,
    quantity: u64,
    price: &str,
    timestamp: &str,
    place: u64,
) -> Uuid {
    let mut name = CompactString::with_capacity(96);
    let _ = write!(
        name,
        "content/{symbol}/{side}/{quantity}/{price}/{timestamp}/{place}"
    );
    Uuid::new_v5(&TRADE_NAMESPACE, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;

    #[test]
    fn the_identity_of_a_bar_is_frozen() {
        let start = Utc
            .with_ymd_and_hms(2025, 11, 6, 20, 59, 0)
            .single()
            .expect("a time");
        let bar_id = |function, interval, symbol, start| {
            super::bar_id(function, interval, symbol, start, Prices::AsTraded)
        };
        let id = bar_id("intraday", "1min", "IBM", start);
        assert_eq!(
            super::bar_id("intraday", "1min", "IBM", start, Prices::Adjusted),
            Uuid::new_v5(
                &TRADE_NAMESPACE,
                b"intraday/1min/IBM/2025-11-06T20:59:00Z/adjusted"
            )
        );
        assert_eq!(
            id,
            Uuid::new_v5(&TRADE_NAMESPACE, b"intraday/1min/IBM/2025-11-06T20:59:00Z")
        );
        assert_eq!(id.get_version_num(), 5);
        assert_ne!(id, bar_id("intraday", "5min", "IBM", start));
        assert_ne!(id, bar_id("intraday", "1min", "IBN", start));
        assert_ne!(id, bar_id("daily", "1min", "IBM", start));
        assert_ne!(
            id,
            bar_id(
                "intraday",
                "1min",
                "IBM",
                start + chrono::TimeDelta::minutes(1)
            )
        );
    }

    #[test]
    fn the_identity_of_a_quote_is_frozen() {
        let day = "2025-11-06T05:00:00Z".parse().expect("a time");
        let id = quote_id("quote", "IBM", day, "312.74", 3_817_264);
        assert_eq!(
            id,
            Uuid::new_v5(
                &TRADE_NAMESPACE,
                b"quote/IBM/2025-11-06T05:00:00Z/312.74/3817264"
            )
        );
        assert_ne!(id, quote_id("quote", "IBM", day, "312.74", 3_817_265));
        assert_ne!(id, quote_id("quote", "IBM", day, "312.75", 3_817_264));
        assert_ne!(id, quote_id("bulk-quotes", "IBM", day, "312.74", 3_817_264));
    }

    #[test]
    fn equal_trades_at_two_places_are_two() {
        let id = |place| content_id("IBM", "Buy", 1, "2.5", "2025-11-06T20:59:00", place);
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
    }
}
