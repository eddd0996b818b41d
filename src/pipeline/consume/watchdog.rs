//! Says when one turn of the consuming half takes so long that the group may go on without it.
//!
//! Heartbeats are sent by a task of their own, so a slow disk alone never costs the membership; but when the group wants
//! a partition back, it waits for `Kafka.MaxPollIntervalMs` and no longer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);

/// Since when a turn is under way.
#[derive(Clone, Debug, Default)]
pub(in crate::pipeline) struct Watchdog {
    busy: Arc<Mutex<Option<Instant>>>,
}

impl Watchdog {
    /// A turn begins.
    pub(in crate::pipeline) fn begin(&self) {
        *self.busy.lock() = Some(Instant::now());
    }

    /// The turn is over: waiting is no work.
    pub(in crate::pipeline) fn end(&self) {
        *self.busy.lock() = None;
    }

    /// Watches for as long as it is polled.
    pub(in crate::pipeline) async fn watch(&self, limit: Duration) {
        let mut told: Option<Instant> = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let busy = *self.busy.lock();
            if busy != told {
                told = None;
            }
            if let Some(since) = busy.filter(|_| told.is_none())
                && is_long(since.elapsed(), limit)
            {
                told = busy;
                tracing::warn!(
                    "rows have been on their way to the disk and their commit for {:.1} s; if the group rebalances now, it continues without this member after {:.1} s (Kafka.MaxPollIntervalMs): is the disk of Output.Directory too slow, or the \
                     coordinator away?",
                    since.elapsed().as_secs_f64(),
                    limit.as_secs_f64(),
                );
            }
        }
    }
}

/// Early enough that something can be done about it.
fn is_long(took: Duration, limit: Duration) -> bool {
    took >= limit / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_limit_is_long() {
        let limit = Duration::from_secs(10);
        assert!(!is_long(Duration::from_millis(4_999), limit));
        assert!(is_long(Duration::from_secs(5), limit));
    }
}
