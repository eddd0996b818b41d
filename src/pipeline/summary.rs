//! What a command did, in one line for people or one JSON object.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::options::Format;
use crate::event::ReasonCounts;

/// What a command did. A half that did not take part has no figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// What was published, if this was part of it.
    pub published: Option<Published>,
    /// What was written, if this was part of it.
    pub written: Option<Written>,
    /// What was replayed, if this was what was asked for.
    pub replayed: Option<Replayed>,
    /// How long it took.
    pub took: Duration,
}

/// What the producing half did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Events that the brokers acknowledged.
    pub events: u64,
    /// Events that were on the topic already, or on their way there.
    pub duplicates_skipped: u64,
    /// Of these, the ones that repeat an earlier event of the same replay.
    pub repeated_in_input: u64,
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
    /// Dead letters and records passed over, by reason.
    pub reasons: ReasonCounts,
    /// Offsets that retention had deleted before they were read.
    pub lost: u64,
    /// Records whose offsets are committed.
    pub committed: u64,
    /// Records that wait on the partitions that are read, once something was read of them.
    pub lag: Option<u64>,
}

/// What became of dead letters that somebody repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Rows that they became, durably.
    pub rows: u64,
    /// Rows that are not durable yet.
    pub(crate) waiting: u64,
    /// Lines whose letters were replayed before.
    pub before: u64,
    /// Lines whose place has no dead letter in the directory.
    pub unknown: u64,
    /// Letters that are still no trades, by reason.
    pub reasons: ReasonCounts,
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
            object.insert(
                "repeated_in_input".into(),
                published.repeated_in_input.into(),
            );
            object.insert("bad_bars".into(), published.bad_bars.into());
        }
        if let Some(written) = self.written {
            object.insert("rows_written".into(), written.rows.into());
            object.insert("dead_letters".into(), written.dead_letters.into());
            object.insert("skipped".into(), written.skipped.into());
            // Which of the two they are is a setting, the same for all of a run.
            let (letters, skipped) = match written.skipped {
                0 => (written.reasons, ReasonCounts::default()),
                _ => (ReasonCounts::default(), written.reasons),
            };
            object.insert("dead_letters_by_reason".into(), by_reason(&letters));
            object.insert("skipped_by_reason".into(), by_reason(&skipped));
            object.insert("tombstones".into(), written.tombstones.into());
            object.insert("committed".into(), written.committed.into());
            object.insert("lost_to_retention".into(), written.lost.into());
        }
        if let Some(replayed) = self.replayed {
            let still = replayed.reasons.iter().map(|(_, count)| count);
            object.insert("rows_written".into(), replayed.rows.into());
            object.insert("replayed_before".into(), replayed.before.into());
            object.insert("not_dead_letters".into(), replayed.unknown.into());
            object.insert("dead_letters".into(), still.sum::<u64>().into());
            object.insert(
                "dead_letters_by_reason".into(),
                by_reason(&replayed.reasons),
            );
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
            let repeated = published.repeated_in_input;
            count(
                published.duplicates_skipped.saturating_sub(repeated),
                "skipped as already published",
                true,
            );
            count(repeated, "skipped as repeated in the input", false);
            count(published.bad_bars, "bad bars skipped", false);
        }
        if let Some(written) = self.written {
            count(written.rows, "rows written", true);
            let reasons = listed(&written.reasons);
            let of = |count: u64| if count > 0 { reasons.as_str() } else { "" };
            count(
                written.dead_letters,
                &format!("dead letters{}", of(written.dead_letters)),
                true,
            );
            count(
                written.skipped,
                &format!("bad records skipped{}", of(written.skipped)),
                false,
            );
            count(written.tombstones, "records without a value", false);
            count(written.committed, "committed", true);
            count(written.lost, "lost to retention", false);
        }
        if let Some(replayed) = self.replayed {
            let still = replayed.reasons.iter().map(|(_, count)| count).sum();
            let reasons = listed(&replayed.reasons);
            count(replayed.rows, "dead letters became rows", true);
            count(replayed.before, "had before", false);
            count(
                replayed.unknown,
                "are no dead letters of this directory",
                false,
            );
            count(still, &format!("are still no trades{reasons}"), true);
        }
        format!("{} in {:.2} s\n", parts.join(", "), self.took.as_secs_f64())
    }
}

/// By label, for programs.
pub(super) fn by_reason(reasons: &ReasonCounts) -> Value {
    let counts = reasons
        .iter()
        .map(|(label, count)| (label.into(), count.into()));
    Value::Object(counts.collect())
}

/// By label, for people: nothing where there is nothing.
fn listed(reasons: &ReasonCounts) -> String {
    let list: Vec<String> = reasons
        .iter()
        .map(|(label, count)| format!("{count} {label}"))
        .collect();
    match list.as_slice() {
        [] => String::new(),
        list => format!(" ({})", list.join(", ")),
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
                repeated_in_input: 0,
                bad_bars: 0,
            }),
            written: None,
            replayed: None,
            took: Duration::from_millis(1_234),
        };
        assert_eq!(
            summary.render(Format::Text),
            "960 published, 0 skipped as already published in 1.23 s\n"
        );
        assert_eq!(
            summary.render(Format::Json),
            "{\"bad_bars\":0,\"duplicates_skipped\":0,\"published\":960,\"repeated_in_input\":0,\"seconds\":1.234}\n"
        );
    }
}
