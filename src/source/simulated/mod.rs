//! A market that needs no network: a seeded random walk, as fast or as slow as wanted.
//!
//! With a seed that was given, the events depend on the seed and the symbols alone: their times begin at a fixed
//! instant, whatever the rate, and keep the session hours of New York. With a random seed they are new events, whose times begin now and go at the rate.

mod market;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use compact_str::{CompactString, format_compact};
use futures::future::BoxFuture;
use tokio::time::Instant;

use self::market::Market;
use super::{BadCounts, Batch, MAX_BATCH_EVENTS, Source, SourceError};
use crate::event::symbol::is_symbol;

/// When the market of a given seed opens: 2025-01-02T14:30:00Z.
const OPENING: DateTime<Utc> = DateTime::from_timestamp_nanos(1_735_828_200_000_000_000);

/// Mean time between two events where no rate gives it.
const MEAN_GAP_MICROS: u64 = 1_000;

/// How often a paced market hands events out: often enough to look live, seldom enough to batch.
const TICK: Duration = Duration::from_millis(20);

/// A paced market that was not polled for this long does not make up for it.
const MAX_ARREARS: Duration = Duration::from_secs(1);

const KNOWN_TICKERS: [&str; 12] = [
    "AAPL", "MSFT", "IBM", "NVDA", "AMZN", "GOOGL", "META", "TSLA", "JPM", "V", "KO", "BRK.B",
];

/// Symbols for a simulated market: some known ones, then `SIM00012`, `SIM00013`, ….
pub fn tickers(count: usize) -> Vec<CompactString> {
    let known = KNOWN_TICKERS.into_iter().map(CompactString::const_new);
    let made_up = (KNOWN_TICKERS.len()..).map(|number| format_compact!("SIM{number:05}"));
    known.chain(made_up).take(count).collect()
}

/// Where the walk begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seed {
    /// Given by the user: the same events every time.
    Given(u64),
    /// Drawn at random, with the present time: events that never were before.
    Random {
        /// What was drawn.
        seed: u64,
        /// The present time, where the events' times begin.
        now: DateTime<Utc>,
    },
}

/// Settings of the section `Source.Simulated`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The symbols that are traded, at least one.
    pub symbols: Vec<CompactString>,
    /// Events a second, above 0; `None` is as fast as they are taken.
    pub rate: Option<f64>,
    /// Where the walk begins.
    pub seed: Seed,
}

/// The simulated market.
#[derive(Debug)]
pub struct Simulated {
    market: Market,
    origin: Arc<str>,
    rate: Option<f64>,
    repeats: bool,
    /// When pacing began, and how many events have been handed out since.
    paced: Option<(Instant, u64)>,
}

impl Simulated {
    /// A market; its clock starts with the first poll.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(settings: Settings) -> Result<Self, SourceError> {
        let refuse = |setting, problem: &str| {
            Err(SourceError::Setting {
                setting,
                problem: problem.to_owned(),
            })
        };
        if settings.symbols.is_empty() {
            return refuse(
                "Source.Simulated.Symbols",
                "no symbol is given; name at least one",
            );
        }
        if let Some(bad) = settings
            .symbols
            .iter()
            .find(|symbol| !is_symbol(symbol.as_bytes()))
        {
            return refuse(
                "Source.Simulated.Symbols",
                &format!("{bad:?} does not match [A-Za-z0-9^][A-Za-z0-9.^:_=&-]{{0,31}}"),
            );
        }
        if settings
            .rate
            .is_some_and(|rate| !(rate.is_finite() && rate > 0.0))
        {
            return refuse(
                "Source.Simulated.Rate",
                "has to be a number of events a second above 0",
            );
        }
        let (seed, start, gap, repeats) = match settings.seed {
            Seed::Given(seed) => (seed, OPENING, MEAN_GAP_MICROS, true),
            Seed::Random { seed, now } => {
                let gap = settings.rate.map_or(MEAN_GAP_MICROS, mean_gap_micros);
                (seed, now, gap, false)
            }
        };
        Ok(Self {
            // One that begins now is watched now, also at night.
            market: Market::new(seed, &settings.symbols, start, gap, repeats),
            origin: "simulated".into(),
            rate: settings.rate,
            repeats,
            paced: None,
        })
    }

    /// How many events are due; waits until some are.
    async fn due(&mut self) -> usize {
        let Some(rate) = self.rate else {
            // Lets others run: without a rate nothing here ever waits.
            tokio::task::yield_now().await;
            return MAX_BATCH_EVENTS;
        };
        loop {
            let now = Instant::now();
            let (since, sent) = *self.paced.get_or_insert((now, 0));
            let elapsed = now - since;
            let due = (elapsed.as_secs_f64() * rate) as u64;
            let open = due.saturating_sub(sent);
            if open as f64 > (rate * MAX_ARREARS.as_secs_f64()).max(1.0) {
                // Begins anew with one second's worth, not with all that was missed.
                let backdated = now.checked_sub(MAX_ARREARS).unwrap_or(now);
                self.paced = Some((backdated, 0));
                return usize::try_from((rate as u64).max(1))
                    .unwrap_or(MAX_BATCH_EVENTS)
                    .min(MAX_BATCH_EVENTS);
            }
            if open > 0 {
                return usize::try_from(open)
                    .unwrap_or(MAX_BATCH_EVENTS)
                    .min(MAX_BATCH_EVENTS);
            }
            let next = Duration::try_from_secs_f64((sent + 1) as f64 / rate).unwrap_or(MAX_ARREARS);
            tokio::time::sleep_until((since + next).max(now + TICK)).await;
        }
    }

    async fn advance(&mut self) -> Batch {
        let due = self.due().await;
        // With room for all of them: an iterator that never ends cannot say how many there will be.
        let mut events = Vec::with_capacity(due);
        events.extend(self.market.by_ref().take(due));
        if let Some((_, sent)) = &mut self.paced {
            *sent += events.len() as u64;
        }
        Batch {
            events,
            origin: Arc::clone(&self.origin),
            bad: BadCounts::default(),
            more: false,
        }
    }
}

fn mean_gap_micros(rate: f64) -> u64 {
    (1e6 / rate).clamp(1.0, 1e12) as u64
}

impl Source for Simulated {
    fn poll(&mut self) -> BoxFuture<'_, Result<Option<Batch>, SourceError>> {
        Box::pin(async { Ok(Some(self.advance().await)) })
    }

    fn may_repeat(&self) -> bool {
        self.repeats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rate: Option<f64>, seed: Seed) -> Settings {
        Settings {
            symbols: tickers(3),
            rate,
            seed,
        }
    }

    async fn events(source: &mut Simulated) -> Vec<crate::event::TradeEvent> {
        source
            .poll()
            .await
            .expect("no error")
            .expect("no end")
            .events
    }

    #[tokio::test]
    async fn a_given_seed_gives_the_same_events_at_any_rate() {
        let mut fast = Simulated::new(settings(None, Seed::Given(7))).expect("good settings");
        let mut slow =
            Simulated::new(settings(Some(1_000.0), Seed::Given(7))).expect("good settings");
        let slow_events = events(&mut slow).await;
        let fast_events = events(&mut fast).await;
        assert!(!slow_events.is_empty());
        assert_eq!(fast_events.len(), MAX_BATCH_EVENTS);
        assert_eq!(
            fast_events.get(..slow_events.len()),
            Some(slow_events.as_slice())
        );
        assert!(fast.may_repeat());
    }

    #[tokio::test]
    async fn a_random_seed_begins_now() {
        let now = "2026-07-01T12:00:00Z".parse().expect("a time");
        let mut source =
            Simulated::new(settings(None, Seed::Random { seed: 7, now })).expect("good settings");
        assert!(!source.may_repeat());
        let first = events(&mut source).await;
        assert!(
            first
                .first()
                .is_some_and(|event| event.timestamp.instant - now < chrono::TimeDelta::seconds(1))
        );
    }

    #[tokio::test]
    async fn the_rate_is_kept_and_a_cancelled_poll_loses_nothing() {
        let mut source =
            Simulated::new(settings(Some(500.0), Seed::Given(7))).expect("good settings");
        let (begin, mut got) = (Instant::now(), Vec::new());
        while begin.elapsed() < Duration::from_millis(600) {
            if let Ok(batch) = tokio::time::timeout(Duration::from_millis(7), source.poll()).await {
                got.extend(batch.expect("no error").expect("no end").events);
            }
        }
        assert!((100..=400).contains(&got.len()), "{}", got.len());
        let mut whole = Simulated::new(settings(None, Seed::Given(7))).expect("good settings");
        assert_eq!(
            events(&mut whole).await.get(..got.len()),
            Some(got.as_slice())
        );
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Simulated::new(settings(Some(rate), Seed::Given(1))).is_err());
        }
        assert!(
            Simulated::new(Settings {
                symbols: vec![],
                ..settings(None, Seed::Given(1))
            })
            .is_err()
        );
        assert!(
            Simulated::new(Settings {
                symbols: vec!["A B".into()],
                ..settings(None, Seed::Given(1))
            })
            .is_err()
        );
        assert_eq!(
            tickers(14).last().map(CompactString::as_str),
            Some("SIM00013")
        );
    }
}
