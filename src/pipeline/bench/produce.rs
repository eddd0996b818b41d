//! The producing half under load: events of a simulated market, as fast as possible or at a given rate.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;

use super::{Bench, Percentiles};
use crate::{
    pipeline::{PipelineError, Stop, options::BenchOptions, reach::Reach},
    producer::{Delivery, Producer, Record, Settings},
    source::{
        Source,
        simulated::{Seed, Settings as Market, Simulated},
    },
    wire::cluster::Cluster,
};

/// The market's symbols, and so the number of keys.
const SYMBOLS: [&str; 8] = [
    "AAPL", "AMZN", "GOOGL", "IBM", "META", "MSFT", "NVDA", "TSLA",
];

/// How many events' latencies are looked at: enough for the last of a thousand to be many.
const SAMPLES: u64 = 200_000;

/// Hands over `options.count` events and waits until all are acknowledged.
pub(super) async fn produce(
    cluster: &Arc<Cluster>,
    settings: Settings,
    options: &BenchOptions,
    stop: &Stop,
    reach: &Reach,
) -> Result<Bench, PipelineError> {
    let producer = reach
        .ask(|| Producer::start(Arc::clone(cluster), settings.clone()))
        .await?;
    let mut market = Simulated::new(Market {
        symbols: SYMBOLS.iter().map(|&symbol| symbol.into()).collect(),
        rate: options.rate,
        seed: Seed::Random {
            seed: rand::random(),
            now: Utc::now(),
        },
    })?;
    let every = options.count.div_ceil(SAMPLES);
    let mut sampled: Vec<(Instant, Delivery)> = Vec::new();
    let (mut published, mut bytes) = (0, 0);
    let mut value = Vec::new();
    let mut last = None;
    let mut started = None;
    'all: while published < options.count && !stop.is_requested() {
        let Some(batch) = market.poll().await? else {
            break;
        };
        let started = *started.get_or_insert_with(Instant::now);
        for event in &batch.events {
            if published == options.count {
                break 'all;
            }
            value.clear();
            event.write_json(&mut value);
            let record = Record {
                key: Some(event.symbol.as_bytes()),
                value: Some(&value),
                headers: &[],
                timestamp_ms: Utc::now().timestamp_millis(),
            };
            // Looking at the clock costs as much as handing over: only those that are looked at do.
            let at = match published % every {
                0 => Instant::now(),
                _ => started,
            };
            let delivery = producer.send(&record).await?;
            if published % every == 0 {
                sampled.push((at, delivery));
            } else {
                last = Some(delivery);
            }
            published += 1;
            bytes += (event.symbol.len() + value.len()) as u64;
        }
    }
    producer.flush().await;
    if settings.transactional_id.is_some() {
        producer.commit().await?;
    }
    let took = started.map_or(Duration::ZERO, |started| started.elapsed());
    let failed = |source| PipelineError::Delivery {
        events: 1,
        first: None,
        source,
    };
    if let Some(last) = last {
        last.wait().await.map_err(failed)?;
    }
    let mut times = Vec::with_capacity(sampled.len());
    for (at, delivery) in sampled {
        delivery.wait().await.map_err(failed)?;
        times.extend(delivery.decided().map(|decided| decided.duration_since(at)));
    }
    producer.close(stop.deadline()).await;
    Ok(Bench {
        published,
        bytes,
        took,
        latency: Percentiles::of(times),
    })
}
