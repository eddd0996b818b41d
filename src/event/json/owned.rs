//! A TradeEvent from JSON, owned: for events that a source replays.
//!
//! Takes what others wrote (unknown keys, any order, times without a zone, no TradeId) and keeps prices and times
//! to the letter. What the reading side would refuse as a bad record is refused here too, before it is published.

use std::borrow::Cow;

use compact_str::CompactString;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::super::{Side, Timestamp, TradeEvent, TradeId, identity, price, symbol};
use super::read;

/// The longest TradeId, in bytes.
pub const MAX_TRADE_ID_BYTES: usize = 64;

/// Why some bytes are not a TradeEvent that may be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATrade {
    /// No JSON object, or a key of ours has a value of the wrong kind or is missing.
    #[error("not a TradeEvent's JSON: {0}")]
    Json(String),
    /// No row of CSV with the fields that its header names.
    #[error("not a row with as many fields as the header has")]
    Row,
    /// The TradeId holds control characters or is too long.
    #[error("TradeId has to be at most {MAX_TRADE_ID_BYTES} bytes without control characters")]
    TradeId,
    /// The Symbol breaks the rule.
    #[error("Symbol does not match [A-Za-z0-9^][A-Za-z0-9.^:_=&-]{{0,31}}")]
    Symbol,
    /// The Side is none.
    #[error("Side is neither Buy nor Sell")]
    Side,
    /// The Quantity is no integer from 0 to 2^64 - 1.
    #[error("Quantity is not an integer from 0 to 18446744073709551615")]
    Quantity,
    /// The Price is no decimal number.
    #[error("Price is not a decimal number")]
    Price,
    /// The Timestamp is no date and time.
    #[error("Timestamp is not a date and time")]
    Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Fields<'a> {
    #[serde(borrow, default)]
    trade_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    quantity: &'a RawValue,
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
}

/// The fields of an event as texts.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// Its identity, if it has one.
    pub trade_id: Option<&'a str>,
    /// Ticker symbol.
    pub symbol: &'a str,
    /// `Buy` or `Sell`.
    pub side: &'a str,
    /// An integer.
    pub quantity: &'a str,
    /// A decimal number.
    pub price: &'a str,
    /// Date and time.
    pub timestamp: &'a str,
}

/// The fields of an event whose symbol and side are right; the others have to be looked at.
struct Parts<'a> {
    trade_id: Option<Cow<'a, str>>,
    symbol: Cow<'a, str>,
    side: Side,
    quantity: &'a str,
    price: &'a str,
    timestamp: Cow<'a, str>,
}

impl<'a> Parts<'a> {
    /// Nearly all events have the form in which this program writes them, for which there is a faster way.
    fn read(json: &'a [u8]) -> Result<Self, NotATrade> {
        if let Some(trade) = std::str::from_utf8(json).ok().and_then(read::fast) {
            return Ok(Self {
                trade_id: trade.trade_id,
                symbol: trade.symbol,
                side: trade.side,
                quantity: trade.quantity,
                price: trade.price,
                timestamp: trade.timestamp,
            });
        }
        Self::slow(json)
    }

    fn slow(json: &'a [u8]) -> Result<Self, NotATrade> {
        let fields: Fields<'_> =
            serde_json::from_slice(json).map_err(|error| NotATrade::Json(error.to_string()))?;
        Ok(Self {
            trade_id: fields.trade_id,
            symbol: good_symbol(fields.symbol)?,
            side: side(&fields.side)?,
            quantity: fields.quantity.get(),
            price: fields.price.get(),
            timestamp: fields.timestamp,
        })
    }
}

fn good_symbol(text: Cow<'_, str>) -> Result<Cow<'_, str>, NotATrade> {
    match symbol::is_symbol(text.as_bytes()) {
        true => Ok(text),
        false => Err(NotATrade::Symbol),
    }
}

fn side(text: &str) -> Result<Side, NotATrade> {
    match text {
        "Buy" => Ok(Side::Buy),
        "Sell" => Ok(Side::Sell),
        _ => Err(NotATrade::Side),
    }
}

impl TradeEvent {
    /// Parses one event. `place` (its line number, say) tells equal events apart that carry no TradeId of their own.
    ///
    /// # Errors
    /// The first thing that keeps the bytes from being a good TradeEvent.
    pub fn from_json(json: &[u8], place: u64) -> Result<Self, NotATrade> {
        Self::from_parts(Parts::read(json)?, place)
    }

    /// An event of its fields' texts, as a row of CSV has them; `place` as for [`Self::from_json`].
    ///
    /// # Errors
    /// The first thing that keeps the texts from being a good TradeEvent.
    pub fn from_texts(texts: &Texts<'_>, place: u64) -> Result<Self, NotATrade> {
        let parts = Parts {
            trade_id: texts.trade_id.map(Cow::Borrowed),
            symbol: good_symbol(texts.symbol.into())?,
            side: side(texts.side)?,
            quantity: texts.quantity,
            price: texts.price,
            timestamp: texts.timestamp.into(),
        };
        Self::from_parts(parts, place)
    }

    fn from_parts(parts: Parts<'_>, place: u64) -> Result<Self, NotATrade> {
        let Parts {
            trade_id,
            symbol,
            side,
            quantity,
            price,
            timestamp,
        } = parts;
        if !quantity.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotATrade::Quantity);
        }
        let quantity = quantity.parse().map_err(|_| NotATrade::Quantity)?;
        if !price::is_json_number(price) {
            return Err(NotATrade::Price);
        }
        let timestamp = Timestamp::parse(&timestamp).ok_or(NotATrade::Timestamp)?;
        let trade_id = match trade_id {
            Some(text) if !text.is_empty() => self::trade_id(&text)?,
            // An empty one would make all events that have it one and the same.
            _ => TradeId::Uuid(identity::content_id(
                &symbol,
                side.as_str(),
                quantity,
                price,
                &timestamp.text,
                place,
            )),
        };
        Ok(Self {
            trade_id,
            symbol: symbol.into(),
            side,
            quantity,
            price: CompactString::from(price),
            timestamp,
        })
    }
}

fn trade_id(text: &str) -> Result<TradeId, NotATrade> {
    if text.len() > MAX_TRADE_ID_BYTES || text.chars().any(char::is_control) {
        return Err(NotATrade::TradeId);
    }
    // Only the canonical form may become a UUID, or the event would leave with another text than it came with.
    let canonical = text.len() == uuid::fmt::Hyphenated::LENGTH
        && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    Ok(match Uuid::try_parse(text) {
        Ok(id) if canonical => TradeId::Uuid(id),
        _ => TradeId::Text(text.into()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"{"Timestamp":"2025-11-06T20:59:00.1234567","Extra":[1,{"a":null}],"Price":314.10e0,"Quantity":18446744073709551615,"Side":"Sell","Symbol":"BRK.B","TradeId":"T-\u0041\""}"#;

    #[test]
    fn what_others_wrote_is_taken_to_the_letter() {
        let event = TradeEvent::from_json(GOOD.as_bytes(), 1).expect("a good event");
        assert_eq!(event.trade_id, TradeId::Text("T-A\"".into()));
        assert_eq!(event.price, "314.10e0");
        assert_eq!(event.quantity, u64::MAX);
        assert_eq!(event.timestamp.text, "2025-11-06T20:59:00.1234567");
        let mut again = Vec::new();
        event.write_json(&mut again);
        assert_eq!(TradeEvent::from_json(&again, 2), Ok(event));
    }

    #[test]
    fn an_event_without_identity_gets_one_of_its_own() {
        let line = br#"{"Symbol":"IBM","Side":"Buy","Quantity":1,"Price":2,"Timestamp":"2025-11-06T20:59:00"}"#;
        let id = |place| TradeEvent::from_json(line, place).expect("good").trade_id;
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
        let empty = [br#"{"TradeId":"","#, &line[1..]].concat();
        for place in [1, 2] {
            let event = TradeEvent::from_json(&empty, place).expect("good");
            assert_eq!(event.trade_id, id(place), "an empty one is none");
        }
    }

    #[test]
    fn what_is_not_a_trade_is_refused_with_its_reason() {
        for (from, to, expected) in [
            ("BRK.B", "BRK B", NotATrade::Symbol),
            ("\"Sell\"", "\"Hold\"", NotATrade::Side),
            (
                "18446744073709551615",
                "18446744073709551616",
                NotATrade::Quantity,
            ),
            ("18446744073709551615", "-1", NotATrade::Quantity),
            ("18446744073709551615", "1.5", NotATrade::Quantity),
            ("314.10e0", "\"314.10\"", NotATrade::Price),
            ("314.10e0", "null", NotATrade::Price),
            ("20:59:00", "25:61:00", NotATrade::Timestamp),
            ("T-", "T-\\n", NotATrade::TradeId),
        ] {
            assert_eq!(
                TradeEvent::from_json(GOOD.replace(from, to).as_bytes(), 1),
                Err(expected),
                "{to}"
            );
        }
        for text in ["", "null", "[]", "{}", "{\"Symbol\":1}", "\u{feff}{}"] {
            assert!(
                matches!(
                    TradeEvent::from_json(text.as_bytes(), 1),
                    Err(NotATrade::Json(_))
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn only_a_canonical_uuid_is_one() {
        let canonical = "0f4ad2a1-5b5c-5d5e-8f60-616263646566";
        assert!(matches!(trade_id(canonical), Ok(TradeId::Uuid(_))));
        for other in [
            canonical.to_uppercase(),
            canonical.replace('-', ""),
            format!("{{{canonical}}}"),
        ] {
            assert_eq!(trade_id(&other), Ok(TradeId::Text(other.as_str().into())));
        }
    }

    proptest! {
        #[test]
        fn the_fast_way_says_what_the_slow_one_says(at: prop::sample::Index, byte in prop_oneof![any::<u8>(), b' '..b'~'], changed: bool) {
            let mut bytes = br#"{"TradeId":"0f4ad2a1-5b5c-5d5e-8f60-616263646566","Symbol":"BRK.B","Side":"Sell","Quantity":120,"Price":314.10,"Timestamp":"2025-11-06T20:59:00.123Z"}"#.to_vec();
            if changed {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(fast) = std::str::from_utf8(&bytes).ok().and_then(read::fast) {
                let slow = Parts::slow(&bytes).expect("what the fast way takes is good");
                prop_assert_eq!(
                    (slow.trade_id, slow.symbol, slow.side, slow.quantity, slow.price, slow.timestamp),
                    (fast.trade_id, fast.symbol, fast.side, fast.quantity, fast.price, fast.timestamp)
                );
            } else {
                prop_assert!(changed);
            }
        }

        #[test]
        fn no_bytes_panic(at in 0..GOOD.len(), byte: u8, cut in 0..GOOD.len()) {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = TradeEvent::from_json(&bytes, 1);
            bytes.truncate(cut);
            prop_assert!(TradeEvent::from_json(&bytes, 1).is_err());
        }
    }
}
