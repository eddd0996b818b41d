//! JSON objects out of anything that can be read, however they are laid out: one a line, over several lines, in a list,
//! behind one another without a line end; commas between and behind them are passed over.
//!
//! Invariants: an object takes at most [`MAX_OBJECT_BYTES`] of memory; what is damaged costs its own line and no more, because
//! the lines behind it are looked at again; nothing is passed over without being told.

use std::io::{self, BufRead};

/// The longest object that is taken as an event, in bytes: thousands of times what an event has.
pub(super) const MAX_OBJECT_BYTES: usize = 1024 * 1024;

/// As deep as an object may hold others: what is damaged can look like ever deeper ones.
const MAX_DEPTH: u32 = 100;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An object is in the buffer; it begins on this line, at this place among all of them.
    Object { line: u64, place: u64 },
    /// The rest of this line is no object, or only the beginning of one; it was passed over.
    Other { line: u64 },
    /// The object that begins on this line is too long; the line was passed over.
    TooLong { line: u64 },
    /// There is no more.
    End {
        /// A list is not closed: the input breaks off.
        open: bool,
    },
}

/// The objects of an input.
pub(super) struct Values<R> {
    input: R,
    /// What was read, and has to be looked at again, from this byte on.
    again: (Vec<u8>, usize),
    line: u64,
    /// Objects that began on this line.
    on_line: u64,
    /// Lists that are open.
    lists: u64,
}

impl<R: BufRead> Values<R> {
    /// The objects of an input whose first byte is on this line.
    pub(super) fn new(input: R, line: u64) -> Self {
        Self {
            input,
            again: (Vec::new(), 0),
            line,
            on_line: 0,
            lists: 0,
        }
    }

    /// Whether no object ends in what is there already; `buffered` says what of the input is.
    pub(super) fn waits(&self, buffered: impl Fn(&R) -> &[u8]) -> bool {
        let (again, at) = &self.again;
        let ends = |bytes| memchr::memchr(b'}', bytes).is_some();
        !ends(again.get(*at..).unwrap_or_default()) && !ends(buffered(&self.input))
    }

    /// Puts the next object into `value`, whose former content goes.
    pub(super) fn next(&mut self, value: &mut Vec<u8>) -> io::Result<Found> {
        loop {
            let (lists, bytes) = (self.lists, self.fill()?);
            if bytes.is_empty() {
                return Ok(Found::End { open: lists > 0 });
            }
            let Some(&byte) = bytes.first() else {
                continue;
            };
            match byte {
                b'{' => return self.object(value),
                b'\n' => {
                    self.consume(1);
                    self.line += 1;
                    self.on_line = 0;
                }
                // Blanks, the sign before each text of RFC 7464, the bytes of byte order marks.
                b' ' | b'\t' | b'\r' | b',' | 0x1e | 0xef | 0xbb | 0xbf => self.consume(1),
                b'[' => {
                    self.consume(1);
                    self.lists += 1;
                }
                b']' if self.lists > 0 => {
                    self.consume(1);
                    self.lists -= 1;
                }
                _ => {
                    let line = self.line;
                    self.pass_other()?;
                    return Ok(Found::Other { line });
                }
            }
        }
    }

    /// The object in `value` is none: only its first line goes, and what stands behind that is looked at again.
    pub(super) fn reconsider(&mut self, value: &[u8]) {
        let Some(end) = memchr::memchr(b'\n', value) else {
            return;
        };
        let behind = value.get(end + 1..).unwrap_or_default();
        let breaks = memchr::memchr_iter(b'\n', behind).count() as u64;
        let (again, at) = &self.again;
        let rest = again.get(*at..).unwrap_or_default();
        self.again = ([behind, rest].concat(), 0);
        self.line -= breaks;
        self.on_line = 0;
    }

    fn object(&mut self, value: &mut Vec<u8>) -> io::Result<Found> {
        value.clear();
        let (line, place) = (self.line, self.line | self.on_line << 32);
        let mut scanner = Scanner::default();
        let outcome = loop {
            let bytes = self.fill()?;
            if bytes.is_empty() {
                break Step::Broken(0);
            }
            let room = MAX_OBJECT_BYTES - value.len();
            let bytes = bytes.get(..room).unwrap_or(bytes);
            let step = scanner.scan(bytes);
            let taken = match step {
                Step::More => bytes.len(),
                Step::Whole(end) | Step::Broken(end) => end,
            };
            value.extend_from_slice(bytes.get(..taken).unwrap_or_default());
            self.consume(taken);
            if step != Step::More || value.len() >= MAX_OBJECT_BYTES {
                break step;
            }
        };
        self.on_line += 1;
        let breaks = memchr::memchr_iter(b'\n', value).count() as u64;
        if breaks > 0 {
            self.line += breaks;
            self.on_line = 0;
        }
        if let Step::Whole(_) = outcome {
            return Ok(Found::Object { line, place });
        }
        match breaks {
            0 => self.pass_line()?,
            _ => self.reconsider(value),
        }
        Ok(match outcome {
            Step::More => Found::TooLong { line },
            _ => Found::Other { line },
        })
    }

    /// Passes over what is no object: to the end of the line, in a list to the next place in it.
    fn pass_other(&mut self) -> io::Result<()> {
        let in_list = self.lists > 0;
        self.pass(|byte| byte == b'\n' || in_list && matches!(byte, b',' | b']' | b'{'))
    }

    fn pass_line(&mut self) -> io::Result<()> {
        self.pass(|byte| byte == b'\n')
    }

    fn pass(&mut self, is_end: impl Fn(u8) -> bool) -> io::Result<()> {
        loop {
            let bytes = self.fill()?;
            let end = bytes.iter().position(|byte| is_end(*byte));
            let (used, last) = (end.unwrap_or(bytes.len()), bytes.is_empty());
            self.consume(used);
            if end.is_some() || last {
                return Ok(());
            }
        }
    }

    fn fill(&mut self) -> io::Result<&[u8]> {
        let (again, at) = &self.again;
        if *at < again.len() {
            return Ok(again.get(*at..).unwrap_or_default());
        }
        while let Err(error) = self.input.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        let (again, at) = &mut self.again;
        if *at < again.len() {
            *at += count;
        } else {
            self.input.consume(count);
        }
    }
}

/// Finds the end of an object byte by byte. It knows as much of JSON as tells an object over several lines from one that
/// breaks off: no line ends within a text, and a `{` stands only where a value may stand.
#[derive(Default)]
struct Scanner {
    /// A bit for each that is open, the innermost lowest: whether it is a list.
    lists: u128,
    depth: u32,
    in_text: bool,
    escaped: bool,
    /// The last byte that was no blank.
    before: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    More,
    /// The object ends before this byte.
    Whole(usize),
    /// Up to this byte it is no object.
    Broken(usize),
}

impl Scanner {
    /// The first byte of all is a `{`.
    fn scan(&mut self, bytes: &[u8]) -> Step {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.in_text {
                if self.escaped {
                    self.escaped = false;
                    at += 1;
                    continue;
                }
                let rest = bytes.get(at..).unwrap_or_default();
                let Some(found) = memchr::memchr3(b'"', b'\\', b'\n', rest) else {
                    return Step::More;
                };
                at += found;
                match bytes.get(at) {
                    Some(b'"') => self.in_text = false,
                    Some(b'\\') => self.escaped = true,
                    _ => return Step::Broken(at),
                }
                at += 1;
                continue;
            }
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => {
                    let in_list = self.lists & 1 == 1;
                    let may = match self.before {
                        b':' => !in_list,
                        b'[' | b',' => in_list,
                        _ => self.depth == 0,
                    };
                    if !may || self.depth >= MAX_DEPTH {
                        return Step::Broken(at);
                    }
                    self.depth += 1;
                    self.lists = self.lists << 1 | u128::from(byte == b'[');
                }
                b'}' | b']' => {
                    if (self.lists & 1 == 1) != (byte == b']') {
                        return Step::Broken(at);
                    }
                    self.lists >>= 1;
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Step::Whole(at + 1);
                    }
                }
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                self.before = byte;
            }
            at += 1;
        }
        Step::More
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    /// The objects, `None` for what is none; whether a list is open at the end.
    fn all(bytes: &[u8], buffer: usize) -> (Vec<Option<String>>, bool) {
        let mut values = Values::new(BufReader::with_capacity(buffer, bytes), 1);
        let (mut value, mut found) = (Vec::new(), Vec::new());
        loop {
            match values.next(&mut value).expect("memory") {
                Found::Object { .. } => {
                    found.push(Some(String::from_utf8(value.clone()).expect("UTF-8")));
                }
                Found::Other { .. } | Found::TooLong { .. } => found.push(None),
                Found::End { open } => return (found, open),
            }
        }
    }

    #[test]
    fn an_object_too_long_costs_only_its_line() {
        let mut bytes = b"{\"a\":1}\n{\"b\":\"".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', MAX_OBJECT_BYTES + 1));
        bytes.extend_from_slice(b"\"}\n{\"c\":1}");
        let expected = [Some("{\"a\":1}".to_owned()), None, Some("{\"c\":1}".into())];
        assert_eq!(all(&bytes, 8192), (expected.to_vec(), false));
    }

    #[test]
    fn what_is_cut_costs_only_its_line() {
        for cut in [
            "{",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":\"x",
            "{\"a\":\"x\\",
            "{\"a\":[1,",
            "noise",
            "{\"a\":1]",
        ] {
            let text = format!("{{\"z\":0}}\n{cut}\n{{\"b\":1}}\n{{\"c\":2}}\n");
            let (found, open) = all(text.as_bytes(), 16);
            let good: Vec<_> = found.iter().flatten().map(String::as_str).collect();
            assert_eq!(good, ["{\"z\":0}", "{\"b\":1}", "{\"c\":2}"], "{cut}");
            assert!(found.contains(&None) && !open, "{cut}");
        }
    }

    #[test]
    fn lines_that_only_open_cost_little() {
        // Each is looked at as often as objects are deep, and not once for each line before it.
        let text = "{\"a\":\n".repeat(20_000);
        let (found, _) = all(text.as_bytes(), 65536);
        assert_eq!(found.len(), 20_000);
    }

    #[test]
    fn an_open_list_is_told() {
        assert!(all(b"[{\"a\":1},", 8).1);
        assert!(!all(b"[{\"a\":1},]", 8).1);
        assert_eq!(all(b"[1, {\"a\":1}, null]", 8).0.len(), 3);
    }

    #[test]
    fn places_are_lines_and_differ_on_one_line() {
        let text = b"{\"a\":1}\n\n{\"a\":\n1}{\"a\":1}\n{\"a\":1},{\"a\":1}";
        let mut values = Values::new(&text[..], 1);
        let (mut value, mut places) = (Vec::new(), Vec::new());
        while let Found::Object { line, place } = values.next(&mut value).expect("memory") {
            places.push((line, place));
        }
        let second = 5 | 1 << 32;
        assert_eq!(places, [(1, 1), (3, 3), (4, 4), (5, 5), (5, second)]);
    }

    fn object() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(Into::into),
            "[ -~]{0,8}".prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
        ];
        let inner = leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
                prop::collection::btree_map("[a-z\"{}\\[]{0,3}", inner, 0..3)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-z\"{}\\[]{1,3}", inner, 0..4)
            .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn every_layout_holds_the_same_objects(
            objects in prop::collection::vec(object(), 0..6),
            pretty: bool,
            list: bool,
            between in prop::sample::select(vec!["", "\n", ",", ",\n", "\r\n", " ", "\u{1e}", "\n\n"]),
            buffer in 1_usize..40,
        ) {
            let texts: Vec<String> = objects
                .iter()
                .map(|value| if pretty { format!("{value:#}") } else { value.to_string() })
                .collect();
            let mut text = texts.join(between);
            if list {
                text = format!("[{text}{between}]");
            }
            let (found, open) = all(text.as_bytes(), buffer);
            prop_assert_eq!(found, texts.into_iter().map(Some).collect::<Vec<_>>());
            prop_assert!(!open);
        }

        #[test]
        fn any_bytes_come_to_an_end_and_a_whole_line_is_never_lost(
            noise in prop::collection::vec(prop::sample::select(b"{}[]\":,\\ \nax1".to_vec()), 0..60),
            buffer in 1_usize..20,
        ) {
            let good = "{\"good\":\"line\"}";
            // An open list or object in the noise may take what follows for its own, but for a line end in a text.
            let text = [&noise[..], b"\n", good.as_bytes(), b"\n"].concat();
            let (found, _) = all(&text, buffer);
            let seen = found.iter().flatten().any(|value| value.contains(good));
            prop_assert!(seen, "{:?}", String::from_utf8_lossy(&text));
        }
    }
}
