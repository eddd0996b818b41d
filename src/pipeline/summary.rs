//! What a command did, in one line for people or one JSON object.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::options::Format;

/// What a command did. A half that did not take part has no figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// What was published, if this was part of it.
    pub published: Option<Published>,
    /// What was written, if this was part of it.
    pub written: Option<Written>,
    /// How long it took.
    pub took: Duration,
}

/// What the producing half did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Events that the brokers acknowledged.
    pub events: u64,
    /// Events that were on the topic already.
    pub duplicates_skipped: u64,
    /// Bars or lines of which no event could be made.
    pub bad_bars: u64,
}

/// What the consuming half did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows in the CSV files.
    pub rows: u64,
    /// Records that are no trades, kept as dead letters.
    pub dead_letters: u64,
    /// Records that are no trades, passed over (`Output.BadRecords` is `skip`).
    pub skipped: u64,
    /// Records without a value, passed over.
    pub tombstones: u64,
    /// Records whose offsets are committed.
    pub committed: u64,
}

impl Summary {
    /// The summary as it goes to standard output, with its line end.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => format!("{}\n", self.json()),
        }
    }

    /// Whether nothing was done.
    pub fn is_nothing(&self) -> bool {
        self.published.unwrap_or_default() == Published::default()
            && self.written.unwrap_or_default() == Written::default()
    }

    fn json(&self) -> Value {
        let mut object = Map::new();
        if let Some(published) = self.published {
            object.insert("published".into(), published.events.into());
            object.insert(
                "duplicates_skipped".into(),
                published.duplicates_skipped.into(),
            );
            object.insert("bad_bars".into(), published.bad_bars.into());
        }
        if let Some(written) = self.written {
            object.insert("rows_written".into(), written.rows.into());
            object.insert("dead_letters".into(), written.dead_letters.into());
            object.insert("skipped".into(), written.skipped.into());
            object.insert("tombstones".into(), written.tombstones.into());
            object.insert("committed".into(), written.committed.into());
        }
        object.insert(
            "seconds".into(),
            json!((self.took.as_secs_f64() * 1_000.0).round() / 1_000.0),
        );
        Value::Object(object)
    }

    fn text(&self) -> String {
        let mut parts = Vec::new();
        let mut count = |count: u64, what: &str, always: bool| {
            if always || count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        if let Some(published) = self.published {
            count(published.events, "published", true);
            count(
                published.duplicates_skipped,
                "skipped as already published",
                true,
            );
            count(published.bad_bars, "bad bars passed over", false);
        }
        if let Some(written) = self.written {
            count(written.rows, "rows written", true);
            count(written.dead_letters, "dead letters", true);
            count(written.skipped, "bad records passed over", false);
            count(written.tombstones, "records without a value", false);
            count(written.committed, "committed", true);
        }
        format!("{} in {:.2} s\n", parts.join(", "), self.took.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_only_what_took_part() {
        let summary = Summary {
            published: Some(Published {
                events: 960,
                duplicates_skipped: 0,
                bad_bars: 0,
            }),
            written: None,
            took: Duration::from_millis(1_234),
        };
        assert_eq!(
            summary.render(Format::Text),
            "960 published, 0 skipped as already published in 1.23 s\n"
        );
        assert_eq!(
            summary.render(Format::Json),
            "{\"bad_bars\":0,\"duplicates_skipped\":0,\"published\":960,\"seconds\":1.234}\n"
        );
    }
}
