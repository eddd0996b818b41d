//! Prices as digits: a price never becomes a float, so what the market said is what stands in the file.
//!
//! [`normalise`] makes the one form in which we write a price; [`is_json_number`] is the rule for prices of others,
//! which are kept to the letter (RFC 8259, section 6).

use compact_str::CompactString;

/// The longest price we take, in bytes: far beyond any market, and a bound on what a body can make us keep.
pub const MAX_PRICE_BYTES: usize = 64;

/// The price as a JSON number, digit for digit, without leading zeros or trailing zeros of its fraction.
///
/// Takes what services write: a sign, digits, at most one point, an exponent. `None` when it is no finite decimal.
pub fn normalise(text: &str) -> Option<CompactString> {
    let text = text.trim_matches([' ', '\t']);
    if text.len() > MAX_PRICE_BYTES {
        return None;
    }
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)),
        None => (text, None),
    };
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if !all_digits(digits) || digits.is_empty() {
            return None;
        }
    }
    let (negative, unsigned) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if !all_digits(whole) || !all_digits(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() && fraction.is_empty() {
        return Some(CompactString::const_new("0"));
    }
    let mut out = CompactString::with_capacity(text.len() + 1);
    if negative {
        out.push('-');
    }
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    if let Some(exponent) = exponent {
        out.push('e');
        out.push_str(exponent);
    }
    Some(out)
}

/// Whether the text is a number by JSON's grammar, and short enough to be a price.
pub fn is_json_number(text: &str) -> bool {
    if text.len() > MAX_PRICE_BYTES {
        return false;
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = unsigned
        .split_once(['e', 'E'])
        .map_or((unsigned, None), |(mantissa, exponent)| {
            (mantissa, Some(exponent))
        });
    let (whole, fraction) = mantissa
        .split_once('.')
        .map_or((mantissa, None), |(whole, fraction)| {
            (whole, Some(fraction))
        });
    let some_digits = |digits: &str| !digits.is_empty() && all_digits(digits);
    some_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(some_digits)
        && exponent.is_none_or(|exponent| {
            some_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
        })
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_stay_and_idle_zeros_go() {
        for (text, expected) in [
            ("314.0900", "314.09"),
            ("314.0901", "314.0901"),
            ("100", "100"),
            ("100.000", "100"),
            ("007.50", "7.5"),
            (".5", "0.5"),
            ("5.", "5"),
            ("0.0000", "0"),
            ("-0.0", "0"),
            ("-1.50", "-1.5"),
            ("1.50e2", "1.5e2"),
            (
                "12345678901234567890.12345678901234567890",
                "12345678901234567890.1234567890123456789",
            ),
        ] {
            assert_eq!(normalise(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "", ".", "-", "None", "NaN", "inf", "1,5", "1.2.3", "0x1", "1e", "1e+", "--1", "1 2",
            "١",
        ] {
            assert_eq!(normalise(text), None, "{text:?}");
        }
        assert_eq!(normalise(&"9".repeat(MAX_PRICE_BYTES + 1)), None);
    }

    proptest! {
        #[test]
        fn a_normalised_price_is_a_json_number_and_stays_as_it_is(text in "[-+]?[0-9]{0,12}(\\.[0-9]{0,12})?(e[-+]?[0-9]{1,2})?") {
            if let Some(price) = normalise(&text) {
                prop_assert!(is_json_number(&price));
                prop_assert!(serde_json::from_str::<serde_json::Number>(&price).is_ok());
                prop_assert_eq!(normalise(&price), Some(price));
            }
        }

        #[test]
        fn a_normalised_price_has_the_same_value(units in 0_u64..1_000_000_000, fraction in 0_u32..10_000) {
            let price = normalise(&format!("{units}.{fraction:04}")).expect("a decimal");
            let (whole, rest) = price.split_once('.').unwrap_or((&price, ""));
            prop_assert_eq!(whole.parse::<u64>().expect("digits"), units);
            prop_assert_eq!(format!("{rest:0<4}").parse::<u32>().expect("digits"), fraction);
        }

        #[test]
        fn the_number_grammar_is_jsons(text in "[-+.eE0-9]{1,8}|\\PC{0,6}") {
            let json = serde_json::from_str::<&serde_json::value::RawValue>(&text)
                .is_ok_and(|raw| raw.get() == text && raw.get().starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']));
            prop_assert_eq!(is_json_number(&text), json);
        }

        #[test]
        fn any_text_is_answered(text in "\\PC*") {
            let _ = normalise(&text);
        }
    }
}
