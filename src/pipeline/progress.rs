//! What a person sees while a topic is read: rows a second, what waits, and when it will be done with.
//!
//! Drawn on standard error, and only where that is a terminal. [`Pulse`] and [`Waiting`] are pure.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::summary::Written;

/// How often progress is shown.
const REDRAW: Duration = Duration::from_millis(200);

/// Over how long speed is measured: long enough to be calm, short enough to follow.
const WINDOW: Duration = Duration::from_secs(5);

/// How many records wait on the partitions that are read.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    by_partition: BTreeMap<i32, u64>,
    total: u64,
}

impl Waiting {
    /// A partition is read up to `position`, and ends at `end`.
    pub(super) fn note(&mut self, partition: i32, position: i64, end: i64) {
        let waits = u64::try_from(end.saturating_sub(position)).unwrap_or_default();
        let before = self.by_partition.insert(partition, waits);
        self.total = self.total - before.unwrap_or_default() + waits;
    }

    /// Only partitions that `keep` says are read any more.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(i32) -> bool) {
        self.by_partition.retain(|partition, _| keep(*partition));
        self.total = self.by_partition.values().sum();
    }

    /// All of them together.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

/// A moment: rows written so far, records that wait.
#[derive(Clone, Copy, Debug)]
struct Beat {
    at: Instant,
    rows: u64,
    lag: u64,
}

/// The last seconds of a consumer.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse {
    beats: VecDeque<Beat>,
}

impl Pulse {
    /// Notes how far it has come.
    pub(super) fn note(&mut self, at: Instant, rows: u64, lag: u64) {
        self.beats.push_back(Beat { at, rows, lag });
        while self
            .beats
            .get(1)
            .is_some_and(|second| at.duration_since(second.at) >= WINDOW)
        {
            self.beats.pop_front();
        }
    }

    fn ends(&self) -> Option<(Beat, Beat, f64)> {
        let (first, last) = (*self.beats.front()?, *self.beats.back()?);
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        (seconds > 0.0).then_some((first, last, seconds))
    }

    /// Rows a second over the last seconds. Rows that were taken back count as none.
    pub(super) fn rows_per_second(&self) -> f64 {
        self.ends().map_or(0.0, |(first, last, seconds)| {
            last.rows.saturating_sub(first.rows) as f64 / seconds
        })
    }

    /// How long until nothing waits any more, as fast as it became less; `None` when it does not become less.
    pub(super) fn caught_up_in(&self) -> Option<Duration> {
        let (first, last, seconds) = self.ends()?;
        if last.lag == 0 {
            return Some(Duration::ZERO);
        }
        let less = first.lag.checked_sub(last.lag).filter(|less| *less > 0)?;
        Duration::try_from_secs_f64(last.lag as f64 * seconds / less as f64).ok()
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let last = self.beats.back();
        let (rows, lag) = last.map_or((0, 0), |last| (last.rows, last.lag));
        let when = match self.caught_up_in() {
            Some(Duration::ZERO) => "caught up".to_owned(),
            Some(left) => format!("caught up in {}", HumanDuration(left)),
            None => "not catching up".to_owned(),
        };
        format!(
            "{} rows written, {} rows/s, lag {}, {when}",
            HumanCount(rows),
            HumanCount(self.rows_per_second() as u64),
            HumanCount(lag),
        )
    }
}

/// Draws what was done, on a terminal; elsewhere it only waits.
pub(super) async fn show(written: &watch::Sender<Written>) {
    let style = ProgressStyle::with_template("{spinner} {msg}");
    let bar = ProgressBar::no_length()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    if bar.is_hidden() {
        return std::future::pending().await;
    }
    let bar = Bar(bar);
    let mut pulse = Pulse::default();
    loop {
        let Written { rows, lag, .. } = *written.borrow();
        match lag {
            Some(lag) => {
                pulse.note(Instant::now(), rows, lag);
                bar.0.set_message(pulse.line());
            }
            None => bar.0.set_message("nothing read yet"),
        }
        bar.0.tick();
        tokio::time::sleep(REDRAW).await;
    }
}

/// A bar that leaves no trace.
struct Bar(ProgressBar);

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pulse(beats: &[(u64, u64, u64)]) -> Pulse {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        for (ms, rows, lag) in beats {
            pulse.note(start + Duration::from_millis(*ms), *rows, *lag);
        }
        pulse
    }

    #[test]
    fn speed_and_the_time_that_is_left() {
        assert_eq!(
            pulse(&[]).line(),
            "0 rows written, 0 rows/s, lag 0, not catching up"
        );
        let steady = pulse(&[
            (0, 0, 100_000),
            (1_000, 2_000, 98_000),
            (2_000, 4_000, 96_000),
        ]);
        assert_eq!(
            steady.line(),
            "4,000 rows written, 2,000 rows/s, lag 96,000, caught up in 48 seconds"
        );
        // Twice as much comes as is read.
        let behind = pulse(&[(0, 0, 100), (1_000, 50, 200)]);
        assert_eq!(behind.caught_up_in(), None);
        let done = pulse(&[(0, 0, 100), (1_000, 100, 0)]);
        assert!(done.line().ends_with("lag 0, caught up"), "{}", done.line());
        // Only the last seconds count.
        let slow = pulse(&[(0, 0, 0), (1_000, 1_000_000, 0), (7_000, 1_000_006, 0)]);
        assert_eq!(slow.rows_per_second(), 1.0);
        let taken_back = pulse(&[(0, 10, 0), (1_000, 5, 5)]);
        assert_eq!(taken_back.rows_per_second(), 0.0);
    }

    proptest! {
        #[test]
        fn what_waits_is_the_sum_over_the_partitions(notes in prop::collection::vec((0..4_i32, 0..50_i64, 0..50_i64), 0..40), kept in 0..4_i32) {
            let mut waiting = Waiting::default();
            let mut model = BTreeMap::new();
            for (partition, position, end) in notes {
                waiting.note(partition, position, end);
                model.insert(partition, (end - position).max(0) as u64);
                prop_assert_eq!(waiting.total(), model.values().sum::<u64>());
            }
            waiting.retain(|partition| partition == kept);
            prop_assert_eq!(waiting.total(), model.get(&kept).copied().unwrap_or_default());
        }

        /// Whatever comes, nothing panics and no speed is negative.
        #[test]
        fn any_beats_give_a_line(beats in prop::collection::vec((0..100_000_u64, any::<u64>(), any::<u64>()), 0..40)) {
            let mut beats = beats;
            beats.sort_unstable();
            let pulse = pulse(&beats);
            prop_assert!(pulse.rows_per_second() >= 0.0);
            prop_assert!(!pulse.line().is_empty());
        }
    }
}
