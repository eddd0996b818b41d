//! ListOffsets.

use super::{Str, message};

message! {
    api ListOffsetsRequest => ListOffsetsResponse, key 2, versions 1..=7, flexible 6;

    pub struct ListOffsetsRequest {
        replica_id: i32 [0..],
        isolation_level: i8 [2..],
        topics: Vec<ListOffsetsTopic> [0..],
    }

    pub struct ListOffsetsTopic {
        name: Str [0..],
        partitions: Vec<ListOffsetsPartition> [0..],
    }

    pub struct ListOffsetsPartition {
        partition_index: i32 [0..],
        current_leader_epoch: i32 [4..] = -1,
        timestamp: i64 [0..],
    }

    pub struct ListOffsetsResponse {
        throttle_time_ms: i32 [2..],
        topics: Vec<ListOffsetsTopicResponse> [0..],
    }

    pub struct ListOffsetsTopicResponse {
        name: Str [0..],
        partitions: Vec<ListOffsetsPartitionResponse> [0..],
    }

    pub struct ListOffsetsPartitionResponse {
        partition_index: i32 [0..],
        error_code: i16 [0..],
        timestamp: i64 [1..] = -1,
        offset: i64 [1..] = -1,
        leader_epoch: i32 [4..] = -1,
    }
}
