//! The consuming half, from opening the directory to leaving the group.
//!
//! ```text
//!  open the directory ──► fence its former member ──► committed offsets ──► recover ──► sessions, one an assignment
//! ```
//!
//! The former incarnation is fenced before anything is asked: a commit that still sits in a dead process's socket could
//! land after the question, and rows would be lost.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::watch;

use super::{
    PipelineError, Stop,
    pace::Pace,
    reach::Reach,
    session::{Ended, Session},
    settings,
    summary::Written,
    writer::Writer,
};
use crate::{
    config::{AutoOffsetReset, Config},
    consumer::{self, Consumer},
    wire::{cluster::Cluster, records::Scratch},
};

/// What the consuming half is asked to do.
#[derive(Clone, Debug)]
pub(super) struct ConsumeOptions {
    /// Whether the command ends by itself, and so gives up on a cluster that cannot be reached.
    pub(super) one_shot: bool,
    /// Stop after exactly so many records.
    pub(super) count: Option<u64>,
    /// Where a group without offsets begins, when that was asked for in this run only.
    pub(super) from: Option<AutoOffsetReset>,
    /// Whether a topic that is not there is made on first use, because the other half is about to publish to it.
    pub(super) create_topic: bool,
}

/// Consumes until the stop is asked for, `count` is reached, or `at_end` turned true and the ends of then are reached.
pub(super) async fn consume(
    config: &Config,
    cluster: &Arc<Cluster>,
    options: &ConsumeOptions,
    stop: &Stop,
    at_end: watch::Receiver<bool>,
    progress: &watch::Sender<Written>,
) -> Result<(), PipelineError> {
    let reach = Reach::new(cluster, options.one_shot);
    let prepared = prepare(config, cluster, options, &reach);
    let writer = tokio::select! {
        prepared = prepared => prepared?,
        lost = reach.watch() => return Err(lost),
        () = stop.requested() => return Ok(()),
    };
    let consumer = Consumer::new(Arc::clone(cluster), settings::consumer(config));
    let mut session = Session {
        config,
        cluster,
        consumer,
        writer,
        stop,
        at_end,
        left: options.count,
        from: options.from,
        progress,
        settled: Written::default(),
        pace: Pace::new(config.output.commit_interval),
        scratch: Scratch::default(),
    };
    let ended = loop {
        tokio::select! {
            ended = session.run() => match ended {
                Ok(Ended::Rebalance) => {}
                Ok(Ended::Done) => break Ok(()),
                Err(error) => break Err(error),
            },
            lost = reach.watch() => break Err(lost),
        }
    };
    let left = session.leave().await;
    ended?;
    left
}

/// Opens the directory and resolves what the former process left open.
async fn prepare(
    config: &Config,
    cluster: &Arc<Cluster>,
    options: &ConsumeOptions,
    reach: &Reach,
) -> Result<Writer, PipelineError> {
    let name = &config.kafka.topic;
    let topic = reach
        .ask(|| async move {
            if options.create_topic {
                cluster.make_topic(name).await
            } else {
                cluster.refresh_topic(name).await
            }
        })
        .await?;
    let cluster_id = cluster.cluster_id().ok_or_else(|| {
        PipelineError::Setting(
            "the brokers of Kafka.BootstrapServers do not tell a cluster id; Kafka 0.10.1 or later is needed"
                .to_owned(),
        )
    })?;
    let binding = settings::binding(config, cluster_id, &topic);
    let writer = Writer::open(settings::sink(config)?, binding).await?;
    let (former, known) = writer
        .with(|sink| (sink.former_member().cloned(), sink.known_partitions()))
        .await?;
    if let Some(former) = former {
        consumer::fence(cluster, &former.group, &former.member_id).await?;
    }
    recover(config, cluster, &writer, known).await?;
    Ok(writer)
}

/// Asks what was committed, and takes out the rows whose commit did not count.
pub(super) async fn recover(
    config: &Config,
    cluster: &Arc<Cluster>,
    writer: &Writer,
    partitions: BTreeSet<i32>,
) -> Result<(), PipelineError> {
    let partitions: Vec<i32> = partitions.into_iter().collect();
    let committed = if partitions.is_empty() {
        Default::default()
    } else {
        consumer::committed(
            cluster,
            &config.kafka.group_id,
            &Arc::from(config.kafka.topic.as_str()),
            &partitions,
        )
        .await?
    };
    let committed = committed
        .into_iter()
        .map(|(partition, committed)| (partition, as_sink(committed)))
        .collect();
    let recovery = writer.with(move |sink| sink.recover(&committed)).await??;
    if !recovery.verdicts.is_empty() {
        tracing::info!(
            bytes_removed = recovery.bytes_removed,
            partitions = recovery.verdicts.len(),
            "recovered: rows whose commit did not count were taken out, and are read again"
        );
    }
    Ok(())
}

/// What was committed, as the sink knows it: the two rooms do not know each other.
pub(super) fn as_sink(committed: consumer::Committed) -> crate::sink::Committed {
    crate::sink::Committed {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata,
    }
}
