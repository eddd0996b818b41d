//! Committing, one try at a time: whoever commits decides whether to try again.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use crate::consumer::{membership::Membership, named::Named, retry::Streak};
use crate::wire::{
    cluster::{ClusterError, Lane},
    error::{ErrorCode, Remedy},
    messages::{
        OffsetCommitByIdRequest, OffsetCommitRequest, OffsetCommitRequestPartition,
        OffsetCommitRequestTopic,
    },
};

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

/// Commits for a member, also while that reads on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Committer {
    membership: Arc<Membership>,
    topic: Arc<str>,
    streak: Arc<Mutex<Streak>>,
}

impl Committer {
    pub(in crate::consumer) fn new(membership: Arc<Membership>, topic: Arc<str>) -> Self {
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
        let node = match coordinator.node().await {
            Ok(node) => node,
            Err(error) => {
                all(not_sent(&error));
                return (outcomes, Some(error.to_string()));
            }
        };
        let has_ids = coordinator
            .knows::<OffsetCommitByIdRequest>(node, Lane::Group)
            .await;
        let id = self.membership.settings().topic_id;
        let named = Named::new(&self.topic, id, has_ids);
        let (name, topic_id) = named.fields();
        let request = OffsetCommitRequest {
            group_id: coordinator.group().clone(),
            generation_id_or_member_epoch: identity.generation,
            member_id: identity.member_id.clone(),
            group_instance_id: self.membership.settings().group_instance_id.clone(),
            topics: vec![OffsetCommitRequestTopic {
                name,
                topic_id,
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
        let limit = coordinator.cluster().settings().request_timeout;
        let answer = match named {
            Named::Id(_) => {
                let request = OffsetCommitByIdRequest::new(request);
                coordinator.ask(node, Lane::Group, &request, limit).await
            }
            Named::Name(_) => coordinator.ask(node, Lane::Group, &request, limit).await,
        };
        let answer = match answer {
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
            .filter(|topic| named.is(&topic.name, topic.topic_id))
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
mod tests {
    use super::*;

    #[test]
    fn classifies_what_became_of_a_commit() {
        assert_eq!(outcome(Ok(())), CommitOutcome::Counted);
        for code in [
            ErrorCode::ILLEGAL_GENERATION,
            ErrorCode::UNKNOWN_MEMBER_ID,
            ErrorCode::REBALANCE_IN_PROGRESS,
        ] {
            // Whether it is still ours, the membership decides.
            assert_eq!(outcome(Err(code)), CommitOutcome::Retry(code));
            assert!(is_about_membership(code));
        }
        for code in [
            ErrorCode::NOT_COORDINATOR,
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ] {
            assert_eq!(outcome(Err(code)), CommitOutcome::Retry(code));
        }
        for code in [
            ErrorCode::OFFSET_METADATA_TOO_LARGE,
            ErrorCode::GROUP_AUTHORIZATION_FAILED,
        ] {
            assert_eq!(outcome(Err(code)), CommitOutcome::Refused(code));
        }
    }
}
