//! How far a group is: committed offset, end and what lies between, and how old the first record there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
};

use super::{AdminError, Described};
use crate::{
    consumer::{self, Bound, Isolation, Reader},
    wire::{cluster::Cluster, records::Scratch},
};

/// One partition of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to be read; `None` when none is committed.
    pub committed: Option<i64>,
    /// The first offset that is there.
    pub start: i64,
    /// The offset behind the last record.
    pub end: i64,
    /// When the first record that is not read yet was made, in milliseconds since 1970; `None` where there is none.
    pub waiting_since: Option<i64>,
}

impl Lag {
    /// How many offsets are not read yet, as Kafka's own tool counts it; `None` when none is committed.
    pub fn records(&self) -> Option<i64> {
        self.committed
            .map(|committed| (self.end - committed).max(0))
    }
}

/// The lag of every partition for which the group has an offset or a member, by topic and partition.
///
/// # Errors
/// When offsets cannot be read.
pub async fn lag(cluster: &Arc<Cluster>, described: &Described) -> Result<Vec<Lag>, AdminError> {
    let mut wanted: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    let committed = consumer::committed_everywhere(cluster, &described.group).await?;
    for (topic, partition) in committed.keys() {
        wanted.entry(topic.clone()).or_default().insert(*partition);
    }
    for member in &described.members {
        for (topic, partitions) in &member.partitions {
            wanted.entry(topic.clone()).or_default().extend(partitions);
        }
    }
    let mut lags = Vec::new();
    for (topic, partitions) in wanted {
        let partitions: Vec<i32> = partitions.into_iter().collect();
        let all = Isolation::ReadUncommitted;
        let bound = |bound| consumer::list_offsets(cluster, &topic, all, &partitions, bound);
        let starts = match bound(Bound::Earliest).await {
            Ok(starts) => starts,
            Err(consumer::ConsumeError::Cluster(error)) if !error.is_retriable() => {
                // A topic that was deleted leaves its offsets behind.
                tracing::warn!(topic, "not shown: {error}");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let ends = bound(Bound::Latest).await?;
        let mut waiting = BTreeMap::new();
        for &partition in &partitions {
            let committed = committed.get(&(topic.clone(), partition));
            let start = starts.get(&partition).copied().unwrap_or_default();
            let end = ends.get(&partition).copied().unwrap_or_default();
            if let Some(&committed) = committed.filter(|committed| **committed < end) {
                waiting.insert(partition, committed.max(start));
            }
            lags.push(Lag {
                topic: topic.clone(),
                partition,
                committed: committed.copied(),
                start,
                end,
                waiting_since: None,
            });
        }
        let since = waiting_since(cluster, &topic, &waiting).await?;
        for lag in lags.iter_mut().filter(|lag| lag.topic == topic) {
            lag.waiting_since = since.get(&lag.partition).copied();
        }
    }
    Ok(lags)
}

/// When the first record from each of these offsets on was made.
async fn waiting_since(
    cluster: &Arc<Cluster>,
    topic: &str,
    positions: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>, AdminError> {
    let ends = positions
        .iter()
        .map(|(partition, position)| (*partition, position + 1))
        .collect();
    let isolation = Isolation::ReadUncommitted;
    let mut reader = Reader::glance(cluster, &topic.into(), isolation, positions, &ends);
    let mut since = BTreeMap::new();
    let mut scratch = Scratch::default();
    loop {
        let chunk = reader.next().await;
        let first = chunk.and_then(|chunk| {
            let Some(chunk) = chunk else {
                return Ok(None);
            };
            let mut first = None;
            let read = chunk.each(&mut scratch, |entry| {
                first = Some(entry.timestamp_ms());
                ControlFlow::Break(())
            });
            read.map(|_| Some((chunk.partition(), first)))
        });
        match first {
            Ok(None) => return Ok(since),
            Ok(Some((partition, first))) => {
                if let Some(made) = first {
                    since.entry(partition).or_insert(made);
                }
            }
            Err(error) => match error.unreadable() {
                // How old it is cannot be told; how much waits can.
                Some(what) => {
                    reader.skip(what.partition);
                    tracing::warn!("{error}");
                }
                None => return Err(error.into()),
            },
        }
    }
}
