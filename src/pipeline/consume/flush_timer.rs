//! When to flush and commit. Pure.
//!
//! A flush is due `Output.CommitIntervalMs` after the one before it, so that a busy topic pays for few of them; but
//! what comes after a pause longer than that is flushed almost at once, so that a quiet topic's rows are seen and safe
//! within milliseconds, at no more flushes than before.

use std::time::{Duration, Instant};

/// How long the first rows after a pause wait for those that come with them: records that were published together
/// arrive in one fetch a broker, a round trip or two apart.
const GATHER: Duration = Duration::from_millis(20);

/// The rhythm of flushes.
#[derive(Clone, Copy, Debug)]
pub(in crate::pipeline) struct FlushTimer {
    period: Duration,
    flushed: Option<Instant>,
    due: Option<Instant>,
}

impl FlushTimer {
    pub(in crate::pipeline) const fn new(period: Duration) -> Self {
        Self {
            period,
            flushed: None,
            due: None,
        }
    }

    /// Notes that there is something to flush.
    pub(in crate::pipeline) fn took(&mut self, now: Instant) {
        if self.due.is_none() {
            let gathered = now + GATHER.min(self.period);
            let earliest = self.flushed.map(|flushed| flushed + self.period);
            self.due = Some(earliest.map_or(gathered, |earliest| earliest.max(gathered)));
        }
    }

    /// Makes a flush due now: a file took its last row, and is closed when that counts.
    pub(in crate::pipeline) fn hurry(&mut self, now: Instant) {
        self.due = Some(self.due.map_or(now, |due| due.min(now)));
    }

    /// Notes that everything is flushed.
    pub(in crate::pipeline) fn flushed(&mut self, now: Instant) {
        self.flushed = Some(now);
        self.due = None;
    }

    /// When the next flush is due; `None` while there is nothing to flush.
    pub(in crate::pipeline) const fn due(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PERIOD: Duration = Duration::from_secs(1);

    #[test]
    fn what_comes_after_a_pause_is_flushed_at_once_and_a_stream_once_a_period() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut flush_timer = FlushTimer::new(PERIOD);
        assert_eq!(flush_timer.due(), None);
        flush_timer.took(at(0));
        flush_timer.took(at(10));
        assert_eq!(flush_timer.due(), Some(at(20)));
        flush_timer.flushed(at(25));
        flush_timer.took(at(30));
        assert_eq!(flush_timer.due(), Some(at(1025)));
        flush_timer.flushed(at(1025));
        flush_timer.took(at(9000));
        assert_eq!(flush_timer.due(), Some(at(9020)));
    }

    proptest! {
        /// Nothing waits longer than a period and the gathering, and flushes that come when due are a period apart.
        #[test]
        fn nothing_waits_long_and_nothing_comes_often(gaps in proptest::collection::vec(0_u64..3000, 1..200)) {
            let mut now = Instant::now();
            let mut flush_timer = FlushTimer::new(PERIOD);
            let mut last: Option<Instant> = None;
            for gap in gaps {
                let next = now + Duration::from_millis(gap);
                if let Some(due) = flush_timer.due().filter(|due| *due <= next) {
                    if let Some(last) = last {
                        prop_assert!(due - last >= PERIOD);
                    }
                    last = Some(due);
                    flush_timer.flushed(due);
                }
                now = next;
                flush_timer.took(now);
                prop_assert!(flush_timer.due().is_some_and(|due| due <= now + PERIOD.max(GATHER)));
            }
        }
    }
}
