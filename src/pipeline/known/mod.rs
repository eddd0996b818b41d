//! What is on the topic already, by TradeId, so that nothing is published twice, also not after a restart.
//!
//! A record of an event is on the topic only after the event happened, so reading from the first record that is not
//! older than the oldest event polled finds every former publication of it (KIP-79 finds that record by its time); an event
//! whose time is yet to come can have been published at any time, then the topic is read from its start. What was
//! read, and what was acknowledged, is kept in a [`ledger`] on disk: the next start reads only what came behind. Ids
//! are never forgotten, also not when retention deletes their records.
//!
//! Exact with one producer a symbol; two that publish the same bars at the same time do not see each other.

mod filter;
mod ledger;
mod log;
mod run;

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use self::{
    ledger::{Ledger, Span, Subject},
    log::Offsets,
};
use super::PipelineError;
use crate::{
    consumer::{self, Bound, Isolation},
    event::{TradeEvent, TradeId},
    producer::Acknowledged,
    wire::{
        cluster::{Cluster, ClusterError},
        error::{CallError, ErrorCode},
        messages::{DescribeConfigsRequest, DescribeConfigsResource},
    },
};

/// How far the clocks of brokers and of whoever published before may be off.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(10);

/// How often what is known is made durable while it grows.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// The TradeIds that are on the topic, or on their way there.
pub(super) struct Known {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    state: PathBuf,
    ledger: Option<Ledger>,
    /// Handed to the producer and not acknowledged yet; as many as its buffer holds.
    offered: HashSet<u128>,
    saved: Instant,
}

impl Known {
    /// Nothing is known yet; `state` is `State.Directory`.
    pub(super) fn new(cluster: &Arc<Cluster>, topic: &str, state: PathBuf) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            topic: topic.into(),
            state,
            ledger: None,
            offered: HashSet::new(),
            saved: Instant::now(),
        }
    }

    /// Notes an event that is about to be published; `false` if it is on the topic, or on its way there, already.
    pub(super) fn offer(&mut self, id: &TradeId) -> Result<bool, PipelineError> {
        let id = number(id);
        let Some(ledger) = &self.ledger else {
            return Ok(self.offered.insert(id));
        };
        if ledger.contains(id).map_err(|source| self.failed(source))? {
            return Ok(false);
        }
        Ok(self.offered.insert(id))
    }

    /// Notes that an event is on the topic for good.
    pub(super) fn acknowledged(
        &mut self,
        id: &TradeId,
        place: &Acknowledged,
    ) -> Result<(), PipelineError> {
        let id = number(id);
        self.offered.remove(&id);
        if let Some(ledger) = &mut self.ledger {
            ledger
                .acknowledged(id, place.partition, place.offset)
                .map_err(|source| failed(&self.state, source))?;
        }
        Ok(())
    }

    /// Makes what is known durable, if that was some time ago or `now` is set.
    pub(super) fn save(&mut self, now: bool) -> Result<(), PipelineError> {
        if let Some(ledger) = &mut self.ledger
            && (now || self.saved.elapsed() > SAVE_EVERY)
        {
            self.saved = Instant::now();
            ledger
                .save()
                .map_err(|source| failed(&self.state, source))?;
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> PipelineError {
        failed(&self.state, source)
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
        let since_ms = (newest <= now)
            .then(|| oldest.checked_sub_signed(CLOCK_SLACK))
            .flatten()
            .map(|since| since.timestamp_millis());
        let mut ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => self.open().await?,
        };
        let learnt = self.extend(&mut ledger, since_ms).await;
        self.ledger = Some(ledger);
        learnt
    }

    /// Opens the ledger and reads what came behind it.
    async fn open(&self) -> Result<Ledger, PipelineError> {
        let described = self.cluster.topic(&self.topic).await?;
        let subject = Subject {
            cluster_id: self.cluster.cluster_id().unwrap_or_default(),
            topic: self.topic.to_string(),
            topic_id: described.id,
        };
        let mut ledger =
            Ledger::open(&self.state, &subject).map_err(|source| self.failed(source))?;
        if ledger.spans().is_empty() {
            return Ok(ledger);
        }
        let ends = log::ends(&self.cluster, &self.topic).await?;
        let beyond = |(partition, span): (&i32, &Span)| {
            ends.get(partition).is_none_or(|end| *end < span.next)
        };
        if ledger.spans().iter().any(beyond) {
            tracing::warn!(
                topic = &*self.topic,
                "the topic is shorter than it was: what was known of it is forgotten, and it is read anew"
            );
            ledger.forget();
            return Ok(ledger);
        }
        let new: Vec<i32> = ends
            .keys()
            .filter(|partition| !ledger.spans().contains_key(partition))
            .copied()
            .collect();
        let mut from = self.list(&new, Bound::Earliest).await?;
        from.extend(
            ledger
                .spans()
                .iter()
                .map(|(partition, span)| (*partition, span.next)),
        );
        let mut spans = ledger.spans().clone();
        for (partition, start) in &from {
            spans.entry(*partition).or_insert(Span {
                start: *start,
                next: *start,
            });
        }
        for (partition, next) in self.scan(&mut ledger, from, ends).await? {
            if let Some(span) = spans.get_mut(&partition) {
                span.next = next;
            }
        }
        let since_ms = ledger.since_ms();
        ledger.cover(spans, since_ms);
        ledger.save().map_err(|source| self.failed(source))?;
        Ok(ledger)
    }

    /// Reads what lies before what is known, as far back as `since_ms`.
    async fn extend(
        &self,
        ledger: &mut Ledger,
        since_ms: Option<i64>,
    ) -> Result<(), PipelineError> {
        let known = !ledger.spans().is_empty();
        let covered = match (ledger.since_ms(), since_ms) {
            (None, _) => true,
            (Some(covered), Some(since)) => covered <= since,
            (Some(_), None) => false,
        };
        if known && covered {
            return Ok(());
        }
        let to: Offsets = match known {
            // What came behind was read, or published here.
            true => ledger
                .spans()
                .iter()
                .map(|(partition, span)| (*partition, span.start))
                .collect(),
            false => log::ends(&self.cluster, &self.topic).await?,
        };
        let partitions: Vec<i32> = to.keys().copied().collect();
        let bound = since_ms.map_or(Bound::Earliest, Bound::Since);
        let mut from = self.list(&partitions, bound).await?;
        for (partition, start) in &mut from {
            // No record as young as that: nothing to read.
            *start = (*start).min(to.get(partition).copied().unwrap_or(*start));
        }
        let reached = self.scan(ledger, from.clone(), to).await?;
        let mut spans: BTreeMap<i32, Span> = ledger.spans().clone();
        for (partition, end) in reached {
            let start = from.get(&partition).copied().unwrap_or(end).min(end);
            let span = spans.entry(partition).or_insert(Span { start, next: end });
            span.start = start;
        }
        ledger.cover(spans, since_ms);
        ledger.save().map_err(|source| self.failed(source))
    }

    async fn scan(
        &self,
        ledger: &mut Ledger,
        from: Offsets,
        to: Offsets,
    ) -> Result<Offsets, PipelineError> {
        let started = Instant::now();
        let mut events = 0_u64;
        let reached = log::scan(&self.cluster, &self.topic, from, to, |id| {
            events += 1;
            ledger
                .note(id)
                .map_err(|source| failed(&self.state, source))
        })
        .await?;
        tracing::info!(
            topic = &*self.topic,
            events,
            ms = started.elapsed().as_millis(),
            "looked up what came to the topic since the last look"
        );
        Ok(reached)
    }

    async fn list(&self, partitions: &[i32], bound: Bound) -> Result<Offsets, PipelineError> {
        let isolation = Isolation::ReadCommitted;
        let (cluster, topic) = (&self.cluster, &self.topic);
        Ok(consumer::list_offsets(cluster, topic, isolation, partitions, bound).await?)
    }
}

/// Which of `ids` are on the topic, among the records from `since` on: for events whose fate is not known.
pub(super) async fn find(
    cluster: &Arc<Cluster>,
    topic: &Arc<str>,
    ids: &HashSet<u128>,
    since: DateTime<Utc>,
) -> Result<HashSet<u128>, PipelineError> {
    let to = log::ends(cluster, topic).await?;
    let partitions: Vec<i32> = to.keys().copied().collect();
    let since = since.checked_sub_signed(CLOCK_SLACK).unwrap_or(since);
    let bound = Bound::Since(since.timestamp_millis());
    let isolation = Isolation::ReadCommitted;
    let mut from = consumer::list_offsets(cluster, topic, isolation, &partitions, bound).await?;
    for (partition, start) in &mut from {
        *start = (*start).min(to.get(partition).copied().unwrap_or(*start));
    }
    let mut found = HashSet::new();
    log::scan(cluster, topic, from, to, |id| {
        if ids.contains(&id) {
            found.insert(id);
        }
        Ok(())
    })
    .await?;
    Ok(found)
}

/// Resource type of a topic in DescribeConfigs.
const TOPIC_RESOURCE: i8 = 2;

/// Whether the topic's old records are removed for the sake of newer ones with the same key. Brokers that do not tell,
/// or may not, count as no.
pub(super) async fn is_compacted(cluster: &Cluster, topic: &str) -> Result<bool, ClusterError> {
    const POLICY: &str = "cleanup.policy";
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: topic.into(),
            configuration_keys: Some(vec![POLICY.into()]),
        }],
        ..Default::default()
    };
    let answer = match cluster.request_any(&request).await {
        Ok(answer) => answer,
        Err(CallError::Unsupported { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    for result in &answer.results {
        if let Err(code) = ErrorCode::check(result.error_code) {
            tracing::debug!(topic, %code, "cannot learn whether the topic is compacted");
        }
    }
    Ok(answer
        .results
        .iter()
        .flat_map(|result| &result.configs)
        .filter(|config| &*config.name == POLICY)
        .filter_map(|config| config.value.as_deref())
        .any(|policy| policy.contains("compact")))
}

/// A TradeId as a number.
pub(super) fn number(id: &TradeId) -> u128 {
    match id {
        TradeId::Uuid(uuid) => uuid.as_u128(),
        TradeId::Text(text) => log::number(text),
    }
}

fn failed(state: &std::path::Path, source: io::Error) -> PipelineError {
    PipelineError::Io {
        action: format!(
            "keep what is published in {} (State.Directory)",
            state.display()
        ),
        source,
    }
}
