//! What publishes the events of one source: hands them to the producer, counts what the brokers acknowledge, commits
//! transactions. Events are kept until they are acknowledged, and the first that is given up ends it (`finish`).

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use tokio::sync::watch;

use super::super::error::PipelineError;
use super::super::stop::Stop;
use super::super::summary::Published;
use super::in_flight::{InFlightEvent, InFlightEvents};
use super::transaction::Open;
use crate::dedup::PublishedIds;
use crate::{
    producer::{Producer, Record, SendError},
    source::{Batch, ErrorClass, Source, SourceError},
};

/// The header that says what an event was made of.
const SOURCE_HEADER: &str = "stockflow-source";

/// How many events are handed over before the outcomes of earlier ones are looked at.
const REAP_EVERY: usize = 1024;

/// How many events of a batch are handed over before the clock is read again: looking at it costs as much as handing one over.
const CLOCK_EVERY: usize = 64;

/// How long a note of what is done is waited for when a stop was asked for: who keeps it may be in another's hands.
const NOTE_PATIENCE: Duration = Duration::from_secs(1);

/// Lets the source note that all it gave is on the topic.
pub(in crate::pipeline) async fn note(source: &mut dyn Source, stop: &Stop) {
    let patience = async {
        stop.requested().await;
        tokio::time::sleep(NOTE_PATIENCE).await;
    };
    tokio::select! {
        biased;
        () = source.settled() => {}
        () = patience => {}
    }
}

/// What publishes.
pub(in crate::pipeline) struct Publisher<'a> {
    pub(super) topic: Arc<str>,
    pub(super) producer: Producer,
    /// `Kafka.TransactionalId`.
    pub(super) id: Option<Arc<str>>,
    pub(super) published_ids: Option<PublishedIds>,
    pub(super) in_flight: InFlightEvents,
    /// Whether a batch was polled of which not every event was handed over.
    pub(super) cut: bool,
    /// Whether the poll that the last event came from was handed over whole, or as far as the count allows.
    pub(super) whole: bool,
    /// How many events are still to be published, if there is a limit.
    pub(super) left: Option<u64>,
    pub(super) progress: &'a watch::Sender<Published>,
    pub(super) value: Vec<u8>,
    /// The time that records carry; looked at anew every [`CLOCK_EVERY`] of them.
    pub(super) now_ms: i64,
    pub(super) open: Option<Open>,
}

impl<'a> Publisher<'a> {
    pub(in crate::pipeline) fn new(
        topic: Arc<str>,
        producer: Producer,
        id: Option<Arc<str>>,
        published_ids: Option<PublishedIds>,
        count: Option<u64>,
        progress: &'a watch::Sender<Published>,
    ) -> Self {
        Self {
            topic,
            producer,
            id,
            published_ids,
            in_flight: InFlightEvents::default(),
            cut: false,
            whole: true,
            left: count,
            progress,
            value: Vec::with_capacity(256),
            now_ms: 0,
            open: None,
        }
    }

    /// Whether everything that was polled is on the topic, acknowledged.
    pub(in crate::pipeline) fn is_settled(&self) -> bool {
        !self.cut && self.open.is_none() && self.in_flight.is_empty()
    }

    /// Publishes what `source` gives until it ends, the count is reached or the stop is asked for.
    pub(in crate::pipeline) async fn pump(
        &mut self,
        source: &mut dyn Source,
        stop: &Stop,
    ) -> Result<(), PipelineError> {
        while self.left != Some(0) {
            let next = self.in_flight.next_outcome();
            let transaction = self.open.is_some();
            let polled = tokio::select! {
                biased;
                () = stop.requested() => return Ok(()),
                polled = source.poll() => Some(polled),
                // Nothing comes at the moment: the poll that is complete can be seen.
                () = std::future::ready(()), if transaction => None,
                () = next => None,
            };
            match polled {
                Some(Ok(None)) => return Ok(()),
                Some(Ok(Some(batch))) => {
                    let whole = !batch.more;
                    tokio::select! {
                        biased;
                        published = self.publish(batch) => published?,
                        // A batch that waits for memory or for a lookup does not hold up a stop; what was not
                        // handed over yet is polled again at the next start.
                        () = stop.requested() => return Ok(()),
                    }
                    if self
                        .open
                        .as_ref()
                        .is_some_and(|open| open.is_full() && whole)
                    {
                        self.commit_unless(stop).await?;
                    }
                }
                Some(Err(error)) => tell(error)?,
                None if transaction => self.commit_unless(stop).await?,
                None => {}
            }
            self.reap().await?;
            if self.is_settled() {
                note(source, stop).await;
            }
        }
        Ok(())
    }

    async fn publish(&mut self, batch: Batch) -> Result<(), PipelineError> {
        // Not within a poll that is to be seen whole.
        let may_settle = self.whole || self.id.is_none();
        if may_settle
            && let Some(published_ids) = &mut self.published_ids
            && published_ids.is_outdated().await
        {
            self.settle_for_look().await?;
            if let Some(published_ids) = &mut self.published_ids {
                published_ids.begin_anew()?;
            }
        }
        // A stop and an error end this in the middle: until it is done, the batch counts as cut.
        (self.cut, self.whole) = (true, false);
        if let Some(published_ids) = &mut self.published_ids {
            published_ids.learn(&batch.events, Utc::now()).await?;
        }
        let mut skipped = 0;
        let batch = Arc::new(batch);
        let mut counted_out = false;
        for place in 0..batch.events.len() {
            if self.left == Some(0) {
                counted_out = true;
                break;
            }
            // Also before events that are passed over: no record may seem older than the poll that brought its event,
            // because that is how former publications are found.
            if place % CLOCK_EVERY == 0 {
                self.now_ms = Utc::now().timestamp_millis();
            }
            if let Some(published_ids) = &mut self.published_ids
                && !published_ids.offer(&batch.events[place].trade_id)?
            {
                skipped += 1;
                continue;
            }
            self.send(&batch, place).await?;
            if let Some(left) = &mut self.left {
                *left -= 1;
            }
            if place % REAP_EVERY == REAP_EVERY - 1 {
                self.reap().await?;
            }
        }
        self.progress.send_modify(|done| {
            done.duplicates_skipped += skipped;
            done.bad_bars += batch.bad.total();
        });
        self.cut = counted_out;
        self.whole = !batch.more || self.left == Some(0);
        Ok(())
    }

    async fn send(&mut self, batch: &Arc<Batch>, place: usize) -> Result<(), PipelineError> {
        let event = &batch.events[place];
        self.value.clear();
        event.write_json(&mut self.value);
        let record = Record {
            key: Some(event.symbol.as_bytes()),
            value: Some(&self.value),
            headers: &[(SOURCE_HEADER, batch.origin.as_bytes())],
            timestamp_ms: self.now_ms,
        };
        match self.producer.send(&record).await {
            Ok(delivery) => {
                self.in_flight.push(InFlightEvent {
                    batch: Arc::clone(batch),
                    place,
                    delivery,
                });
                if self.id.is_some() {
                    self.open.get_or_insert_with(Open::now).add();
                }
                Ok(())
            }
            Err(SendError::GaveUp { .. }) => Err(self.gave_up().await),
            Err(SendError::Fatal { topic, code }) => Err(match self.transaction_error(code) {
                Some(error) => error.into(),
                None => SendError::Fatal { topic, code }.into(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts what was acknowledged. Events of a transaction count when it does.
    pub(crate) async fn reap(&mut self) -> Result<(), PipelineError> {
        if self.open.is_none() && !self.count()? {
            return Err(self.gave_up().await);
        }
        Ok(())
    }

    /// Counts what was acknowledged; `false` when something was given up.
    pub(crate) fn count(&mut self) -> Result<bool, PipelineError> {
        let mut acknowledged = 0;
        let fine = loop {
            match self.in_flight.pop_acknowledged() {
                Ok(None) => break true,
                Ok(Some((flight, place))) => {
                    acknowledged += 1;
                    if let Some(published_ids) = &mut self.published_ids {
                        published_ids.acknowledged(&flight.event().trade_id, &place)?;
                    }
                }
                Err(()) => break false,
            }
        };
        if acknowledged > 0 {
            self.progress
                .send_modify(|done| done.events += acknowledged);
            if let Some(published_ids) = &mut self.published_ids {
                published_ids.save()?;
            }
        }
        Ok(fine)
    }
}

/// Logs what a source can go on from; passes on what it cannot.
fn tell(error: SourceError) -> Result<(), PipelineError> {
    match error.class() {
        ErrorClass::Retriable | ErrorClass::Symbol => {
            tracing::warn!("{error}");
            Ok(())
        }
        ErrorClass::Stop | ErrorClass::WrongKey | ErrorClass::Configuration => Err(error.into()),
    }
}
