//! OffsetForLeaderEpoch (KIP-101, KIP-320).

use super::{Str, message};

message! {
    api OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse, key 23, versions 2..=4, flexible 4;

    pub struct OffsetForLeaderEpochRequest {
        replica_id: i32 [3..] = -2,
        topics: Vec<OffsetForLeaderTopic> [0..],
    }

    pub struct OffsetForLeaderTopic {
        topic: Str [0..],
        partitions: Vec<OffsetForLeaderPartition> [0..],
    }

    pub struct OffsetForLeaderPartition {
        partition: i32 [0..],
        current_leader_epoch: i32 [2..] = -1,
        leader_epoch: i32 [0..],
    }

    pub struct OffsetForLeaderEpochResponse {
        throttle_time_ms: i32 [2..],
        topics: Vec<OffsetForLeaderTopicResult> [0..],
    }

    pub struct OffsetForLeaderTopicResult {
        topic: Str [0..],
        partitions: Vec<LeaderEpochEndOffset> [0..],
    }

    pub struct LeaderEpochEndOffset {
        error_code: i16 [0..],
        partition: i32 [0..],
        leader_epoch: i32 [1..] = -1,
        end_offset: i64 [0..] = -1,
    }
}
