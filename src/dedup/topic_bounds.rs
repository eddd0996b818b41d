//! What brokers are asked of a topic, apart from its records: which topic it is, and where its partitions begin and end.
//!
//! No checksum covers these answers, and what is decided by them (which directory is the topic's, from where to where it is
//! read, what is forgotten) makes doubles when it is wrong. So all of it is [agreed].

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::error::DedupError;
use super::leaders::{Epochs, Of, epochs, is_of};
use crate::{
    consumer::{self, Bound, ConsumeError, Isolation, agreed},
    wire::{
        cluster::{Cluster, ClusterError, Lane, Topic},
        error::{CallError, ErrorCode, Remedy},
        messages::{
            OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
            OffsetForLeaderTopic,
        },
    },
};

/// The pause before a leader is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// How often it is said that something is waited for.
pub(super) const SAY_EVERY: Duration = Duration::from_secs(10);

/// Offsets by partition.
pub(super) type Offsets = BTreeMap<i32, i64>;

/// Which topic of which cluster this is.
pub(super) type Identity = (String, Option<Uuid>);

/// The ids of the cluster and of the topic. Asks until there are.
///
/// # Errors
/// When a broker refuses for good, or the topic does not exist.
pub(super) async fn identity(cluster: &Cluster, topic: &str) -> Result<Identity, DedupError> {
    let mut said = Instant::now();
    loop {
        match cluster.refresh_topic(topic).await {
            Ok(described) => return Ok((cluster.cluster_id().unwrap_or_default(), described.id)),
            Err(error) => wait(topic, "which topic this is", error, &mut said).await?,
        }
    }
}

/// Waits before the same is asked again.
async fn wait(
    topic: &str,
    what: &str,
    error: ClusterError,
    said: &mut Instant,
) -> Result<(), DedupError> {
    if !error.is_retriable() {
        return Err(error.into());
    }
    pause(topic, what, &error.to_string(), said).await;
    Ok(())
}

async fn pause(topic: &str, what: &str, trouble: &str, said: &mut Instant) {
    if said.elapsed() > SAY_EVERY {
        *said = Instant::now();
        tracing::warn!(topic, "cannot learn yet {what}: {trouble}");
    }
    tokio::time::sleep(PAUSE).await;
}

/// Where each partition begins, or its first record of a time lies.
///
/// # Errors
/// When a broker refuses for good.
pub(super) async fn starts(
    cluster: &Arc<Cluster>,
    topic: &str,
    partitions: &[i32],
    bound: Bound,
) -> Result<Offsets, DedupError> {
    let isolation = Isolation::ReadCommitted;
    Ok(consumer::list_offsets(cluster, topic, isolation, partitions, bound).await?)
}

/// Where each partition ends, as far as it is replicated.
///
/// # Errors
/// When a broker refuses for good.
pub(super) async fn readable_ends(
    cluster: &Arc<Cluster>,
    topic: &str,
    partitions: &[i32],
) -> Result<Offsets, DedupError> {
    let isolation = Isolation::ReadUncommitted;
    Ok(consumer::list_offsets(cluster, topic, isolation, partitions, Bound::Latest).await?)
}

/// The offset behind the last record of the log of each of these partitions, whether it can be read yet or not. Asks until all
/// their leaders have answered.
///
/// # Errors
/// When a broker refuses for good.
pub(super) async fn ends(
    cluster: &Arc<Cluster>,
    topic: &str,
    of: Of<'_>,
) -> Result<Offsets, DedupError> {
    agreed::offsets(|| ends_once(cluster, topic, of)).await
}

async fn ends_once(cluster: &Arc<Cluster>, topic: &str, of: Of<'_>) -> Result<Offsets, DedupError> {
    const WHAT: &str = "where the topic ends";
    let mut said = Instant::now();
    loop {
        let described = match cluster.refresh_topic(topic).await {
            Ok(described) => described,
            Err(error) => {
                wait(topic, WHAT, error, &mut said).await?;
                continue;
            }
        };
        let epochs = epochs_of(&described, of);
        let trouble = match ask_leaders(cluster, &described, &epochs).await {
            Ok(found) if found.values().all(|end| *end >= 0) => return Ok(found),
            Ok(_) => "a leader does not know its end".to_owned(),
            Err(Trouble::Unsupported) => {
                let partitions: Vec<i32> = epochs.into_keys().collect();
                return readable_ends(cluster, topic, &partitions).await;
            }
            Err(Trouble::Refused(partition, code)) => {
                return Err(refused(topic, partition, code));
            }
            Err(Trouble::Passing(reason)) => reason,
        };
        pause(topic, WHAT, &trouble, &mut said).await;
    }
}

fn epochs_of(topic: &Topic, of: Of<'_>) -> Epochs {
    let mut epochs = epochs(topic);
    epochs.retain(|partition, _| is_of(of, *partition));
    epochs
}

/// What the brokers say of the topic's partitions now.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// Of the leaders, as they were before the rest was asked; -1 where the broker does not say.
    pub(super) epochs: Epochs,
    pub(super) starts: Offsets,
    pub(super) ends: Offsets,
}

impl Bounds {
    /// Puts what is said of some partitions in the place of what was said of them before.
    pub(super) fn take_over(&mut self, newer: Self) {
        self.epochs.extend(newer.epochs);
        self.starts.extend(newer.starts);
        self.ends.extend(newer.ends);
    }
}

/// Asks for all of it, of these partitions.
///
/// # Errors
/// When a broker refuses for good.
pub(super) async fn bounds(
    cluster: &Arc<Cluster>,
    topic: &str,
    of: Of<'_>,
) -> Result<Bounds, DedupError> {
    let mut said = Instant::now();
    let described = loop {
        match cluster.topic(topic).await {
            Ok(described) => break described,
            Err(error) => wait(topic, "who leads the topic", error, &mut said).await?,
        }
    };
    let epochs = epochs_of(&described, of);
    let ends = ends(cluster, topic, of).await?;
    let partitions: Vec<i32> = ends.keys().copied().collect();
    // By these it is decided what is forgotten, so that neither the lower nor the higher of two will do.
    let list = || {
        let isolation = Isolation::ReadCommitted;
        consumer::list_offsets(cluster, topic, isolation, &partitions, Bound::Earliest)
    };
    let mut starts = list().await?;
    loop {
        let again = list().await?;
        if again == starts {
            break;
        }
        starts = again;
    }
    Ok(Bounds {
        epochs,
        starts,
        ends,
    })
}

/// Where these epochs of former leaders end, no further than at the offset beside each: what two answers in a row say. Asks
/// until there are; of brokers that cannot be asked nothing.
///
/// # Errors
/// When a broker refuses for good.
pub(super) async fn epoch_ends(
    cluster: &Arc<Cluster>,
    topic: &str,
    asked: &BTreeMap<i32, (i32, i64)>,
) -> Result<Offsets, DedupError> {
    const WHAT: &str = "whether the log is the one that was known";
    let epochs = asked.iter().filter(|(_, (epoch, _))| *epoch >= 0);
    let epochs: BTreeMap<i32, i32> = epochs.map(|(of, (epoch, _))| (*of, *epoch)).collect();
    let mut said = Instant::now();
    let mut before = None;
    loop {
        let described = match cluster.refresh_topic(topic).await {
            Ok(described) => described,
            Err(error) => {
                wait(topic, WHAT, error, &mut said).await?;
                continue;
            }
        };
        match ask_leaders(cluster, &described, &epochs).await {
            Ok(mut found) => {
                // An epoch that goes on has another end each time.
                for (partition, end) in &mut found {
                    let limit = asked.get(partition).map_or(i64::MAX, |(_, limit)| *limit);
                    *end = limit.min(*end);
                }
                if before.as_ref() == Some(&found) {
                    return Ok(found);
                }
                before = Some(found);
            }
            Err(Trouble::Unsupported) => return Ok(Offsets::new()),
            Err(Trouble::Refused(partition, code)) => {
                return Err(refused(topic, partition, code));
            }
            Err(Trouble::Passing(reason)) => pause(topic, WHAT, &reason, &mut said).await,
        }
    }
}

fn refused(topic: &str, partition: i32, code: ErrorCode) -> DedupError {
    ConsumeError::Partition {
        topic: topic.into(),
        partition,
        api: "OffsetForLeaderEpoch",
        code,
    }
    .into()
}

#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// The broker does not have the API.
    Unsupported,
    Refused(i32, ErrorCode),
    Passing(String),
}

/// Where these epochs end in the logs of the leaders; -1 where a leader knows nothing of such an epoch.
async fn ask_leaders(
    cluster: &Arc<Cluster>,
    topic: &Topic,
    epochs: &BTreeMap<i32, i32>,
) -> Result<Offsets, Trouble> {
    let mut by_leader: BTreeMap<i32, Vec<OffsetForLeaderPartition>> = BTreeMap::new();
    for (&number, &epoch) in epochs {
        let partition = usize::try_from(number)
            .ok()
            .and_then(|index| topic.partitions.get(index));
        let Some((leader, current)) =
            partition.and_then(|partition| Some((partition.leader?, partition.leader_epoch)))
        else {
            return Err(Trouble::Passing(format!(
                "partition {number} has no leader"
            )));
        };
        if current < 0 || epoch < 0 {
            return Err(Trouble::Unsupported);
        }
        by_leader
            .entry(leader)
            .or_default()
            .push(OffsetForLeaderPartition {
                partition: number,
                // A leader of another epoch says so, instead of telling where this one ended.
                current_leader_epoch: current,
                leader_epoch: epoch,
            });
    }
    let mut found = Offsets::new();
    for (leader, partitions) in by_leader {
        let asked: Vec<i32> = partitions.iter().map(|asked| asked.partition).collect();
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: (&*topic.name).into(),
                partitions,
            }],
        };
        let answer = match cluster.request(leader, Lane::Control, &request).await {
            Ok(answer) => answer,
            Err(CallError::Unsupported { .. }) => return Err(Trouble::Unsupported),
            Err(error) => return Err(Trouble::Passing(error.to_string())),
        };
        take(&topic.name, &asked, &answer, &mut found)?;
    }
    Ok(found)
}

/// Takes over an answer that says something of each partition that was asked for, once, and of no other.
fn take(
    topic: &str,
    asked: &[i32],
    answer: &OffsetForLeaderEpochResponse,
    found: &mut Offsets,
) -> Result<(), Trouble> {
    let mut left = asked.to_vec();
    for answered in &answer.topics {
        for partition in &answered.partitions {
            let place = left.iter().position(|asked| *asked == partition.partition);
            let Some(place) = place.filter(|_| answered.topic == *topic) else {
                return Err(Trouble::Passing(
                    "an answer is about what was not asked for".into(),
                ));
            };
            left.swap_remove(place);
            match ErrorCode::check(partition.error_code) {
                Ok(()) => {
                    found.insert(partition.partition, partition.end_offset);
                }
                Err(code) if code.remedy() == Remedy::None => {
                    return Err(Trouble::Refused(partition.partition, code));
                }
                Err(code) => return Err(Trouble::Passing(code.to_string())),
            }
        }
    }
    match left.is_empty() {
        true => Ok(()),
        false => Err(Trouble::Passing("an answer leaves partitions out".into())),
    }
}

#[cfg(test)]
mod tests;
