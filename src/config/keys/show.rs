//! `config show`: what is in force and where each value came from.

use serde_json::{Map, Value, json};

use super::super::Config;

impl Config {
    /// One line a key: `Section.Key = value  # origin`. Secrets are masked.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for entry in self.entries() {
            let line = format!(
                "{} = {}  # {}",
                entry.key.path(),
                plain(&entry.value),
                entry.origin
            );
            // A value from outside must not steer the terminal.
            for c in line.chars() {
                if c.is_control() {
                    text.extend(c.escape_default());
                } else {
                    text.push(c);
                }
            }
            text.push('\n');
        }
        text
    }

    /// The sections as objects, each key as `{"value": …, "origin": "…"}`. Secrets are masked.
    pub fn to_json(&self) -> Value {
        let mut root = Map::new();
        for entry in self.entries() {
            let mut at = &mut root;
            for section in entry
                .key
                .section
                .split('.')
                .filter(|section| !section.is_empty())
            {
                let below = at
                    .entry(section)
                    .or_insert_with(|| Value::Object(Map::new()));
                // Sections and keys of the table never share a name, so this is always an object.
                let Value::Object(below) = below else {
                    return Value::Object(root);
                };
                at = below;
            }
            let shown = json!({ "value": entry.value, "origin": entry.origin.to_string() });
            at.insert(entry.key.name.to_owned(), shown);
        }
        Value::Object(root)
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "(unset)".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
