//! LeaveGroup.

use super::{Str, message};

message! {
    api LeaveGroupRequest => LeaveGroupResponse, key 13, versions 0..=5, flexible 4;

    pub struct LeaveGroupRequest {
        group_id: Str [0..],
        member_id: Str [0..=2],
        members: Vec<MemberIdentity> [3..],
    }

    pub struct MemberIdentity {
        member_id: Str [3..],
        group_instance_id: Option<Str> [3..],
        reason: Option<Str> [5..],
    }

    pub struct LeaveGroupResponse {
        throttle_time_ms: i32 [1..],
        error_code: i16 [0..],
        members: Vec<MemberResponse> [3..],
    }

    pub struct MemberResponse {
        member_id: Str [3..],
        group_instance_id: Option<Str> [3..],
        error_code: i16 [3..],
    }
}
