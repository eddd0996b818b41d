//! The rule for a ticker symbol: `[A-Za-z0-9^][A-Za-z0-9.^:_=&-]{0,31}`.
//!
//! A symbol is a record's key and a CSV field, so the rule keeps out whatever would need quoting anywhere.

use compact_str::CompactString;

/// The longest symbol, in bytes.
pub const MAX_SYMBOL_BYTES: usize = 32;

/// Whether the bytes are a ticker symbol.
pub fn is_symbol(bytes: &[u8]) -> bool {
    let Some((first, rest)) = bytes.split_first() else {
        return false;
    };
    bytes.len() <= MAX_SYMBOL_BYTES
        && (first.is_ascii_alphanumeric() || *first == b'^')
        && rest
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b".^:_=&-".contains(byte))
}

/// Symbols as they are asked for, in upper case: `ibm` and `IBM` are one.
pub fn upper_cased<'a>(symbols: impl IntoIterator<Item = &'a str>) -> Vec<CompactString> {
    let mut upper: Vec<CompactString> = Vec::new();
    for symbol in symbols {
        let symbol = CompactString::from(symbol.to_ascii_uppercase());
        if !upper.contains(&symbol) {
            upper.push(symbol);
        }
    }
    upper
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_symbol_in_two_cases_is_one() {
        assert_eq!(upper_cased(["ibm", "BRK.b", "IBM"]), ["IBM", "BRK.B"]);
    }

    #[test]
    fn the_rule_at_its_edges() {
        let longest = [b'A'; MAX_SYMBOL_BYTES];
        for good in [
            "A",
            "9",
            "^GSPC",
            "BRK.B",
            "TSCO.LON",
            "EUR=X",
            "BINANCE:BTC_USDT-P",
            "M&M.BSE",
        ] {
            assert!(is_symbol(good.as_bytes()), "{good}");
        }
        assert!(is_symbol(&longest));
        assert!(!is_symbol(&[b'A'; MAX_SYMBOL_BYTES + 1]));
        for bad in ["", ".A", "-A", "A B", "A,B", "A\"", "Ä", "A\n", "A/B", "&A"] {
            assert!(!is_symbol(bad.as_bytes()), "{bad:?}");
        }
    }
}
