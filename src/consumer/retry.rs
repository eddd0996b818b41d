//! Trying again: a pause that grows, and one line in the log when a streak of failures begins and one when it is over.

use std::{fmt, time::Duration};

use crate::wire::cluster::Backoff;

/// The first pause. Java's `retry.backoff.ms`.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause. Java's `retry.backoff.max.ms`: connections that fail impose longer ones of their own.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A streak of failures of one thing.
#[derive(Debug)]
pub(super) struct Streak {
    what: String,
    backoff: Backoff,
}

impl Streak {
    /// `what` is tried, to be read after "cannot".
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// Notes a failure and says how long to wait.
    pub(super) fn note(&mut self, error: &dyn fmt::Display) -> Duration {
        if self.backoff.failures() == 0 {
            tracing::warn!("cannot {} yet, will keep trying: {error}", self.what);
        } else {
            tracing::debug!("cannot {} yet: {error}", self.what);
        }
        self.backoff.next_pause(rand::random())
    }

    /// Notes a failure, and waits.
    pub(super) async fn failed(&mut self, error: &(dyn fmt::Display + Sync)) {
        let pause = self.note(error);
        tokio::time::sleep(pause).await;
    }

    /// Notes a success.
    pub(super) fn over(&mut self) {
        if self.backoff.failures() > 0 {
            tracing::info!("can {} again", self.what);
        }
        self.backoff.reset();
    }
}
