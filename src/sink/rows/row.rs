//! Rows and headers of the CSV files (RFC 4180, with `\n` line ends), and lines of the dead letters file.
//!
//! Written straight into a file's append buffer: this runs once for every record.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::settings::Column;
use crate::event::{BadRecord, Trade};
use crate::short_copy::put;

/// A record's headers as they lie on the wire, opaque to this room: they are handed on with a dead letter.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawHeaders<'a> {
    /// How many the record says it has.
    pub count: usize,
    /// Their encoded form.
    pub encoded: &'a [u8],
}

/// A record as it came from its partition.
#[derive(Clone, Copy, Debug)]
pub struct InputRecord<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: RawHeaders<'a>,
    /// Of a record that is too large to be read, and has no value here for that: its size in bytes.
    pub too_large: Option<TooLarge>,
}

/// How large a record is that is too large to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Its size in bytes.
    pub size: usize,
    /// The largest that is read.
    pub limit: usize,
}

/// The first line of a CSV file.
pub(in crate::sink) fn header(columns: &[Column]) -> Vec<u8> {
    let names: Vec<_> = columns.iter().map(|column| column.as_str()).collect();
    format!("{}\n", names.join(",")).into_bytes()
}

/// A row of the record is not longer than this: text doubles when it is quoted, and becomes less than that and a few bytes in base64.
#[inline]
pub(in crate::sink) fn most_bytes(record: &InputRecord<'_>) -> u64 {
    /// Topic (249 bytes at most), partition, offset, separators.
    const REST: usize = 1024;
    let len = |field: Option<&[u8]>| field.map_or(0, <[u8]>::len);
    (2 * (len(record.value) + len(record.key)) + REST) as u64
}

/// Appends a row.
pub(in crate::sink) fn write_row(
    out: &mut Vec<u8>,
    columns: &[Column],
    trade: &Trade<'_>,
    topic: &str,
    partition: i32,
    record: &InputRecord<'_>,
) {
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match column {
            Column::Symbol => put(out, trade.symbol.as_bytes()),
            Column::Side => put(out, trade.side.as_str().as_bytes()),
            Column::Quantity => put(out, trade.quantity.as_bytes()),
            Column::Price => put(out, trade.price.as_bytes()),
            Column::Timestamp => put(out, trade.timestamp.as_bytes()),
            Column::TradeId => write_guarded(
                out,
                trade.trade_id.as_deref().unwrap_or_default().as_bytes(),
            ),
            Column::Partition => {
                put(out, itoa::Buffer::new().format(partition).as_bytes());
            }
            Column::Offset => {
                put(out, itoa::Buffer::new().format(record.offset).as_bytes());
            }
            Column::Topic => write_guarded(out, topic.as_bytes()),
            Column::Key => write_guarded(out, record.key.unwrap_or_default()),
        }
    }
    out.push(b'\n');
}

/// Appends what somebody else has chosen: as it is where it is a safe text, else in base64. The two never look alike:
/// base64 always ends in `=` (in four where it has none by itself; and it has a blank in front of a `+`), and a text that
/// does is no safe one.
fn write_guarded(out: &mut Vec<u8>, text: &[u8]) {
    if is_safe_text(text) {
        return write_text(out, text);
    }
    let encoded = STANDARD.encode(text);
    if encoded.starts_with('+') {
        out.push(b' ');
    }
    out.extend_from_slice(encoded.as_bytes());
    if !encoded.ends_with('=') {
        put(out, b"====");
    }
}

/// Printable ASCII that a spreadsheet does not take for a formula, and nobody for base64.
fn is_safe_text(text: &[u8]) -> bool {
    text.iter().all(|b| (b' '..=b'~').contains(b))
        && !matches!(text.first(), Some(b'=' | b'+' | b'-' | b'@'))
        && text.last() != Some(&b'=')
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    if !text
        .iter()
        .any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r'))
    {
        return put(out, text);
    }
    out.push(b'"');
    for b in text {
        if *b == b'"' {
            out.push(b'"');
        }
        out.push(*b);
    }
    out.push(b'"');
}

/// Appends a dead letter: one JSON object on a line, with key and value in base64.
pub(in crate::sink) fn write_dead_letter(
    out: &mut Vec<u8>,
    topic: &str,
    partition: i32,
    record: &InputRecord<'_>,
    reason: BadRecord,
) {
    let mut offset_text = itoa::Buffer::new();
    let mut partition_text = itoa::Buffer::new();
    put(out, b"{\"key\":");
    put_base64(out, record.key);
    put(out, b",\"offset\":");
    put(out, offset_text.format(record.offset).as_bytes());
    put(out, b",\"partition\":");
    put(out, partition_text.format(partition).as_bytes());
    put(out, b",\"reason\":");
    put_json(out, &reason.to_string());
    put(out, b",\"topic\":");
    put_json(out, topic);
    put(out, b",\"value\":");
    put_base64(out, record.value);
    put(out, b"}\n");
}

/// Appends bytes as a JSON text in base64, or null; a piece at a time, because they may be many.
fn put_base64(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    /// A multiple of three: only the last piece is padded.
    const PIECE: usize = 3 << 10;
    let Some(bytes) = bytes else {
        return put(out, b"null");
    };
    let mut encoded = [0; PIECE / 3 * 4];
    out.push(b'"');
    for piece in bytes.chunks(PIECE) {
        // The encoded piece always fits.
        if let Ok(length) = STANDARD.encode_slice(piece, &mut encoded) {
            out.extend_from_slice(encoded.get(..length).unwrap_or_default());
        }
    }
    out.push(b'"');
}

fn put_json(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::read_trade;

    #[test]
    fn a_row_is_quoted_where_it_must_be() {
        let value = br#"{"TradeId":"a,\"b\"","Symbol":"^IX","Side":"Sell","Quantity":7,"Price":1.50,"Timestamp":"2025-01-02T03:04:05Z"}"#;
        let trade = read_trade(value).unwrap();
        let row = |key: Option<&[u8]>, columns: &[Column]| {
            let mut out = Vec::new();
            write_row(
                &mut out,
                columns,
                &trade,
                "t",
                3,
                &InputRecord {
                    offset: 9,
                    key,
                    value: Some(value),
                    headers: RawHeaders::default(),
                    too_large: None,
                },
            );
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            row(None, &Column::DEFAULT),
            "^IX,Sell,7,1.50,2025-01-02T03:04:05Z\n"
        );
        let all = [
            Column::TradeId,
            Column::Partition,
            Column::Offset,
            Column::Topic,
            Column::Key,
        ];
        assert_eq!(row(Some(b"^IX"), &all), "\"a,\"\"b\"\"\",3,9,t,^IX\n");
        assert_eq!(row(Some(b"=1"), &[Column::Key]), "PTE=\n");
        assert_eq!(row(None, &[Column::Side, Column::Key]), "Sell,\n");
        let formula = br#"{"TradeId":"=cmd()","Symbol":"IBM","Side":"Sell","Quantity":7,"Price":1,"Timestamp":"2025-01-02T03:04:05Z"}"#;
        let record = InputRecord {
            offset: 9,
            key: None,
            value: Some(formula),
            headers: RawHeaders::default(),
            too_large: None,
        };
        let mut out = Vec::new();
        let trade = read_trade(formula).unwrap();
        write_row(
            &mut out,
            &[Column::TradeId, Column::Topic],
            &trade,
            "-t",
            3,
            &record,
        );
        assert_eq!(out, b"PWNtZCgp====,LXQ=\n");
    }

    proptest! {
        /// Bytes and texts that look like their base64 among them.
        #[test]
        fn what_is_written_is_no_formula_and_says_what_it_was(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..12),
                prop::collection::vec(prop::sample::select(b"=+-@A/1 \xff".to_vec()), 0..12),
            ],
        ) {
            let texts = [STANDARD.encode(&bytes).into_bytes(), bytes];
            let written = texts.each_ref().map(|text| {
                let mut out = Vec::new();
                write_guarded(&mut out, text);
                out
            });
            let unquoted = |written: &Vec<u8>| {
                let inner = written.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
                inner.map_or_else(|| written.clone(), |inner| {
                    String::from_utf8(inner.to_vec()).unwrap().replace("\"\"", "\"").into_bytes()
                })
            };
            let written = written.map(|written| unquoted(&written));
            for (text, written) in texts.iter().zip(&written) {
                prop_assert!(!matches!(written.first(), Some(b'=' | b'+' | b'-' | b'@')));
                match written.strip_suffix(b"=") {
                    None => prop_assert_eq!(text, written),
                    Some(_) => {
                        let bare = written.strip_suffix(b"====").unwrap_or(written);
                        let bare = bare.strip_prefix(b" ").unwrap_or(bare);
                        prop_assert_eq!(&STANDARD.decode(bare).unwrap(), text);
                    }
                }
            }
            prop_assert!(texts[0] == texts[1] || written[0] != written[1]);
        }
    }

    #[test]
    fn a_dead_letter_keeps_every_byte() {
        let mut out = Vec::new();
        let record = InputRecord {
            offset: 4,
            key: None,
            value: Some(b"\xff"),
            headers: RawHeaders::default(),
            too_large: None,
        };
        write_dead_letter(&mut out, "t", 1, &record, BadRecord::NotUtf8);
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&line["value"], &line["key"], &line["offset"]),
            (&"/w==".into(), &().into(), &4.into())
        );
    }
}
