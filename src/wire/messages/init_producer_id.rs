//! InitProducerId.

use super::{Str, message};

message! {
    api InitProducerIdRequest => InitProducerIdResponse, key 22, versions 0..=5, flexible 2;

    pub struct InitProducerIdRequest {
        transactional_id: Option<Str> [0..],
        transaction_timeout_ms: i32 [0..],
        producer_id: i64 [3..] = -1,
        producer_epoch: i16 [3..] = -1,
    }

    pub struct InitProducerIdResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        producer_id: i64 [0..] = -1,
        producer_epoch: i16 [0..],
    }
}
