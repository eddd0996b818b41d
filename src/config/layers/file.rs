//! Configuration files: JSON as .NET reads it, that is with `//` and `/* */` comments and trailing commas.
//!
//! `jsonc-parser` reads them: pure Rust, kept by the dprint project, bounded in depth, and its tree tells where each key
//! stands and keeps keys that are written twice. `serde_json` and what builds on it (figment among them) has no comments,
//! takes the last of two equal keys, and forgets the lines; and the layers here need a row of the table for every key
//! before they can be merged (aliases, secrets in files, case), which leaves a general merger nothing to do.
//! `:` in a key separates sections, as in .NET.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use jsonc_parser::ast::{ObjectProp, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::super::error::Problem;
use super::super::values::{Raw, is_named_pipe};
use super::origin::Origin;
use super::setting::Write;

/// A file is read up to here; a longer one is not a configuration.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The settings in a file, in the order in which they are written.
pub(in crate::config) fn read(path: &Path) -> Result<Vec<Write>, Problem> {
    let unreadable = |source| Problem::Unreadable {
        path: path.to_owned(),
        source,
    };
    if is_named_pipe(path) {
        return Err(unreadable(std::io::Error::other(
            "it is a named pipe, which would keep the start waiting for whoever writes into it",
        )));
    }
    let mut text = String::new();
    File::open(path)
        .map_err(unreadable)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(Problem::TooLarge {
            path: path.to_owned(),
            limit: MAX_FILE_BYTES,
        });
    }
    parse(&text, path)
}

/// The settings in a file's text.
pub(in crate::config) fn parse(text: &str, path: &Path) -> Result<Vec<Write>, Problem> {
    // Editors on Windows begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::of(text, path);
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = parse_to_ast(text, &CollectOptions::default(), &options).map_err(|error| {
        Problem::Syntax {
            origin: lines.origin(error.range().start),
            message: format!("{} (column {})", error.kind(), error.column_display()),
        }
    })?;
    let mut writes = Vec::new();
    match parsed.value {
        None => {}
        Some(Value::Object(object)) => {
            for property in &object.properties {
                flatten(&[], property, &lines, &mut writes);
            }
        }
        Some(other) => {
            return Err(Problem::Syntax {
                origin: lines.origin(other.range().start),
                message: "a configuration file is an object: { \"Kafka\": { … } }".to_owned(),
            });
        }
    }
    Ok(writes)
}

fn flatten(
    above: &[String],
    property: &ObjectProp<'_>,
    lines: &Lines<'_>,
    writes: &mut Vec<Write>,
) {
    let name = property.name.as_str();
    if above.is_empty() && name == "$schema" {
        return;
    }
    let mut path = above.to_vec();
    path.extend(name.split(':').map(str::to_owned));
    let raw = match &property.value {
        Value::Object(object) if !object.properties.is_empty() => {
            for property in &object.properties {
                flatten(&path, property, lines, writes);
            }
            return;
        }
        Value::Object(_) | Value::NullKeyword(_) => Raw::Null,
        Value::Array(array) => {
            let items: Option<Vec<_>> = array.elements.iter().map(scalar).collect();
            items.map_or(Raw::Other("an array of arrays or objects"), Raw::List)
        }
        value => match scalar(value) {
            Some(text) if !text.is_empty() => Raw::Scalar(text),
            _ => Raw::Unset,
        },
    };
    writes.push(Write {
        path,
        raw,
        origin: lines.origin(property.range().start),
    });
}

fn scalar(value: &Value<'_>) -> Option<String> {
    match value {
        Value::StringLit(text) => Some(text.value.to_string()),
        Value::NumberLit(number) => Some(number.value.to_owned()),
        Value::BooleanLit(flag) => Some(flag.value.to_string()),
        Value::NullKeyword(_) | Value::Object(_) | Value::Array(_) => None,
    }
}

/// Where each line of a file begins.
struct Lines<'a> {
    path: &'a Path,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &str, path: &'a Path) -> Self {
        let ends = memchr::memchr_iter(b'\n', text.as_bytes());
        Self {
            path,
            starts: ends.map(|end| end + 1).collect(),
        }
    }

    fn origin(&self, position: usize) -> Origin {
        Origin::File {
            path: self.path.to_owned(),
            line: self.starts.partition_point(|start| *start <= position) + 1,
        }
    }
}
