//! Texts: names, topics, directories, addresses, secrets.

use std::path::PathBuf;

use serde_json::Value;

use super::super::secret::Secret;
use super::{Codec, Kind, Raw, Reject, optional_of, scalar, show_optional};

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

#[expect(clippy::ptr_arg, reason = "a codec of String shows &String")]
fn show_text(text: &String) -> Value {
    Value::from(text.as_str())
}

fn in_file_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// A text of at most 255 bytes without control characters.
pub(in crate::config) const fn name() -> Codec<String> {
    Codec {
        kind: Kind::Text("a text of 1 to 255 bytes"),
        parse: |kind, raw| text_of(kind, raw, 255, |c| !c.is_control()),
        show: show_text,
    }
}

/// A text of at most 4096 bytes without control characters, or nothing.
pub(in crate::config) const fn optional_text() -> Codec<Option<String>> {
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
pub(in crate::config) const fn optional_file_part() -> Codec<Option<String>> {
    Codec {
        kind: Kind::Text("1 to 64 letters, digits, '-' or '_' (it becomes part of file names)"),
        parse: |kind, raw| optional_of(|kind, raw| text_of(kind, raw, 64, in_file_name), kind, raw),
        show: |value| show_optional(show_text, value),
    }
}

/// A topic's name, as Kafka's `Topic.validate` has it: 1 to 249 of `[A-Za-z0-9._-]`, not `.` and not `..`.
pub(in crate::config) const fn topic() -> Codec<String> {
    Codec {
        kind: Kind::Text(
            "a topic name: 1 to 249 letters, digits, '.', '_' or '-', and not '.' or '..'",
        ),
        parse: topic_of,
        show: show_text,
    }
}

fn topic_of(kind: &Kind, raw: &Raw) -> Result<String, Reject> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text_of(kind, raw, 249, legal)? {
        name if name == "." || name == ".." => Err(kind.wrong(&name)),
        name => Ok(name),
    }
}

/// A topic's name, or nothing.
pub(in crate::config) const fn optional_topic() -> Codec<Option<String>> {
    Codec {
        kind: topic().kind,
        parse: |kind, raw| optional_of(topic_of, kind, raw),
        show: |value| show_optional(show_text, value),
    }
}

/// A directory.
pub(in crate::config) const fn directory() -> Codec<PathBuf> {
    Codec {
        kind: Kind::Text("a directory"),
        parse: |kind, raw| text_of(kind, raw, 4096, |c| c != '\0').map(PathBuf::from),
        show: |path| Value::from(path.to_string_lossy()),
    }
}

/// An `http://` or `https://` address without user, query or fragment (those could hold a secret, and it is shown).
pub(in crate::config) const fn base_url() -> Codec<String> {
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

/// A secret, or nothing. A file is read once here, so that a missing one is told before anything starts.
pub(in crate::config) const fn secret() -> Codec<Option<Secret>> {
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
