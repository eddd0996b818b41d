//! How long to wait before trying again: doubling from a first pause to a longest one, jittered. Pure.

use std::time::Duration;

/// How far a pause is spread around its middle (KIP-580: 20 %), so that clients that failed together do not return together.
const JITTER: f64 = 0.2;

/// A growing pause. Counts its own failures.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// How many failures there were since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes a success: the next pause is the first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Notes a failure and says how long to wait; `random` is uniform in 0..1.
    pub fn next_pause(&mut self, random: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(self.longest);
        self.failures = self.failures.saturating_add(1);
        doubled
            .mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0))
            .min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stays_between_its_bounds(first in 1u64..1_000, factor in 1u64..1_000, randoms in prop::collection::vec(0.0f64..1.0, 1..80)) {
            let first = Duration::from_millis(first);
            let longest = first * factor as u32;
            let mut backoff = Backoff::new(first, longest);
            for random in randoms {
                let pause = backoff.next_pause(random);
                prop_assert!(pause <= longest);
                prop_assert!(pause >= first.mul_f64(0.799));
            }
        }
    }

    #[test]
    fn doubles_and_starts_anew_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let pauses: Vec<_> = (0..4)
            .map(|_| backoff.next_pause(0.5).as_millis())
            .collect();
        assert_eq!(pauses, [100, 200, 400, 800]);
        backoff.reset();
        assert_eq!(backoff.next_pause(0.5).as_millis(), 100);
    }
}
