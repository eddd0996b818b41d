//! What becomes of a record that is no trade: a dead letter in a file or elsewhere, nothing, or the end.

use chrono::{DateTime, Utc};

use super::super::Sink;
use super::super::error::SinkError;
use super::super::files::{Kind, Purpose};
use super::super::settings::BadRecords;
use super::super::state::Why;
use super::counts::Appended;
use super::dead_letter::DeadLetter;
use super::row::{self, InputRecord};
use crate::event::BadRecord;

impl Sink {
    #[cold]
    pub(in crate::sink) fn bad(
        &mut self,
        partition: i32,
        record: &InputRecord<'_>,
        reason: BadRecord,
        now: DateTime<Utc>,
        appended: &mut Appended,
    ) -> Result<(), SinkError> {
        if self.settings.bad_records != BadRecords::Fail {
            appended.reasons.count(reason);
            self.complain(partition, record.offset, reason, now);
        }
        let topic = &self.checkpoint.topic;
        match self.settings.bad_records {
            BadRecords::Fail => {
                let (topic, offset) = (topic.clone(), record.offset);
                Err(SinkError::BadRecord {
                    topic,
                    partition,
                    offset,
                    reason,
                })
            }
            BadRecords::Skip => {
                appended.skipped += 1;
                self.pass(
                    partition,
                    record.offset,
                    record.offset.saturating_add(1),
                    Why::Skipped,
                );
                Ok(())
            }
            BadRecords::DeadLetter if let Some(letters) = &mut self.letters => {
                let letter = DeadLetter {
                    partition,
                    record: *record,
                    reason,
                };
                letters.put(&letter).map_err(SinkError::DeadLetters)?;
                appended.dead_letters += 1;
                self.pass(
                    partition,
                    record.offset,
                    record.offset.saturating_add(1),
                    Why::DeadLetter,
                );
                Ok(())
            }
            BadRecords::DeadLetter => {
                let at = self.output(Purpose {
                    kind: Kind::DeadLetters,
                    date: now.date_naive(),
                })?;
                let Some(output) = self.outputs.list.get_mut(at) else {
                    return Ok(());
                };
                let buffer = output.line(partition, record.offset);
                let before = buffer.len();
                row::write_dead_letter(buffer, &self.checkpoint.topic, partition, record, reason);
                appended.dead_letters += 1;
                self.grew(at, before)
            }
        }
    }

    fn complain(&mut self, partition: i32, offset: i64, reason: BadRecord, now: DateTime<Utc>) {
        let topic = &self.checkpoint.topic;
        let becomes = match self.settings.bad_records {
            BadRecords::Skip => "is passed over",
            BadRecords::DeadLetter | BadRecords::Fail => "becomes a dead letter",
        };
        match self.complaints.due(reason, now) {
            Some(1) => tracing::warn!(
                topic,
                partition,
                offset,
                %reason,
                "a record that is no trade {becomes} (Output.BadRecords)"
            ),
            Some(count) => tracing::warn!(
                topic,
                partition,
                offset,
                %reason,
                count,
                "more records that are no trades, this is the last of them; each {becomes}"
            ),
            None => tracing::debug!(topic, partition, offset, %reason, "a record {becomes}"),
        }
    }
}
