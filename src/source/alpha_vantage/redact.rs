//! Bodies quote the API key back ("We have detected your API key as …"), so no text of a body is shown as it came.

/// What stands in a text in place of an API key.
const MASK: &str = "[API key]";

/// The most characters of a body's text that are shown.
const MAX_SHOWN_CHARS: usize = 300;

/// Words after which a body, or a link in it, repeats the key.
const BEFORE_A_KEY: [&str; 4] = ["api key as ", "apikey=", "apikey as ", "api key: "];

/// What is shown of a text that spells the key out.
const SPELLED_OUT: &str = "(not shown, because it spells the API key out)";

/// Keys that are shorter are found in texts that have nothing to do with them, when all but letters is left out.
const SHORTEST_SPELLED: usize = 8;

/// The text on one line, shortened, without the key: neither `key` nor whatever stands where keys are quoted.
pub(super) fn redact(text: &str, key: Option<&str>) -> String {
    if spells_out(text, key) {
        return SPELLED_OUT.to_owned();
    }
    let mut text = mask_key(text, text.len(), key);
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

/// What [`redact`] makes of the first `bytes` of a text: a key that begins in them is masked though it ends behind them.
pub(super) fn redact_beginning(text: &[u8], bytes: usize, key: Option<&str>) -> String {
    let most = bytes + LONGEST_FORM * key.map_or(0, str::len);
    let text = String::from_utf8_lossy(text.get(..most).unwrap_or(text));
    if spells_out(&text, key) {
        return SPELLED_OUT.to_owned();
    }
    redact(&mask_key(&text, bytes, key), None)
}

/// Whether the key stands in the text with something between its letters, as in a notice that came as a row of CSV with
/// one letter a column.
fn spells_out(text: &str, key: Option<&str>) -> bool {
    let letters = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    let bare = mask_key(text, text.len(), key).replace(MASK, " ");
    let key = letters(key.unwrap_or_default());
    key.len() >= SHORTEST_SPELLED && letters(&bare).contains(&key)
}

/// The most bytes of a text that a byte of the key can take: a JSON escape.
const LONGEST_FORM: usize = 6;

/// The text up to the byte `end`, with the key masked wherever it begins before, in whatever case and form.
fn mask_key(text: &str, end: usize, key: Option<&str>) -> String {
    let key = key.unwrap_or_default();
    let mut out = String::with_capacity(text.len().min(end));
    let mut rest = text;
    while let Some(first) = rest.chars().next()
        && text.len() - rest.len() < end
    {
        rest = match after_key(rest, key).filter(|_| !key.is_empty()) {
            Some(after) => {
                out.push_str(MASK);
                after
            }
            None => {
                out.push(first);
                rest.get(first.len_utf8()..).unwrap_or_default()
            }
        };
    }
    out
}

/// What follows the key at the beginning of a text. A service may quote the query as it came, so each character may
/// stand as it is, percent-encoded (RFC 3986, section 2.1) or as in a form (a space as `+`); and in a JSON object that is
/// shown as it stands, escaped (RFC 8259, section 7).
fn after_key<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let Some(wanted) = key.chars().next() else {
        return Some(text);
    };
    let hex = |rest: &'a str, before: &str, digits: usize, value: u32| {
        let (found, after) = rest.strip_prefix(before)?.split_at_checked(digits)?;
        (u32::from_str_radix(found, 16) == Ok(value)).then_some(after)
    };
    // A letter that is encoded may be of the other case too.
    let cases = [wanted.to_ascii_lowercase(), wanted.to_ascii_uppercase()];
    let percent = cases.iter().find_map(|c| {
        c.encode_utf8(&mut [0; 4])
            .bytes()
            .try_fold(text, |rest, byte| hex(rest, "%", 2, byte.into()))
    });
    let escaped = cases.iter().find_map(|c| {
        c.encode_utf16(&mut [0; 2])
            .iter()
            .try_fold(text, |rest, unit| hex(rest, "\\u", 4, (*unit).into()))
    });
    let quoted = text
        .strip_prefix('\\')
        .and_then(|after| after.strip_prefix(wanted))
        .filter(|_| "\"\\/".contains(wanted));
    let plus = text.strip_prefix('+').filter(|_| wanted == ' ');
    let same = text.strip_prefix(|found: char| found.eq_ignore_ascii_case(&wanted));
    let left = key.get(wanted.len_utf8()..).unwrap_or_default();
    // Each of them: a key may hold what looks like the beginning of an encoding.
    [percent, escaped, quoted, plus, same]
        .into_iter()
        .flatten()
        .find_map(|rest| after_key(rest, left))
}

/// Masks the word that follows each `before` (lower case).
fn mask_after(text: &str, before: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(found) = lower.get(from..).and_then(|rest| rest.find(before)) {
        let end = from + found + before.len();
        let rest = text.get(end..).unwrap_or_default();
        let length = rest
            .find(|c: char| !(c.is_alphanumeric() || "-_.~%+".contains(c)))
            .unwrap_or(rest.len());
        out.push_str(text.get(from..end).unwrap_or_default());
        if length > 0 {
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
    fn a_text_that_spells_the_key_out_is_not_shown() {
        let key = Some("SeCrEtK3Y9876ZQ");
        for text in [
            "k,e,y, ,a,s, ,S,e,C,r,E,t,K,3,Y,9,8,7,6,Z,Q, ,a,n,d",
            "the key s-e-c-r-e-t-k-3-y-9876-zq is known",
            "SeCrEtK3\u{200b}Y9876ZQ",
        ] {
            assert_eq!(redact(text, key), SPELLED_OUT);
            assert_eq!(redact_beginning(text.as_bytes(), 20, key), SPELLED_OUT);
        }
        assert_eq!(redact("a key SeCrEtK3Y9876ZQ", key), "a key [API key]");
        assert_eq!(redact("SeCrEt K3Y", key), "SeCrEt K3Y");
        // What is short stands in many texts by chance.
        assert_eq!(redact("d,e,m,o", Some("demo")), "d,e,m,o");
    }

    #[test]
    fn a_key_is_masked_as_it_stands_in_a_query_too() {
        let text = "the parameter apikey is invalid: SEC%2BRET%2FKEY%2b1234%3D%3D";
        let shown = redact(text, Some("SEC+RET/KEY+1234=="));
        assert_eq!(shown, "the parameter apikey is invalid: [API key]");
        let mut url = reqwest::Url::parse("http://host/query").expect("a URL");
        let key = "K~e*y a\u{e9}\"/\\+%1";
        url.query_pairs_mut().append_pair("x", key);
        let query = url.query().expect("a query");
        let json = serde_json::to_string(key).expect("JSON");
        for form in [
            query,
            "x=K%7Ee%2Ay%20a%C3%A9%22%2F%5C%2B%251",
            &format!("x={}", json.trim_matches('"')),
            "x=\\u004b~e*y a\\u00E9\\\"\\/\\\\+%1",
        ] {
            assert_eq!(redact(form, Some(key)), "x=[API key]", "{form}");
        }
    }

    #[test]
    fn a_key_on_the_edge_of_what_is_shown_is_masked() {
        let key = "EXAMPLEKEY000001";
        let text = format!("{:_>200}{key}", "");
        for bytes in 180..230 {
            let shown = redact_beginning(text.as_bytes(), bytes, Some(key));
            assert!(!shown.contains("EX"), "{shown}");
            assert_eq!(shown.contains(MASK), bytes > 200);
        }
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
