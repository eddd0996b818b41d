//! What a load test measured, and how it is shown.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::latency::Percentiles;
use crate::producer::Volume;

/// What a load test measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Bench {
    /// Events that the brokers acknowledged.
    pub published: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// What they came to in batches.
    pub volume: Volume,
    /// From the first event handed over to the last one acknowledged.
    pub took: Duration,
    /// From an event's handing over to its acknowledgement.
    pub latency: Percentiles,
}

impl Bench {
    fn per_second(&self, amount: u64) -> f64 {
        amount as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// How many times as long the batches would be without compression.
    fn ratio(&self) -> f64 {
        self.volume.plain as f64 / (self.volume.packed as f64).max(1.0)
    }

    pub(crate) fn json(&self) -> Value {
        let rounded = |value: f64| json!((value * 1_000.0).round() / 1_000.0);
        let mut latency = Map::new();
        for (name, time) in self.latency.named() {
            latency.insert(name.into(), rounded(time.as_secs_f64() * 1_000.0));
        }
        json!({
            "published": self.published,
            "bytes": self.bytes,
            "seconds": rounded(self.took.as_secs_f64()),
            "events_per_second": rounded(self.per_second(self.published)),
            "megabytes_per_second": rounded(self.per_second(self.bytes) / 1e6),
            "batch_bytes": self.volume.packed,
            "compression_ratio": rounded(self.ratio()),
            "latency_ms": latency,
        })
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{} events published in {:.2} s\n\n{:<22}{:>14.0}\n{:<22}{:>14.1}\n{:<22}{:>14.2}\n",
            self.published,
            self.took.as_secs_f64(),
            "events/s",
            self.per_second(self.published),
            "MB/s",
            self.per_second(self.bytes) / 1e6,
            "compression ratio",
            self.ratio(),
        );
        for (name, time) in self.latency.named() {
            let name = format!("acknowledged {}", name.replace('_', "."));
            text += &format!("{name:<22}{:>11.2} ms\n", time.as_secs_f64() * 1_000.0);
        }
        text
    }
}
