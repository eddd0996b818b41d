//! Reads an Alpha Vantage CSV body (`datatype=csv`): a header, and one bar a row.
//!
//! CSV says neither symbol, interval nor zone: these are given, and the zone is the one that the service documents.
//! A notice can come as a row too, one letter a column.

use std::borrow::Cow;

use super::bar::BarTexts;
use super::json::MAX_BARS;

/// One row: the bar's start and its fields.
pub(in crate::source) struct Row {
    pub(in crate::source) start: String,
    /// `None` when the row has another number of fields than the header.
    pub(in crate::source) texts: Option<BarTexts<'static>>,
}

/// What a CSV body held.
pub(in crate::source) enum Rows {
    Bars {
        rows: Vec<Row>,
        /// Why not all of them were read.
        broken: Option<String>,
    },
    /// The first row is a notice's letters.
    Notice,
    /// A column that is needed is not in the header, or is there twice: which, and how often.
    Columns(&'static str, usize),
}

/// Whether a body begins as such a CSV does.
pub(in crate::source) fn is_csv(body: &[u8]) -> bool {
    let start = body.strip_prefix(b"\"").unwrap_or(body);
    start
        .get(..9)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"timestamp"))
}

/// The longest field that is taken as a time or a number.
const MAX_FIELD_BYTES: usize = 1024;

/// Reads the rows; broken ones stay in their places.
pub(in crate::source) fn read(body: &[u8]) -> Rows {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .delimiter(separator(body))
        .from_reader(body);
    let columns: Vec<String> = match reader.byte_headers() {
        Ok(header) => header
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim().to_ascii_lowercase())
            .collect(),
        Err(_) => Vec::new(),
    };
    let [start, open, close, volume] = match places(&columns) {
        Ok(places) => places,
        Err((name, count)) => return Rows::Columns(name, count),
    };
    let (mut rows, mut broken) = (Vec::new(), None);
    let mut record = csv::ByteRecord::new();
    // Reading from memory fails for no reason but lengths, which `flexible` allows.
    while let Ok(true) = reader.read_byte_record(&mut record) {
        if rows.is_empty() && is_letters(&record) {
            return Rows::Notice;
        }
        if rows.len() >= MAX_BARS {
            broken = Some("more bars than a body has".to_owned());
            break;
        }
        let field = |at: usize| {
            let bytes = record
                .get(at)
                .filter(|bytes| bytes.len() <= MAX_FIELD_BYTES)?;
            Some(String::from_utf8_lossy(bytes).into_owned())
        };
        let whole = record.len() == columns.len();
        rows.push(Row {
            start: field(start).unwrap_or_default(),
            texts: whole.then(|| BarTexts {
                open: field(open).map(Cow::Owned),
                close: field(close).map(Cow::Owned),
                volume: field(volume).map(Cow::Owned),
            }),
        });
    }
    Rows::Bars { rows, broken }
}

/// What stands between the fields: spreadsheets write other signs than commas where these are in numbers.
fn separator(body: &[u8]) -> u8 {
    let header = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |sign: u8| header.iter().filter(|byte| **byte == sign).count();
    // The last of several that are as many is a comma.
    b"\t;,"
        .iter()
        .copied()
        .max_by_key(|sign| count(*sign))
        .unwrap_or(b',')
}

/// Where start, open, close and volume are; or the name of the first that is not there once, and how often it is.
fn places(columns: &[String]) -> Result<[usize; 4], (&'static str, usize)> {
    let place = |name: &'static str| {
        let same = || columns.iter().filter(|column| *column == name);
        match columns.iter().position(|column| column == name) {
            Some(place) if same().count() == 1 => Ok(place),
            _ => Err((name, same().count())),
        }
    };
    Ok([
        place("timestamp")?,
        place("open")?,
        place("close")?,
        place("volume")?,
    ])
}

fn is_letters(record: &csv::ByteRecord) -> bool {
    record.len() > 1
        && record
            .iter()
            .all(|field| matches!(field, [byte] if !byte.is_ascii_digit()))
}
