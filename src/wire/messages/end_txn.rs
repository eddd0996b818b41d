//! EndTxn (KIP-98). From version 5 on it also gives the producer the epoch of its next transaction (KIP-890).

use super::{Str, Within, message};

message! {
    api EndTxnRequest => EndTxnResponse, key 26, versions 0..=5, flexible 3;

    pub struct EndTxnRequest {
        transactional_id: Str [0..],
        producer_id: i64 [0..],
        producer_epoch: i16 [0..],
        committed: bool [0..],
    }

    pub struct EndTxnResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        producer_id: i64 [5..] = -1,
        producer_epoch: i16 [5..] = -1,
    }
}

/// An EndTxn request after which the epoch stays.
pub type KeepingEndTxnRequest = Within<EndTxnRequest, 0, 4>;

/// An EndTxn request that raises the epoch.
pub type RaisingEndTxnRequest = Within<EndTxnRequest, 5, 5>;
