//! DeleteTopics, by name.

use super::{Str, message};

message! {
    api DeleteTopicsRequest => DeleteTopicsResponse, key 20, versions 1..=5, flexible 4;

    pub struct DeleteTopicsRequest {
        topic_names: Vec<Str> [0..=5],
        timeout_ms: i32 [0..],
    }

    pub struct DeleteTopicsResponse {
        throttle_time_ms: i32 [1..],
        responses: Vec<DeletableTopicResult> [0..],
    }

    pub struct DeletableTopicResult {
        name: Str [0..],
        error_code: i16 [0..],
        error_message: Option<Str> [5..],
    }
}
