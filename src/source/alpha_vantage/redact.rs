//! Bodies quote the API key back ("We have detected your API key as …"), so no text of a body is shown as it came.

/// What stands in a text in place of an API key.
const MASK: &str = "[API key]";

/// The most characters of a body's text that are shown.
const MAX_SHOWN_CHARS: usize = 300;

/// Words after which a body, or a link in it, repeats the key.
const BEFORE_A_KEY: [&str; 4] = ["api key as ", "apikey=", "apikey as ", "api key: "];

/// The text on one line, shortened, without the key: neither `key` nor whatever stands where keys are quoted.
pub(super) fn redact(text: &str, key: Option<&str>) -> String {
    let mut text = match key.filter(|key| !key.is_empty()) {
        Some(key) => mask_literal(&mask_literal(text, key), &percent_encoded(key)),
        None => text.to_owned(),
    };
    for before in BEFORE_A_KEY {
        text = mask_after(&text, before);
    }
    let line: String = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    match line.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

/// The key as it stands in a query (RFC 3986, section 2.1): a service may quote the query as it came.
fn percent_encoded(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02x}"),
        })
        .collect()
}

/// Masks the key wherever it stands, in whatever case.
fn mask_literal(text: &str, key: &str) -> String {
    replace_where(text, &key.to_ascii_lowercase(), |_| 0, true)
}

/// Masks the word that follows `before`.
fn mask_after(text: &str, before: &str) -> String {
    replace_where(
        text,
        before,
        |rest| {
            rest.find(|c: char| !(c.is_alphanumeric() || "-_.~%+".contains(c)))
                .unwrap_or(rest.len())
        },
        false,
    )
}

/// At each occurrence of `needle` (lower case), masks the length that `extent` gives of what follows it, and the
/// occurrence itself when `whole`.
fn replace_where(text: &str, needle: &str, extent: impl Fn(&str) -> usize, whole: bool) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(found) = lower.get(from..).and_then(|rest| rest.find(needle)) {
        let start = from + found;
        let end = start + needle.len();
        let length = extent(text.get(end..).unwrap_or_default());
        out.push_str(
            text.get(from..if whole { start } else { end })
                .unwrap_or_default(),
        );
        if whole || length > 0 {
            out.push_str(MASK);
        }
        from = end + length;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quoted_key_is_masked_known_or_not() {
        let text = "We have detected your API key as EXAMPLEKEY000001 and our limit";
        for key in [Some("EXAMPLEKEY000001"), Some("another"), None, Some("")] {
            assert_eq!(
                redact(text, key),
                "We have detected your API key as [API key] and our limit"
            );
        }
        assert_eq!(
            redact("see /query?apikey=S3CRET&x=1", None),
            "see /query?apikey=[API key]&x=1"
        );
        assert_eq!(
            redact("s3cret, S3CRET!\r\n\tnext", Some("S3cret")),
            "[API key], [API key]! next"
        );
    }

    #[test]
    fn a_key_is_masked_as_it_stands_in_a_query_too() {
        let text = "the parameter apikey is invalid: SEC%2BRET%2FKEY%2b1234%3D%3D";
        let shown = redact(text, Some("SEC+RET/KEY+1234=="));
        assert_eq!(shown, "the parameter apikey is invalid: [API key]");
    }

    proptest! {
        #[test]
        fn the_key_never_comes_through(before in "\\PC{0,40}", key in "[A-Z0-9]{8,20}", after in "\\PC{0,40}") {
            let shown = redact(&format!("{before}{key}{after}"), Some(&key));
            prop_assert!(!shown.to_ascii_uppercase().contains(&key));
            prop_assert!(shown.chars().count() <= MAX_SHOWN_CHARS + 1);
        }
    }
}
