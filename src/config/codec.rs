//! How a written value becomes a typed one, and how a typed one is shown.
//!
//! A [`Codec`] is a constant: what it accepts is data ([`Kind`]), so errors, `config show` and a JSON Schema can tell it.
//! Every scalar arrives as text, because environment variables and .NET files write numbers and booleans as strings.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Number, Value};

use super::choice::{Choice, bare};
use super::host::{HostPort, host_ports as parse_host_ports};
use super::secret::Secret;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    /// Nothing, an empty text or `null`.
    Unset,
    /// A text, a number or a boolean.
    Scalar(String),
    /// An array of scalars.
    List(Vec<String>),
    /// The file that holds a secret.
    SecretFile(PathBuf),
    /// Something that no key takes, by its JSON name.
    Other(&'static str),
}

/// Why a written value is not taken.
#[derive(Debug, PartialEq)]
pub(super) enum Reject {
    /// It is not one; the text says what is expected.
    Wrong(String),
    /// It is one, and this version cannot honour it.
    NotYet(String),
}

/// What a key accepts.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text; says what it must look like.
    Text(&'static str),
    /// A whole number within bounds; says its unit.
    Whole {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// `ms`, `s`, `bytes` … or nothing.
        unit: &'static str,
    },
    /// A decimal number above zero.
    Decimal,
    /// True or false.
    Flag,
    /// One of these names.
    Names {
        /// Names that work.
        now: &'static [&'static str],
        /// Names that this version does not have.
        later: &'static [&'static str],
    },
    /// An array, or a text with commas; says what its items must look like.
    List(&'static str),
    /// An array, or a text with commas, of these names.
    NameList(&'static [&'static str]),
    /// A secret, which may also be given as a file.
    Secret,
}

impl Kind {
    fn expected(&self) -> String {
        match self {
            Self::Text(what) | Self::List(what) => (*what).to_owned(),
            Self::Whole { min, max, unit } if unit.is_empty() => {
                format!("a whole number from {min} to {max}")
            }
            Self::Whole { min, max, unit } => {
                format!("a whole number from {min} to {max} ({unit})")
            }
            Self::Decimal => "a number above 0".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Names { now, .. } => format!("one of {}", now.join(", ")),
            Self::NameList(names) => format!("a list of {}", names.join(", ")),
            Self::Secret => "a text".to_owned(),
        }
    }

    fn wrong(&self, found: &str) -> Reject {
        Reject::Wrong(format!("{found:?} is not {}", self.expected()))
    }
}

/// How one key's value is read, checked and shown.
#[derive(Clone, Copy)]
pub(super) struct Codec<T> {
    pub(super) kind: Kind,
    pub(super) parse: fn(&Kind, &Raw) -> Result<T, Reject>,
    pub(super) show: fn(&T) -> Value,
}

fn scalar<'a>(kind: &Kind, raw: &'a Raw) -> Result<&'a str, Reject> {
    let found = match raw {
        Raw::Scalar(text) => return Ok(text.trim()),
        Raw::Unset => "nothing",
        Raw::List(_) => "an array",
        Raw::Other(what) => what,
        Raw::SecretFile(_) => "a file",
    };
    Err(Reject::Wrong(format!(
        "expected {}, found {found}",
        kind.expected()
    )))
}

fn items(kind: &Kind, raw: &Raw) -> Result<Vec<String>, Reject> {
    match raw {
        Raw::Unset => Ok(Vec::new()),
        Raw::List(items) => Ok(items.iter().map(|item| item.trim().to_owned()).collect()),
        Raw::Scalar(_) => {
            let parts = scalar(kind, raw)?
                .split(',')
                .map(|item| item.trim().to_owned());
            Ok(parts.filter(|item| !item.is_empty()).collect())
        }
        Raw::Other(_) | Raw::SecretFile(_) => scalar(kind, raw).map(|_| Vec::new()),
    }
}

fn whole_number(kind: &Kind, raw: &Raw) -> Result<u64, Reject> {
    let text = scalar(kind, raw)?;
    match (kind, text.parse::<u64>()) {
        (Kind::Whole { min, max, .. }, Ok(number)) if (*min..=*max).contains(&number) => Ok(number),
        _ => Err(kind.wrong(text)),
    }
}

fn decimal_number(kind: &Kind, raw: &Raw) -> Result<f64, Reject> {
    let text = scalar(kind, raw)?;
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(kind.wrong(text)),
    }
}

fn optional_of<T>(
    parse: fn(&Kind, &Raw) -> Result<T, Reject>,
    kind: &Kind,
    raw: &Raw,
) -> Result<Option<T>, Reject> {
    match raw {
        Raw::Unset => Ok(None),
        raw => parse(kind, raw).map(Some),
    }
}

fn show_optional<T>(show: fn(&T) -> Value, value: &Option<T>) -> Value {
    value.as_ref().map_or(Value::Null, show)
}

fn show_decimal(number: &f64) -> Value {
    // A whole number is shown as one, as it was most likely written.
    if number.fract() == 0.0 && *number < 1e15 {
        Value::from(*number as u64)
    } else {
        Number::from_f64(*number).map_or(Value::Null, Value::Number)
    }
}

fn show_text(text: &String) -> Value {
    Value::from(text.as_str())
}

/// Any text within the limit that suits the predicate.
fn text_of(
    kind: &Kind,
    raw: &Raw,
    longest: usize,
    legal: fn(char) -> bool,
) -> Result<String, Reject> {
    let text = scalar(kind, raw)?;
    if text.is_empty() || text.len() > longest || !text.chars().all(legal) {
        return Err(kind.wrong(text));
    }
    Ok(text.to_owned())
}

fn in_file_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// A text of at most 255 bytes without control characters.
pub(super) const fn name() -> Codec<String> {
    Codec {
        kind: Kind::Text("a text of 1 to 255 bytes"),
        parse: |kind, raw| text_of(kind, raw, 255, |c| !c.is_control()),
        show: show_text,
    }
}

/// A text of at most 4096 bytes without control characters, or nothing.
pub(super) const fn optional_text() -> Codec<Option<String>> {
    Codec {
        kind: Kind::Text("a text of at most 4096 bytes"),
        parse: |kind, raw| {
            optional_of(
                |kind, raw| text_of(kind, raw, 4096, |c| !c.is_control()),
                kind,
                raw,
            )
        },
        show: |value| show_optional(show_text, value),
    }
}

/// Part of a file's name, or nothing.
pub(super) const fn optional_file_part() -> Codec<Option<String>> {
    Codec {
        kind: Kind::Text("1 to 64 letters, digits, '-' or '_' (it becomes part of file names)"),
        parse: |kind, raw| optional_of(|kind, raw| text_of(kind, raw, 64, in_file_name), kind, raw),
        show: |value| show_optional(show_text, value),
    }
}

/// A topic's name, as Kafka's `Topic.validate` has it: 1 to 249 of `[A-Za-z0-9._-]`, not `.` and not `..`.
pub(super) const fn topic() -> Codec<String> {
    Codec {
        kind: Kind::Text(
            "a topic name: 1 to 249 letters, digits, '.', '_' or '-', and not '.' or '..'",
        ),
        parse: |kind, raw| {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            match text_of(kind, raw, 249, legal)? {
                name if name == "." || name == ".." => Err(kind.wrong(&name)),
                name => Ok(name),
            }
        },
        show: show_text,
    }
}

/// A directory.
pub(super) const fn directory() -> Codec<PathBuf> {
    Codec {
        kind: Kind::Text("a directory"),
        parse: |kind, raw| text_of(kind, raw, 4096, |c| c != '\0').map(PathBuf::from),
        show: |path| Value::from(path.to_string_lossy()),
    }
}

/// An `http://` or `https://` address without user, query or fragment (those could hold a secret, and it is shown).
pub(super) const fn base_url() -> Codec<String> {
    Codec {
        kind: Kind::Text("an http:// or https:// address without user name, query or fragment"),
        parse: |kind, raw| {
            let text = scalar(kind, raw)?;
            let lower = text.to_ascii_lowercase();
            let rest = lower
                .strip_prefix("https://")
                .or_else(|| lower.strip_prefix("http://"));
            let legal = |rest: &str| {
                !rest.is_empty()
                    && !rest.starts_with(['/', ':'])
                    && !rest.contains(['@', '?', '#'])
                    && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
            };
            // The text is not repeated: what it should not have may be a password.
            if rest.is_some_and(legal) {
                Ok(text.trim_end_matches('/').to_owned())
            } else {
                Err(Reject::Wrong(format!("expected {}", kind.expected())))
            }
        },
        show: show_text,
    }
}

/// A whole number within bounds.
pub(super) const fn whole(min: u64, max: u64, unit: &'static str) -> Codec<u64> {
    Codec {
        kind: Kind::Whole { min, max, unit },
        parse: whole_number,
        show: |number| Value::from(*number),
    }
}

/// A whole number, or nothing.
pub(super) const fn optional_whole() -> Codec<Option<u64>> {
    Codec {
        kind: Kind::Whole {
            min: 0,
            max: u64::MAX,
            unit: "",
        },
        parse: |kind, raw| optional_of(whole_number, kind, raw),
        show: |number| Value::from(*number),
    }
}

/// A number above zero.
pub(super) const fn decimal() -> Codec<f64> {
    Codec {
        kind: Kind::Decimal,
        parse: decimal_number,
        show: show_decimal,
    }
}

/// A number above zero, or nothing.
pub(super) const fn optional_decimal() -> Codec<Option<f64>> {
    Codec {
        kind: Kind::Decimal,
        parse: |kind, raw| optional_of(decimal_number, kind, raw),
        show: |number| show_optional(show_decimal, number),
    }
}

/// A duration in milliseconds.
pub(super) const fn millis(min: u64, max: u64) -> Codec<Duration> {
    Codec {
        kind: Kind::Whole {
            min,
            max,
            unit: "ms",
        },
        parse: |kind, raw| whole_number(kind, raw).map(Duration::from_millis),
        show: |duration| Value::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// A duration in seconds.
pub(super) const fn seconds(min: u64, max: u64) -> Codec<Duration> {
    Codec {
        kind: Kind::Whole {
            min,
            max,
            unit: "s",
        },
        parse: |kind, raw| whole_number(kind, raw).map(Duration::from_secs),
        show: |duration| Value::from(duration.as_secs()),
    }
}

/// `true` or `false`, in any case.
pub(super) const fn flag() -> Codec<bool> {
    Codec {
        kind: Kind::Flag,
        parse: |kind, raw| {
            let text = scalar(kind, raw)?;
            match text.to_ascii_lowercase().as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(kind.wrong(text)),
            }
        },
        show: |value| Value::from(*value),
    }
}

/// `true`; `false` is legal elsewhere, and this program has no such mode.
pub(super) const fn always_true() -> Codec<bool> {
    Codec {
        kind: Kind::Flag,
        parse: |kind, raw| match (flag().parse)(kind, raw)? {
            true => Ok(true),
            false => Err(Reject::NotYet("\"false\" here (it has true)".to_owned())),
        },
        show: |value| Value::from(*value),
    }
}

fn choice_of<C: Choice>(kind: &Kind, raw: &Raw) -> Result<C, Reject> {
    let text = scalar(kind, raw)?;
    match C::from_name(text) {
        Some(choice) => Ok(choice),
        None => match C::LATER.iter().find(|later| bare(later) == bare(text)) {
            Some(later) => Err(Reject::NotYet(format!(
                "{later:?} here (it has {})",
                C::NAMES.join(", ")
            ))),
            None => Err(kind.wrong(text)),
        },
    }
}

/// One of a type's names.
pub(super) const fn choice<C: Choice>() -> Codec<C> {
    Codec {
        kind: Kind::Names {
            now: C::NAMES,
            later: C::LATER,
        },
        parse: choice_of::<C>,
        show: |choice| Value::from(choice.name()),
    }
}

/// One of a type's names, or nothing.
pub(super) const fn optional_choice<C: Choice>() -> Codec<Option<C>> {
    Codec {
        kind: Kind::Names {
            now: C::NAMES,
            later: C::LATER,
        },
        parse: |kind, raw| optional_of(choice_of::<C>, kind, raw),
        show: |choice| show_optional(|choice: &C| Value::from(choice.name()), choice),
    }
}

/// One of these names, for a setting that no version has had yet; an empty text where `""` is among them.
pub(super) const fn one_of(names: &'static [&'static str]) -> Codec<&'static str> {
    Codec {
        kind: Kind::Names {
            now: names,
            later: &[],
        },
        parse: |kind, raw| {
            let text = if *raw == Raw::Unset {
                ""
            } else {
                scalar(kind, raw)?
            };
            match kind {
                Kind::Names { now, .. } => {
                    now.iter().find(|name| bare(name) == bare(text)).copied()
                }
                _ => None,
            }
            .ok_or_else(|| kind.wrong(text))
        },
        show: |name| Value::from(*name),
    }
}

/// Columns: at least one, none twice.
pub(super) const fn distinct<C: Choice + PartialEq>() -> Codec<Vec<C>> {
    Codec {
        kind: Kind::NameList(C::NAMES),
        parse: |kind, raw| {
            let mut chosen: Vec<C> = Vec::new();
            for item in items(kind, raw)? {
                let choice = C::from_name(&item).ok_or_else(|| kind.wrong(&item))?;
                if chosen.contains(&choice) {
                    return Err(Reject::Wrong(format!("{} is named twice", choice.name())));
                }
                chosen.push(choice);
            }
            if chosen.is_empty() {
                return Err(Reject::Wrong(format!(
                    "expected {}, found nothing",
                    kind.expected()
                )));
            }
            Ok(chosen)
        },
        show: |choices| choices.iter().map(|choice| choice.name()).collect(),
    }
}

/// `HOST:PORT`, comma-separated or as an array; at least one.
pub(super) const fn host_ports() -> Codec<Vec<HostPort>> {
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

/// Ticker symbols: `[A-Za-z0-9^][A-Za-z0-9.^:_=-]{0,31}`, none twice.
pub(super) const fn symbols() -> Codec<Vec<String>> {
    Codec {
        kind: Kind::List(
            "a ticker symbol such as IBM or BRK.B (letters, digits and .^:_=-, at most 32)",
        ),
        parse: |kind, raw| {
            let mut symbols: Vec<String> = Vec::new();
            for symbol in items(kind, raw)? {
                let first = symbol.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '^');
                let legal = |c: char| c.is_ascii_alphanumeric() || ".^:_=-".contains(c);
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
pub(super) const fn files() -> Codec<Vec<PathBuf>> {
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

/// A secret, or nothing. A file is read once here, so that a missing one is told before anything starts.
pub(super) const fn secret() -> Codec<Option<Secret>> {
    Codec {
        kind: Kind::Secret,
        parse: |kind, raw| {
            let secret = match raw {
                Raw::Unset => return Ok(None),
                Raw::SecretFile(path) => Secret::file(path),
                raw => Secret::inline(scalar(kind, raw)?),
            };
            secret
                .read()
                .map_err(|error| Reject::Wrong(error.to_string()))?;
            Ok(Some(secret))
        },
        show: |secret| match secret {
            None => Value::Null,
            Some(secret) => match secret.path() {
                None => Value::from("********"),
                Some(path) => Value::from(format!("******** (in the file {})", path.display())),
            },
        },
    }
}
