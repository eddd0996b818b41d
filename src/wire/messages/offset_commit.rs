//! OffsetCommit.

use uuid::Uuid;

use super::{Str, Within, message};

/// OffsetCommit by topic id: what was read of a topic is not committed for one that was made anew under its name.
pub type OffsetCommitByIdRequest = Within<OffsetCommitRequest, 10, 10>;

message! {
    api OffsetCommitRequest => OffsetCommitResponse, key 8, versions 2..=9, flexible 8;

    pub struct OffsetCommitRequest {
        group_id: Str [0..],
        generation_id_or_member_epoch: i32 [1..] = -1,
        member_id: Str [1..],
        group_instance_id: Option<Str> [7..],
        retention_time_ms: i64 [2..=4] = -1,
        topics: Vec<OffsetCommitRequestTopic> [0..],
    }

    pub struct OffsetCommitRequestTopic {
        name: Str [0..=9],
        topic_id: Uuid [10..],
        partitions: Vec<OffsetCommitRequestPartition> [0..],
    }

    pub struct OffsetCommitRequestPartition {
        partition_index: i32 [0..],
        committed_offset: i64 [0..],
        committed_leader_epoch: i32 [6..] = -1,
        committed_metadata: Option<Str> [0..],
    }

    pub struct OffsetCommitResponse {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetCommitResponseTopic> [0..],
    }

    pub struct OffsetCommitResponseTopic {
        name: Str [0..=9],
        topic_id: Uuid [10..],
        partitions: Vec<OffsetCommitResponsePartition> [0..],
    }

    pub struct OffsetCommitResponsePartition {
        partition_index: i32 [0..],
        error_code: i16 [0..],
    }
}
