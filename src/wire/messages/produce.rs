//! Produce.

use bytes::Bytes;

use super::{Str, message};

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

/// A Produce request of a transaction whose partitions were added by hand: from version 12 on, brokers take it for one that
/// adds them itself (KIP-890).
#[derive(Clone, Debug, PartialEq)]
pub struct TransactionalProduceRequest(pub ProduceRequest);

impl super::Field for TransactionalProduceRequest {
    fn encode(&self, out: &mut Vec<u8>, version: super::Version) {
        self.0.encode(out, version);
    }

    fn decode(
        reader: &mut super::Reader,
        version: super::Version,
    ) -> Result<Self, super::DecodeError> {
        ProduceRequest::decode(reader, version).map(Self)
    }
}

impl super::Request for TransactionalProduceRequest {
    type Response = ProduceResponse;
    const KEY: i16 = <ProduceRequest as super::Request>::KEY;
    const NAME: &'static str = <ProduceRequest as super::Request>::NAME;
    const MIN_VERSION: i16 = 3;
    const MAX_VERSION: i16 = 11;
    const FLEXIBLE_FROM: i16 = <ProduceRequest as super::Request>::FLEXIBLE_FROM;
}
