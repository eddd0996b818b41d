//! What is on the topic already, by TradeId, so that nothing is published twice, also not after a restart.
//!
//! A record of an event is on the topic only after the event happened, so reading from the first record that is not
//! older than the oldest event polled finds every former publication of it (KIP-79 finds that record by its time). Each
//! partition is read to its last stable offset. An event whose time is yet to come can have been published at any time;
//! then the topic is read from its start.
//!
//! Exact with one producer a symbol; two that publish the same bars at the same time do not see each other.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::PipelineError;
use crate::{
    consumer::{self, Bound, Isolation, Reader},
    event::{TradeEvent, TradeId, read_trade},
    wire::{cluster::Cluster, records::Scratch},
};

/// How far the clocks of brokers and of whoever published before may be off.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(10);

/// How many TradeIds are remembered at least: some 160 MB. Older ones are forgotten, and that is said.
const REMEMBERED: usize = 4_000_000;

/// The TradeIds that are on the topic.
pub(super) struct Known {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    recent: HashSet<u128>,
    /// The generation before, forgotten when `recent` is full.
    older: HashSet<u128>,
    warned: bool,
    /// From where each partition was read, and the event time that this covers.
    read: Option<(Covered, BTreeMap<i32, i64>)>,
}

/// From which event time on all is known. `None` is everything.
type Covered = Option<DateTime<Utc>>;

impl Known {
    pub(super) fn new(cluster: &Arc<Cluster>, topic: &str) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            topic: topic.into(),
            recent: HashSet::new(),
            older: HashSet::new(),
            warned: false,
            read: None,
        }
    }

    /// Notes an event that is about to be published; `false` if it is on the topic already.
    pub(super) fn insert(&mut self, id: &TradeId) -> bool {
        self.note(match id {
            TradeId::Uuid(uuid) => uuid.as_u128(),
            TradeId::Text(text) => text_number(text),
        })
    }

    fn note(&mut self, id: u128) -> bool {
        if self.older.contains(&id) || !self.recent.insert(id) {
            return false;
        }
        if self.recent.len() > REMEMBERED / 2 {
            if !self.older.is_empty() && !self.warned {
                self.warned = true;
                tracing::warn!(
                    remembered = REMEMBERED,
                    "more TradeIds than are remembered; an event that comes again after so many others is published again"
                );
            }
            self.older = std::mem::take(&mut self.recent);
        }
        true
    }

    /// Reads what the topic says about events as old as these, unless that is known.
    pub(super) async fn learn(
        &mut self,
        events: &[TradeEvent],
        now: DateTime<Utc>,
    ) -> Result<(), PipelineError> {
        let times = || events.iter().map(|event| event.timestamp.instant);
        let (Some(oldest), Some(newest)) = (times().min(), times().max()) else {
            return Ok(());
        };
        let from = (newest <= now)
            .then(|| oldest.checked_sub_signed(CLOCK_SLACK))
            .flatten();
        let covered = self
            .read
            .as_ref()
            .is_some_and(|(covered, _)| match (covered, from) {
                (None, _) => true,
                (Some(covered), Some(from)) => *covered <= from,
                (Some(_), None) => false,
            });
        if covered {
            return Ok(());
        }
        let partitions: Vec<i32> = self
            .cluster
            .topic(&self.topic)
            .await?
            .partitions
            .iter()
            .zip(0..)
            .map(|(_, partition)| partition)
            .collect();
        let ends = match &self.read {
            // What came behind was published here, or read.
            Some((_, starts)) => starts.clone(),
            None => self.list(&partitions, Bound::Latest).await?,
        };
        let since = from.map_or(Bound::Earliest, |from| {
            Bound::Since(from.timestamp_millis())
        });
        let mut starts = self.list(&partitions, since).await?;
        for (partition, start) in &mut starts {
            // No record as young as that: nothing to read.
            *start = (*start).min(ends.get(partition).copied().unwrap_or(*start));
        }
        let before = self.recent.len() + self.older.len();
        let isolation = Isolation::ReadCommitted;
        let mut reader = Reader::start(&self.cluster, &self.topic, isolation, &starts, &ends);
        let mut scratch = Scratch::default();
        while let Some(chunk) = reader.next().await? {
            for batch in chunk.batches() {
                let records = batch
                    .records(&mut scratch)
                    .map_err(|error| chunk.unreadable(error))?;
                for record in records {
                    let record = record.map_err(|error| chunk.unreadable(error))?;
                    let trade = record.value.and_then(|value| read_trade(value).ok());
                    if let Some(id) = trade.and_then(|trade| trade.trade_id) {
                        self.note(text_number(&id));
                    }
                }
            }
        }
        tracing::info!(
            topic = &*self.topic,
            since = from.map(|from| from.to_rfc3339()),
            events = self.recent.len() + self.older.len() - before,
            "looked up what is on the topic already"
        );
        self.read = Some((from, starts));
        Ok(())
    }

    async fn list(
        &self,
        partitions: &[i32],
        bound: Bound,
    ) -> Result<BTreeMap<i32, i64>, PipelineError> {
        let isolation = Isolation::ReadCommitted;
        Ok(
            consumer::list_offsets(&self.cluster, &self.topic, isolation, partitions, bound)
                .await?,
        )
    }
}

/// A TradeId as a number: its own bits, or those of a UUID made from its text.
fn text_number(text: &str) -> u128 {
    Uuid::try_parse(text)
        .unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()))
        .as_u128()
}
