//! The time of day, and waiting for it: the machine's, or one that a test moves.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The longest sleep in one piece: a clock that was set, or a machine that slept, is noticed after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A clock.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    /// The machine's.
    #[default]
    Real,
    /// Stands still, and jumps when somebody waits.
    #[cfg(test)]
    Simulated(std::sync::Arc<parking_lot::Mutex<DateTime<Utc>>>),
}

impl Clock {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        match self {
            Self::Real => Utc::now(),
            #[cfg(test)]
            Self::Simulated(now) => *now.lock(),
        }
    }

    /// Returns at that time, or earlier.
    pub(crate) async fn sleep_towards(&self, until: DateTime<Utc>) {
        match self {
            Self::Real => {
                let span = (until - Utc::now()).to_std().unwrap_or_default();
                tokio::time::sleep(span.min(LONGEST_SLEEP)).await;
            }
            #[cfg(test)]
            Self::Simulated(now) => {
                {
                    let mut now = now.lock();
                    *now = (*now).max(until);
                }
                tokio::task::yield_now().await;
            }
        }
    }
}
