//! DescribeGroups.

use bytes::Bytes;

use super::{Str, message};

message! {
    api DescribeGroupsRequest => DescribeGroupsResponse, key 15, versions 0..=5, flexible 5;

    pub struct DescribeGroupsRequest {
        groups: Vec<Str> [0..],
        include_authorized_operations: bool [3..],
    }

    pub struct DescribeGroupsResponse {
        throttle_time_ms: i32 [1..],
        groups: Vec<DescribedGroup> [0..],
    }

    pub struct DescribedGroup {
        error_code: i16 [0..],
        group_id: Str [0..],
        group_state: Str [0..],
        protocol_type: Str [0..],
        protocol_data: Str [0..],
        members: Vec<DescribedGroupMember> [0..],
        authorized_operations: i32 [3..] = i32::MIN,
    }

    pub struct DescribedGroupMember {
        member_id: Str [0..],
        group_instance_id: Option<Str> [4..],
        client_id: Str [0..],
        client_host: Str [0..],
        member_metadata: Bytes [0..],
        member_assignment: Bytes [0..],
    }
}
