//! Reads the bytes of any record into a validated, borrowed view of a trade, or says why it is none.
//!
//! Two ways lead to the same answer. The fast one knows the exact form that [`TradeEvent`](super::TradeEvent) is
//! written in (key order, no spaces, no escapes) and gives up at the first byte that differs; the slow one is
//! `serde_json` over borrowed values and accepts any JSON object that holds the fields (RFC 8259: any key order,
//! unknown keys, escapes). Invariant, held by a property test on mutated bytes: whatever the fast way accepts, the
//! slow way accepts with equal values. Numbers are never parsed: quantity and price stay the digits they came as.

use std::borrow::Cow;
use std::fmt;

use chrono::{Days, NaiveDate};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Side;

/// The most bytes of a TradeId.
const MAX_TRADE_ID: usize = 64;
/// The most characters of a symbol.
const MAX_SYMBOL: usize = 32;

/// A good record, as views of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade<'a> {
    /// The event's identity, where it has one: at most 64 bytes, no control characters.
    pub trade_id: Option<Cow<'a, str>>,
    /// Ticker symbol, `[A-Za-z0-9^][A-Za-z0-9.^:_=-]{0,31}`.
    pub symbol: Cow<'a, str>,
    /// Which side of the market.
    pub side: Side,
    /// Shares: an integer of 0 or more, as its digits.
    pub quantity: &'a str,
    /// A finite decimal in any JSON number form, to the letter.
    pub price: &'a str,
    /// Date and time of day, to the letter.
    pub timestamp: Cow<'a, str>,
    /// Whether the timestamp says its zone (`Z` or an offset); without one it is taken as UTC.
    pub zoned: bool,
    /// The civil date of the timestamp in UTC.
    pub date: NaiveDate,
}

/// Why a record is not a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadRecord {
    /// The value holds bytes that are not UTF-8.
    #[error("the value is not UTF-8")]
    NotUtf8,
    /// The value is not JSON (RFC 8259).
    #[error("the value is not JSON")]
    NotJson,
    /// The value is JSON, but a number, a list, …
    #[error("the value is JSON but not an object")]
    NotAnObject,
    /// A field that every trade has is not there.
    #[error("the field {0} is missing")]
    MissingField(&'static str),
    /// A field of ours stands there twice, so that readers would differ on which one counts.
    #[error("the field {0} is there twice")]
    DuplicateField(&'static str),
    /// TradeId is not a text of at most 64 bytes without control characters.
    #[error("TradeId is not a text of at most 64 bytes without control characters")]
    BadTradeId,
    /// Symbol does not match `[A-Za-z0-9^][A-Za-z0-9.^:_=-]{0,31}`.
    #[error("Symbol is not 1 to 32 of letters, digits and .^:_=-")]
    BadSymbol,
    /// Side is neither `Buy` nor `Sell`.
    #[error("Side is neither Buy nor Sell")]
    BadSide,
    /// Quantity is not an integer of 0 or more.
    #[error("Quantity is not an integer of 0 or more")]
    BadQuantity,
    /// Price is not a JSON number.
    #[error("Price is not a number")]
    BadPrice,
    /// Timestamp is not a date and a time of day.
    #[error("Timestamp is not a date and time")]
    BadTimestamp,
}

impl BadRecord {
    /// A short fixed name, for the label of a metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::MissingField(_) => "missing_field",
            Self::DuplicateField(_) => "duplicate_field",
            Self::BadTradeId => "bad_trade_id",
            Self::BadSymbol => "bad_symbol",
            Self::BadSide => "bad_side",
            Self::BadQuantity => "bad_quantity",
            Self::BadPrice => "bad_price",
            Self::BadTimestamp => "bad_timestamp",
        }
    }
}

/// Reads one record's value.
///
/// # Errors
/// The first reason found why the bytes are not a good trade.
pub fn read_trade(value: &[u8]) -> Result<Trade<'_>, BadRecord> {
    let text = std::str::from_utf8(value).map_err(|_| BadRecord::NotUtf8)?;
    match fast(text) {
        Some(trade) => Ok(trade),
        None => slow(text),
    }
}

/// The canonical form, or `None` for everything else, good or bad.
fn fast(text: &str) -> Option<Trade<'_>> {
    let rest = text.strip_prefix(r#"{"TradeId":""#)?;
    let (trade_id, rest) = plain_text(rest)?;
    let rest = rest.strip_prefix(r#","Symbol":""#)?;
    let (symbol, rest) = plain_text(rest)?;
    let rest = rest.strip_prefix(r#","Side":""#)?;
    let (side, rest) = match rest.strip_prefix(r#"Buy""#) {
        Some(rest) => (Side::Buy, rest),
        None => (Side::Sell, rest.strip_prefix(r#"Sell""#)?),
    };
    let rest = rest.strip_prefix(r#","Quantity":"#)?;
    let (quantity, rest) = rest.split_at_checked(integer_length(rest.as_bytes())?)?;
    let rest = rest.strip_prefix(r#","Price":"#)?;
    let (price, rest) = rest.split_at_checked(number_length(rest.as_bytes())?)?;
    let rest = rest.strip_prefix(r#","Timestamp":""#)?;
    let (timestamp, rest) = plain_text(rest)?;
    if rest != "}" || trade_id.len() > MAX_TRADE_ID || !is_symbol(symbol) {
        return None;
    }
    let (date, zoned) = civil_date(timestamp)?;
    Some(Trade {
        trade_id: Some(Cow::Borrowed(trade_id)),
        symbol: Cow::Borrowed(symbol),
        side,
        quantity,
        price,
        timestamp: Cow::Borrowed(timestamp),
        zoned,
        date,
    })
}

/// Text up to a closing quote, when it is printable ASCII without an escape; what follows the quote.
fn plain_text(text: &str) -> Option<(&str, &str)> {
    let end = text
        .bytes()
        .position(|b| b == b'"' || b == b'\\' || !(b' '..=b'~').contains(&b))?;
    let (plain, rest) = text.split_at_checked(end)?;
    Some((plain, rest.strip_prefix('"')?))
}

/// How many bytes at the start are a JSON integer of 0 or more.
fn integer_length(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    match (bytes.first()?, digits) {
        (_, 0) => None,
        (b'0', 2..) => None,
        _ => Some(digits),
    }
}

/// How many bytes at the start are a JSON number (RFC 8259, section 6).
fn number_length(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        bytes.get(from..).map_or(0, |rest| {
            rest.iter().take_while(|b| b.is_ascii_digit()).count()
        })
    };
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    at += integer_length(bytes.get(at..)?)?;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent == 0 {
            return None;
        }
        at += 1 + sign + exponent;
    }
    Some(at)
}

fn is_symbol(text: &str) -> bool {
    let inner =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'^' | b':' | b'_' | b'=' | b'-');
    let bytes = text.as_bytes();
    bytes.len() <= MAX_SYMBOL
        && bytes
            .first()
            .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'^')
        && bytes.iter().all(|b| inner(*b))
}

/// The UTC date of `YYYY-MM-DD(T| )HH:MM:SS[.fraction][Z|±HH:MM]` (RFC 3339, and its zone-less form), and whether it
/// says its zone. A second of 60 is a leap second and good.
fn civil_date(text: &str) -> Option<(NaiveDate, bool)> {
    let bytes = text.as_bytes();
    let (head, tail) = bytes.split_at_checked(19)?;
    let number = |from: usize, len: usize| {
        head.get(from..from + len)?.iter().try_fold(0_u32, |n, b| {
            b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0'))
        })
    };
    let stands = |at: usize, any: &[u8]| head.get(at).is_some_and(|b| any.contains(b));
    if !(stands(4, b"-")
        && stands(7, b"-")
        && stands(10, b"Tt ")
        && stands(13, b":")
        && stands(16, b":"))
    {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(number(0, 4)?).ok()?,
        number(5, 2)?,
        number(8, 2)?,
    )?;
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let zone = match tail.strip_prefix(b".") {
        Some(fraction) => match fraction.iter().take_while(|b| b.is_ascii_digit()).count() {
            0 => return None,
            digits => fraction.get(digits..)?,
        },
        None => tail,
    };
    match zone {
        [] => Some((date, false)),
        [b'Z' | b'z'] => Some((date, true)),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) =>
        {
            let two = |a: &u8, b: &u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let (hours, minutes) = (two(h1, h2), two(m1, m2));
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 };
            let utc = i64::from(hour * 60 + minute) - offset;
            let date = match utc.div_euclid(24 * 60) {
                0 => date,
                1 => date.checked_add_days(Days::new(1))?,
                _ => date.checked_sub_days(Days::new(1))?,
            };
            // A file's name has four digits for the year.
            (0..=9999)
                .contains(&chrono::Datelike::year(&date))
                .then_some((date, true))
        }
        _ => None,
    }
}

/// Anything that is a JSON object.
fn slow(text: &str) -> Result<Trade<'_>, BadRecord> {
    let mut json = serde_json::Deserializer::from_str(text);
    let fields = match json.deserialize_map(FieldsVisitor) {
        Ok(fields) if json.end().is_ok() => fields,
        _ => {
            let json_at_all = serde_json::from_str::<IgnoredAny>(text).is_ok();
            let object = text
                .trim_start_matches([' ', '\t', '\n', '\r'])
                .starts_with('{');
            return Err(if json_at_all && !object {
                BadRecord::NotAnObject
            } else {
                BadRecord::NotJson
            });
        }
    };
    if let Some(name) = fields.duplicate {
        return Err(BadRecord::DuplicateField(name));
    }
    let [trade_id, symbol, side, quantity, price, timestamp] = fields.raw;
    let symbol = unquote(needed(symbol, "Symbol")?).ok_or(BadRecord::BadSymbol)?;
    let side = unquote(needed(side, "Side")?).ok_or(BadRecord::BadSide)?;
    let quantity = needed(quantity, "Quantity")?.get();
    let price = needed(price, "Price")?.get();
    let timestamp = unquote(needed(timestamp, "Timestamp")?).ok_or(BadRecord::BadTimestamp)?;
    if !is_symbol(&symbol) {
        return Err(BadRecord::BadSymbol);
    }
    let side = match side.as_ref() {
        "Buy" => Side::Buy,
        "Sell" => Side::Sell,
        _ => return Err(BadRecord::BadSide),
    };
    if integer_length(quantity.as_bytes()) != Some(quantity.len()) {
        return Err(BadRecord::BadQuantity);
    }
    if number_length(price.as_bytes()) != Some(price.len()) {
        return Err(BadRecord::BadPrice);
    }
    let (date, zoned) = civil_date(&timestamp).ok_or(BadRecord::BadTimestamp)?;
    let trade_id = match trade_id {
        None => None,
        Some(raw) if raw.get() == "null" => None,
        Some(raw) => {
            let id = unquote(raw).ok_or(BadRecord::BadTradeId)?;
            if id.len() > MAX_TRADE_ID || id.chars().any(char::is_control) {
                return Err(BadRecord::BadTradeId);
            }
            Some(id)
        }
    };
    Ok(Trade {
        trade_id,
        symbol,
        side,
        quantity,
        price,
        timestamp,
        zoned,
        date,
    })
}

fn needed<'a>(field: Option<&'a RawValue>, name: &'static str) -> Result<&'a RawValue, BadRecord> {
    field.ok_or(BadRecord::MissingField(name))
}

/// The text of a JSON string, borrowed when it has no escape; `None` when it is another kind of value.
fn unquote(raw: &RawValue) -> Option<Cow<'_, str>> {
    let raw = raw.get();
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
}

/// The keys that are ours.
const NAMES: [&str; 6] = [
    "TradeId",
    "Symbol",
    "Side",
    "Quantity",
    "Price",
    "Timestamp",
];

/// The fields of ours in an object, in the order of [`NAMES`], unjudged.
#[derive(Default)]
struct Fields<'a> {
    raw: [Option<&'a RawValue>; NAMES.len()],
    duplicate: Option<&'static str>,
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a trade")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = Fields::default();
        while let Some(Key(name)) = map.next_key()? {
            match name.and_then(|i| Some((fields.raw.get_mut(i)?, NAMES.get(i)?))) {
                Some((slot, name)) => {
                    if slot.replace(map.next_value()?).is_some() {
                        fields.duplicate.get_or_insert(name);
                    }
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

/// A key's place in [`NAMES`]: comparing it needs no copy of it.
struct Key(Option<usize>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(Key(NAMES.iter().position(|name| *name == key)))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"{"TradeId":"6f0e1c2a-0000-5000-8000-000000000001","Symbol":"IBM","Side":"Buy","Quantity":32306,"Price":314.0901,"Timestamp":"2025-11-06T20:59:00Z"}"#;

    fn day(y: i32, m: u32, d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(y, m, d).unwrap()
    }

    fn with(field: &str, value: &str) -> String {
        let fields = [
            ("TradeId", r#""x""#),
            ("Symbol", r#""IBM""#),
            ("Side", r#""Sell""#),
            ("Quantity", "1"),
            ("Price", "2.50"),
            ("Timestamp", r#""2025-11-06T20:59:00Z""#),
        ];
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, good)| format!("\"{name}\":{}", if *name == field { value } else { good }))
            .collect();
        format!("{{{}}}", fields.join(","))
    }

    #[test]
    fn the_canonical_form_takes_the_fast_way() {
        let trade = fast(GOOD).unwrap();
        assert_eq!(trade, slow(GOOD).unwrap());
        assert_eq!(
            (trade.price, trade.quantity, trade.date),
            ("314.0901", "32306", day(2025, 11, 6))
        );
    }

    #[test]
    fn what_other_programs_wrote_is_read_to_the_letter() {
        let text = r#" { "Price" : -1.50E+3, "Extra": [{"Symbol": 1}], "Timestamp":"2025-11-06T23:30:00.1234567-05:00",
            "Quantity":0, "Symbol":"\u0049BM", "Side":"Sell", "TradeId": null } "#;
        let trade = read_trade(text.as_bytes()).unwrap();
        assert_eq!(
            (trade.price, trade.symbol.as_ref(), trade.trade_id.as_ref()),
            ("-1.50E+3", "IBM", None)
        );
        assert_eq!((trade.date, trade.zoned), (day(2025, 11, 7), true));
        let zoneless = with("Timestamp", r#""2025-11-06T20:59:00""#);
        let trade = read_trade(zoneless.as_bytes()).unwrap();
        assert_eq!(
            (trade.timestamp.as_ref(), trade.zoned),
            ("2025-11-06T20:59:00", false)
        );
        assert_eq!(trade.date, day(2025, 11, 6));
    }

    #[test]
    fn every_bad_record_has_its_reason() {
        let long = format!("\"{}\"", "x".repeat(65));
        let cases = [
            (b"\xff".to_vec(), BadRecord::NotUtf8),
            (b"".to_vec(), BadRecord::NotJson),
            (b"{\"Symbol\":".to_vec(), BadRecord::NotJson),
            (format!("{GOOD}x").into_bytes(), BadRecord::NotJson),
            (b"[1]".to_vec(), BadRecord::NotAnObject),
            (b" 7".to_vec(), BadRecord::NotAnObject),
            (b"{}".to_vec(), BadRecord::MissingField("Symbol")),
            (
                GOOD.replace("\"Price\"", "\"price\"").into_bytes(),
                BadRecord::MissingField("Price"),
            ),
            (
                with("Side", r#""Buy","Side":"Buy""#).into_bytes(),
                BadRecord::DuplicateField("Side"),
            ),
            (with("TradeId", "7").into_bytes(), BadRecord::BadTradeId),
            (with("TradeId", &long).into_bytes(), BadRecord::BadTradeId),
            (
                with("TradeId", r#""a\nb""#).into_bytes(),
                BadRecord::BadTradeId,
            ),
            (with("Symbol", r#""""#).into_bytes(), BadRecord::BadSymbol),
            (with("Symbol", r#"".A""#).into_bytes(), BadRecord::BadSymbol),
            (
                with("Symbol", r#""A B""#).into_bytes(),
                BadRecord::BadSymbol,
            ),
            (
                with("Symbol", r#""ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG""#).into_bytes(),
                BadRecord::BadSymbol,
            ),
            (with("Symbol", "null").into_bytes(), BadRecord::BadSymbol),
            (with("Side", r#""buy""#).into_bytes(), BadRecord::BadSide),
            (with("Quantity", "-1").into_bytes(), BadRecord::BadQuantity),
            (with("Quantity", "1.0").into_bytes(), BadRecord::BadQuantity),
            (
                with("Quantity", r#""1""#).into_bytes(),
                BadRecord::BadQuantity,
            ),
            (with("Price", "NaN").into_bytes(), BadRecord::NotJson),
            (with("Price", r#""1""#).into_bytes(), BadRecord::BadPrice),
            (with("Price", "null").into_bytes(), BadRecord::BadPrice),
            (with("Timestamp", "5").into_bytes(), BadRecord::BadTimestamp),
            (
                with("Timestamp", r#""2025-11-06""#).into_bytes(),
                BadRecord::BadTimestamp,
            ),
            (
                with("Timestamp", r#""2025-02-30T00:00:00Z""#).into_bytes(),
                BadRecord::BadTimestamp,
            ),
            (
                with("Timestamp", r#""2025-11-06T24:00:00Z""#).into_bytes(),
                BadRecord::BadTimestamp,
            ),
            (
                with("Timestamp", r#""2025-11-06T20:59:00.Z""#).into_bytes(),
                BadRecord::BadTimestamp,
            ),
            (
                with("Timestamp", r#""9999-12-31T23:59:00-01:00""#).into_bytes(),
                BadRecord::BadTimestamp,
            ),
        ];
        for (bytes, reason) in cases {
            assert_eq!(
                read_trade(&bytes),
                Err(reason),
                "{}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }

    proptest! {
        /// What the fast way takes, the slow way takes alike, whatever was done to the bytes.
        #[test]
        fn both_ways_agree(
            edits in prop::collection::vec((0..160_usize, prop::sample::select(
                b"\0\t\"\\{}:,.-+eE0159abcTZ /\x7f\xc3\xa9".to_vec()), 0..3_u8), 0..4),
            symbol in "[A-Za-z0-9^][A-Za-z0-9.^:_=-]{0,33}",
            price in "-?[0-9]{1,3}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{0,2})?",
            quantity in "[0-9]{1,4}",
            timestamp in "[0-9]{3,4}-[01][0-9]-[0-3][0-9][T ][012][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,3})?(Z|[+-][012][0-9]:[0-6][0-9])?",
        ) {
            let mut bytes = format!(
                r#"{{"TradeId":"t","Symbol":"{symbol}","Side":"Buy","Quantity":{quantity},"Price":{price},"Timestamp":"{timestamp}"}}"#
            ).into_bytes();
            for (at, byte, kind) in edits {
                let at = at % bytes.len();
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => { bytes.remove(at); }
                }
            }
            if let Ok(text) = std::str::from_utf8(&bytes) {
                if let Some(trade) = fast(text) {
                    prop_assert_eq!(slow(text), Ok(trade));
                }
            }
            let _ = read_trade(&bytes);
        }

        /// A value that is made of any bytes is judged, never a panic.
        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_trade(&bytes);
        }
    }
}
