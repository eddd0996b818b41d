//! Where partitions begin and end (ListOffsets), asked of their leaders.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::{join, join_all};
use tokio::time::timeout;

use crate::{
    consumer::{ConsumeError, Isolation, agreed, retry::Streak},
    wire::{
        cluster::{Cluster, Lane, Topic},
        error::{CallError, ErrorCode, Remedy},
        messages::{
            ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
            Request,
        },
    },
};

/// Which end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The first offset that is still there.
    Earliest,
    /// The offset behind the last record that can be read: the high watermark, or under read_committed the last stable
    /// offset.
    Latest,
    /// The first record that is not older than this, in milliseconds since 1970 (KIP-79); where there is none, `i64::MAX`.
    Since(i64),
}

impl Bound {
    /// The timestamp that stands for it.
    fn timestamp(self) -> i64 {
        match self {
            // Negative times have a meaning of their own.
            Self::Since(timestamp) => timestamp.max(0),
            Self::Earliest => -2,
            Self::Latest => -1,
        }
    }
}

/// Consumers are no replicas.
const NO_REPLICA: i32 = -1;

/// How long [`extents`] waits for the slowest leader.
const AT_ONCE: Duration = Duration::from_secs(10);

/// What became of one question.
type Answer = (Vec<i32>, Result<ListOffsetsResponse, CallError>);

/// The bound of each of `partitions`, asking new leaders and trying for ever.
///
/// Where reading begins and ends is decided by this, so it is [agreed].
///
/// # Errors
/// When a broker refuses for good (an ACL), or the topic does not exist.
pub async fn list_offsets(
    cluster: &Arc<Cluster>,
    topic: &str,
    isolation: Isolation,
    partitions: &[i32],
    bound: Bound,
) -> Result<BTreeMap<i32, i64>, ConsumeError> {
    agreed::offsets(|| list_once(cluster, topic, isolation, partitions, bound)).await
}

async fn list_once(
    cluster: &Arc<Cluster>,
    topic: &str,
    isolation: Isolation,
    partitions: &[i32],
    bound: Bound,
) -> Result<BTreeMap<i32, i64>, ConsumeError> {
    let mut found = BTreeMap::new();
    let mut streak = Streak::new(format!("learn where topic {topic} begins and ends"));
    let mut described = cluster.topic(topic).await;
    loop {
        let trouble = match described {
            Ok(topology) => {
                let missing = partitions
                    .iter()
                    .copied()
                    .filter(|partition| !found.contains_key(partition));
                let limit = cluster.settings().request_timeout;
                let asked = ask(cluster, &topology, isolation, missing, bound, limit);
                let mut trouble = None;
                for (of, answer) in asked.await {
                    match answer {
                        Ok(answer) => {
                            let taken = take(topic, &of, &answer, bound, &mut found)?;
                            trouble = trouble.or(taken.map(|code| code.to_string()));
                        }
                        Err(error @ CallError::Unsupported { .. }) => return Err(error.into()),
                        Err(error) => trouble = Some(error.to_string()),
                    }
                }
                let left = partitions
                    .iter()
                    .filter(|partition| !found.contains_key(partition));
                let left: Vec<_> = left.collect();
                if left.is_empty() {
                    streak.over();
                    return Ok(found);
                }
                trouble.unwrap_or_else(|| format!("partitions {left:?} have no leader"))
            }
            Err(error) if error.is_retriable() => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        streak.failed(&trouble).await;
        described = cluster.refresh_topic(topic).await;
    }
}

/// The bound of those of `partitions` whose leaders say it at once: asked once, for `patience` at most, and quietly.
pub async fn glance(
    cluster: &Arc<Cluster>,
    topic: &str,
    isolation: Isolation,
    partitions: &[i32],
    bound: Bound,
    patience: Duration,
) -> BTreeMap<i32, i64> {
    let mut found = BTreeMap::new();
    let Ok(Ok(topology)) = timeout(patience, cluster.topic(topic)).await else {
        return found;
    };
    let partitions = partitions.iter().copied();
    for (of, answer) in ask(cluster, &topology, isolation, partitions, bound, patience).await {
        if let Ok(answer) = answer {
            // What is refused is asked for again by whoever has to know it.
            let _ = take(topic, &of, &answer, bound, &mut found);
        }
    }
    found
}

/// Where these partitions begin and end, of those whose leaders say it at once.
pub(in crate::consumer) async fn extents(
    cluster: &Arc<Cluster>,
    topic: &str,
    partitions: &[i32],
) -> BTreeMap<i32, (i64, i64)> {
    let uncommitted = Isolation::ReadUncommitted;
    let list = |bound| glance(cluster, topic, uncommitted, partitions, bound, AT_ONCE);
    let (starts, ends) = join(list(Bound::Earliest), list(Bound::Latest)).await;
    let whole = |(partition, start)| Some((partition, (start, *ends.get(&partition)?)));
    starts.into_iter().filter_map(whole).collect()
}

/// Where these partitions begin and end, however long that takes: as [`list_offsets`].
///
/// # Errors
/// As there.
pub async fn limits(
    cluster: &Arc<Cluster>,
    topic: &str,
    partitions: &[i32],
) -> Result<BTreeMap<i32, (i64, i64)>, ConsumeError> {
    let all = Isolation::ReadUncommitted;
    let starts = list_offsets(cluster, topic, all, partitions, Bound::Earliest).await?;
    let ends = list_offsets(cluster, topic, all, partitions, Bound::Latest).await?;
    let whole = |(partition, start)| Some((partition, (start, *ends.get(&partition)?)));
    Ok(starts.into_iter().filter_map(whole).collect())
}

/// Asks the leaders side by side, each for `limit` at most; partitions without a leader are left out.
async fn ask(
    cluster: &Arc<Cluster>,
    topology: &Topic,
    isolation: Isolation,
    partitions: impl Iterator<Item = i32>,
    bound: Bound,
    limit: Duration,
) -> Vec<Answer> {
    let mut by_leader: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        if let Some(leader) = topology.leader(partition) {
            by_leader.entry(leader).or_default().push(partition);
        }
    }
    let questions = by_leader
        .into_iter()
        .map(|(leader, partitions)| async move {
            let request = ListOffsetsRequest {
                replica_id: NO_REPLICA,
                isolation_level: isolation.level(),
                topics: vec![ListOffsetsTopic {
                    name: (&*topology.name).into(),
                    partitions: partitions
                        .iter()
                        .map(|&partition_index| ListOffsetsPartition {
                            partition_index,
                            timestamp: bound.timestamp(),
                            ..Default::default()
                        })
                        .collect(),
                }],
            };
            let answer = timeout(limit, cluster.request(leader, Lane::Control, &request)).await;
            let late = |_| {
                Err(CallError::TimedOut {
                    address: format!("broker {leader}"),
                    api: ListOffsetsRequest::NAME,
                    after: limit,
                })
            };
            (partitions, answer.unwrap_or_else(late))
        });
    join_all(questions).await
}

/// Takes over the offsets of an answer; says what trouble was in it that passes.
fn take(
    topic: &str,
    asked: &[i32],
    answer: &ListOffsetsResponse,
    bound: Bound,
    found: &mut BTreeMap<i32, i64>,
) -> Result<Option<ErrorCode>, ConsumeError> {
    let mut trouble = None;
    let partitions = answer
        .topics
        .iter()
        .filter(|answered| answered.name == *topic)
        .flat_map(|answered| &answered.partitions)
        .filter(|answered| asked.contains(&answered.partition_index));
    for partition in partitions {
        match ErrorCode::check(partition.error_code) {
            Ok(()) if partition.offset >= 0 => {
                found.insert(partition.partition_index, partition.offset);
            }
            Ok(()) if matches!(bound, Bound::Since(_)) => {
                found.insert(partition.partition_index, i64::MAX);
            }
            Ok(()) => trouble = Some(ErrorCode::OFFSET_NOT_AVAILABLE),
            Err(code) if code.remedy() != Remedy::None => trouble = Some(code),
            Err(code) => {
                return Err(ConsumeError::Partition {
                    topic: topic.into(),
                    partition: partition.partition_index,
                    api: "ListOffsets",
                    code,
                });
            }
        }
    }
    Ok(trouble)
}
