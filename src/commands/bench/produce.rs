//! The producing half under load: events of a simulated market, as fast as possible or at a given rate.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;

use super::super::options::BenchOptions;
use super::{Bench, Percentiles};
use crate::pipeline::{PipelineError, Reachability, Stop};
use crate::producer::{Delivery, Producer, Record, Settings};
use crate::source::Source;
use crate::source::simulated::{Seed, Settings as Market, Simulated};
use crate::wire::cluster::Cluster;

/// The market's symbols, and so the number of keys.
const SYMBOLS: [&str; 8] = [
    "AAPL", "AMZN", "GOOGL", "IBM", "META", "MSFT", "NVDA", "TSLA",
];

/// How many events' latencies are looked at: enough for the last of a thousand to be many.
const SAMPLES: u64 = 50_000;

/// Hands over `options.count` events and waits until all are acknowledged.
pub(super) async fn produce(
    cluster: &Arc<Cluster>,
    settings: Settings,
    options: &BenchOptions,
    stop: &Stop,
    reach: &Reachability,
) -> Result<Bench, PipelineError> {
    let producer = reach
        .ask(|| Producer::start(Arc::clone(cluster), settings.clone()))
        .await?;
    let mut market = Simulated::new(Market {
        symbols: SYMBOLS.iter().map(|&symbol| symbol.into()).collect(),
        // Whoever wants a rate wants each event at its time, not the ticks of a market.
        rate: None,
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
    let mut timestamp_ms = 0;
    'all: while published < options.count && !stop.is_requested() {
        let Some(batch) = market.poll().await? else {
            break;
        };
        let started = *started.get_or_insert_with(Instant::now);
        for event in &batch.events {
            if published == options.count || (options.rate.is_some() && stop.is_requested()) {
                break 'all;
            }
            if let Some(rate) = options.rate {
                let due = Duration::try_from_secs_f64(published as f64 / rate).unwrap_or_default();
                tokio::time::sleep_until((started + due).into()).await;
            }
            // Looking at the clock costs as much as handing over: only those that are looked at do.
            let looked_at = published % every == 0;
            let at = if looked_at { Instant::now() } else { started };
            if looked_at {
                timestamp_ms = Utc::now().timestamp_millis();
            }
            value.clear();
            event.write_json(&mut value);
            let record = Record {
                key: Some(event.symbol.as_bytes()),
                value: Some(&value),
                headers: &[],
                timestamp_ms,
            };
            let delivery = producer.send(&record).await?;
            if looked_at {
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
    let volume = producer.volume();
    producer.close(stop.deadline()).await;
    Ok(Bench {
        published,
        bytes,
        volume,
        took,
        latency: Percentiles::of(times),
    })
}
