//! What all connections of the embedded broker share.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::coordinator::Coordinator;
use super::topics::Topics;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) cluster_id: String,
    pub(super) advertise: Option<(String, u16)>,
    pub(super) default_partitions: i32,
    pub(super) min_session_timeout: Duration,
    pub(super) topics: Mutex<Topics>,
    /// Wakes the long polls.
    pub(super) appended: Notify,
    pub(super) coordinator: Coordinator,
    pub(super) next_producer_id: AtomicI64,
}
