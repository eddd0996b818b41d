//! A record or a dead letter as a line, for people or for programs. Pure.
//!
//! Nothing of a foreign value reaches a terminal as it is: control characters are escaped, long values cut.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use serde_json::{json, value::RawValue};

use crate::event::{BadRecord, read_trade};
use crate::pipeline::Format;
use crate::wire::records::MAX_RECORD;

/// How much of a value is shown to people, in characters.
const SHOWN: usize = 400;

/// How lines are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) format: Format,
    pub(super) colour: bool,
}

/// A record that is to be shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown {
    /// Milliseconds since 1970.
    pub(super) timestamp_ms: i64,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// Of a record that is too large to be read: its size in bytes.
    pub(super) too_large: Option<usize>,
    /// Of a dead letter: where it came from, and why it is one.
    pub(super) letter: Option<Letter>,
}

/// Where a dead letter came from, and why it is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Letter {
    pub(super) topic: String,
    pub(super) reason: String,
}

impl Style {
    /// The line of a record of `topic`, without its end.
    pub(super) fn line(self, topic: &str, shown: &Shown) -> String {
        match self.format {
            Format::Text => self.text(shown),
            Format::Json => json_of(topic, shown),
        }
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn text(self, shown: &Shown) -> String {
        let place = format!("partition {}, offset {}", shown.partition, shown.offset);
        let value = shown.value.as_deref();
        if let Some(Letter { topic, reason }) = &shown.letter {
            let what = self.painted("31", "dead letter");
            let value = value.map_or_else(|| "no value".to_owned(), readable);
            let reason = printable(reason);
            return format!(
                "{what}  topic {}, {place}: {reason}: {value}",
                printable(topic)
            );
        }
        if let Some(size) = shown.too_large {
            let what = self.painted("31", "bad record");
            let reason = why_too_large(size);
            return format!("{what}  {place}: {reason}");
        }
        let Some(value) = value else {
            return format!("{}  {place}", self.painted("2", "no value"));
        };
        match read_trade(value) {
            Ok(trade) => {
                let code = match trade.side {
                    crate::event::Side::Buy => "32",
                    crate::event::Side::Sell => "33",
                };
                // The parts of a trade are checked texts: nothing in them needs an escape.
                let side = self.painted(code, &format!("{:<4}", trade.side.as_str()));
                format!(
                    "{}  {:<6} {side} {:>10} @ {:<12} {}",
                    trade.timestamp,
                    trade.symbol,
                    trade.quantity,
                    trade.price,
                    self.painted("2", &place)
                )
            }
            Err(reason) => format!(
                "{}  {place}: {reason}: {}",
                self.painted("31", "bad record"),
                readable(value)
            ),
        }
    }
}

/// A record that is a trade, or has no value, as an object.
#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: Option<String>,
    /// As it is where it is a text, in base64 where it is none.
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    event: Option<Event<'a>>,
}

/// The event, its numbers digit for digit.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'a> {
    trade_id: Option<&'a str>,
    symbol: &'a str,
    side: &'a str,
    quantity: Option<Box<RawValue>>,
    price: Option<Box<RawValue>>,
    timestamp: &'a str,
}

/// A record as an object. What is no trade has the form of the dead letters files, with the value as text beside it where
/// it is one, so that it can be repaired and replayed.
fn json_of(topic: &str, shown: &Shown) -> String {
    let value = shown.value.as_deref();
    let trade = value.map(read_trade);
    let reason = match (&shown.letter, &trade) {
        (Some(letter), _) => Some(letter.reason.clone()),
        (None, Some(Err(reason))) => Some(reason.to_string()),
        (None, _) => shown.too_large.map(|size| why_too_large(size).to_string()),
    };
    let (partition, offset) = (shown.partition, shown.offset);
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    if let Some(reason) = reason {
        let from = shown.letter.as_ref().map_or(topic, |letter| &letter.topic);
        let mut object = json!({
            "topic": from,
            "partition": partition,
            "offset": offset,
            "key": shown.key.as_deref().map(base64),
            "value": value.map(base64),
            "reason": reason,
        });
        if let (Some(Ok(text)), Some(object)) =
            (value.map(std::str::from_utf8), object.as_object_mut())
        {
            object.insert("value_text".into(), text.into());
        }
        return object.to_string();
    }
    let key = shown.key.as_deref();
    let text = key.and_then(|key| std::str::from_utf8(key).ok());
    let time = DateTime::from_timestamp_millis(shown.timestamp_ms);
    let trade = trade.and_then(Result::ok);
    let number = |digits: &str| RawValue::from_string(digits.to_owned()).ok();
    let line = Line {
        topic,
        partition,
        offset,
        timestamp: time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)),
        key: text,
        key_base64: key.filter(|_| text.is_none()).map(base64),
        event: trade.as_ref().map(|trade| Event {
            trade_id: trade.trade_id.as_deref(),
            symbol: &trade.symbol,
            side: trade.side.as_str(),
            quantity: number(trade.quantity),
            price: number(trade.price),
            timestamp: &trade.timestamp,
        }),
    };
    // Texts and numbers alone: this cannot fail.
    serde_json::to_string(&line).unwrap_or_default()
}

fn why_too_large(size: usize) -> BadRecord {
    let limit = MAX_RECORD;
    BadRecord::TooLarge { size, limit }
}

/// A value as it can stand in a line.
fn readable(value: &[u8]) -> String {
    let mut text = String::new();
    let cut = match std::str::from_utf8(value) {
        Ok(whole) => {
            let end = whole.char_indices().nth(SHOWN).map(|(end, _)| end);
            text.push_str(&printable(
                end.and_then(|end| whole.get(..end)).unwrap_or(whole),
            ));
            end.is_some()
        }
        Err(_) => {
            let shown = value.get(..SHOWN).unwrap_or(value);
            let _ = write!(text, "{}", shown.escape_ascii());
            shown.len() < value.len()
        }
    };
    if cut {
        let _ = write!(text, "… ({} bytes)", value.len());
    } else if value.is_empty() {
        text.push_str("(empty)");
    }
    text
}

/// A text without what a terminal would obey.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            c => out.extend(c.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = br#"{"TradeId":"t","Symbol":"IBM","Side":"Buy","Quantity":7,"Price":314.10,"Timestamp":"2025-11-06T20:59:00Z"}"#;

    fn shown(value: Option<&[u8]>) -> Shown {
        Shown {
            timestamp_ms: 1_762_462_740_000,
            partition: 1,
            offset: 9,
            key: Some(b"IBM".to_vec()),
            value: value.map(<[u8]>::to_vec),
            too_large: None,
            letter: None,
        }
    }

    const PLAIN: Style = Style {
        format: Format::Text,
        colour: false,
    };

    #[test]
    fn an_event_is_shown_with_its_place_and_in_colour_only_where_asked() {
        let line = PLAIN.line("t", &shown(Some(GOOD)));
        assert_eq!(
            line,
            "2025-11-06T20:59:00Z  IBM    Buy           7 @ 314.10       partition 1, offset 9"
        );
        let style = Style {
            colour: true,
            ..PLAIN
        };
        assert!(style.line("t", &shown(Some(GOOD))).contains("\x1b[32mBuy "));
        let style = Style {
            format: Format::Json,
            ..PLAIN
        };
        let event = std::str::from_utf8(GOOD).unwrap();
        assert_eq!(
            style.line("t", &shown(Some(GOOD))),
            format!(
                r#"{{"topic":"t","partition":1,"offset":9,"timestamp":"2025-11-06T20:59:00.000Z","key":"IBM","event":{event}}}"#
            )
        );
        assert!(style.line("t", &shown(None)).ends_with(r#""event":null}"#));
        assert!(
            PLAIN
                .line("t", &shown(None))
                .starts_with("no value  partition 1")
        );
    }

    #[test]
    fn a_bad_record_cannot_speak_to_the_terminal_and_can_be_replayed() {
        let line = PLAIN.line("t", &shown(Some(b"\x1b]0;hi\x07 \"x\"")));
        assert_eq!(
            line,
            r#"bad record  partition 1, offset 9: the value is not JSON: \u{1b}]0;hi\u{7} "x""#
        );
        let long = PLAIN.line("t", &shown(Some(&[b'a'; 5_000])));
        assert!(long.ends_with("a… (5000 bytes)"), "{long}");
        assert!(
            PLAIN
                .line("t", &shown(Some(b"\xff\n")))
                .ends_with(r": \xff\n")
        );
        let mut letter = shown(Some(b"{"));
        letter.letter = Some(Letter {
            topic: "trades".to_owned(),
            reason: "why".to_owned(),
        });
        assert_eq!(
            PLAIN.line("dead", &letter),
            "dead letter  topic trades, partition 1, offset 9: why: {"
        );
        let json: serde_json::Value = serde_json::from_str(&json_of("dead", &letter)).unwrap();
        assert_eq!(
            json,
            json!({"topic":"trades","partition":1,"offset":9,"key":"SUJN","value":"ew==","value_text":"{","reason":"why"})
        );
    }
}
