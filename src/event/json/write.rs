//! A TradeEvent as JSON, the form it has on the topic: fixed keys in a fixed order, no blanks.
//!
//! Hand-written because it is on the path of every event: one pass, no formatting machinery, no allocation beyond
//! the caller's buffer.

use super::super::{TradeEvent, TradeId};
use crate::short_copy::put;

/// Room that one event's JSON usually takes, in bytes.
pub const USUAL_JSON_BYTES: usize = 176;

impl TradeEvent {
    /// Appends `{"TradeId":"…","Symbol":"IBM","Side":"Buy","Quantity":32306,"Price":314.0901,"Timestamp":"…"}`.
    ///
    /// The price goes in as its digits, so it has to be a JSON number, as [`normalise`](crate::event::price::normalise) makes it.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.reserve(USUAL_JSON_BYTES);
        out.extend_from_slice(b"{\"TradeId\":\"");
        match &self.trade_id {
            TradeId::Uuid(id) => {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                id.hyphenated().encode_lower(&mut text);
                out.extend_from_slice(&text);
            }
            TradeId::Text(text) => escape(text, out),
        }
        out.extend_from_slice(b"\",\"Symbol\":\"");
        escape(&self.symbol, out);
        out.extend_from_slice(b"\",\"Side\":\"");
        put(out, self.side.as_str().as_bytes());
        out.extend_from_slice(b"\",\"Quantity\":");
        put(out, itoa::Buffer::new().format(self.quantity).as_bytes());
        out.extend_from_slice(b",\"Price\":");
        put(out, self.price.as_bytes());
        out.extend_from_slice(b",\"Timestamp\":\"");
        escape(&self.timestamp.text, out);
        out.extend_from_slice(b"\"}");
    }
}

/// RFC 8259, section 7: quotation mark, reverse solidus and control characters are escaped, all else stands as it is.
fn escape(text: &str, out: &mut Vec<u8>) {
    let needs = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // Without an early end the whole is looked at many bytes at a time.
    if !text.bytes().fold(false, |any, byte| any | needs(byte)) {
        return put(out, text.as_bytes());
    }
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ if byte < b' ' => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digit = |nibble: u8| HEX[usize::from(nibble & 15)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone as _, Utc};
    use proptest::prelude::*;
    use uuid::uuid;

    use super::*;
    use crate::event::{Side, Timestamp};

    fn event() -> TradeEvent {
        TradeEvent {
            trade_id: TradeId::Uuid(uuid!("0f4ad2a1-5b5c-5d5e-8f60-616263646566")),
            symbol: "IBM".into(),
            side: Side::Buy,
            quantity: 32306,
            price: "314.0901".into(),
            timestamp: Utc
                .with_ymd_and_hms(2025, 11, 6, 20, 59, 0)
                .single()
                .expect("a time")
                .into(),
        }
    }

    #[test]
    fn keys_order_and_form() {
        let mut out = Vec::new();
        event().write_json(&mut out);
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            r#"{"TradeId":"0f4ad2a1-5b5c-5d5e-8f60-616263646566","Symbol":"IBM","Side":"Buy","Quantity":32306,"Price":314.0901,"Timestamp":"2025-11-06T20:59:00Z"}"#
        );
    }

    proptest! {
        #[test]
        fn it_is_json_whatever_the_texts_hold(id in "\\PC{0,20}|[\\x00-\\x7f]{0,20}", symbol in "[\\x00-\\x7f]{0,8}|\\PC{0,8}", quantity: u64) {
            let event = TradeEvent {
                trade_id: TradeId::Text(id.as_str().into()),
                symbol: symbol.as_str().into(),
                side: Side::Sell,
                quantity,
                timestamp: Timestamp::parse("2025-11-06T20:59:00.1234567").expect("a time"),
                ..event()
            };
            let mut out = b"before".to_vec();
            event.write_json(&mut out);
            let json: serde_json::Value = serde_json::from_slice(&out[6..]).expect("JSON");
            prop_assert_eq!(json["TradeId"].as_str(), Some(id.as_str()));
            prop_assert_eq!(json["Symbol"].as_str(), Some(symbol.as_str()));
            prop_assert_eq!(json["Quantity"].as_u64(), Some(quantity));
        }
    }
}
