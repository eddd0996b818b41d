//! ConsumerGroupHeartbeat: membership of a group whose partitions the broker shares out (KIP-848).

use uuid::Uuid;

use super::{Nullable, Str, message};

message! {
    api ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse, key 68, versions 0..=1, flexible 0;

    pub struct ConsumerGroupHeartbeatRequest {
        group_id: Str [0..],
        member_id: Str [0..],
        member_epoch: i32 [0..],
        instance_id: Option<Str> [0..],
        rack_id: Option<Str> [0..],
        rebalance_timeout_ms: i32 [0..] = -1,
        subscribed_topic_names: Option<Vec<Str>> [0..],
        subscribed_topic_regex: Option<Str> [1..],
        server_assignor: Option<Str> [0..],
        topic_partitions: Option<Vec<TopicPartitions>> [0..],
    }

    pub struct ConsumerGroupHeartbeatResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<Str> [0..],
        member_id: Option<Str> [0..],
        member_epoch: i32 [0..],
        heartbeat_interval_ms: i32 [0..],
        assignment: Nullable<MemberAssignment> [0..],
    }

    pub struct MemberAssignment {
        topic_partitions: Vec<TopicPartitions> [0..],
    }

    pub struct TopicPartitions {
        topic_id: Uuid [0..],
        partitions: Vec<i32> [0..],
    }
}
