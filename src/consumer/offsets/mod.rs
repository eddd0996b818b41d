//! Committed offsets, which live in Kafka itself, so that every tool of Kafka sees the group and its lag; and where
//! partitions begin and end.
//!
//! A commit says for each partition what became of it, because one request can count for one and fail for the next. It
//! always names the member and its generation: a commit without (-1) would be taken from anybody while the group is
//! empty, and is never sent.

mod list;

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

pub use list::{Bound, list_offsets};

use super::{ConsumeError, coordinator::Coordinator, membership::Membership, retry::Streak};
use crate::wire::{
    cluster::{Cluster, ClusterError, Lane},
    error::{ErrorCode, Remedy},
    messages::{
        OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
        OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic,
        OffsetFetchRequestTopics, OffsetFetchResponse, Str,
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

/// What is to be committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub next_offset: i64,
    /// The leader epoch of the record before it (KIP-320), where known.
    pub leader_epoch: Option<i32>,
    /// A text that goes with it; brokers take 4,096 bytes by default (`offset.metadata.max.bytes`).
    pub metadata: String,
}

/// What became of a commit, for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is committed.
    Counted,
    /// It is not, and the same call may be made again.
    Retry(ErrorCode),
    /// It is not, and never will be: the membership is lost, or the partition is not ours (any more). `None`: nothing was
    /// sent.
    Fenced(Option<ErrorCode>),
    /// It is not, and trying again will not help: an ACL, metadata that is too long.
    Refused(ErrorCode),
    /// It may be or not: the request may have been sent, and was not answered. Committing the same again tells.
    Unknown,
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
    fetch(&coordinator, &topic.into(), partitions).await
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
    let mut streak = Streak::new(format!("read the committed offsets of group {group}"));
    loop {
        let answer = match coordinator.call(Lane::Group, &request).await {
            Ok(answer) => answer,
            Err(error) if error.is_retriable() => {
                streak.failed(&error).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let codes = answer.groups.iter().map(|group| group.error_code);
        let code = std::iter::once(answer.error_code)
            .chain(codes)
            .find_map(|code| ErrorCode::check(code).err())
            .filter(|code| *code != ErrorCode::GROUP_ID_NOT_FOUND);
        match code {
            None => return Ok(read_everything(answer)),
            Some(code) if code.remedy() != Remedy::None => {
                coordinator.note(code);
                streak.failed(&code).await;
            }
            Some(code) => {
                return Err(ConsumeError::Group {
                    group: group.to_owned(),
                    api: "OffsetFetch",
                    code,
                });
            }
        }
    }
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

pub(super) async fn fetch(
    coordinator: &Coordinator,
    topic: &Arc<str>,
    partitions: &[i32],
) -> Result<BTreeMap<i32, Committed>, ConsumeError> {
    let request = fetch_request(coordinator.group(), topic, partitions);
    let mut streak = Streak::new(format!(
        "read the committed offsets of group {}",
        coordinator.group()
    ));
    loop {
        let answer = match coordinator.call(Lane::Group, &request).await {
            Ok(answer) => answer,
            Err(error) if error.is_retriable() => {
                streak.failed(&error).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match read(answer, topic, partitions) {
            Ok(committed) => {
                streak.over();
                return Ok(committed);
            }
            Err((_, code)) if code.remedy() != Remedy::None => {
                coordinator.note(code);
                streak.failed(&code).await;
            }
            Err((Some(partition), code)) => {
                return Err(ConsumeError::Partition {
                    topic: Arc::clone(topic),
                    partition,
                    api: "OffsetFetch",
                    code,
                });
            }
            Err((None, code)) => {
                return Err(ConsumeError::Group {
                    group: coordinator.group().to_string(),
                    api: "OffsetFetch",
                    code,
                });
            }
        }
    }
}

/// The request in the forms of all versions: which of them is written, the version says.
fn fetch_request(group: &Str, topic: &str, partitions: &[i32]) -> OffsetFetchRequest {
    OffsetFetchRequest {
        group_id: group.clone(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: topic.into(),
            partition_indexes: partitions.to_vec(),
        }]),
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.clone(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: topic.into(),
                partition_indexes: partitions.to_vec(),
            }]),
            ..Default::default()
        }],
        require_stable: true,
    }
}

/// Reads the answer, in whichever form; the error says which partition it is about, if not about all.
fn read(
    answer: OffsetFetchResponse,
    topic: &str,
    partitions: &[i32],
) -> Result<BTreeMap<i32, Committed>, (Option<i32>, ErrorCode)> {
    let mut codes = vec![answer.error_code];
    codes.extend(answer.groups.iter().map(|group| group.error_code));
    for code in codes {
        match ErrorCode::check(code) {
            Ok(()) | Err(ErrorCode::GROUP_ID_NOT_FOUND) => {}
            Err(code) => return Err((None, code)),
        }
    }
    let single = answer
        .topics
        .into_iter()
        .filter(|found| found.name == topic)
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
        .filter(|found| found.name == topic)
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
        ErrorCode::check(code).map_err(|code| (Some(partition), code))?;
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

/// Commits for a member, also while that reads on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Committer {
    membership: Arc<Membership>,
    topic: Arc<str>,
    streak: Arc<Mutex<Streak>>,
}

impl Committer {
    pub(super) fn new(membership: Arc<Membership>, topic: Arc<str>) -> Self {
        let streak = Streak::new(format!(
            "commit offsets of group {}",
            membership.coordinator().group()
        ));
        Self {
            membership,
            topic,
            streak: Arc::new(Mutex::new(streak)),
        }
    }

    /// Commits for partitions that were assigned in a tenure, trying once.
    ///
    /// A partition that is kept crosses generations: when only the generation or epoch has changed meanwhile, the
    /// outcome is [`CommitOutcome::Retry`], and the next try goes out under the new one. Every partition that was asked
    /// for is in the answer. After trouble that passes it returns only after a pause, so that it may be called again at
    /// once.
    pub async fn commit(&self, tenure: u64, offsets: &[Offset]) -> BTreeMap<i32, CommitOutcome> {
        let (outcomes, trouble) = self.commit_once(tenure, offsets).await;
        let pause = match trouble {
            Some(trouble) => self.streak.lock().note(&trouble),
            None => {
                self.streak.lock().over();
                return outcomes;
            }
        };
        tokio::time::sleep(pause).await;
        outcomes
    }

    async fn commit_once(
        &self,
        tenure: u64,
        offsets: &[Offset],
    ) -> (BTreeMap<i32, CommitOutcome>, Option<String>) {
        let mut outcomes: BTreeMap<i32, CommitOutcome> = offsets
            .iter()
            .map(|offset| (offset.partition, CommitOutcome::Fenced(None)))
            .collect();
        // What is sent under an identity is what that identity has.
        let Some((identity, ours)) = self.membership.commits_as(tenure) else {
            return (outcomes, None);
        };
        let offsets: Vec<_> = offsets
            .iter()
            .filter(|offset| ours.contains(&offset.partition))
            .collect();
        if offsets.is_empty() {
            return (outcomes, None);
        }
        let mut all = |outcome| {
            for offset in &offsets {
                outcomes.insert(offset.partition, outcome);
            }
        };
        let coordinator = self.membership.coordinator();
        let request = OffsetCommitRequest {
            group_id: coordinator.group().clone(),
            generation_id_or_member_epoch: identity.generation,
            member_id: identity.member_id.clone(),
            group_instance_id: self.membership.settings().group_instance_id.clone(),
            topics: vec![OffsetCommitRequestTopic {
                name: (&*self.topic).into(),
                partitions: offsets
                    .iter()
                    .map(|offset| OffsetCommitRequestPartition {
                        partition_index: offset.partition,
                        committed_offset: offset.next_offset,
                        committed_leader_epoch: offset.leader_epoch.unwrap_or(-1),
                        committed_metadata: Some((&*offset.metadata).into()),
                    })
                    .collect(),
            }],
            ..Default::default()
        };
        let node = match coordinator.node().await {
            Ok(node) => node,
            Err(error) => {
                all(not_sent(&error));
                return (outcomes, Some(error.to_string()));
            }
        };
        let limit = coordinator.cluster().settings().request_timeout;
        let answer = match coordinator.ask(node, Lane::Group, &request, limit).await {
            Ok(answer) => answer,
            Err(error) => {
                let trouble = error.to_string();
                all(if error.possibly_sent() {
                    CommitOutcome::Unknown
                } else {
                    not_sent(&error.into())
                });
                return (outcomes, Some(trouble));
            }
        };
        all(CommitOutcome::Unknown);
        let mut trouble = None;
        let answered = answer
            .topics
            .iter()
            .filter(|topic| topic.name == *self.topic)
            .flat_map(|topic| &topic.partitions);
        for partition in answered {
            let result = ErrorCode::check(partition.error_code);
            let mut outcome = outcome(result);
            if let Err(code) = result {
                coordinator.note(code);
                if is_about_membership(code) {
                    self.membership.answered("OffsetCommit", &identity, result);
                    if self.membership.commits_as(tenure).is_none() {
                        outcome = CommitOutcome::Fenced(Some(code));
                    }
                }
                if matches!(outcome, CommitOutcome::Retry(_)) {
                    trouble = Some(format!("partition {}: {code}", partition.partition_index));
                }
            }
            if let Some(of) = outcomes.get_mut(&partition.partition_index) {
                *of = outcome;
            }
        }
        (outcomes, trouble)
    }
}

/// Whether a code speaks of who commits, and not of what.
fn is_about_membership(code: ErrorCode) -> bool {
    [
        ErrorCode::ILLEGAL_GENERATION,
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::REBALANCE_IN_PROGRESS,
        ErrorCode::FENCED_INSTANCE_ID,
        ErrorCode::STALE_MEMBER_EPOCH,
        ErrorCode::FENCED_MEMBER_EPOCH,
    ]
    .contains(&code)
}

/// A commit that was not even sent.
fn not_sent(error: &ClusterError) -> CommitOutcome {
    match error {
        ClusterError::Group { code, .. } if !error.is_retriable() => CommitOutcome::Refused(*code),
        ClusterError::Group { code, .. } => CommitOutcome::Retry(*code),
        ClusterError::Call(_) if !error.is_retriable() => {
            CommitOutcome::Refused(ErrorCode::UNSUPPORTED_VERSION)
        }
        _ => CommitOutcome::Retry(ErrorCode::COORDINATOR_NOT_AVAILABLE),
    }
}

fn outcome(result: Result<(), ErrorCode>) -> CommitOutcome {
    match result {
        Ok(()) => CommitOutcome::Counted,
        // Whether it is still our partition, the membership decides.
        Err(code) if is_about_membership(code) => CommitOutcome::Retry(code),
        Err(code) if code.remedy() == Remedy::None => CommitOutcome::Refused(code),
        Err(code) => CommitOutcome::Retry(code),
    }
}

#[cfg(test)]
mod tests;
