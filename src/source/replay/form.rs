//! What a replayed file is, told by its first bytes. Pure.

use super::rows::Header;

/// How many bytes are looked at, at most.
pub(super) const MAX_LOOK_BYTES: usize = 64 * 1024;

/// What is nothing that can be replayed is told by so many bytes.
const MAGIC_BYTES: usize = 512;

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// TradeEvents as JSON objects.
    Events,
    /// TradeEvents as rows of CSV, as `consume` and KafkaStockFlow write them.
    Rows(Header),
    /// Such rows under a header that has this column twice.
    ColumnTwice(&'static str),
    /// One Alpha Vantage body; or something that its parser will name.
    Body,
    /// Nothing but blanks, or an empty list.
    Empty,
    /// Something else: what, and what to do.
    Foreign(&'static str),
}

/// Tells the form as soon as the bytes are enough for it; `last` says that there are no more to come. The blanks before the
/// first byte are left out. A pipe may bring its first event long before the second, so the first one has to be enough.
pub(super) fn form(bytes: &[u8], last: bool) -> Option<Form> {
    if let Some(what) = foreign(bytes) {
        return Some(Form::Foreign(what));
    }
    let last = last || bytes.len() >= MAX_LOOK_BYTES;
    // Further behind it is damage, and costs its own line.
    let head = bytes.get(..MAGIC_BYTES).unwrap_or(bytes);
    if memchr::memchr(0, head).is_some() {
        let told = last || bytes.len() >= MAGIC_BYTES;
        return told.then_some(Form::Foreign(BINARY));
    }
    if bytes.trim_ascii_end() == b"[]" && last {
        return Some(Form::Empty);
    }
    let first_line = memchr::memchr(b'\n', bytes);
    let header = match first_line {
        Some(end) => bytes.get(..end),
        None if last => Some(bytes),
        None => None,
    };
    if let Some((line, header)) = header.and_then(|line| Some((line, Header::read(line)?))) {
        return Some(match header.twice(line) {
            Some(column) => Form::ColumnTwice(column),
            None => Form::Rows(header),
        });
    }
    let event = [&b"\"TradeId\""[..], b"\"Symbol\"", b"\"Timestamp\""]
        .into_iter()
        .filter_map(|key| memchr::memmem::find(bytes, key))
        .min();
    let body = memchr::memmem::find(bytes, b"\"Meta Data\"");
    match (event, body) {
        (Some(event), Some(body)) if event > body => Some(Form::Body),
        (Some(_), _) => Some(Form::Events),
        (None, Some(_)) => Some(Form::Body),
        (None, None) if bytes.first() == Some(&b'<') => Some(Form::Body),
        (None, None) if last => Some(if bytes.is_empty() {
            Form::Empty
        } else {
            Form::Body
        }),
        (None, None) => None,
    }
}

const BINARY: &str = "it is binary data, not text";
const UTF_16: &str = "it is text in UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)";
const PACKED_TWICE: &str = "it is compressed twice; decompress it once and replay the result";

/// What is known by its first bytes and cannot be replayed.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    const MAGICS: [(&[u8], &str); 14] = [
        (b"\xff\xfe", UTF_16),
        (b"\xfe\xff", UTF_16),
        (b"{\0", UTF_16),
        (b"[\0", UTF_16),
        (b"\0{", UTF_16),
        (b"\0[", UTF_16),
        (
            b"PK\x03\x04",
            "it is a ZIP archive or a spreadsheet (.xlsx); unpack it, or save the sheet as CSV",
        ),
        (
            b"\xd0\xcf\x11\xe0",
            "it is a spreadsheet (.xls); save the sheet as CSV",
        ),
        (b"BZh", "it is compressed by bzip2; decompress it (bunzip2)"),
        (
            b"\xfd7zXZ\0",
            "it is compressed by xz; decompress it (unxz)",
        ),
        (b"\x1f\x8b", PACKED_TWICE),
        (b"\x28\xb5\x2f\xfd", PACKED_TWICE),
        (b"\x04\x22\x4d\x18", PACKED_TWICE),
        (b"PAR1", "it is a Parquet file; write its rows as JSON"),
    ];
    let tar = bytes.get(257..262).is_some_and(|magic| magic == b"ustar");
    if tar {
        return Some("it is a tar archive; unpack it (tar -xf) and replay the files in it");
    }
    // Of CSV in UTF-16 any letter can be the first.
    let wide = matches!(bytes, [a, 0, b, 0, ..] | [0, a, 0, b, ..] if a.is_ascii_graphic() && b.is_ascii_graphic());
    MAGICS
        .into_iter()
        .find(|(magic, _)| bytes.starts_with(magic))
        .map(|(_, what)| what)
        .or(wide.then_some(UTF_16))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        for (text, expected) in [
            ("", Form::Empty),
            ("[]\n", Form::Empty),
            ("{}", Form::Body),
            ("{\n  \"Meta Data\": {\"2. Symbol\": \"IBM\"}}", Form::Body),
            ("{\"Note\": \"…\"}", Form::Body),
            ("timestamp,open\n", Form::Body),
            ("<!DOCTYPE html>", Form::Body),
            ("{\"TradeId\":\"a\"}", Form::Events),
            ("[{\"TradeId\":\"a\"}]", Form::Events),
            ("garbage\n{\"Symbol\":\"IBM\"}\n", Form::Events),
            ("garbage", Form::Body),
            ("t\0i\0m\0e\0", Form::Foreign(UTF_16)),
            ("\0\0noise", Form::Foreign(BINARY)),
        ] {
            assert_eq!(form(text.as_bytes(), true), Some(expected), "{text:?}");
        }
        let rows = form(b"Symbol,Side,Quantity,Price,Timestamp\n", false);
        assert!(matches!(rows, Some(Form::Rows(_))), "{rows:?}");
        let mut tar = vec![0; 600];
        tar[..8].copy_from_slice(b"a.ndjson");
        assert_eq!(form(&tar, false), Some(Form::Foreign(BINARY)));
        tar[257..262].copy_from_slice(b"ustar");
        assert!(matches!(form(&tar, false), Some(Form::Foreign(what)) if what.contains("tar")));
        assert_eq!(form(&tar[..100], false), None, "more is needed to name it");
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_the_answer(cut in 0_usize..120) {
            for text in ["{\"Symbol\":\"IBM\",\"Side\":\"Buy\"}\n{\"Meta Data\":1}", "{\n\"Meta Data\": {}, \"Symbol\": 1}", "<html>\"Symbol\"</html>", "Symbol,Side,Quantity,Price,Timestamp\nIBM,Buy"] {
                let part = text.as_bytes().get(..cut).unwrap_or(text.as_bytes());
                if let Some(early) = form(part, false) {
                    prop_assert!(early == Form::Body || form(text.as_bytes(), true) == Some(early));
                }
            }
        }
    }
}
