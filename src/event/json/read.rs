//! Reads the bytes of any record into a validated, borrowed view of a trade, or says why it is none.
//!
//! Two ways lead to the same answer. The fast one knows the exact form that [`TradeEvent`](crate::event::TradeEvent) is
//! written in (key order, no spaces, no escapes) and gives up at the first byte that differs; the slow one is
//! `serde_json` over borrowed values and accepts any JSON object that holds the fields (RFC 8259: any key order,
//! unknown keys, escapes). Invariant, held by a property test on mutated bytes: whatever the fast way accepts, the
//! slow way accepts with equal values. Numbers are never parsed: quantity and price stay the digits they came as.

use std::borrow::Cow;
use std::fmt;

use chrono::NaiveDate;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::Side;
use super::date::civil_date;

/// The most bytes of a TradeId.
const MAX_TRADE_ID: usize = 64;
/// The most characters of a symbol.
const MAX_SYMBOL: usize = 32;

/// A good record, as views of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade<'a> {
    /// The event's identity, where it has one: at most 64 bytes, no control characters.
    pub trade_id: Option<Cow<'a, str>>,
    /// Ticker symbol, `[A-Za-z0-9^][A-Za-z0-9.^:_=&-]{0,31}`.
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
    /// The value is not UTF-8, and looks like UTF-16.
    #[error("the value is not UTF-8 but UTF-16; let its producer write UTF-8")]
    Utf16,
    /// The value is not JSON (RFC 8259).
    #[error("the value is not JSON")]
    NotJson,
    /// The value is not JSON (RFC 8259, section 8.1), because a byte order mark stands before it.
    #[error(
        "the value is not JSON: a byte order mark stands before it; let its producer write UTF-8 without one"
    )]
    ByteOrderMark,
    /// The value is not JSON, because it has the header of Confluent's wire format: a 0 and a schema id.
    #[error(
        "the value is not JSON: it begins with 0 and the schema id {0}, as serializers of a Schema Registry write it, which this version does not read; let its producer write plain JSON"
    )]
    SchemaRegistry(u32),
    /// The value is JSON, but a number, a list, …
    #[error("the value is JSON but not an object")]
    NotAnObject,
    /// A field that every trade has is not there.
    #[error("the field {0} is missing")]
    MissingField(&'static str),
    /// A field that every trade has is there in another case only.
    #[error("the field {0} is missing: it is there in another case, and names count to the letter")]
    OtherCase(&'static str),
    /// A field of ours stands there twice, so that readers would differ on which one counts.
    #[error("the field {0} is there twice")]
    DuplicateField(&'static str),
    /// TradeId is not a text of at most 64 bytes without control characters.
    #[error("TradeId is not a text of at most 64 bytes without control characters")]
    BadTradeId,
    /// Symbol does not match `[A-Za-z0-9^][A-Za-z0-9.^:_=&-]{0,31}`.
    #[error("Symbol is not 1 to 32 of letters, digits and .^:_=&-")]
    BadSymbol,
    /// Side is neither `Buy` nor `Sell`.
    #[error("Side is neither Buy nor Sell (as a text, to the letter)")]
    BadSide,
    /// Quantity is not an integer of 0 or more.
    #[error("Quantity is not an integer of 0 or more (as a number, without quotes)")]
    BadQuantity,
    /// Price is not a JSON number.
    #[error("Price is not a number (without quotes)")]
    BadPrice,
    /// Timestamp is not a date and a time of day.
    #[error("Timestamp is not a date and time")]
    BadTimestamp,
    /// The record was not read at all.
    #[error("the record is {size} bytes long, and at most {limit} are read; its value is left out")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The largest that is read.
        limit: usize,
    },
}

impl BadRecord {
    /// Every [label](Self::label).
    pub(in crate::event) const LABELS: [&'static str; 12] = [
        "not_utf8",
        "not_json",
        "not_an_object",
        "missing_field",
        "duplicate_field",
        "bad_trade_id",
        "bad_symbol",
        "bad_side",
        "bad_quantity",
        "bad_price",
        "bad_timestamp",
        "too_large",
    ];

    /// A short fixed name, for the label of a metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotUtf8 | Self::Utf16 => "not_utf8",
            Self::NotJson | Self::ByteOrderMark | Self::SchemaRegistry(_) => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::MissingField(_) | Self::OtherCase(_) => "missing_field",
            Self::DuplicateField(_) => "duplicate_field",
            Self::BadTradeId => "bad_trade_id",
            Self::BadSymbol => "bad_symbol",
            Self::BadSide => "bad_side",
            Self::BadQuantity => "bad_quantity",
            Self::BadPrice => "bad_price",
            Self::BadTimestamp => "bad_timestamp",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// Reads one record's value.
///
/// # Errors
/// The first reason found why the bytes are not a good trade.
pub fn read_trade(value: &[u8]) -> Result<Trade<'_>, BadRecord> {
    let Ok(text) = std::str::from_utf8(value) else {
        return Err(encoding(value).unwrap_or(BadRecord::NotUtf8));
    };
    match fast(text) {
        Some(trade) => Ok(trade),
        None => slow(text),
    }
}

/// What the first bytes of a value that is not JSON say about who wrote it.
#[cold]
fn encoding(value: &[u8]) -> Option<BadRecord> {
    match value {
        [0xef, 0xbb, 0xbf, ..] => Some(BadRecord::ByteOrderMark),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', 0, ..] => {
            Some(BadRecord::Utf16)
        }
        [0, a, b, c, d, _, ..] => Some(BadRecord::SchemaRegistry(u32::from_be_bytes([
            *a, *b, *c, *d,
        ]))),
        _ => None,
    }
}

/// The canonical form, or `None` for everything else, good or bad.
pub(in crate::event) fn fast(text: &str) -> Option<Trade<'_>> {
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
#[inline]
fn plain_text(text: &str) -> Option<(&str, &str)> {
    let (plain, rest) = text.split_at_checked(plain_length(text.as_bytes())?)?;
    Some((plain, rest.strip_prefix('"')?))
}

/// Where the first byte is that ends a plain text: a quote, an escape, or what is not printable ASCII.
///
/// Eight bytes at a time. In each term the lowest byte that has its high bit set is one that the term looks for (above
/// it a borrow may have set others), so the lowest of all terms is the first such byte.
#[inline]
fn plain_length(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    const fn zero(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    const fn each(byte: u8) -> u64 {
        ONES * byte as u64
    }
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let quotes = zero(word ^ each(b'"'));
        let escapes = zero(word ^ each(b'\\'));
        let controls = word.wrapping_sub(each(b' ')) & !word;
        let deletes = zero(word ^ each(0x7f));
        let found = (quotes | escapes | controls | deletes | word) & HIGH;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    let end = |b: &u8| *b == b'"' || *b == b'\\' || !(b' '..=b'~').contains(b);
    Some(at + rest.iter().position(end)?)
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
    let inner = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'^' | b':' | b'_' | b'=' | b'&' | b'-')
    };
    let bytes = text.as_bytes();
    bytes.len() <= MAX_SYMBOL
        && bytes
            .first()
            .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'^')
        && bytes.iter().all(|b| inner(*b))
}

/// Anything that is a JSON object.
fn slow<'a>(text: &'a str) -> Result<Trade<'a>, BadRecord> {
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
                encoding(text.as_bytes()).unwrap_or(BadRecord::NotJson)
            });
        }
    };
    if let Some(name) = fields.duplicate {
        return Err(BadRecord::DuplicateField(name));
    }
    let other_case = fields.other_case;
    let needed = |field: Option<&'a RawValue>, name| {
        field.ok_or(if other_case.contains(&Some(name)) {
            BadRecord::OtherCase(name)
        } else {
            BadRecord::MissingField(name)
        })
    };
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
    /// The names that stand there in another case, in the order of [`NAMES`].
    other_case: [Option<&'static str>; NAMES.len()],
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a trade")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key()? {
            let name = match key {
                Key::Ours(place) => Some(place),
                Key::OtherCase(place) => {
                    if let (Some(slot), Some(name)) =
                        (fields.other_case.get_mut(place), NAMES.get(place))
                    {
                        *slot = Some(name);
                    }
                    None
                }
                Key::Foreign => None,
            };
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

/// A key, by its place in [`NAMES`]: comparing it needs no copy of it.
enum Key {
    Ours(usize),
    /// One of ours but for its case.
    OtherCase(usize),
    Foreign,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                let place = NAMES.iter().position(|name| name.eq_ignore_ascii_case(key));
                Ok(match place {
                    Some(place) if NAMES.get(place).is_some_and(|name| *name == key) => {
                        Key::Ours(place)
                    }
                    Some(place) => Key::OtherCase(place),
                    None => Key::Foreign,
                })
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests;
