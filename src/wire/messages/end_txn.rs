//! EndTxn (KIP-98), up to the last version in which the client, not the broker, keeps the epoch (KIP-890).

use super::{Str, message};

message! {
    api EndTxnRequest => EndTxnResponse, key 26, versions 0..=4, flexible 3;

    pub struct EndTxnRequest {
        transactional_id: Str [0..],
        producer_id: i64 [0..],
        producer_epoch: i16 [0..],
        committed: bool [0..],
    }

    pub struct EndTxnResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
    }
}
