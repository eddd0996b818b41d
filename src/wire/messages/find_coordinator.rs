//! FindCoordinator.

use super::{Str, message};

message! {
    api FindCoordinatorRequest => FindCoordinatorResponse, key 10, versions 0..=4, flexible 3;

    pub struct FindCoordinatorRequest {
        key: Str [0..=3],
        key_type: i8 [1..],
        coordinator_keys: Vec<Str> [4..],
    }

    pub struct FindCoordinatorResponse {
        throttle_time_ms: i32 [1..],
        error_code: i16 [0..=3],
        error_message: Option<Str> [1..=3],
        node_id: i32 [0..=3],
        host: Str [0..=3],
        port: i32 [0..=3],
        coordinators: Vec<Coordinator> [4..],
    }

    pub struct Coordinator {
        key: Str [4..],
        node_id: i32 [4..],
        host: Str [4..],
        port: i32 [4..],
        error_code: i16 [4..],
        error_message: Option<Str> [4..],
    }
}
