//! Committed offsets that lie beyond the log's end: whether one does, and where reading goes on instead.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::super::session::Session;
use super::bound_of;
use super::slow_leaders::Logs;
use crate::pipeline::PipelineError;
use crate::{consumer, sink::Sink};

/// How long after the first look a committed offset is looked at again that lies beyond the log's end: a leader that was just
/// elected learns of the end within less.
pub(in crate::pipeline) const SECOND_LOOK: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// The partitions whose committed offset lies beyond the log's end, with where their log begins and ends, and those whose
    /// leaders do not say it at once. It is looked at twice, unless `logs` is what they have said the second time.
    pub(in crate::pipeline) async fn beyond_the_log(
        &self,
        committed: &BTreeMap<i32, consumer::Committed>,
        logs: Option<Logs>,
    ) -> (Logs, BTreeSet<i32>) {
        let offset = |partition: &i32| committed.get(partition)?.offset;
        let mut asked: Vec<i32> = committed.keys().copied().collect();
        asked.retain(|partition| offset(partition).is_some());
        let is_patient = logs.is_some();
        let mut found = match logs {
            Some(logs) => logs,
            None if asked.is_empty() => Logs::new(),
            None => self.consumer.extents(&asked).await,
        };
        let unanswered = |found: &Logs| {
            let asked = asked.iter().copied();
            asked
                .filter(|of| !found.contains_key(of))
                .collect::<BTreeSet<i32>>()
        };
        let mut left_out = unanswered(&found);
        found.retain(|partition, (_, end)| offset(partition) > Some(*end));
        if !found.is_empty() && !is_patient {
            tokio::time::sleep(SECOND_LOOK).await;
            let strange: Vec<i32> = found.keys().copied().collect();
            let again = self.consumer.extents(&strange).await;
            left_out.extend(strange.iter().filter(|of| !again.contains_key(of)));
            found = again;
            found.retain(|partition, (_, end)| offset(partition) > Some(*end));
        }
        (found, left_out)
    }

    /// Nobody has read up to where these partitions are committed, beyond the log's end: they go on where the directory ends,
    /// or else where `Kafka.AutoOffsetReset` says.
    pub(in crate::pipeline) async fn go_back_into_the_log(
        &mut self,
        misled: &[(i32, Option<i64>)],
        committed: &BTreeMap<i32, consumer::Committed>,
        logs: &BTreeMap<i32, (i64, i64)>,
    ) -> Result<BTreeMap<i32, (i64, Option<i32>)>, PipelineError> {
        let kafka = &self.config.kafka;
        let reset = kafka.auto_offset_reset;
        let without = misled.iter().filter(|(_, to)| to.is_none());
        let without: Vec<i32> = without.map(|(partition, _)| *partition).collect();
        let begun = match without.is_empty() {
            true => BTreeMap::new(),
            false => {
                self.consumer
                    .list_offsets(&without, bound_of(reset))
                    .await?
            }
        };
        let mut positions = self.start_at(begun).await?;
        for (partition, to) in misled {
            if let Some(to) = *to {
                let (partition, known) = (*partition, *partition);
                let known = move |sink: &mut Sink| sink.leader_epoch(known, to);
                positions.insert(partition, (to, self.writer.with(known).await?));
            }
            let offset = committed.get(partition).and_then(|of| of.offset);
            let (Some((to_offset, _)), Some(offset), Some((_, end))) =
                (positions.get(partition), offset, logs.get(partition))
            else {
                continue;
            };
            let why = match to {
                Some(_) => format!(
                    "where the directory {} ends",
                    self.config.output.directory.display()
                ),
                None => format!(
                    "as Kafka.AutoOffsetReset ({reset:?}) says, because the directory {} has nothing of it that the log goes on from",
                    self.config.output.directory.display()
                ),
            };
            let text = format!(
                "topic {}, partition {partition}: the offset {offset} that is committed for group {} lies beyond the log's end, {end}, \
                 and nobody of the group has read up to there (another program set it?): reading goes on at {to_offset}, {why}",
                kafka.topic, kafka.group_id
            );
            tracing::warn!("{text}");
            self.misled.push(text);
        }
        Ok(positions)
    }
}
