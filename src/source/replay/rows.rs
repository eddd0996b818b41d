//! Rows of CSV as TradeEvents: the files that `consume` and KafkaStockFlow write. Pure.
//!
//! A row with a TradeId is the event that it was. One without gets an identity of its fields and its line, as JSON
//! without a TradeId does; and of what tells its file from the others of that day, where `consume` named it.

use std::{borrow::Cow, path::Path};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use crate::event::{NotATrade, Texts, TradeEvent};

/// The columns of such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    separator: u8,
    columns: usize,
    /// Symbol, Side, Quantity, Price, Timestamp.
    places: [usize; 5],
    trade_id: Option<usize>,
}

impl Header {
    /// `None` when the line is no header of trades.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.trim();
        b",;\t".iter().find_map(|separator| {
            let columns = split(line, *separator)?;
            let place = |name: &str| {
                columns
                    .iter()
                    .position(|column| column.trim().eq_ignore_ascii_case(name))
            };
            Some(Self {
                separator: *separator,
                columns: columns.len(),
                places: [
                    place("Symbol")?,
                    place("Side")?,
                    place("Quantity")?,
                    place("Price")?,
                    place("Timestamp")?,
                ],
                trade_id: place("TradeId"),
            })
        })
    }

    /// A column of a trade that the header has twice: which one counts cannot be told.
    pub(super) fn twice(&self, line: &[u8]) -> Option<&'static str> {
        let line = std::str::from_utf8(line).ok()?.trim();
        let columns = split(line, self.separator)?;
        let count = |name: &str| {
            let same = |column: &&Cow<'_, str>| column.trim().eq_ignore_ascii_case(name);
            columns.iter().filter(same).count()
        };
        [
            "Symbol",
            "Side",
            "Quantity",
            "Price",
            "Timestamp",
            "TradeId",
        ]
        .into_iter()
        .find(|name| count(name) > 1)
    }

    /// Whether its rows are the events that they were.
    pub(super) fn has_ids(&self) -> bool {
        self.trade_id.is_some()
    }

    /// The event of a row; `None` where the row has not the header's columns.
    pub(super) fn event(&self, row: &[u8], line: u64) -> Option<Result<TradeEvent, NotATrade>> {
        let row = std::str::from_utf8(row).ok()?;
        let fields = split(row.trim_end_matches('\r'), self.separator)?;
        if fields.len() != self.columns {
            return None;
        }
        let field = |place: usize| fields.get(place).map_or("", |field| field.trim());
        let [symbol, side, quantity, price, timestamp] = self.places.map(field);
        // To the letter: it is an identity.
        let trade_id = self.trade_id.and_then(|place| fields.get(place));
        let trade_id = trade_id.map(|field| unguard(field));
        let texts = Texts {
            trade_id: trade_id.as_deref(),
            symbol,
            side,
            quantity,
            price,
            timestamp,
        };
        Some(TradeEvent::from_texts(&texts, line))
    }
}

/// A number that tells the parts of a day and the instances that `consume` wrote apart (`consumed_trades_DAY.0001.csv`), 0 for
/// the first part and for every other name. The directory and the compression do not count.
pub(super) fn part(path: &str) -> u64 {
    /// More than any file has lines.
    const APART: u32 = 40;
    let name = Path::new(path).file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    let suffix = name
        .strip_prefix("consumed_trades_")
        .and_then(|rest| rest.split_at_checked("YYYY-MM-DD".len()))
        .and_then(|(_, rest)| rest.rsplit_once(".csv"))
        .map_or("", |(suffix, _)| suffix);
    if suffix.is_empty() {
        return 0;
    }
    let (hash, _) = Uuid::new_v5(&Uuid::NAMESPACE_OID, suffix.as_bytes()).as_u64_pair();
    hash << APART
}

/// A TradeId as it was before `consume` guarded it: what a spreadsheet could take for a formula, and what is not printable
/// ASCII, stands there in base64, with four `=` behind it where it has none of its own, and a blank before a `+`.
fn unguard(field: &str) -> Cow<'_, str> {
    let decoded = || {
        let inner = field.strip_prefix(' ').unwrap_or(field);
        let bare = inner.strip_suffix("====").unwrap_or(inner);
        let text = String::from_utf8(STANDARD.decode(bare).ok()?).ok()?;
        let guarded = text.starts_with(['=', '+', '-', '@'])
            || text.ends_with('=')
            || !text.chars().all(|c| (' '..='~').contains(&c));
        // A text that is none of these was never written so: it only looks like that.
        (guarded && bare.ends_with('=') != inner.ends_with("====")).then_some(text)
    };
    match field.ends_with('=') {
        true => decoded().map_or(Cow::Borrowed(field), Cow::Owned),
        false => Cow::Borrowed(field),
    }
}

/// The fields of a row (RFC 4180); `None` when its quotes are wrong.
fn split(row: &str, separator: u8) -> Option<Vec<Cow<'_, str>>> {
    let separator = char::from(separator);
    let (mut fields, mut rest) = (Vec::new(), row);
    loop {
        let (field, behind) = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(separator).unwrap_or(rest.len());
                let (field, behind) = rest.split_at(end);
                (Cow::Borrowed(field), behind)
            }
            Some(quoted) => unquote(quoted)?,
        };
        fields.push(field);
        match behind.strip_prefix(separator) {
            Some(next) => rest = next,
            None if behind.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

/// A field behind its first quote, and what follows its last one.
fn unquote(quoted: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut from = 0;
    loop {
        let end = from + quoted.get(from..)?.find('"')?;
        let behind = quoted.get(end + 1..)?;
        if !behind.starts_with('"') {
            let field = quoted.get(..end)?;
            return Some((Cow::Owned(field.replace("\"\"", "\"")), behind));
        }
        from = end + 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::TradeId;

    const OURS: &[u8] = b"Symbol,Side,Quantity,Price,Timestamp";

    fn event(header: &[u8], row: &str, line: u64) -> Option<Result<TradeEvent, NotATrade>> {
        Header::read(header)
            .expect("a header")
            .event(row.as_bytes(), line)
    }

    #[test]
    fn rows_are_events() {
        let row = "IBM,Buy,32306,314.0901,2025-11-06T20:59:00Z";
        let first = event(OURS, row, 2).expect("a row").expect("an event");
        assert_eq!((first.quantity, first.price.as_str()), (32_306, "314.0901"));
        // What JSON on this line would be.
        let json = br#"{"Symbol":"IBM","Side":"Buy","Quantity":32306,"Price":314.0901,"Timestamp":"2025-11-06T20:59:00Z"}"#;
        assert_eq!(TradeEvent::from_json(json, 2), Ok(first.clone()));
        let second = event(OURS, row, 3).expect("a row").expect("an event");
        assert_ne!(first.trade_id, second.trade_id);
        let header = b"Offset;\"TradeId\";price;timestamp;side;symbol;quantity";
        let row = "7;\"a;\"\"b\"\"\";1.5;2025-11-06T20:59:00;Sell;^IX;7\r";
        let other = event(header, row, 2).expect("a row").expect("an event");
        assert_eq!(other.trade_id, TradeId::Text("a;\"b\"".into()));
        assert_eq!((other.symbol.as_str(), other.quantity), ("^IX", 7));
    }

    #[test]
    fn a_column_that_is_there_twice_is_named() {
        for (line, twice) in [
            (&b"Symbol,Side,Quantity,Price,Timestamp"[..], None),
            (b"Symbol,Side,Quantity,Price,Timestamp,Note,Note", None),
            (b"Symbol,Side,Price,Quantity,Price,Timestamp", Some("Price")),
            (
                b"TradeId;Symbol;Side;Quantity;Price;Timestamp;tradeid\r",
                Some("TradeId"),
            ),
        ] {
            let header = Header::read(line).expect("a header");
            assert_eq!(header.twice(line), twice);
        }
    }

    #[test]
    fn parts_and_instances_are_told_apart_and_nothing_else() {
        let first = "out/consumed_trades_2025-11-06.csv";
        for same in [
            first,
            "consumed_trades_2025-11-06.csv.gz",
            "host.0001.csv",
            "-",
        ] {
            assert_eq!(part(same), 0, "{same}");
        }
        let second = part("out/consumed_trades_2025-11-06.0001.csv");
        assert_eq!(part("consumed_trades_2025-11-07.0001.csv.zst"), second);
        let third = part("consumed_trades_2025-11-06.0002.csv");
        let other = part("consumed_trades_2025-11-06.host-a.0001.csv");
        for (one, two) in [
            (0, second),
            (second, third),
            (second, other),
            (third, other),
        ] {
            assert_ne!(one, two);
        }
    }

    #[test]
    fn what_is_no_row_is_told() {
        assert_eq!(Header::read(b"timestamp,open,high,low,close,volume"), None);
        assert_eq!(Header::read(b"{\"Symbol\":1,\"Side\":2}"), None);
        for row in ["IBM,Buy,1,1.5", "IBM,Buy,1,1.5,\"2025-11-06T20:59:00Z", ""] {
            assert_eq!(event(OURS, row, 2), None, "{row}");
        }
        let comma = event(OURS, "IBM,Buy,1,\"1,5\",2025-11-06T20:59:00Z", 2);
        assert_eq!(comma, Some(Err(NotATrade::Price)));
    }

    #[test]
    fn a_guarded_trade_id_is_what_it_was() {
        for (written, id) in [
            ("PWNtZCgp====", "=cmd()"),
            ("LXQ=", "-t"),
            ("w6k=", "é"),
            ("YT0=", "a="),
            // Of these nobody made anything else.
            ("a", "a"),
            (" a ", " a "),
            ("YWI=", "YWI="),
            ("a=", "a="),
            (
                "0f4ad2a1-5b5c-5d5e-8f60-616263646566",
                "0f4ad2a1-5b5c-5d5e-8f60-616263646566",
            ),
        ] {
            assert_eq!(unguard(written), id, "{written:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_by_the_rule_is_split_so(fields in prop::collection::vec("[a-z,;\" é]{0,6}", 1..6), quote: bool) {
            let written: Vec<String> = fields
                .iter()
                .map(|field| match quote || field.contains([',', '"']) {
                    true => format!("\"{}\"", field.replace('"', "\"\"")),
                    false => field.clone(),
                })
                .collect();
            let row = written.join(",");
            prop_assert_eq!(split(&row, b',').expect("a row"), fields);
        }

        #[test]
        fn any_row_is_answered(row in "[a-z,\";\\t é]{0,20}") {
            let _ = Header::read(OURS).expect("a header").event(row.as_bytes(), 1);
        }
    }
}
