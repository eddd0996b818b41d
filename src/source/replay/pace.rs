//! When an event is due that is replayed by its own time. Pure: instants are arguments.
//!
//! The first event is due at once, and the others as far behind it as they were, divided by the speed. An event that is
//! older than the one before it (a new file, say) is due when that one was.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::event::TradeEvent;

/// The longest pause, so that no time in a file can keep a replay waiting for ever.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The pace of a replay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    speed: f64,
    began: Option<(DateTime<Utc>, Instant)>,
}

impl Pace {
    /// So many times as fast as the events were; above 0.
    pub(super) fn new(speed: f64) -> Self {
        Self { speed, began: None }
    }

    /// When an event is due; the first one that is asked about sets the clock.
    pub(super) fn at(&mut self, event: &TradeEvent, now: Instant) -> Instant {
        let time = event.timestamp.instant;
        let (first, began) = *self.began.get_or_insert((time, now));
        let behind = (time - first).to_std().unwrap_or_default();
        let pause =
            Duration::try_from_secs_f64(behind.as_secs_f64() / self.speed).unwrap_or(LONGEST);
        began + pause.min(LONGEST)
    }

    /// How many events are due by now, from the first one on.
    pub(super) fn due(&mut self, events: &[TradeEvent], now: Instant) -> usize {
        events
            .iter()
            .take_while(|event| self.at(event, now) <= now)
            .count()
    }
}
