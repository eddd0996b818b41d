//! `bench`: a load test of a cluster, from this machine, with the program's own producer and consumer.
//!
//! The topic is made for the test and removed at its end, unless one is named.

mod consume;
mod latency;
mod produce;
mod result;

pub use result::Bench;

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::options::BenchOptions;
use crate::pipeline::{Format, PipelineError, Reachability, Stop, settings};
use crate::{
    config::Config,
    wire::{
        cluster::{Cluster, ClusterError},
        error::{ErrorCode, Remedy},
        messages::{CreatableTopic, CreateTopicsRequest, DeleteTopicsRequest},
    },
};

use consume::Reading;
use latency::Percentiles;

/// Partitions of a topic that is made for the test.
const PARTITIONS: i32 = 3;

/// As many replicas as the brokers make by default (KIP-464).
const DEFAULT_REPLICAS: i16 = -1;

/// How long making a topic may take on the broker's side.
const TOPIC_TIMEOUT_MS: i32 = 30_000;

/// What a load test measured of each half that took part.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    published: Option<Bench>,
    read: Option<Reading>,
}

/// Puts load on the cluster, and says what it took. A topic that is made for the test is filled before it is read.
///
/// # Errors
/// When the cluster cannot be reached, or refuses the topic or an event.
pub async fn bench(
    config: &Config,
    options: &BenchOptions,
    stop: &Stop,
) -> Result<Measured, PipelineError> {
    let cluster = settings::connect(config);
    let reach = Reachability::new(&cluster, true);
    let mut settings = settings::producer(config);
    if !options.keep_topic {
        settings.topic = format!("stockflow-bench-{}", Uuid::new_v4()).into();
        reach.ask(|| create(&cluster, &settings.topic)).await?;
    }
    let topic = Arc::clone(&settings.topic);
    let work = async {
        let mut measured = Measured {
            published: None,
            read: None,
        };
        if options.produce || !options.keep_topic {
            let published = produce::produce(&cluster, settings, options, stop, &reach).await?;
            measured.published = Some(published).filter(|_| options.produce);
        }
        if options.consume && !stop.is_requested() {
            let read = consume::consume(config, &cluster, &topic, options.count, stop).await?;
            measured.read = Some(read);
        }
        Ok::<_, PipelineError>(measured)
    };
    let measured = tokio::select! {
        measured = work => measured,
        lost = reach.watch() => Err(lost),
    };
    if !options.keep_topic
        && let Err(error) = delete(&cluster, &topic).await
    {
        tracing::warn!(topic = &*topic, %error, "cannot delete the topic of the load test; delete it yourself");
    }
    measured
}

async fn create(cluster: &Cluster, topic: &str) -> Result<(), ClusterError> {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.into(),
            num_partitions: PARTITIONS,
            replication_factor: DEFAULT_REPLICAS,
            ..Default::default()
        }],
        timeout_ms: TOPIC_TIMEOUT_MS,
        ..Default::default()
    };
    let answer = cluster.request_any(&request).await?;
    for result in &answer.topics {
        match ErrorCode::check(result.error_code) {
            Ok(()) | Err(ErrorCode::TOPIC_ALREADY_EXISTS) => {}
            Err(code) => {
                return Err(ClusterError::Topic {
                    topic: topic.to_owned(),
                    code,
                });
            }
        }
    }
    // It has to have leaders before it can be written to.
    loop {
        match cluster.refresh_topic(topic).await {
            Ok(described) if described.partitions.iter().all(|of| of.leader.is_some()) => {
                return Ok(());
            }
            Ok(_) | Err(ClusterError::UnknownTopic { .. }) => {}
            Err(ClusterError::Topic { code, .. }) if code.remedy() != Remedy::None => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn delete(cluster: &Cluster, topic: &str) -> Result<(), ClusterError> {
    let request = DeleteTopicsRequest {
        topic_names: vec![topic.into()],
        timeout_ms: TOPIC_TIMEOUT_MS,
    };
    let answer = cluster.request_any(&request).await?;
    let code = answer
        .responses
        .first()
        .map_or(0, |result| result.error_code);
    ErrorCode::check(code).map_err(|code| ClusterError::Topic {
        topic: topic.to_owned(),
        code,
    })
}

impl Measured {
    /// The result as it goes to standard output, with its line end.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => {
                let published = self.published.iter().map(Bench::text);
                let parts = published.chain(self.read.iter().map(Reading::text));
                parts.collect::<Vec<_>>().join("\n")
            }
            Format::Json => {
                let mut object = match self.published.as_ref().map(Bench::json) {
                    Some(Value::Object(object)) => object,
                    _ => Map::new(),
                };
                if let Some(read) = &self.read {
                    read.add_to(&mut object);
                }
                format!("{}\n", Value::Object(object))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::summary::Written;
    use crate::producer::Volume;

    #[test]
    fn says_what_was_measured() {
        let bench = Bench {
            published: 1_000,
            bytes: 160_000,
            volume: Volume {
                plain: 170_000,
                packed: 68_000,
            },
            took: Duration::from_millis(500),
            latency: Percentiles::of((1..=1_000).map(Duration::from_millis).collect()),
        };
        let bench = Measured {
            published: Some(bench),
            read: Some(Reading {
                written: Written {
                    rows: 500,
                    committed: 500,
                    ..Written::default()
                },
                bytes: 20_000,
                took: Duration::from_secs(2),
            }),
        };
        let text = bench.render(Format::Text);
        assert!(
            text.starts_with("1000 events published in 0.50 s\n"),
            "{text}"
        );
        assert!(
            text.contains("acknowledged p99.9         999.00 ms\n"),
            "{text}"
        );
        let json: Value = serde_json::from_str(&bench.render(Format::Json)).unwrap();
        assert_eq!(json["published"], 1_000);
        assert_eq!(json["events_per_second"], 2_000.0);
        assert_eq!(json["compression_ratio"], 2.5);
        assert_eq!(json["latency_ms"]["p50"], 500.0);
        assert_eq!(json["latency_ms"]["max"], 1_000.0);
        assert!(text.contains("500 rows written, durable and committed in 2.00 s\n"));
        assert_eq!(json["rows_per_second"], 250.0);
        assert_eq!(
            (&json["seconds"], &json["consume_seconds"]),
            (&0.5.into(), &2.0.into())
        );
    }
}
