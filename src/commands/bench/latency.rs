//! Percentiles of latencies, by the nearest rank. Pure.

use std::time::Duration;

/// What part of the events was acknowledged within which time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of them.
    pub p50: Duration,
    /// 99 of 100.
    pub p99: Duration,
    /// 999 of 1,000.
    pub p99_9: Duration,
    /// All.
    pub max: Duration,
}

impl Percentiles {
    /// Of these times, in any order; of none, nothing but zeros.
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let rank = |per_mille: usize| {
            let rank = (times.len() * per_mille).div_ceil(1_000);
            times
                .get(rank.saturating_sub(1))
                .copied()
                .unwrap_or_default()
        };
        Self {
            p50: rank(500),
            p99: rank(990),
            p99_9: rank(999),
            max: rank(1_000),
        }
    }

    pub(super) fn named(&self) -> [(&'static str, Duration); 4] {
        [
            ("p50", self.p50),
            ("p99", self.p99),
            ("p99_9", self.p99_9),
            ("max", self.max),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_few_and_of_none() {
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
        let ms = Duration::from_millis;
        let three = Percentiles::of(vec![ms(3), ms(1), ms(2)]);
        assert_eq!((three.p50, three.p99, three.max), (ms(2), ms(3), ms(3)));
    }
}
