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

use super::{PipelineError, reach::Reach};
use crate::{
    consumer::{self, At, Isolation, Reader},
    event::{TradeEvent, TradeId, parse_trade},
    wire::cluster::Cluster,
};

/// How far the clocks of brokers and of whoever published before may be off.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(10);

/// How many TradeIds are remembered at least: some 160 MB. Older ones are forgotten, and that is said.
const REMEMBERED: usize = 4_000_000;

/// The TradeIds that are on the topic.
pub(super) struct Known {
    cluster: Arc<Cluster>,
    topic: String,
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
            topic: topic.to_owned(),
            recent: HashSet::new(),
            older: HashSet::new(),
            warned: false,
            read: None,
        }
    }

    /// Notes an event that is about to be published; `false` if it is on the topic already.
    pub(super) fn insert(&mut self, id: &TradeId) -> bool {
        let id = number(id);
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
        reach: &Reach,
    ) -> Result<(), PipelineError> {
        let times = || events.iter().map(|event| event.timestamp.instant);
        let (Some(oldest), Some(newest)) = (times().min(), times().max()) else {
            return Ok(());
        };
        let from = (newest <= now).then(|| oldest.checked_sub_signed(CLOCK_SLACK)).flatten();
        let covered = self.read.as_ref().is_some_and(|(covered, _)| match (covered, from) {
            (None, _) => true,
            (Some(covered), Some(from)) => *covered <= from,
            (Some(_), None) => false,
        });
        if covered {
            return Ok(());
        }
        let cluster = Arc::clone(&self.cluster);
        let topic = self.topic.clone();
        let list = |at| {
            let (cluster, topic) = (Arc::clone(&cluster), topic.clone());
            reach.ask(move || {
                let (cluster, topic) = (Arc::clone(&cluster), topic.clone());
                async move { consumer::list_offsets(&cluster, &topic, at, Isolation::ReadCommitted).await }
            })
        };
        let ends = match &self.read {
            // What came behind was published here, or read.
            Some((_, starts)) => starts.clone(),
            None => list(At::Latest).await?,
        };
        let starts = match from {
            Some(from) => {
                // No record as young as that: nothing to read.
                let mut starts = list(At::Time(from.timestamp_millis())).await?;
                for (partition, end) in &ends {
                    starts.entry(*partition).or_insert(*end);
                }
                starts
            }
            None => list(At::Earliest).await?,
        };
        let before = self.recent.len() + self.older.len();
        let mut reader = Reader::start(&cluster, &topic, &starts, &ends);
        while let Some(chunk) = reader.next().await? {
            chunk.for_each_record(|record| {
                let trade = record.value.and_then(|value| parse_trade(value).ok());
                if let Some(id) = trade.and_then(|trade| trade.trade_id) {
                    self.insert(&TradeId::from(&*id));
                }
            })?;
        }
        tracing::info!(
            topic,
            since = from.map(|from| from.to_rfc3339()),
            events = self.recent.len() + self.older.len() - before,
            "looked up what is on the topic already"
        );
        self.read = Some((from, starts));
        Ok(())
    }
}

/// A TradeId as a number: its own bits, or those of a UUID made from its text.
fn number(id: &TradeId) -> u128 {
    match id {
        TradeId::Uuid(uuid) => uuid.as_u128(),
        TradeId::Text(text) => Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).as_u128(),
    }
}
