//! The producing half: polls a source, passes over what is on the topic already, publishes the rest, and counts what
//! the brokers acknowledge.
//!
//! Events are kept until they are acknowledged. When one is given up (`Kafka.MessageTimeoutMs`), the producer gives up
//! all that are behind it, too, so that none can pass it; a one-shot command then fails. Any other begins anew, as after a
//! restart: those that may have been written are looked up on the topic, the rest is offered again, in order. Only with a
//! `Kafka.TransactionalId` every command ends: the id is taken over once, at the start, so that a producer that was fenced
//! never fences its successor.

use std::{sync::Arc, time::Instant};

use chrono::Utc;
use tokio::sync::watch;

use super::{
    PipelineError, Stop,
    flight::{Flight, Flights, Offer},
    known::{self, Known},
    options::SourceOptions,
    reach::{Reach, Told},
    settings,
    summary::Published,
};
use crate::{
    config::Config,
    producer::{self, DeliveryError, Producer, Record, SendError, TransactionError},
    source::{Batch, ErrorClass, Source, SourceError},
    wire::{cluster::Cluster, error::ErrorCode},
};

/// The header that says what an event was made of.
const SOURCE_HEADER: &str = "stockflow-source";

/// How many events are handed over before the outcomes of earlier ones are looked at.
const REAP_EVERY: usize = 1024;

/// What the producing half is asked to do.
#[derive(Clone, Debug)]
pub(super) struct PublishOptions {
    /// What the source was asked to do.
    pub(super) source: SourceOptions,
    /// Stop after so many events.
    pub(super) count: Option<u64>,
    /// What was said of brokers that cannot be reached.
    pub(super) told: Told,
}

impl PublishOptions {
    /// Whether it ends by itself, and so gives up on what cannot be reached.
    pub(super) fn one_shot(&self) -> bool {
        self.source.once || self.source.months.is_some() || self.count.is_some()
    }
}

/// Publishes until the source ends, `count` is reached or the stop is asked for; then drains.
///
/// `progress` is told how many events were acknowledged, and whatever happens holds what was done.
pub(super) async fn publish(
    config: &Config,
    cluster: &Arc<Cluster>,
    options: &PublishOptions,
    stop: &Stop,
    progress: &watch::Sender<Published>,
) -> Result<(), PipelineError> {
    let source = settings::source(config, &options.source, options.one_shot())?;
    publish_from(source, config, cluster, options, stop, progress).await
}

/// As [`publish`], from a source of the caller's.
pub(super) async fn publish_from(
    mut source: Box<dyn Source>,
    config: &Config,
    cluster: &Arc<Cluster>,
    options: &PublishOptions,
    stop: &Stop,
    progress: &watch::Sender<Published>,
) -> Result<(), PipelineError> {
    let one_shot = options.one_shot();
    let reach = Reach::new(cluster, one_shot).sharing(&options.told);
    let topic: Arc<str> = config.kafka.topic.as_str().into();
    let settings = settings::producer(config);
    let look_up = !options.source.republish && source.may_repeat();
    let started = async {
        let producer = reach
            .ask(|| Producer::start(Arc::clone(cluster), settings.clone()))
            .await?;
        if look_up && reach.ask(|| known::is_compacted(cluster, &topic)).await? {
            return Err(PipelineError::Setting(format!(
                "topic {topic} (Kafka.Topic) is compacted (cleanup.policy): Kafka removes all but the newest event of a symbol from it, so what was published cannot be told; name another topic, or publish without looking (--republish)"
            )));
        }
        Ok(producer)
    };
    let producer = tokio::select! {
        producer = started => producer?,
        () = stop.requested() => return Ok(()),
    };
    let state = config.state.directory.clone();
    let mut half = Publisher {
        transactional: settings.transactional_id.is_some(),
        known: look_up.then(|| Known::new(cluster, &topic, state)),
        cluster,
        topic,
        settings,
        reach: &reach,
        one_shot,
        producer,
        flights: Flights::default(),
        left: options.count,
        progress,
        value: Vec::with_capacity(256),
        open: None,
    };
    let outcome = tokio::select! {
        outcome = half.pump(source.as_mut(), stop) => outcome,
        lost = reach.watch() => Err(lost),
    };
    // Whatever ended it: what was taken is sent, as far as the time allows.
    let drained = half.finish(stop.deadline(), outcome.is_ok()).await;
    if half.flights.is_empty() {
        source.settled();
    }
    outcome?;
    if !drained? {
        return Err(stop.overdue().await);
    }
    Ok(())
}

/// A transaction that was begun.
struct Open {
    since: Instant,
    events: usize,
}

struct Publisher<'a> {
    cluster: &'a Arc<Cluster>,
    topic: Arc<str>,
    settings: producer::Settings,
    reach: &'a Reach,
    one_shot: bool,
    transactional: bool,
    producer: Producer,
    known: Option<Known>,
    flights: Flights,
    left: Option<u64>,
    progress: &'a watch::Sender<Published>,
    value: Vec<u8>,
    open: Option<Open>,
}

impl Publisher<'_> {
    async fn pump(&mut self, source: &mut dyn Source, stop: &Stop) -> Result<(), PipelineError> {
        while self.left != Some(0) {
            let next = self.flights.next_outcome();
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
                        self.commit().await?;
                    }
                }
                Some(Err(error)) => tell(error)?,
                None if transaction => self.commit().await?,
                None => {}
            }
            self.reap().await?;
            if self.left != Some(0) && self.flights.is_empty() {
                source.settled();
            }
        }
        Ok(())
    }

    async fn publish(&mut self, batch: Batch) -> Result<(), PipelineError> {
        if let Some(known) = &mut self.known {
            known.learn(&batch.events, Utc::now()).await?;
        }
        let mut skipped = 0;
        let offer = Offer::new(batch);
        for place in 0..offer.batch.events.len() {
            if self.left == Some(0) {
                break;
            }
            if let Some(known) = &mut self.known
                && !known.offer(&offer.batch.events[place].trade_id)?
            {
                skipped += 1;
                continue;
            }
            self.send(&offer, place).await?;
            if let Some(left) = &mut self.left {
                *left -= 1;
            }
            if place % REAP_EVERY == REAP_EVERY - 1 {
                self.reap().await?;
            }
        }
        self.progress.send_modify(|done| {
            done.duplicates_skipped += skipped;
            done.bad_bars += offer.batch.bad.total();
        });
        Ok(())
    }

    /// Hands an event to the producer; one that gave up is replaced first.
    async fn send(&mut self, offer: &Arc<Offer>, place: usize) -> Result<(), PipelineError> {
        while !self.try_send(offer, place).await? {
            self.recover().await?;
        }
        Ok(())
    }

    /// As [`Self::send`]; `false` when the producer gave up.
    async fn try_send(&mut self, offer: &Arc<Offer>, place: usize) -> Result<bool, PipelineError> {
        let event = &offer.batch.events[place];
        self.value.clear();
        event.write_json(&mut self.value);
        let record = Record {
            key: Some(event.symbol.as_bytes()),
            value: Some(&self.value),
            headers: &[(SOURCE_HEADER, offer.batch.origin.as_bytes())],
            timestamp_ms: Utc::now().timestamp_millis(),
        };
        match self.producer.send(&record).await {
            Ok(delivery) => {
                self.flights.push(Flight {
                    offer: Arc::clone(offer),
                    place,
                    delivery,
                });
                if self.transactional {
                    self.open.get_or_insert_with(Open::now).events += 1;
                }
                Ok(true)
            }
            Err(SendError::GaveUp { .. }) => Ok(false),
            Err(SendError::Fatal { topic, code }) => Err(match self.transaction_error(code) {
                Some(error) => error.into(),
                None => SendError::Fatal { topic, code }.into(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts what was acknowledged, and deals with what was given up. Events of a transaction count when it does.
    async fn reap(&mut self) -> Result<(), PipelineError> {
        while self.open.is_none() && !self.count()? {
            self.recover().await?;
        }
        Ok(())
    }

    /// Counts what was acknowledged; `false` when something was given up.
    fn count(&mut self) -> Result<bool, PipelineError> {
        let mut acknowledged = 0;
        let fine = loop {
            match self.flights.pop_acknowledged() {
                Ok(None) => break true,
                Ok(Some((flight, place))) => {
                    acknowledged += 1;
                    if let Some(known) = &mut self.known {
                        known.acknowledged(&flight.event().trade_id, &place)?;
                    }
                }
                Err(()) => break false,
            }
        };
        if acknowledged > 0 {
            self.progress
                .send_modify(|done| done.events += acknowledged);
            if let Some(known) = &mut self.known {
                known.save(false)?;
            }
        }
        Ok(fine)
    }

    /// Commits what was sent since the last time, all of it.
    async fn commit(&mut self) -> Result<(), PipelineError> {
        if self.open.is_some() {
            self.producer.flush().await;
            if let Some(source) = self.flights.failure() {
                return Err(self.not_acknowledged(source));
            }
            self.producer.commit().await?;
            self.open = None;
            self.count()?;
        }
        Ok(())
    }

    /// What it means that events were given up because of `source`.
    fn not_acknowledged(&self, source: DeliveryError) -> PipelineError {
        let told = match source {
            DeliveryError::Fatal { code, .. } => self.transaction_error(code),
            // Of a batch that is refused for its own sake, its error says more.
            DeliveryError::Refused { code, .. } => self
                .transaction_error(code)
                .filter(|error| matches!(error, TransactionError::Fenced { .. })),
            _ => None,
        };
        if let Some(error) = told {
            return error.into();
        }
        let events = self.flights.failed();
        PipelineError::Delivery { events, source }
    }

    /// What it means for the transactions, if there are any, that the producer cannot go on because of `code`.
    fn transaction_error(&self, code: ErrorCode) -> Option<TransactionError> {
        let id = self.settings.transactional_id.as_ref()?;
        Some(TransactionError::new(id, code))
    }

    /// Begins anew after something was given up: looks up what may have been written, and offers the rest again, in
    /// order.
    async fn recover(&mut self) -> Result<(), PipelineError> {
        loop {
            // At once, so that everything is decided: what is not acknowledged now is offered again.
            self.producer.close(Instant::now()).await;
            let failure = self.flights.failure();
            match failure {
                Some(source @ DeliveryError::TimedOut { .. })
                    if !self.one_shot && !self.transactional =>
                {
                    tracing::error!("{source}; looking up what was written, and trying again");
                }
                Some(DeliveryError::Stopped { .. }) | None if !self.transactional => {}
                None => {
                    let topic = Arc::clone(&self.topic);
                    return Err(SendError::GaveUp { topic }.into());
                }
                Some(source) => return Err(self.not_acknowledged(source)),
            }
            let flights = std::mem::take(&mut self.flights);
            let (doubtful, since) = flights.doubtful();
            let found = match since {
                Some(since) => known::find(self.cluster, &self.topic, &doubtful, since).await?,
                None => Default::default(),
            };
            let start = || Producer::start(Arc::clone(self.cluster), self.settings.clone());
            self.producer = self.reach.ask(start).await?;
            let mut again = true;
            let mut published = 0;
            for mut flight in flights {
                let place = match flight.delivery.outcome() {
                    Some(Ok(place)) => Some(place),
                    _ if found.contains(&known::number(&flight.event().trade_id)) => {
                        Some(flight.place_without_offset())
                    }
                    _ => None,
                };
                match place {
                    Some(place) => {
                        published += 1;
                        if let Some(known) = &mut self.known {
                            known.acknowledged(&flight.event().trade_id, &place)?;
                        }
                    }
                    None if again => {
                        again = self.try_send(&flight.offer, flight.place).await?;
                        if !again {
                            flight.never_sent();
                            self.flights.push(flight);
                        }
                    }
                    None => {
                        flight.never_sent();
                        self.flights.push(flight);
                    }
                }
            }
            self.progress.send_modify(|done| done.events += published);
            if again {
                return Ok(());
            }
        }
    }

    /// Sends and commits what was taken, as far as the time allows; says whether that was everything.
    async fn finish(&mut self, deadline: Instant, commit: bool) -> Result<bool, PipelineError> {
        if self.transactional && self.open.is_some() {
            let committed = async {
                match commit {
                    true => self.commit().await,
                    false => Ok(()),
                }
            };
            if let Ok(committed) = tokio::time::timeout_at(deadline.into(), committed).await {
                committed?;
            }
        }
        let mut drained = self.producer.close(deadline).await;
        if self.open.is_some() {
            // What may still be on its way is not to arrive behind an abort. Then the next start takes it back, or the
            // coordinator when the transaction's time is over.
            if self.flights.doubtful().1.is_none() {
                self.producer.abort(deadline).await;
            }
            drained = false;
        } else {
            self.count()?;
        }
        if let Some(known) = &mut self.known {
            known.save(true)?;
        }
        match self.flights.failure() {
            Some(source) if commit && !matches!(source, DeliveryError::Stopped { .. }) => {
                Err(self.not_acknowledged(source))
            }
            _ => Ok(drained),
        }
    }
}

/// How many events a transaction takes before it is committed between two polls.
const TRANSACTION_EVENTS: usize = 100_000;

/// For how long a transaction is kept open while polls bring events without a pause.
const TRANSACTION_TIME: std::time::Duration = std::time::Duration::from_millis(500);

impl Open {
    fn now() -> Self {
        Self {
            since: Instant::now(),
            events: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.events >= TRANSACTION_EVENTS || self.since.elapsed() >= TRANSACTION_TIME
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
