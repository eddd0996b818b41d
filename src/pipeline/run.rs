//! The commands `produce`, `consume` and `run`: the halves, a stop, and what they did.

use std::time::Instant;

use tokio::sync::watch;

use super::consume::{self, ConsumerTask};
use super::error::{Fault, PipelineError};
use super::produce::{PublishOptions, publish};
use super::reachability::Told;
use super::stop::Stop;
use super::stop_on_key::Keys;
use super::summary::{Published, Summary, Written};
use super::{Report, options, progress, settings};
use crate::{config::Config, source::SourceError};

/// Market data into Kafka.
pub async fn produce(config: &Config, options: &options::ProduceOptions, stop: &Stop) -> Report {
    let started = Instant::now();
    let cluster = settings::connect(config);
    let progress = watch::Sender::default();
    let options = PublishOptions {
        source: options.source.clone(),
        count: options.count,
        sole: true,
        told: Told::default(),
    };
    let outcome = tokio::select! {
        outcome = publish(config, &cluster, &options, stop, &progress) => outcome,
        late = stop.overdue() => Err(late),
    };
    report(started, Some(*progress.borrow()), None, outcome)
}

/// Kafka into CSV files.
pub async fn consume(config: &Config, options: &options::ConsumeOptions, stop: &Stop) -> Report {
    let started = Instant::now();
    let cluster = settings::connect(config);
    let written = watch::Sender::default();
    let (_keep, at_end) = watch::channel(options.until_end);
    let options = ConsumerTask {
        one_shot: options.until_end || options.count.is_some(),
        count: options.count,
        from: options.from,
        create_topic: false,
        told: Told::default(),
    };
    let outcome = tokio::select! {
        outcome = consume::consume(config, &cluster, &options, stop, at_end, &written) => outcome,
        () = progress::show(&written) => Ok(()),
        late = stop.overdue() => Err(late),
    };
    report(started, None, Some(*written.borrow()), outcome)
}

/// Both halves in one process. When the producing half is done by itself, the consuming half goes on to the end that
/// the topic has then.
pub async fn run(config: &Config, options: &options::RunOptions, stop: &Stop) -> Report {
    let started = Instant::now();
    let keys = options.stop_on_key.then(|| Keys::listen(stop)).flatten();
    let cluster = settings::connect(config);
    let published = watch::Sender::default();
    let written = watch::Sender::default();
    let (at_end_sender, at_end) = watch::channel(options.until_end);
    let told = Told::default();
    let publishing = PublishOptions {
        source: options.source.clone(),
        count: options.count,
        sole: true,
        told: told.clone(),
    };
    let one_shot = publishing.one_shot() || options.until_end;
    let consuming = ConsumerTask {
        one_shot,
        count: None,
        from: options.from,
        create_topic: true,
        told,
    };
    let both = async {
        let produce = async {
            let outcome = publish(config, &cluster, &publishing, stop, &published).await;
            finish_producing(outcome, stop, &at_end_sender)
        };
        let consume = async {
            let outcome =
                consume::consume(config, &cluster, &consuming, stop, at_end, &written).await;
            // Without its other half, the producing one would go on unseen.
            stop.request();
            outcome
        };
        let (produced, consumed) = tokio::join!(produce, consume);
        produced.and(consumed)
    };
    let outcome = tokio::select! {
        outcome = both => outcome,
        () = progress::show(&written) => Ok(()),
        late = stop.overdue() => Err(late),
    };
    drop(keys);
    let figures = (*published.borrow(), *written.borrow());
    report(started, Some(figures.0), Some(figures.1), outcome)
}

/// What the end of the producing half means for the consuming one.
fn finish_producing(
    outcome: Result<(), PipelineError>,
    stop: &Stop,
    at_end: &watch::Sender<bool>,
) -> Result<(), PipelineError> {
    match outcome {
        Ok(()) => {
            at_end.send_replace(true);
            Ok(())
        }
        // A key that the service refuses is no reason to stop reading what is on the topic.
        Err(PipelineError::Source(error)) if is_about_the_key(&error) => {
            tracing::error!(
                "{error}; publishing has stopped; what is on the topic is still written to files"
            );
            Ok(())
        }
        Err(error) => {
            stop.request();
            Err(error)
        }
    }
}

fn is_about_the_key(error: &SourceError) -> bool {
    error.class() == crate::source::ErrorClass::WrongKey
}

pub(crate) fn report(
    started: Instant,
    published: Option<Published>,
    written: Option<Written>,
    outcome: Result<(), PipelineError>,
) -> Report {
    Report {
        summary: Summary {
            published,
            written,
            replayed: None,
            took: started.elapsed(),
        },
        error: outcome.err(),
    }
}

impl Report {
    /// What went wrong, as the exit code sees it.
    pub fn fault(&self) -> Option<Fault> {
        self.error.as_ref().map(PipelineError::fault)
    }
}
