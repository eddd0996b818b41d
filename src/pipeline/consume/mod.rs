//! The consuming half, from opening the directory to leaving the group.
//!
//! ```text
//!  open the directory ──► fence its former member ──► committed offsets ──► recover ──► session
//!         ▲                                                                               │
//!         └──────────────────── the topic was deleted and made anew ──────────────────────┘
//! ```
//!
//! The former incarnation is fenced before anything is asked: a commit that still sits in a dead process's socket could
//! land after the question, and rows would be lost.

mod as_sink;
mod assignment;
mod commits;
mod counters;
pub(crate) mod dead_letter_topic;
mod file_closer;
mod flush_timer;
mod intake;
mod late_commits;
mod open_transactions;
mod rebalance;
mod session;
mod sink_thread;
mod start_positions;
mod unreadable_partition;
mod watchdog;

pub(crate) use as_sink::as_sink;

pub(crate) use dead_letter_topic::{NOTE, OFFSET, PARTITION, REASON, TOPIC};

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::watch;

use super::error::PipelineError;
use super::reachability::{Reachability, Told};
use super::settings;
use super::stop::Stop;
use super::summary::Written;
use crate::{
    config::{AutoOffsetReset, Config},
    consumer::{self, ConsumeError, Consumer, Former},
    sink::Verdict,
    wire::{
        cluster::{Cluster, Topic},
        records::Scratch,
    },
};
use assignment::Assignment;
use counters::Counters;
use dead_letter_topic::DeadLetterTopic;
use file_closer::FileCloser;
use flush_timer::FlushTimer;
use late_commits::LateCommits;
use open_transactions::OpenTransactions;
use session::Session;
use sink_thread::SinkThread;
use start_positions::SlowLeaders;
use watchdog::Watchdog;

/// What the consuming half is asked to do.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerTask {
    /// Whether the command ends by itself, and so gives up on a cluster that cannot be reached.
    pub(crate) one_shot: bool,
    /// Stop after exactly so many records.
    pub(crate) count: Option<u64>,
    /// Where a group without offsets begins, when that was asked for in this run only.
    pub(crate) from: Option<AutoOffsetReset>,
    /// Whether a topic that is not there is made on first use, because the other half is about to publish to it.
    pub(crate) create_topic: bool,
    /// What was said of brokers that cannot be reached.
    pub(crate) told: Told,
}

/// Consumes until the stop is asked for, `count` is reached, or `at_end` turned true and the ends of then are reached.
pub(crate) async fn consume(
    config: &Config,
    cluster: &Arc<Cluster>,
    options: &ConsumerTask,
    stop: &Stop,
    at_end: watch::Receiver<bool>,
    progress: &watch::Sender<Written>,
) -> Result<(), PipelineError> {
    let reach = Reachability::new(cluster, options.one_shot).sharing(&options.told);
    let mut left = options.count;
    loop {
        let prepared = prepare(config, cluster, options, &reach);
        let (writer, topic, recovered) = tokio::select! {
            prepared = prepared => prepared?,
            lost = reach.watch() => return Err(lost),
            () = stop.requested() => return Ok(()),
        };
        let mut consumer = Consumer::new(Arc::clone(cluster), settings::consumer(config, topic.id));
        let memory = writer.clone();
        consumer.enter(move |member_id| memory.remember_member(member_id));
        let watchdog = Watchdog::default();
        let mut session = Session {
            config,
            cluster,
            consumer,
            writer,
            stop,
            at_end: at_end.clone(),
            left,
            from: options.from,
            count: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
            counters: Counters::new(progress),
            file_closer: FileCloser::new(stop),
            flush_timer: FlushTimer::new(config.output.commit_interval),
            scratch: Scratch::default(),
            watchdog: watchdog.clone(),
            assignment: Assignment::new(topic.id, recovered),
            late_commits: LateCommits::default(),
            look_again: None,
            ask_ends_at: None,
            misled: Vec::new(),
            say_again: None,
            open_transactions: OpenTransactions::new(),
            slow_leaders: SlowLeaders::default(),
        };
        let ended = tokio::select! {
            ended = session.run() => ended,
            lost = reach.watch() => Err(lost),
            () = watchdog.watch(config.kafka.max_poll_interval) => Ok(()),
        };
        left = session.left;
        let mut unreadable = session.unreadable();
        if options.one_shot && unreadable.is_ok() {
            unreadable = session.was_misled();
        }
        let gone = session.leave(ended.is_ok()).await;
        match ended {
            Ok(()) => return gone.and(unreadable),
            Err(PipelineError::Consumer(error @ ConsumeError::MadeAnew { .. })) => {
                tracing::warn!("{error}; continuing with the new one");
            }
            Err(error) => return Err(error),
        }
    }
}

/// Opens the directory and resolves what the former process left open.
async fn prepare(
    config: &Config,
    cluster: &Arc<Cluster>,
    options: &ConsumerTask,
    reach: &Reachability,
) -> Result<(SinkThread, Arc<Topic>, bool), PipelineError> {
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
            "the brokers of Kafka.BootstrapServers do not report a cluster id; Kafka 0.10.1 or later is needed"
                .to_owned(),
        )
    })?;
    let binding = settings::binding(config, cluster_id, &topic);
    let writer = SinkThread::open(settings::sink(config)?, binding).await?;
    if let Some(name) = dead_letter_topic::topic(config)? {
        let patient = !options.one_shot;
        let letters = DeadLetterTopic::start(config, cluster, name, &topic, reach, patient).await?;
        writer
            .with(|sink| sink.divert_dead_letters(Box::new(letters)))
            .await?;
    }
    let (former, known) = writer
        .with(|sink| (sink.former_member().cloned(), sink.known_partitions()))
        .await?;
    let instance = config.kafka.group_instance_id.as_deref();
    if let Some(former) = former {
        let former = Former {
            group: &former.group,
            member_id: &former.member_id,
            instance,
        };
        consumer::fence(cluster, former).await?;
    }
    // A static member's predecessor is fenced only when this one has joined.
    let recovered = instance.is_none();
    if recovered {
        recover(config, cluster, &writer, known).await?;
    }
    if config.kafka.auto_offset_reset == AutoOffsetReset::Latest {
        meet(config, cluster, &writer, &topic).await?;
    }
    Ok((writer, topic, recovered))
}

/// Where the group has committed nothing, it begins now: partitions that appear from now on are read from their beginning,
/// though it may take a while until this member's first commit says so.
async fn meet(
    config: &Config,
    cluster: &Arc<Cluster>,
    writer: &SinkThread,
    topic: &Topic,
) -> Result<(), PipelineError> {
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let (group, name) = (&config.kafka.group_id, &config.kafka.topic);
    let all: Vec<i32> = (0..count).collect();
    let committed = consumer::committed(cluster, group, name, &all).await?;
    let committed = committed
        .into_iter()
        .map(|(partition, committed)| (partition, as_sink(committed)))
        .collect();
    if writer
        .with(move |sink| sink.first_meets(&committed, count))
        .await?
    {
        tracing::debug!(group, partitions = count, "the group begins");
    }
    Ok(())
}

/// Asks what was committed, and takes out the rows whose commit did not count.
pub(super) async fn recover(
    config: &Config,
    cluster: &Arc<Cluster>,
    writer: &SinkThread,
    partitions: BTreeSet<i32>,
) -> Result<(), PipelineError> {
    let partitions: Vec<i32> = partitions.into_iter().collect();
    let committed = if partitions.is_empty() {
        Default::default()
    } else {
        let (group, topic) = (&config.kafka.group_id, &config.kafka.topic);
        consumer::committed(cluster, group, topic, &partitions).await?
    };
    let committed = committed
        .into_iter()
        .map(|(partition, committed)| (partition, as_sink(committed)))
        .collect();
    let recovery = writer.with(move |sink| sink.recover(&committed)).await??;
    let counted = |verdict: &Verdict| *verdict == Verdict::Counted;
    if recovery.bytes_removed > 0 {
        tracing::info!(
            bytes_removed = recovery.bytes_removed,
            "recovered: removed rows whose commit had not taken effect; they are read again"
        );
    } else if !recovery.verdicts.is_empty() && recovery.verdicts.values().all(counted) {
        tracing::debug!(
            partitions = recovery.verdicts.len(),
            "recovered: the last commit of the previous process took effect; its rows stay"
        );
    }
    Ok(())
}
