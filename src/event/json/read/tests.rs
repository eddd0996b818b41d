//! Reading judged by hand-picked records and by records with changed bytes.

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
            BadRecord::OtherCase("Price"),
        ),
        (
            GOOD.replace("\"Price\"", "\"Cost\"").into_bytes(),
            BadRecord::MissingField("Price"),
        ),
        (
            format!("\u{feff}{GOOD}").into_bytes(),
            BadRecord::ByteOrderMark,
        ),
        (
            GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            BadRecord::Utf16,
        ),
        (
            GOOD.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            BadRecord::Utf16,
        ),
        (b"\xff\xfe{\0}\0".to_vec(), BadRecord::Utf16),
        (
            [b"\0\0\0\x01\x02", GOOD.as_bytes()].concat(),
            BadRecord::SchemaRegistry(258),
        ),
        (
            b"\0\0\0\0\x07\xff\x02avro".to_vec(),
            BadRecord::SchemaRegistry(7),
        ),
        (b"\0\0\0\0\x07".to_vec(), BadRecord::NotJson),
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
        symbol in "[A-Za-z0-9^][A-Za-z0-9.^:_=&-]{0,33}",
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
        if let Ok(text) = std::str::from_utf8(&bytes)
            && let Some(trade) = fast(text)
        {
            prop_assert_eq!(slow(text), Ok(trade));
        }
        let _ = read_trade(&bytes);
    }

    /// Eight bytes at a time find what one at a time finds.
    #[test]
    fn a_plain_text_ends_where_it_ends(
        mut bytes in prop::collection::vec(b' '..=b'~', 0..40),
        ends in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        for (at, byte) in ends {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let ends = |b: &u8| *b == b'"' || *b == b'\\' || !(b' '..=b'~').contains(b);
        prop_assert_eq!(plain_length(&bytes), bytes.iter().position(ends));
    }

    /// A value that is made of any bytes is judged, never a panic.
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_trade(&bytes);
    }
}
