//! Lists: an array, or a text with commas.

use std::path::PathBuf;

use serde_json::Value;

use super::super::host::{HostPort, host_ports as parse_host_ports};
use super::{Codec, Kind, Reject, items};

/// `HOST:PORT`, comma-separated or as an array; at least one.
pub(in crate::config) const fn host_ports() -> Codec<Vec<HostPort>> {
    Codec {
        kind: Kind::List("a list of HOST:PORT"),
        parse: |kind, raw| parse_host_ports(&items(kind, raw)?).map_err(Reject::Wrong),
        show: |hosts| {
            Value::from(
                hosts
                    .iter()
                    .map(HostPort::to_string)
                    .collect::<Vec<_>>()
                    .join(","),
            )
        },
    }
}

/// Ticker symbols: `[A-Za-z0-9^][A-Za-z0-9.^:_=&-]{0,31}`, none twice.
pub(in crate::config) const fn symbols() -> Codec<Vec<String>> {
    Codec {
        kind: Kind::List(
            "a ticker symbol such as IBM or BRK.B (letters, digits and .^:_=&-, at most 32)",
        ),
        parse: |kind, raw| {
            let mut symbols: Vec<String> = Vec::new();
            for symbol in items(kind, raw)? {
                let first = symbol.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '^');
                let legal = |c: char| c.is_ascii_alphanumeric() || ".^:_=&-".contains(c);
                if !first || symbol.len() > 32 || !symbol.chars().all(legal) {
                    return Err(kind.wrong(&symbol));
                }
                if !symbols.contains(&symbol) {
                    symbols.push(symbol);
                }
            }
            Ok(symbols)
        },
        show: |symbols| Value::from(symbols.as_slice()),
    }
}

/// Files, `-` being standard input.
pub(in crate::config) const fn files() -> Codec<Vec<PathBuf>> {
    Codec {
        kind: Kind::List("a list of files, - being standard input"),
        parse: |kind, raw| Ok(items(kind, raw)?.into_iter().map(PathBuf::from).collect()),
        show: |files| {
            files
                .iter()
                .map(|file| file.to_string_lossy().into_owned())
                .collect()
        },
    }
}
