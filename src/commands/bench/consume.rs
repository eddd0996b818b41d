//! The consuming half under load: what is on the topic into CSV files of a directory of its own, which goes afterwards.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::admin;
use crate::config::Config;
use crate::pipeline::consume::{self};
use crate::pipeline::{ConsumerTask, PipelineError, Stop, Told, Written};
use crate::wire::cluster::Cluster;

/// What reading measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    /// What was written and committed.
    pub(super) written: Written,
    /// Bytes of the CSV files.
    pub(super) bytes: u64,
    /// From joining the group to leaving it, with every row durable and committed.
    pub(super) took: Duration,
}

/// A directory that goes with its owner.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(directory = %self.0.display(), %error, "cannot delete the files of the load test; delete them yourself");
        }
    }
}

/// Reads what is on the topic now, at most `count` records, as a group of its own with the settings of `consume`.
pub(super) async fn consume(
    config: &Config,
    cluster: &Arc<Cluster>,
    topic: &str,
    count: u64,
    stop: &Stop,
) -> Result<Reading, PipelineError> {
    let name = format!("stockflow-bench-{}", Uuid::new_v4());
    let scratch = Scratch(std::env::temp_dir().join(&name));
    let mut config = config.clone();
    topic.clone_into(&mut config.kafka.topic);
    config.kafka.group_id = name.clone();
    config.kafka.group_instance_id = None;
    config.kafka.auto_offset_reset = crate::config::AutoOffsetReset::Earliest;
    config.output.directory = scratch.0.clone();
    config.output.dead_letter_topic = None;
    let options = ConsumerTask {
        one_shot: true,
        count: Some(count),
        from: None,
        create_topic: false,
        told: Told::default(),
    };
    let progress = watch::Sender::default();
    let (_keep, at_end) = watch::channel(true);
    let started = Instant::now();
    let done = consume::consume(&config, cluster, &options, stop, at_end, &progress).await;
    let took = started.elapsed();
    let bytes = csv_bytes(&scratch.0);
    if let Err(error) = admin::delete(cluster, &name).await {
        tracing::debug!(group = name, %error, "cannot delete the group of the load test; delete it with stockflow group delete");
    }
    done?;
    let written = *progress.borrow();
    Ok(Reading {
        written,
        bytes,
        took,
    })
}

/// How long the data files are together.
fn csv_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with("consumed_trades_")
        })
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum()
}

impl Reading {
    fn per_second(&self, amount: u64) -> f64 {
        amount as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Adds the figures to those of the producing half.
    pub(super) fn add_to(&self, object: &mut Map<String, Value>) {
        let rounded = |value: f64| json!((value * 1_000.0).round() / 1_000.0);
        let seconds = rounded(self.took.as_secs_f64());
        object.entry("seconds").or_insert_with(|| seconds.clone());
        let figures = [
            ("rows_written", self.written.rows.into()),
            ("dead_letters", self.written.dead_letters.into()),
            ("committed", self.written.committed.into()),
            ("csv_bytes", self.bytes.into()),
            ("consume_seconds", seconds),
            (
                "rows_per_second",
                rounded(self.per_second(self.written.rows)),
            ),
            (
                "csv_megabytes_per_second",
                rounded(self.per_second(self.bytes) / 1e6),
            ),
        ];
        object.extend(figures.map(|(name, value)| (name.to_owned(), value)));
    }

    pub(super) fn text(&self) -> String {
        format!(
            "{} rows written, durable and committed in {:.2} s\n\n{:<22}{:>14.0}\n{:<22}{:>14.1}\n",
            self.written.rows,
            self.took.as_secs_f64(),
            "rows/s",
            self.per_second(self.written.rows),
            "MB/s of CSV",
            self.per_second(self.bytes) / 1e6,
        )
    }
}
