//! Produce.

use bytes::Bytes;

use super::{Str, Within, message};

message! {
    api ProduceRequest => ProduceResponse, key 0, versions 0..=12, flexible 9;

    pub struct ProduceRequest {
        transactional_id: Option<Str> [3..],
        acks: i16 [0..],
        timeout_ms: i32 [0..],
        topic_data: Vec<TopicProduceData> [0..],
    }

    pub struct TopicProduceData {
        name: Str [0..=12],
        partition_data: Vec<PartitionProduceData> [0..],
    }

    pub struct PartitionProduceData {
        index: i32 [0..],
        records: Option<Bytes> [0..],
    }

    pub struct ProduceResponse {
        responses: Vec<TopicProduceResponse> [0..],
        throttle_time_ms: i32 [1..],
        node_endpoints: Vec<NodeEndpoint> [10..; tag 0],
    }

    pub struct TopicProduceResponse {
        name: Str [0..=12],
        partition_responses: Vec<PartitionProduceResponse> [0..],
    }

    pub struct PartitionProduceResponse {
        index: i32 [0..],
        error_code: i16 [0..],
        base_offset: i64 [0..],
        log_append_time_ms: i64 [2..] = -1,
        log_start_offset: i64 [5..] = -1,
        record_errors: Vec<BatchIndexAndErrorMessage> [8..],
        error_message: Option<Str> [8..],
        current_leader: ProduceLeader [10..; tag 0],
    }

    pub struct BatchIndexAndErrorMessage {
        batch_index: i32 [8..],
        batch_index_error_message: Option<Str> [8..],
    }

    pub struct ProduceLeader {
        leader_id: i32 [10..] = -1,
        leader_epoch: i32 [10..] = -1,
    }

    pub struct NodeEndpoint {
        node_id: i32 [10..],
        host: Str [10..],
        port: i32 [10..],
        rack: Option<Str> [10..],
    }
}

/// A Produce request of a transaction whose partitions were added by hand.
pub type AddedProduceRequest = Within<ProduceRequest, 3, 11>;

/// A Produce request of a transaction that adds its partitions to it (KIP-890).
pub type AddingProduceRequest = Within<ProduceRequest, 12, 12>;
