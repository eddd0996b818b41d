//! What a group has committed. Whoever asks need not be a member.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use uuid::Uuid;

use crate::consumer::{
    ConsumeError, agreed, coordinator::Coordinator, named::Named, retry::Streak,
};
use crate::wire::{
    cluster::{Cluster, ClusterError, Lane},
    error::{ErrorCode, Remedy},
    messages::{
        OffsetFetchByIdRequest, OffsetFetchRequest, OffsetFetchRequestGroup,
        OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetFetchResponse, Str,
    },
};

/// What a group has committed for a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read; `None` when nothing is committed (any more).
    pub offset: Option<i64>,
    /// The leader epoch of the record before it (KIP-320), where known.
    pub leader_epoch: Option<i32>,
    /// The text that was committed with it.
    pub metadata: String,
}

/// What group `group` has committed for `partitions` of `topic`, whether or not one is a member; tries for ever.
///
/// Offsets of unfinished transactions are waited for (KIP-447). A partition that the broker says nothing about has none.
///
/// # Errors
/// When the broker refuses for good: an ACL.
pub async fn committed(
    cluster: &Arc<Cluster>,
    group: &str,
    topic: &str,
    partitions: &[i32],
) -> Result<BTreeMap<i32, Committed>, ConsumeError> {
    let coordinator = Coordinator::new(Arc::clone(cluster), group.into());
    fetch(&coordinator, &topic.into(), None, partitions).await
}

/// What group `group` has committed for all topics, by topic and partition; tries for ever.
///
/// # Errors
/// When the broker refuses for good: an ACL.
pub async fn committed_everywhere(
    cluster: &Arc<Cluster>,
    group: &str,
) -> Result<BTreeMap<(String, i32), i64>, ConsumeError> {
    let coordinator = Coordinator::new(Arc::clone(cluster), group.into());
    let request = OffsetFetchRequest {
        group_id: group.into(),
        topics: None,
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: None,
            ..Default::default()
        }],
        require_stable: false,
    };
    ask(
        &coordinator,
        async || coordinator.call(Lane::Group, &request).await,
        |answer| {
            whole(&answer).map_err(|code| refused(&coordinator, code))?;
            Ok(read_everything(answer))
        },
    )
    .await
}

fn read_everything(answer: OffsetFetchResponse) -> BTreeMap<(String, i32), i64> {
    let single = answer.topics.into_iter().flat_map(|topic| {
        let name = topic.name.to_string();
        let partitions = topic.partitions.into_iter();
        partitions.map(move |of| ((name.clone(), of.partition_index), of.committed_offset))
    });
    let batched = answer.groups.into_iter().flat_map(|group| group.topics);
    let batched = batched.flat_map(|topic| {
        let name = topic.name.to_string();
        let partitions = topic.partitions.into_iter();
        partitions.map(move |of| ((name.clone(), of.partition_index), of.committed_offset))
    });
    single
        .chain(batched)
        .filter(|(_, offset)| *offset >= 0)
        .collect()
}

/// Where reading goes on is decided by this, so it is [agreed].
pub(in crate::consumer) async fn fetch(
    coordinator: &Coordinator,
    topic: &Arc<str>,
    topic_id: Option<Uuid>,
    partitions: &[i32],
) -> Result<BTreeMap<i32, Committed>, ConsumeError> {
    agreed::twice(partitions.to_vec(), |left| async move {
        fetch_once(coordinator, topic, topic_id, &left).await
    })
    .await
}

async fn fetch_once(
    coordinator: &Coordinator,
    topic: &Arc<str>,
    topic_id: Option<Uuid>,
    partitions: &[i32],
) -> Result<BTreeMap<i32, Committed>, ConsumeError> {
    // The coordinator may not know the topic of that id yet, or not any more; whether it was made anew, others ask.
    let by_name = AtomicBool::new(false);
    let call = async || {
        let topic_id = topic_id.filter(|_| !by_name.load(Ordering::Relaxed));
        let node = coordinator.node().await?;
        let has_ids = coordinator.knows::<OffsetFetchByIdRequest>(node, Lane::Group);
        let named = Named::new(topic, topic_id, has_ids.await);
        let request = fetch_request(coordinator.group(), &named, partitions);
        let answer = match named {
            Named::Id(_) => {
                let request = OffsetFetchByIdRequest::new(request);
                coordinator.call(Lane::Group, &request).await?
            }
            Named::Name(_) => coordinator.call(Lane::Group, &request).await?,
        };
        Ok((named, answer))
    };
    ask(coordinator, call, |(named, answer)| {
        whole(&answer).map_err(|code| refused(coordinator, code))?;
        read(answer, &named, partitions).map_err(|(partition, code)| {
            by_name.fetch_or(code == ErrorCode::UNKNOWN_TOPIC_ID, Ordering::Relaxed);
            let error = ConsumeError::Partition {
                topic: Arc::clone(topic),
                partition,
                api: OFFSET_FETCH,
                code,
            };
            (code, error)
        })
    })
    .await
}

const OFFSET_FETCH: &str = "OffsetFetch";

fn refused(coordinator: &Coordinator, code: ErrorCode) -> (ErrorCode, ConsumeError) {
    let error = ConsumeError::Group {
        group: coordinator.group().to_string(),
        api: OFFSET_FETCH,
        code,
    };
    (code, error)
}

/// Asks until `read` has an answer that stands: what it says of one that does not is told when trying again cannot help.
async fn ask<A, T>(
    coordinator: &Coordinator,
    call: impl AsyncFn() -> Result<A, ClusterError>,
    read: impl Fn(A) -> Result<T, (ErrorCode, ConsumeError)>,
) -> Result<T, ConsumeError> {
    let group = coordinator.group();
    let mut streak = Streak::new(format!("read the committed offsets of group {group}"));
    loop {
        let answer = match call().await {
            Ok(answer) => answer,
            Err(error) if error.is_retriable() => {
                streak.failed(&error).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match read(answer) {
            Ok(committed) => {
                streak.over();
                return Ok(committed);
            }
            Err((code, _)) if code.remedy() != Remedy::None => {
                coordinator.note(code);
                streak.failed(&code).await;
            }
            Err((_, error)) => return Err(error),
        }
    }
}

/// What is wrong with an answer as a whole, in whichever form; a group that is not there has committed nothing.
fn whole(answer: &OffsetFetchResponse) -> Result<(), ErrorCode> {
    let groups = answer.groups.iter().map(|group| group.error_code);
    std::iter::once(answer.error_code)
        .chain(groups)
        .filter_map(|code| ErrorCode::check(code).err())
        .find(|code| *code != ErrorCode::GROUP_ID_NOT_FOUND)
        .map_or(Ok(()), Err)
}

/// The request in the forms of all versions: which of them is written, the version says.
fn fetch_request(group: &Str, topic: &Named, partitions: &[i32]) -> OffsetFetchRequest {
    let (name, topic_id) = topic.fields();
    OffsetFetchRequest {
        group_id: group.clone(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: name.clone(),
            partition_indexes: partitions.to_vec(),
        }]),
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.clone(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name,
                topic_id,
                partition_indexes: partitions.to_vec(),
            }]),
            ..Default::default()
        }],
        require_stable: true,
    }
}

/// Reads the partitions of an answer, in whichever form; the error says which of them it is about.
fn read(
    answer: OffsetFetchResponse,
    topic: &Named,
    partitions: &[i32],
) -> Result<BTreeMap<i32, Committed>, (i32, ErrorCode)> {
    let single = answer
        .topics
        .into_iter()
        .filter(|found| topic.is(&found.name, Uuid::nil()))
        .flat_map(|found| found.partitions)
        .map(|found| {
            (
                found.partition_index,
                found.committed_offset,
                found.committed_leader_epoch,
                found.metadata,
                found.error_code,
            )
        });
    let batched = answer
        .groups
        .into_iter()
        .flat_map(|group| group.topics)
        .filter(|found| topic.is(&found.name, found.topic_id))
        .flat_map(|found| found.partitions)
        .map(|found| {
            (
                found.partition_index,
                found.committed_offset,
                found.committed_leader_epoch,
                found.metadata,
                found.error_code,
            )
        });
    let mut committed: BTreeMap<i32, Committed> = partitions
        .iter()
        .map(|&partition| (partition, Committed::default()))
        .collect();
    for (partition, offset, leader_epoch, metadata, code) in single.chain(batched) {
        ErrorCode::check(code).map_err(|code| (partition, code))?;
        if let Some(committed) = committed.get_mut(&partition)
            && offset >= 0
        {
            *committed = Committed {
                offset: Some(offset),
                leader_epoch: Some(leader_epoch).filter(|epoch| *epoch >= 0),
                metadata: metadata.as_deref().unwrap_or_default().to_owned(),
            };
        }
    }
    Ok(committed)
}

#[cfg(test)]
mod tests;
