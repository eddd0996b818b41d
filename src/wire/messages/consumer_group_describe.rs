//! ConsumerGroupDescribe: groups of KIP-848 and their members.

use uuid::Uuid;

use super::{Str, message};

message! {
    api ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse, key 69, versions 0..=1, flexible 0;

    pub struct ConsumerGroupDescribeRequest {
        group_ids: Vec<Str> [0..],
        include_authorized_operations: bool [0..],
    }

    pub struct ConsumerGroupDescribeResponse {
        throttle_time_ms: i32 [0..],
        groups: Vec<DescribedConsumerGroup> [0..],
    }

    pub struct DescribedConsumerGroup {
        error_code: i16 [0..],
        error_message: Option<Str> [0..],
        group_id: Str [0..],
        group_state: Str [0..],
        group_epoch: i32 [0..],
        assignment_epoch: i32 [0..],
        assignor_name: Str [0..],
        members: Vec<DescribedConsumerMember> [0..],
        authorized_operations: i32 [0..] = i32::MIN,
    }

    pub struct DescribedConsumerMember {
        member_id: Str [0..],
        instance_id: Option<Str> [0..],
        rack_id: Option<Str> [0..],
        member_epoch: i32 [0..],
        client_id: Str [0..],
        client_host: Str [0..],
        subscribed_topic_names: Vec<Str> [0..],
        subscribed_topic_regex: Option<Str> [0..],
        assignment: DescribedAssignment [0..],
        target_assignment: DescribedAssignment [0..],
        member_type: i8 [1..] = -1,
    }

    pub struct DescribedAssignment {
        topic_partitions: Vec<DescribedTopicPartitions> [0..],
    }

    pub struct DescribedTopicPartitions {
        topic_id: Uuid [0..],
        topic_name: Str [0..],
        partitions: Vec<i32> [0..],
    }
}
