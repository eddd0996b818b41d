//! What a consuming half has done: as it goes on, and what of that is certain.

use tokio::sync::watch;

use super::super::summary::Written;

/// Counts what is taken in. However it ends, what was not made durable and committed is not counted in the end.
pub(in crate::pipeline) struct Counters<'p> {
    progress: &'p watch::Sender<Written>,
    settled: Written,
}

impl<'p> Counters<'p> {
    pub(in crate::pipeline) fn new(progress: &'p watch::Sender<Written>) -> Self {
        Self {
            progress,
            settled: *progress.borrow(),
        }
    }

    /// Counts more.
    pub(in crate::pipeline) fn took(&self, more: &Written) {
        self.progress.send_modify(|done| {
            done.rows += more.rows;
            done.dead_letters += more.dead_letters;
            done.skipped += more.skipped;
            done.tombstones += more.tombstones;
            done.reasons.add(&more.reasons);
            done.lag = more.lag.or(done.lag);
        });
    }

    /// Counts offsets that are lost, whatever becomes of the rest.
    pub(in crate::pipeline) fn lost(&mut self, count: u64) {
        self.settled.lost += count;
        self.progress.send_modify(|done| done.lost += count);
    }

    /// What was taken in so far.
    pub(in crate::pipeline) fn so_far(&self) -> Written {
        *self.progress.borrow()
    }

    /// Notes that what was taken in up to then is durable and committed.
    pub(in crate::pipeline) fn settle(&mut self, done: Written) {
        let committed = done.rows + done.dead_letters + done.tombstones + done.skipped;
        let lost = self.settled.lost;
        self.settled = Written {
            committed,
            lost,
            ..done
        };
        self.progress
            .send_modify(|progress| progress.committed = committed);
    }

    /// Takes so many rows back that counted, and are written anew somewhere.
    pub(super) fn took_back(&mut self, rows: u64) {
        let take_back = |done: &mut Written| {
            done.rows = done.rows.saturating_sub(rows);
            done.committed = done.committed.saturating_sub(rows);
        };
        take_back(&mut self.settled);
        self.progress.send_modify(take_back);
    }

    /// Forgets what is not certain.
    pub(in crate::pipeline) fn fall_back(&self) {
        self.progress.send_replace(self.settled);
    }
}

impl Drop for Counters<'_> {
    fn drop(&mut self) {
        self.fall_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_settled_is_not_counted_in_the_end() {
        let progress = watch::Sender::default();
        let mut counters = Counters::new(&progress);
        let more = Written {
            rows: 3,
            tombstones: 1,
            ..Written::default()
        };
        counters.took(&more);
        let done = counters.so_far();
        counters.lost(7);
        counters.took(&more);
        counters.settle(done);
        assert_eq!(
            (progress.borrow().rows, progress.borrow().committed),
            (6, 4)
        );
        counters.took_back(2);
        assert_eq!(
            (progress.borrow().rows, progress.borrow().committed),
            (4, 2)
        );
        drop(counters);
        assert_eq!(
            (progress.borrow().rows, progress.borrow().committed),
            (1, 2)
        );
        assert_eq!(progress.borrow().lost, 7, "that is certain");
    }
}
