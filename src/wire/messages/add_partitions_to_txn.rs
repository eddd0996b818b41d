//! AddPartitionsToTxn (KIP-98), in the versions that clients use; later ones are the brokers' own.

use super::{Str, message};

message! {
    api AddPartitionsToTxnRequest => AddPartitionsToTxnResponse, key 24, versions 0..=3, flexible 3;

    pub struct AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: Str [0..=3],
        v3_and_below_producer_id: i64 [0..=3],
        v3_and_below_producer_epoch: i16 [0..=3],
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic> [0..=3],
    }

    pub struct AddPartitionsToTxnTopic {
        name: Str [0..],
        partitions: Vec<i32> [0..],
    }

    pub struct AddPartitionsToTxnResponse {
        throttle_time_ms: i32 [0..],
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult> [0..=3],
    }

    pub struct AddPartitionsToTxnTopicResult {
        name: Str [0..],
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult> [0..],
    }

    pub struct AddPartitionsToTxnPartitionResult {
        partition_index: i32 [0..],
        partition_error_code: i16 [0..],
    }
}
