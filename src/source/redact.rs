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
pub(crate) fn redact(text: &str, key: Option<&str>) -> String {
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
pub(crate) fn redact_beginning(text: &[u8], bytes: usize, key: Option<&str>) -> String {
    let most = bytes + LONGEST_FORM * key.map_or(0, str::len);
    let text = String::from_utf8_lossy(text.get(..most).unwrap_or(text));
    if spells_out(&text, key) {
        return SPELLED_OUT.to_owned();
    }
    redact(&mask_key(&text, bytes, key), None)
}

/// Whether the key stands in the text with something between its letters, as in a notice that came as a row of CSV with
/// one letter a column, or in hex or Base64.
fn spells_out(text: &str, key: Option<&str>) -> bool {
    let letters = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    let bare = letters(&mask_key(text, text.len(), key).replace(MASK, " "));
    let key = key.unwrap_or_default();
    let plain = letters(key);
    if plain.len() < SHORTEST_SPELLED {
        return false;
    }
    let cases = [key.to_owned(), key.to_lowercase(), key.to_uppercase()];
    bare.contains(&plain)
        || cases.iter().any(|key| {
            let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
            bare.contains(&hex)
                || (0..3).any(|before| bare.contains(&letters(&base64_behind(before, key))))
        })
}

/// What Base64 makes of the key alone where so many bytes (below 3) come before it: the characters that hold neither
/// those nor what follows.
fn base64_behind(before: usize, key: &str) -> String {
    use base64::Engine as _;
    let bytes = [&vec![0; before], key.as_bytes()].concat();
    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&bytes);
    let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    encoded.get(first..end).unwrap_or_default().to_owned()
}

/// The most bytes of a text that a byte of the key can take: percent-encoded [`PERCENT_ROUNDS`] times.
const LONGEST_FORM: usize = 9;

/// How often a key is found percent-encoded on top of itself (`%41`, `%2541`, `%252541`, `%25252541`).
const PERCENT_ROUNDS: usize = 4;

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
/// stand as it is, percent-encoded (RFC 3986, section 2.1), also more than once, or as in a form (a space as `+`); in a JSON
/// object that is shown as it stands, escaped (RFC 8259, section 7); and in HTML, as a character reference.
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
        (0..PERCENT_ROUNDS).find_map(|again| {
            let before = format!("%{}", "25".repeat(again));
            c.encode_utf8(&mut [0; 4])
                .bytes()
                .try_fold(text, |rest, byte| hex(rest, &before, 2, byte.into()))
        })
    });
    let reference = character_reference(text, &cases);
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
    [percent, reference, escaped, quoted, plus, same]
        .into_iter()
        .flatten()
        .find_map(|rest| after_key(rest, left))
}

/// What follows a reference to one of the characters (HTML, section 13.5).
fn character_reference<'a>(text: &'a str, any_of: &[char]) -> Option<&'a str> {
    let (reference, after) = text.strip_prefix('&')?.split_once(';')?;
    let found = match reference {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        reference => {
            let number = reference.strip_prefix('#')?;
            let hex = number.strip_prefix(['x', 'X']);
            let code = match hex {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    };
    any_of.contains(&found).then_some(after)
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
    fn a_key_is_hidden_in_every_encoding_that_a_service_may_echo() {
        let key = "SeCrEtK3Y9876ZQ";
        let each = |form: fn(u8) -> String| key.bytes().map(form).collect::<String>();
        for form in [
            each(|byte| format!("%25{byte:02X}")),
            each(|byte| format!("%252525{byte:02x}")),
            each(|byte| format!("&#{byte};")),
            each(|byte| format!("&#x{byte:x};")),
        ] {
            assert_eq!(redact(&format!("x={form}!"), Some(key)), "x=[API key]!");
        }
        assert_eq!(redact("a&amp;b", Some("A&B")), "[API key]");
        use base64::Engine as _;
        use base64::engine::general_purpose::{STANDARD, URL_SAFE};
        let mut forms = vec![
            each(|byte| format!("{byte:02x}")),
            each(|byte| format!("{byte:02X} ")),
        ];
        for before in ["", "a", "ab", "key: "] {
            forms.push(STANDARD.encode(format!("{before}{key}")));
            forms.push(URL_SAFE.encode(format!("{before}{key}?&x")));
            forms.push(STANDARD.encode(format!("{before}{}", key.to_lowercase())));
        }
        for form in forms {
            assert_eq!(redact(&format!("it said {form}."), Some(key)), SPELLED_OUT);
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
