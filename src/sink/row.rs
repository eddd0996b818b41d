//! Rows and headers of the CSV files (RFC 4180, with `\n` line ends), and lines of the dead letters file.
//!
//! Written straight into a file's append buffer: this runs once for every record.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::settings::Column;
use crate::copy::put;
use crate::event::{BadRecord, Trade};

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
}

/// The first line of a CSV file.
pub(super) fn header(columns: &[Column]) -> Vec<u8> {
    let names: Vec<_> = columns.iter().map(|column| column.as_str()).collect();
    format!("{}\n", names.join(",")).into_bytes()
}

/// A row of the record is not longer than this: text doubles when it is quoted, and less when it becomes base64.
#[inline]
pub(super) fn most_bytes(record: &InputRecord<'_>) -> u64 {
    /// Topic (249 bytes at most), partition, offset, separators.
    const REST: usize = 1024;
    let len = |field: Option<&[u8]>| field.map_or(0, <[u8]>::len);
    (2 * (len(record.value) + len(record.key)) + REST) as u64
}

/// Appends a row.
pub(super) fn write_row(
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
            Column::TradeId => write_text(
                out,
                trade.trade_id.as_deref().unwrap_or_default().as_bytes(),
            ),
            Column::Partition => {
                put(out, itoa::Buffer::new().format(partition).as_bytes());
            }
            Column::Offset => {
                put(out, itoa::Buffer::new().format(record.offset).as_bytes());
            }
            Column::Topic => write_text(out, topic.as_bytes()),
            Column::Key => match record.key {
                None => {}
                Some(key) if is_safe_text(key) => write_text(out, key),
                Some(key) => out.extend_from_slice(STANDARD.encode(key).as_bytes()),
            },
        }
    }
    out.push(b'\n');
}

/// Printable ASCII that a spreadsheet does not take for a formula.
fn is_safe_text(text: &[u8]) -> bool {
    text.iter().all(|b| (b' '..=b'~').contains(b))
        && !matches!(text.first(), Some(b'=' | b'+' | b'-' | b'@'))
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
pub(super) fn write_dead_letter(
    out: &mut Vec<u8>,
    topic: &str,
    partition: i32,
    record: &InputRecord<'_>,
    reason: BadRecord,
) {
    let base64 = |bytes: Option<&[u8]>| bytes.map(|bytes| STANDARD.encode(bytes));
    let line = serde_json::json!({
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "key": base64(record.key),
        "value": base64(record.value),
        "reason": reason.to_string(),
    });
    out.extend_from_slice(line.to_string().as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
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
    }

    #[test]
    fn a_dead_letter_keeps_every_byte() {
        let mut out = Vec::new();
        let record = InputRecord {
            offset: 4,
            key: None,
            value: Some(b"\xff"),
            headers: RawHeaders::default(),
        };
        write_dead_letter(&mut out, "t", 1, &record, BadRecord::NotUtf8);
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&line["value"], &line["key"], &line["offset"]),
            (&"/w==".into(), &().into(), &4.into())
        );
    }
}
