//! How a written value becomes a typed one, and how a typed one is shown.
//!
//! A [`Codec`] is a constant: what it accepts is data ([`Kind`]), so errors, `config show` and a JSON Schema can tell it.
//! Every scalar arrives as text, because environment variables and .NET files write numbers and booleans as strings.

use std::path::PathBuf;

use serde_json::Value;

mod list;
mod names;
mod number;
mod text;
mod time;

pub(in crate::config) use list::{files, host_ports, symbols};
pub(in crate::config) use names::{choice, distinct, flag, one_of, optional_choice};
pub(in crate::config) use number::{
    decimal, millis, optional_decimal, optional_whole, request_limit, seconds, whole,
};
pub(in crate::config) use text::{
    base_url, directory, name, optional_file_part, optional_text, optional_topic, secret, topic,
};
pub(in crate::config) use time::time_zone;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) enum Raw {
    /// `null`, or an object without keys: nothing is said about the key.
    Null,
    /// An empty text: the key is unset.
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
pub(in crate::config) enum Reject {
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
            Self::Whole { min, max, unit: "" } => {
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
pub(in crate::config) struct Codec<T> {
    pub(in crate::config) kind: Kind,
    pub(in crate::config) parse: fn(&Kind, &Raw) -> Result<T, Reject>,
    pub(in crate::config) show: fn(&T) -> Value,
}

fn scalar<'a>(kind: &Kind, raw: &'a Raw) -> Result<&'a str, Reject> {
    let found = match raw {
        Raw::Scalar(text) => return Ok(text.trim()),
        Raw::Null | Raw::Unset => "nothing",
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
        Raw::Null | Raw::Unset => Ok(Vec::new()),
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
