//! What a replayed file is, told by its first bytes. Pure.

/// How many bytes are looked at, at most.
pub(super) const MAX_LOOK_BYTES: usize = 64 * 1024;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One TradeEvent a line.
    Events,
    /// One Alpha Vantage body; or something that its parser will name.
    Body,
    /// Nothing but blanks.
    Empty,
}

/// Tells the form as soon as the bytes are enough for it; `last` says that there are no more to come. A pipe may bring
/// its first event long before the second, so the first one has to be enough.
pub(super) fn form(bytes: &[u8], last: bool) -> Option<Form> {
    let bytes = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii_start();
    let event = [&b"\"TradeId\""[..], b"\"Symbol\"", b"\"Timestamp\""]
        .into_iter()
        .filter_map(|key| memchr::memmem::find(bytes, key))
        .min();
    let body = memchr::memmem::find(bytes, b"\"Meta Data\"");
    let last = last || bytes.len() >= MAX_LOOK_BYTES;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        for (text, expected) in [
            ("", Form::Empty),
            (" \r\n\t", Form::Empty),
            ("{}", Form::Body),
            ("{\n  \"Meta Data\": {\"2. Symbol\": \"IBM\"}}", Form::Body),
            ("{\"Note\": \"…\"}", Form::Body),
            ("timestamp,open\n", Form::Body),
            ("<!DOCTYPE html>", Form::Body),
            ("\u{feff}{\"TradeId\":\"a\"}", Form::Events),
            ("garbage\n{\"Symbol\":\"IBM\"}\n", Form::Events),
            ("garbage", Form::Body),
        ] {
            assert_eq!(form(text.as_bytes(), true), Some(expected), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_the_answer(cut in 0_usize..120) {
            for text in ["{\"Symbol\":\"IBM\",\"Side\":\"Buy\"}\n{\"Meta Data\":1}", "{\n\"Meta Data\": {}, \"Symbol\": 1}", "<html>\"Symbol\"</html>"] {
                let part = text.as_bytes().get(..cut).unwrap_or(text.as_bytes());
                if let Some(early) = form(part, false) {
                    prop_assert!(early == Form::Body || form(text.as_bytes(), true) == Some(early));
                }
            }
        }
    }
}
