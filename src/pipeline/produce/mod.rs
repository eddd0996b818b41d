//! The producing half: polls a source, passes over what is on the topic already, and publishes the rest until the source
//! ends or a stop is asked for.
//!
//! An event that is not acknowledged within `Kafka.MessageTimeoutMs` ends a one-shot command, and with a
//! `Kafka.TransactionalId` every command: the id is taken over once, at the start, so that a producer that was fenced never fences
//! its successor. Any other command says so and goes on sending the very same batches: offered anew, an event could
//! meet its own late twin from a connection that was given up here.

mod finish;
mod in_flight;
mod publisher;
mod single_producer;
mod transaction;

use std::sync::Arc;

use tokio::sync::watch;

use super::error::PipelineError;
use super::options::SourceOptions;
use super::reachability::{Reachability, Told};
use super::settings;
use super::stop::Stop;
use super::summary::Published;
use crate::dedup::{self, LookUp, PublishedIds};
use crate::{
    config::Config,
    producer::{OnTimeout, Producer},
    source::Source,
    wire::cluster::Cluster,
};
use publisher::{Publisher, note};
use single_producer::SingleProducer;

/// What the producing half is asked to do.
#[derive(Clone, Debug)]
pub(crate) struct PublishOptions {
    /// What the source was asked to do.
    pub(crate) source: SourceOptions,
    /// Stop after so many events.
    pub(crate) count: Option<u64>,
    /// Whether it keeps others with its `State.Directory` from publishing to the topic.
    pub(crate) sole: bool,
    /// What was said of brokers that cannot be reached.
    pub(crate) told: Told,
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
pub(crate) async fn publish_from(
    mut source: Box<dyn Source>,
    config: &Config,
    cluster: &Arc<Cluster>,
    options: &PublishOptions,
    stop: &Stop,
    progress: &watch::Sender<Published>,
) -> Result<(), PipelineError> {
    let one_shot = options.one_shot();
    let reach = Reachability::new(cluster, one_shot).sharing(&options.told);
    let topic: Arc<str> = config.kafka.topic.as_str().into();
    let mut sending = settings::producer(config);
    if !one_shot && sending.transactional_id.is_none() {
        sending.on_timeout = OnTimeout::KeepTrying;
    }
    if !sending.idempotent {
        tracing::warn!(
            "Kafka.EnableIdempotence=false: events are published at least once. One whose acknowledgement is lost is sent again, \
             and can be on the topic twice, with one TradeId"
        );
    }
    let look_up = match (options.source.republish, source.is_after_the_fact()) {
        (true, _) => LookUp::Nothing,
        (false, true) => LookUp::SinceTheirTime,
        (false, false) => LookUp::All,
    };
    let repeats = source.may_repeat();
    let looks = repeats && look_up != LookUp::Nothing;
    let started = async {
        let producer = reach
            .ask(|| Producer::start(Arc::clone(cluster), sending.clone()))
            .await?;
        let topic_now = cluster.topic(&topic).await?;
        if looks && reach.ask(|| dedup::is_compacted(cluster, &topic)).await? {
            return Err(PipelineError::Setting(dedup::refusal(&topic)));
        }
        Ok((producer, topic_now))
    };
    let (producer, topic_now) = tokio::select! {
        started = started => started?,
        () = stop.requested() => return Ok(()),
    };
    source.goes_to(&settings::destination(
        config,
        cluster.cluster_id(),
        &topic_now,
    ));
    let state = config.state.directory.clone();
    if repeats {
        dedup::can_keep(&state)?;
    }
    let mut sole = None;
    if options.sole && sending.transactional_id.is_none() {
        let cluster_id = cluster.cluster_id().unwrap_or_default();
        sole = match SingleProducer::claim(&state, &cluster_id, &topic) {
            // What is never published twice needs nothing kept.
            Err(error @ PipelineError::Io { .. }) if !repeats => {
                tracing::warn!(
                    "{error}; it goes on, and a second producer of topic {topic} is not noticed"
                );
                None
            }
            claimed => Some(claimed?),
        };
    }
    let published_ids = repeats.then(|| PublishedIds::new(cluster, &topic, state, look_up));
    let id = sending.transactional_id;
    let mut half = Publisher::new(topic, producer, id, published_ids, options.count, progress);
    let outcome = tokio::select! {
        outcome = half.pump(source.as_mut(), stop) => outcome,
        lost = reach.watch() => Err(lost),
    };
    let outcome = match outcome {
        Ok(()) => half.settle_unless(stop).await,
        failed => failed,
    };
    // With --republish nothing is skipped.
    progress.send_modify(|done| {
        done.repeated_in_input = source.repeated().min(done.duplicates_skipped)
    });
    // Whatever ended it: what was taken is sent, as far as the time allows.
    let drained = half.finish(stop.deadline(), outcome.is_ok()).await;
    if half.is_settled() {
        note(source.as_mut(), stop).await;
    }
    // Another one may publish from here on.
    drop(sole);
    outcome?;
    if !drained? {
        return Err(stop.overdue().await);
    }
    Ok(())
}
