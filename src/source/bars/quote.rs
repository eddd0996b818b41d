//! From a quote's fields to a TradeEvent. Pure.
//!
//! A GLOBAL_QUOTE has a trading day and no time of day: its event is at that day's midnight in New York, and another
//! one for each price and volume, because the same quote is served again until either changes. A row of bulk quotes
//! has a time of day, to the millisecond, in New York.

use std::collections::BTreeMap;

use chrono::{NaiveDateTime, NaiveTime, TimeDelta};
use compact_str::CompactString;

use super::bar::{Series, instant, whole_number};
use crate::event::{Side, TradeEvent, TradeId, identity, price, symbol, timestamp};
use crate::source::BadReason;

/// The zone of quotes: bodies do not name one, the documentation does.
const ZONE: chrono_tz::Tz = chrono_tz::America::New_York;

/// The event of a quote. A symbol that was asked for in another spelling (`BRK.B` is answered as `BRK-B`) keeps the one
/// in which it was asked for.
pub(in crate::source) fn event(
    series: Series,
    fields: &BTreeMap<String, String>,
    asked: &[CompactString],
) -> Result<TradeEvent, BadReason> {
    let field = |name: &str| {
        fields
            .get(name)
            .map(String::as_str)
            .ok_or(BadReason::MissingField)
    };
    let bulk = series == Series::BulkQuotes;
    let (price, moment) = if bulk {
        (field("close")?, local_time(field("timestamp")?))
    } else {
        let day = timestamp::date(field("latest trading day")?.as_bytes());
        (field("price")?, day.map(|day| day.and_time(NaiveTime::MIN)))
    };
    let at = moment
        .and_then(|local| instant(ZONE, local))
        .ok_or(BadReason::Time)?;
    let price = price::normalise(price).ok_or(BadReason::Price)?;
    let quantity = whole_number(field("volume")?).ok_or(BadReason::Volume)?;
    let change = price::normalise(field("change")?).ok_or(BadReason::Price)?;
    let symbol = match asked {
        // A body of one quote is of the one symbol that was asked for.
        [symbol] if !bulk => symbol.clone(),
        _ => asked_for(field("symbol")?, asked).ok_or(BadReason::Malformed)?,
    };
    let symbol = symbol.to_ascii_uppercase();
    let function = if bulk { "bulk-quotes" } else { "quote" };
    Ok(TradeEvent {
        trade_id: TradeId::Uuid(identity::quote_id(function, &symbol, at, &price, quantity)),
        symbol,
        side: if change.starts_with('-') {
            Side::Sell
        } else {
            Side::Buy
        },
        quantity,
        price,
        timestamp: at.into(),
    })
}

/// The symbol as it was asked for: told apart by letters and digits alone; a body's own where none was.
fn asked_for(answered: &str, asked: &[CompactString]) -> Option<CompactString> {
    let bare = |text: &str| -> String {
        text.chars()
            .map(|c| {
                if c == '-' {
                    '.'
                } else {
                    c.to_ascii_uppercase()
                }
            })
            .collect()
    };
    if asked.is_empty() {
        return symbol::is_symbol(answered.as_bytes()).then(|| answered.into());
    }
    asked
        .iter()
        .find(|asked| bare(asked) == bare(answered))
        .cloned()
}

/// `YYYY-MM-DD HH:MM:SS`, with a fraction of a second or none.
fn local_time(text: &str) -> Option<NaiveDateTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = fraction.get(..fraction.len().min(3))?;
    if digits.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millis: i64 = format!("{digits:0<3}").parse().ok()?;
    Some(timestamp::local_time(whole.as_bytes())? + TimeDelta::milliseconds(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_keeps_the_spelling_in_which_it_was_asked_for() {
        let asked = [CompactString::from("BRK.B"), "ibm".into()];
        assert_eq!(asked_for("BRK-B", &asked).as_deref(), Some("BRK.B"));
        assert_eq!(asked_for("IBM", &asked).as_deref(), Some("ibm"));
        assert_eq!(asked_for("MSFT", &asked), None);
        assert_eq!(asked_for("BRK-B", &[]).as_deref(), Some("BRK-B"));
        assert_eq!(asked_for("A B", &[]), None);
    }

    #[test]
    fn times_of_day() {
        for (text, expected) in [
            ("2025-11-06 19:59:51.204", Some("2025-11-06 19:59:51.204")),
            ("2025-11-06 19:59:51.5", Some("2025-11-06 19:59:51.500")),
            ("2025-11-06 19:59:51", Some("2025-11-06 19:59:51")),
            ("2025-11-06 19:59:51.", None),
            ("2025-11-06 19:59:51.x", None),
            ("2025-11-06", None),
        ] {
            assert_eq!(
                local_time(text).map(|time| time.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
