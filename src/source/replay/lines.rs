//! Lines of a bounded length, out of anything that can be read.

use std::io::{self, BufRead};

/// The longest line that is taken as an event, in bytes: thousands of times what an event has.
pub(super) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line is in the buffer, without its end.
    Whole,
    /// A line was longer than the limit; it was passed over to its end.
    TooLong,
    /// There are no more lines.
    End,
}

/// Reads the next line into `line`, whose former content goes.
pub(super) fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let mut too_long = false;
    let mut anything = false;
    loop {
        let bytes = match reader.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = memchr::memchr(b'\n', bytes);
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let last = bytes.is_empty();
        anything |= !last;
        too_long |= line.len() + part.len() > MAX_LINE_BYTES;
        if !too_long {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() || last {
            return Ok(match (anything, too_long) {
                (false, _) => Line::End,
                (true, true) => Line::TooLong,
                (true, false) => Line::Whole,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8], buffer: usize) -> Vec<Option<Vec<u8>>> {
        let mut reader = BufReader::with_capacity(buffer, bytes);
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        loop {
            match next_line(&mut reader, &mut line).expect("memory") {
                Line::Whole => lines.push(Some(line.clone())),
                Line::TooLong => lines.push(None),
                Line::End => return lines,
            }
        }
    }

    #[test]
    fn a_line_too_long_costs_only_itself() {
        let mut bytes = b"first\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', MAX_LINE_BYTES + 1));
        bytes.extend_from_slice(b"\nlast");
        assert_eq!(
            all(&bytes, 8192),
            [Some(b"first".to_vec()), None, Some(b"last".to_vec())]
        );
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_text(lines in prop::collection::vec("[^\n]{0,12}", 0..12), ended: bool, buffer in 1_usize..20) {
            let mut text = lines.join("\n");
            if ended {
                text.push('\n');
            }
            let expected: Vec<_> = text.split_inclusive('\n').map(|line| Some(line.trim_end_matches('\n').as_bytes().to_vec())).collect();
            prop_assert_eq!(all(text.as_bytes(), buffer), expected);
        }
    }
}
