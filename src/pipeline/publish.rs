//! The producing half: polls a source, passes over what is on the topic already, publishes the rest, and counts what
//! the brokers acknowledge.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use chrono::Utc;
use tokio::sync::watch;

use super::{
    PipelineError, Stop, known::Known, options::SourceOptions, reach::Reach, settings,
    summary::Published,
};
use crate::{
    config::Config,
    event::TradeEvent,
    producer::{Delivery, DeliveryError, Producer, Record},
    source::{Batch, ErrorClass, Source, SourceError},
    wire::cluster::Cluster,
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
    let reach = Reach::new(cluster, options.one_shot());
    let started = reach.ask(|| Producer::start(Arc::clone(cluster), settings::producer(config)));
    let producer = tokio::select! {
        producer = started => producer?,
        () = stop.requested() => return Ok(()),
    };
    let known = (!options.source.republish && source.may_repeat())
        .then(|| Known::new(cluster, &config.kafka.topic));
    let mut half = Publisher {
        producer,
        known,
        in_flight: InFlight::default(),
        left: options.count,
        progress,
        value: Vec::with_capacity(256),
    };
    let outcome = tokio::select! {
        outcome = half.pump(source.as_mut(), stop) => outcome,
        lost = reach.watch() => Err(lost),
    };
    // Whatever ended it: what was taken is sent, as far as the time allows.
    let drained = half.producer.close(stop.deadline()).await;
    half.reap();
    if half.in_flight.is_settled() {
        source.settled();
    }
    outcome?;
    if let Some((events, source)) = half.in_flight.failed {
        return Err(PipelineError::Delivery { events, source });
    }
    if !drained {
        return Err(stop.overdue().await);
    }
    Ok(())
}

struct Publisher<'a> {
    producer: Producer,
    known: Option<Known>,
    in_flight: InFlight,
    left: Option<u64>,
    progress: &'a watch::Sender<Published>,
    value: Vec<u8>,
}

impl Publisher<'_> {
    async fn pump(&mut self, source: &mut dyn Source, stop: &Stop) -> Result<(), PipelineError> {
        while self.left != Some(0) {
            let polled = tokio::select! {
                biased;
                () = stop.requested() => return Ok(()),
                polled = source.poll() => polled,
            };
            match polled {
                Ok(None) => return Ok(()),
                Ok(Some(batch)) => {
                    tokio::select! {
                        biased;
                        published = self.publish(&batch) => published?,
                        // A batch that waits for memory or for a lookup does not hold up a stop; what was not
                        // handed over yet is polled again at the next start.
                        () = stop.requested() => return Ok(()),
                    }
                }
                Err(error) => tell(error)?,
            }
            self.reap();
            if let Some((events, source)) = self.in_flight.failed.take() {
                return Err(PipelineError::Delivery { events, source });
            }
            if self.left != Some(0) && self.in_flight.is_settled() {
                source.settled();
            }
        }
        Ok(())
    }

    async fn publish(&mut self, batch: &Batch) -> Result<(), PipelineError> {
        if let Some(known) = &mut self.known {
            known.learn(&batch.events, Utc::now()).await?;
        }
        let mut skipped = 0;
        for (place, event) in batch.events.iter().enumerate() {
            if self.left == Some(0) {
                break;
            }
            if self
                .known
                .as_mut()
                .is_some_and(|known| !known.insert(&event.trade_id))
            {
                skipped += 1;
                continue;
            }
            self.send(event, &batch.origin).await?;
            if let Some(left) = &mut self.left {
                *left -= 1;
            }
            if place % REAP_EVERY == REAP_EVERY - 1 {
                self.reap();
            }
        }
        self.progress.send_modify(|done| {
            done.duplicates_skipped += skipped;
            done.bad_bars += batch.bad.total();
        });
        Ok(())
    }

    async fn send(&mut self, event: &TradeEvent, origin: &str) -> Result<(), PipelineError> {
        self.value.clear();
        event.write_json(&mut self.value);
        let record = Record {
            key: Some(event.symbol.as_bytes()),
            value: Some(&self.value),
            headers: &[(SOURCE_HEADER, origin.as_bytes())],
            timestamp_ms: Utc::now().timestamp_millis(),
        };
        let delivery = self.producer.send(&record).await?;
        self.in_flight.add(delivery);
        Ok(())
    }

    fn reap(&mut self) {
        let acknowledged = self.in_flight.reap();
        if acknowledged > 0 {
            self.progress
                .send_modify(|done| done.events += acknowledged);
        }
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

/// Records whose outcome is not known yet, by batch: a batch has one outcome.
#[derive(Default)]
struct InFlight {
    batches: BTreeMap<i32, VecDeque<(Delivery, u64)>>,
    /// How many were not acknowledged, and what became of the first.
    failed: Option<(u64, DeliveryError)>,
}

impl InFlight {
    fn add(&mut self, delivery: Delivery) {
        let batches = self.batches.entry(delivery.partition()).or_default();
        match batches.back_mut() {
            Some((last, records)) if last.same_batch(&delivery) => *records += 1,
            _ => batches.push_back((delivery, 1)),
        }
    }

    /// Whether every record was acknowledged.
    fn is_settled(&self) -> bool {
        self.failed.is_none() && self.batches.values().all(VecDeque::is_empty)
    }

    /// Takes out the batches whose outcome is known; says how many records were acknowledged.
    fn reap(&mut self) -> u64 {
        let mut acknowledged = 0;
        for batches in self.batches.values_mut() {
            while let Some(outcome) = batches.front().and_then(|(delivery, _)| delivery.outcome()) {
                let records = batches.pop_front().map_or(0, |(_, records)| records);
                match outcome {
                    Ok(_) => acknowledged += records,
                    Err(error) => {
                        self.failed.get_or_insert((0, error)).0 += records;
                    }
                }
            }
        }
        acknowledged
    }
}
