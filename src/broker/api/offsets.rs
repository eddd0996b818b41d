//! OffsetCommit and OffsetFetch.

use std::collections::BTreeSet;

use super::Context;
use crate::{
    broker::offsets::{Committed, Offsets},
    wire::{
        error::ErrorCode,
        messages::{
            OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse,
            OffsetCommitResponsePartition, OffsetCommitResponseTopic, OffsetFetchRequest,
            OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics, Str,
        },
    },
};

/// The first version of OffsetFetch that asks for many groups at once (KIP-709).
const MANY_GROUPS_FROM: i16 = 8;

/// Writes offsets of partitions that exist, if the group lets the member.
pub(super) async fn offset_commit(
    context: &Context<'_>,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let member = (
        &*request.member_id,
        request.group_instance_id.as_deref(),
        request.generation_id_or_member_epoch,
    );
    // Looked up before, so that the locks of topics and groups are never held together.
    let exists: Vec<Vec<_>> = {
        let topics = context.shared.topics.lock();
        let asked = request.topics.iter();
        asked
            .map(|topic| {
                let indexes = topic.partitions.iter().map(|asked| asked.partition_index);
                indexes
                    .map(|index| topics.log(&topic.name, index).map(|_| ()))
                    .collect()
            })
            .collect()
    };
    let mut codes: Vec<Vec<i16>> = Vec::new();
    let outcome = context
        .shared
        .coordinator
        .commit(&request.group_id, member, |offsets| {
            let topics = request.topics.iter().zip(exists);
            codes.extend(topics.map(|(topic, exists)| {
                let partitions = topic.partitions.iter().zip(exists);
                partitions
                    .map(|(partition, exists)| {
                        let written = exists.and_then(|()| write(offsets, &topic.name, partition));
                        super::code_of(&written)
                    })
                    .collect()
            }));
        });
    let refused = outcome.err();
    let mut codes = codes.into_iter().map(Vec::into_iter);
    let topics = request.topics.into_iter().map(|topic| {
        let mut codes = codes.next().unwrap_or_default();
        let partitions = topic.partitions.iter().map(|partition| {
            let written = codes.next().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR.0);
            OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: refused.map_or(written, |code| code.0),
            }
        });
        OffsetCommitResponseTopic {
            partitions: partitions.collect(),
            name: topic.name,
            ..Default::default()
        }
    });
    OffsetCommitResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

fn write(
    offsets: &mut Offsets,
    topic: &str,
    partition: &OffsetCommitRequestPartition,
) -> Result<(), ErrorCode> {
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    let committed = Committed {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: metadata.to_owned(),
    };
    offsets.commit(topic, partition.partition_index, committed)
}

/// Reads offsets, of one group or of many.
pub(super) async fn offset_fetch(
    context: &Context<'_>,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if context.version >= MANY_GROUPS_FROM {
        // A group is answered once, however often it is named.
        let mut seen = BTreeSet::new();
        let groups = request.groups.into_iter();
        let groups = groups
            .filter(|group| seen.insert(group.group_id.clone()))
            .map(|group| offsets_of(context, group));
        return OffsetFetchResponse {
            groups: groups.collect(),
            ..Default::default()
        };
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        });
        topics.collect()
    });
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..Default::default()
    };
    let group = offsets_of(context, group);
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter();
        let partitions = partitions.map(|partition| OffsetFetchResponsePartition {
            partition_index: partition.partition_index,
            committed_offset: partition.committed_offset,
            committed_leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata,
            error_code: partition.error_code,
        });
        OffsetFetchResponseTopic {
            name: topic.name,
            partitions: partitions.collect(),
        }
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..Default::default()
    }
}

fn offsets_of(context: &Context<'_>, asked: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
    let coordinator = &context.shared.coordinator;
    let topics = coordinator.look(&asked.group_id, |entry| {
        let offsets = entry.map(|entry| &entry.offsets);
        match asked.topics {
            None => offsets.map(all).unwrap_or_default(),
            Some(topics) => topics
                .into_iter()
                .map(|topic| some(offsets, topic))
                .collect(),
        }
    });
    OffsetFetchResponseGroup {
        group_id: asked.group_id,
        topics,
        ..Default::default()
    }
}

fn all(offsets: &Offsets) -> Vec<OffsetFetchResponseTopics> {
    let topics = offsets.all().map(|(name, partitions)| {
        let partitions = partitions.iter();
        OffsetFetchResponseTopics {
            name: name.into(),
            partitions: partitions
                .map(|(index, committed)| describe(*index, Some(committed)))
                .collect(),
            ..Default::default()
        }
    });
    topics.collect()
}

fn some(offsets: Option<&Offsets>, asked: OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
    let partitions = asked.partition_indexes.into_iter().map(|index| {
        let committed = offsets.and_then(|offsets| offsets.committed(&asked.name, index));
        describe(index, committed)
    });
    OffsetFetchResponseTopics {
        partitions: partitions.collect(),
        name: asked.name,
        ..Default::default()
    }
}

/// A partition of which nothing was committed has the offset -1, and no error.
fn describe(partition_index: i32, committed: Option<&Committed>) -> OffsetFetchResponsePartitions {
    match committed {
        Some(committed) => OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(committed.metadata.as_str().into()),
            error_code: 0,
        },
        None => OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: -1,
            metadata: Some(Str::new()),
            ..Default::default()
        },
    }
}
