//! A partition whose data cannot be read stops alone: what was read before it is made durable and committed, all others
//! are read on, and it is said how to go past it. Nothing goes past it by itself.

use std::time::{Duration, Instant};

use super::super::error::PipelineError;
use super::commits::Committed;
use super::session::Session;
use crate::consumer::{ConsumeError, Unreadable};

/// How often it is said again.
const SAY_EVERY: Duration = Duration::from_secs(60);

impl Session<'_> {
    /// Stops a partition, for what the error says of it, and commits what was read before.
    pub(in crate::pipeline) async fn stop_at(
        &mut self,
        what: Unreadable,
        error: &ConsumeError,
    ) -> Result<Committed, PipelineError> {
        let text = sentence(
            &self.config.kafka.topic,
            &self.config.kafka.group_id,
            what,
            error,
        );
        self.stop_saying(what.partition, text);
        self.flush_or_judge().await
    }

    /// Stops a partition whose log has become shorter than what this directory has read, by a broker that does not say where the
    /// branches part: going on, whether at the log's end or before, would leave rows that are not in the log, or none of some
    /// that are. What was read before is durable.
    pub(in crate::pipeline) fn stop_at_truncation(&mut self, partition: i32, from: i64, to: i64) {
        let kafka = &self.config.kafka;
        let text = truncated(&kafka.topic, &kafka.group_id, partition, (from, to));
        self.stop_saying(partition, text);
    }

    fn stop_saying(&mut self, partition: i32, text: String) {
        tracing::error!("{text}");
        self.consumer.stop(&[partition].into());
        self.assignment.stopped(partition, text);
        self.say_again = Some(Instant::now() + SAY_EVERY);
    }

    /// Says again what is stopped, if anything still is.
    pub(in crate::pipeline) fn say_what_is_stopped(&mut self) {
        let mut any = false;
        for text in self.assignment.what_is_stopped() {
            any = true;
            tracing::error!("still the case: {text}");
        }
        self.say_again = any.then(|| Instant::now() + SAY_EVERY);
    }

    /// What was committed beyond a log's end, as the reason why a run that ends by itself ends with an error.
    pub(in crate::pipeline) fn was_misled(&self) -> Result<(), PipelineError> {
        match self.misled.as_slice() {
            [] => Ok(()),
            [first, others @ ..] => Err(PipelineError::BeyondTheEnd {
                first: first.clone(),
                more: others.len(),
            }),
        }
    }

    /// What is stopped, as the reason why the run ends with an error.
    pub(in crate::pipeline) fn unreadable(&self) -> Result<(), PipelineError> {
        let mut texts = self.assignment.what_is_stopped();
        match texts.next() {
            None => Ok(()),
            Some(first) => Err(PipelineError::Unreadable {
                first: first.to_owned(),
                more: texts.count(),
            }),
        }
    }
}

/// What happened, and the command that goes past it. Pure.
fn sentence(topic: &str, group: &str, what: Unreadable, error: &ConsumeError) -> String {
    let Unreadable {
        partition,
        offset,
        past,
    } = what;
    let (to, gives_up) = match past {
        Some(past) if past - offset == 1 => (past.to_string(), format!("offset {offset}")),
        Some(past) => (
            past.to_string(),
            format!("offsets {offset} to {}", past - 1),
        ),
        None => (
            "latest".to_owned(),
            format!(
                "everything from offset {offset} to the end, because it is not known where readable data begins again"
            ),
        ),
    };
    let (group, topic) = (quoted(group), quoted(topic));
    format!(
        "{error}; this partition stops there, the others continue. To skip it, losing {gives_up}: stop the \
         group's members, then stockflow group reset -g {group} -t {topic} -p {partition} --to {to} --execute"
    )
}

/// What happened to a log that was truncated, nobody knows where, and the command that goes on. Pure.
fn truncated(topic: &str, group: &str, partition: i32, (from, to): (i64, i64)) -> String {
    let command = format!(
        "stockflow group reset -g {} -t {} -p {partition} --to earliest --execute",
        quoted(group),
        quoted(topic)
    );
    format!(
        "topic {topic}, partition {partition}: the log ends at {to}, and this directory has read it up to {from}: it was truncated (an \
         unclean leader election, or a disk that was put back). Which rows before {to} are still in it cannot be told, because the \
         leader epoch of the last one is not known, or the broker does not say where it ended (OffsetForLeaderEpoch, Kafka 2.1); \
         this partition alone stands there, the others are read on. To read anew what the log holds, and move the rows of it to \
         .stockflow/superseded: stop the group's members, then {command}"
    )
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::records::RecordsError;

    #[test]
    fn the_command_names_what_it_gives_up() {
        let text = |past| {
            let error = ConsumeError::Corrupt {
                topic: "t".into(),
                partition: 3,
                offset: 7,
                past,
                source: RecordsError::Crc {
                    base_offset: 5,
                    expected: 1,
                    actual: 2,
                },
            };
            sentence("t", "it's one", error.unreadable().unwrap(), &error)
        };
        let command = r"stockflow group reset -g 'it'\''s one' -t t -p 3 --to";
        let wanted =
            format!("losing offsets 7 to 9: stop the group's members, then {command} 10 --execute");
        assert!(text(Some(10)).ends_with(&wanted), "{}", text(Some(10)));
        assert!(text(Some(8)).contains("losing offset 7:"));
        let unknown = text(None);
        assert!(
            unknown.contains("everything from offset 7 to the end"),
            "{unknown}"
        );
        assert!(unknown.ends_with("--to latest --execute"), "{unknown}");
    }

    #[test]
    fn a_log_that_was_truncated_nobody_knows_where_is_named() {
        let text = truncated("t", "a group", 3, (700, 450));
        for part in [
            "topic t, partition 3: the log ends at 450",
            "read it up to 700",
            "truncated",
            "then stockflow group reset -g 'a group' -t t -p 3 --to earliest --execute",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    /// No setting helps against a length that is damaged.
    #[test]
    fn a_damaged_length_is_gone_past_like_other_damage() {
        let error = ConsumeError::Stuck {
            topic: "t".into(),
            partition: 3,
            offset: 7,
            bytes: 100,
        };
        let what = Unreadable {
            partition: 3,
            offset: 7,
            past: None,
        };
        let text = sentence("t", "g", what, &error);
        assert!(
            text.contains("is damaged") && text.contains("group reset"),
            "{text}"
        );
        assert!(
            !text.contains("raise") && !text.contains("FetchBytes"),
            "{text}"
        );
    }
}
