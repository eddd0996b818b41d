//! How much fetched data may be in memory: requests wait while the readers of earlier answers lag behind.
//!
//! All partitions of an answer are views of one buffer, which is freed with the last of them; so is what it holds here.

use std::sync::Arc;

use tokio::sync::watch;

/// Bytes in flight, between the socket and the reader.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    held: watch::Sender<usize>,
}

/// The memory of one answer, counted until this is dropped.
#[derive(Debug)]
pub(in crate::consumer) struct Held {
    memory: Arc<MemoryLimit>,
    bytes: usize,
}

impl MemoryLimit {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            held: watch::Sender::new(0),
        })
    }

    /// Waits until less than `limit` bytes are in flight.
    pub(super) async fn below(&self, limit: usize) {
        let mut held = self.held.subscribe();
        // The sender lives as long as `self`, so this does not fail.
        let _ = held.wait_for(|held| *held < limit).await;
    }

    /// Counts `bytes` until the result is dropped.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Arc<Held> {
        self.held.send_modify(|held| *held += bytes);
        Arc::new(Held {
            memory: Arc::clone(self),
            bytes,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.held.send_modify(|held| *held -= self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn opens_when_the_last_view_of_an_answer_is_dropped() {
        let memory = MemoryLimit::new();
        let first = memory.hold(10);
        let view = Arc::clone(&first);
        memory.below(11).await;
        drop(first);
        assert!(
            timeout(Duration::from_millis(20), memory.below(10))
                .await
                .is_err()
        );
        std::thread::spawn(move || drop(view));
        memory.below(1).await;
    }
}
