//! DeleteGroups.

use super::{Str, message};

message! {
    api DeleteGroupsRequest => DeleteGroupsResponse, key 42, versions 0..=2, flexible 2;

    pub struct DeleteGroupsRequest {
        groups_names: Vec<Str> [0..],
    }

    pub struct DeleteGroupsResponse {
        throttle_time_ms: i32 [0..],
        results: Vec<DeletableGroupResult> [0..],
    }

    pub struct DeletableGroupResult {
        group_id: Str [0..],
        error_code: i16 [0..],
    }
}
