//! What the tasks of the producer and its users have in common.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::accumulator::Accumulator;
use super::transaction::Transaction;
use crate::wire::error::ErrorCode;

/// What the producer's tasks and its users have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) topic: Arc<str>,
    pub(super) buffer: usize,
    pub(super) accumulator: Mutex<Accumulator>,
    /// Something to do for the sender.
    pub(super) work: Notify,
    /// Memory was given back, or the producer ends.
    pub(super) room: Notify,
    /// How many flushes are waiting.
    pub(super) flushing: AtomicUsize,
    /// No more records are taken.
    pub(super) closed: AtomicBool,
    /// The sender is to give up what is left, and end.
    pub(super) stop: AtomicBool,
    /// A record was given up, and with it all behind it.
    pub(super) gave_up: AtomicBool,
    pub(super) fatal: OnceLock<ErrorCode>,
    pub(super) transaction: Option<Transaction>,
    /// Bytes of all batches made so far, before and after compression.
    pub(super) plain: AtomicU64,
    pub(super) packed: AtomicU64,
}

/// A key as it can stand in a sentence.
pub(super) fn readable(key: Option<&[u8]>) -> String {
    /// Longer keys are cut: an error has to fit into a line.
    const SHOWN: usize = 64;
    match key {
        Some(key) => format!("\"{}\"", key.get(..SHOWN).unwrap_or(key).escape_ascii()),
        None => "none".to_owned(),
    }
}
