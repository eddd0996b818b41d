//! Bars from Alpha Vantage, polled: <https://www.alphavantage.co/documentation/>.
//!
//! The deciding parts are pure and have a file each: what a body is ([`body`]), which notice it is (`notice`), what to
//! do about it (`fault`), who is asked next (`schedule`). This file drives them with a clock, a die and a socket.
//!
//! Invariants: one request at a time, kept while nobody polls; one bad symbol never stops the others; a good bar is
//! handed out whatever else was wrong with its body; the API key is in no text.

pub mod body;

mod bar;
mod csv;
mod fault;
mod http;
mod json;
mod notice;
mod redact;
mod schedule;
mod settings;
mod tls;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use compact_str::CompactString;
use futures::future::BoxFuture;
use tokio::time::Instant;

use self::body::{Ask, BadBar, Bars, Refusal};
use self::fault::{Reaction, reaction};
use self::http::{Answer, Client};
use self::schedule::{Next, Schedule, backoff, until_next_day};
use super::{BadCounts, Batch, ErrorClass, Source, SourceError};
use crate::event::symbol::is_symbol;

pub use bar::Series;
pub use fault::Fault;
pub use notice::{Notice, NoticeKind};
pub use settings::{Function, Interval, OutputSize, Settings, UnknownValue};

/// Bad bars remembered per symbol, so that a bar that comes with every poll is counted once; beyond it all are
/// forgotten and counted again. A body of 100 bars cannot fill it.
const MAX_REMEMBERED_BAD_BARS: usize = 4096;

/// The least time that a request gets, however near the end of its limit.
const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// Bad bars of one body that are logged one by one; a body full of them must not fill the log.
const MAX_LOGGED_BAD_BARS: usize = 20;

/// Counts bad bars, and says in the log which they are; `of` is their symbol or file.
pub(super) fn count_bad_bars(of: &str, bars: &[BadBar]) -> BadCounts {
    let mut counts = BadCounts::default();
    for bar in bars {
        counts.add(bar.reason);
    }
    for bar in bars.iter().take(MAX_LOGGED_BAD_BARS) {
        tracing::warn!(of, bar = %bar.start, reason = bar.reason.as_str(), "a bad bar is skipped");
    }
    if bars.len() > MAX_LOGGED_BAD_BARS {
        tracing::warn!(
            of,
            more = bars.len() - MAX_LOGGED_BAD_BARS,
            "more bad bars are skipped"
        );
    }
    counts
}

/// Polls Alpha Vantage.
pub struct AlphaVantage {
    settings: Settings,
    client: Client,
    schedule: Schedule,
    in_flight: Option<InFlight>,
    ready: VecDeque<Batch>,
    /// Comes after what is ready.
    error: Option<SourceError>,
    bad_seen: Vec<HashSet<BadBar>>,
    unreachable_since: Option<Instant>,
    ended: bool,
}

struct InFlight {
    place: usize,
    since: Instant,
    answer: BoxFuture<'static, Result<Answer, Fault>>,
}

impl std::fmt::Debug for AlphaVantage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("AlphaVantage")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl AlphaVantage {
    /// A poller; nothing is sent before it is polled. Has to be made within a tokio runtime.
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
                "AlphaVantage.Symbols",
                "no symbol is given; name at least one, IBM say",
            );
        }
        if let Some(bad) = settings
            .symbols
            .iter()
            .find(|symbol| !is_symbol(symbol.as_bytes()))
        {
            return refuse(
                "AlphaVantage.Symbols",
                &format!("{bad:?} does not match [A-Za-z0-9^][A-Za-z0-9.^:_=-]{{0,31}}"),
            );
        }
        let gap = Duration::try_from_secs_f64(settings.requests_per_second.recip())
            .ok()
            .filter(|_| settings.requests_per_second > 0.0)
            .ok_or_else(|| SourceError::Setting {
                setting: "AlphaVantage.RequestsPerSecond",
                problem: "has to be above 0".to_owned(),
            })?;
        let client = Client::new(
            &settings.base_url,
            settings.api_key.clone(),
            settings.body_limit,
        )?;
        let symbols = settings.symbols.len();
        let schedule = Schedule::new(symbols, gap, settings.poll, settings.once, Instant::now());
        Ok(Self {
            settings,
            client,
            schedule,
            in_flight: None,
            ready: VecDeque::new(),
            error: None,
            bad_seen: vec![HashSet::new(); symbols],
            unreachable_since: None,
            ended: false,
        })
    }

    async fn advance(&mut self) -> Result<Option<Batch>, SourceError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(in_flight) = &mut self.in_flight {
                let outcome = in_flight.answer.as_mut().await;
                let (place, since) = (in_flight.place, in_flight.since);
                self.in_flight = None;
                self.settle(place, since, outcome);
                continue;
            }
            match self.schedule.next(Instant::now()) {
                Next::Ask(place) => self.ask(place),
                Next::Wait(until) => tokio::time::sleep_until(until).await,
                Next::Ended => self.ended = true,
                Next::NoneLeft => {
                    self.ended = true;
                    return Err(SourceError::NoSymbolLeft);
                }
            }
        }
    }

    fn symbol(&self, place: usize) -> CompactString {
        self.settings
            .symbols
            .get(place)
            .cloned()
            .unwrap_or_default()
    }

    fn ask(&mut self, place: usize) {
        let now = Instant::now();
        let symbol = self.symbol(place);
        let query = self.settings.query(&symbol);
        let mut timeout = self.settings.timeout;
        if let Some(limit) = self.settings.unreachable_limit {
            let end = self.unreachable_since.unwrap_or(now) + limit;
            timeout = timeout.min(end.saturating_duration_since(now).max(MIN_TIMEOUT));
        }
        self.schedule.sent(now);
        let answer = Box::pin(self.client.get(&query, timeout));
        self.in_flight = Some(InFlight {
            place,
            since: now,
            answer,
        });
    }

    fn settle(&mut self, place: usize, since: Instant, outcome: Result<Answer, Fault>) {
        let fault = match outcome {
            Ok(answer) => {
                self.unreachable_since = None;
                self.read(place, &answer).err()
            }
            Err(fault) => {
                if matches!(fault, Fault::Unreachable { .. } | Fault::TimedOut { .. }) {
                    self.unreachable_since.get_or_insert(since);
                } else {
                    self.unreachable_since = None;
                }
                Some(fault)
            }
        };
        match fault {
            Some(fault) => self.react(place, fault),
            None => self.schedule.polled(place, Instant::now()),
        }
    }

    /// Makes batches of an answer's bars; what was wrong with it is the error.
    fn read(&mut self, place: usize, answer: &Answer) -> Result<(), Fault> {
        if let (300..400, Some(to)) = (answer.status, &answer.redirect) {
            return Err(Fault::Redirect {
                status: answer.status,
                to: to.clone(),
            });
        }
        let symbol = self.symbol(place);
        let ask = Ask {
            symbol: Some(&symbol),
            interval: self.settings.interval,
            now: Some(Utc::now()),
            key: Some(self.client.key()),
        };
        let success = (200..300).contains(&answer.status);
        let bars = match body::parse(&answer.body, &ask) {
            Ok(bars) if success => bars,
            // A notice explains more than a status does, but a page of HTML does not.
            Err(Refusal::Notice(notice))
                if success
                    || !matches!(
                        notice.kind,
                        NoticeKind::Html | NoticeKind::NoData | NoticeKind::Unknown
                    ) =>
            {
                return Err(Fault::Notice(notice));
            }
            Err(Refusal::Unusable(why)) if success => {
                return Err(answer
                    .cut
                    .clone()
                    .map_or(Fault::Unusable(why), Fault::Broken));
            }
            _ => {
                return Err(Fault::Status {
                    status: answer.status,
                    retry_after: answer.retry_after,
                });
            }
        };
        let broken = answer.cut.clone().or_else(|| bars.broken.clone());
        self.hand_out(place, bars);
        broken.map_or(Ok(()), |why| Err(Fault::Broken(why)))
    }

    fn hand_out(&mut self, place: usize, bars: Bars) {
        let symbol = self.symbol(place);
        let mut news = bars.bad;
        if let Some(seen) = self.bad_seen.get_mut(place) {
            news.retain(|bar| {
                if seen.len() >= MAX_REMEMBERED_BAD_BARS {
                    seen.clear();
                }
                seen.insert(bar.clone())
            });
        }
        let bad = count_bad_bars(&symbol, &news);
        tracing::debug!(%symbol, closed = bars.events.len(), forming = bars.forming, "bars came in");
        let origin: Arc<str> = bars.series.origin().into();
        self.ready.extend(Batch::split(bars.events, &origin, bad));
    }

    fn react(&mut self, place: usize, fault: Fault) {
        let now = Instant::now();
        let pause = backoff(
            self.settings.retry_backoff,
            self.schedule.tries(place),
            rand::random(),
        );
        match reaction(&fault) {
            Reaction::Backoff => self.retry(place, fault, now, pause),
            Reaction::KeepStill(time) => {
                // The limit is the key's, not the symbol's.
                self.schedule.keep_still(now + time);
                self.retry(place, fault, now, time + pause);
            }
            Reaction::NextDay if !self.settings.once => {
                let wait = until_next_day(Utc::now(), self.settings.day_reset_zone);
                self.schedule.keep_still(now + wait);
                self.schedule.polled(place, now);
                tracing::warn!(
                    seconds = wait.as_secs(),
                    "nothing is asked before the service's next day begins"
                );
                self.report(place, fault, ErrorClass::Retriable);
            }
            Reaction::NextDay => self.stop(place, fault, ErrorClass::Stop),
            Reaction::GiveUp => self.give_up(place, fault, now),
            Reaction::NoData => {
                tracing::warn!(symbol = %self.symbol(place), "{fault}");
                self.schedule.polled(place, now);
            }
            Reaction::Lower(parameter)
                if parameter == "outputsize" && self.settings.output_size == OutputSize::Full =>
            {
                tracing::warn!(
                    "{fault}; going on with AlphaVantage.OutputSize=compact, the latest 100 bars"
                );
                self.settings.output_size = OutputSize::Compact;
                self.schedule.retry(place, now);
            }
            Reaction::Lower(_) => self.stop(place, fault, ErrorClass::Stop),
            Reaction::DropSymbol => {
                self.schedule.out(place);
                self.report(place, fault, ErrorClass::Symbol);
            }
            Reaction::Stop(class) => self.stop(place, fault, class),
        }
    }

    fn retry(&mut self, place: usize, fault: Fault, now: Instant, pause: Duration) {
        let mut pause = pause;
        if let (Some(limit), Some(since)) =
            (self.settings.unreachable_limit, self.unreachable_since)
        {
            if now >= since + limit {
                return self.stop(place, fault, ErrorClass::Stop);
            }
            pause = pause.min(since + limit - now);
        } else if self.schedule.tries(place) >= self.settings.max_retries {
            return self.give_up(place, fault, now);
        }
        tracing::warn!(symbol = %self.symbol(place), retry_in_ms = pause.as_millis() as u64, "{fault}");
        self.schedule.retry(place, now + pause);
    }

    fn give_up(&mut self, place: usize, fault: Fault, now: Instant) {
        self.schedule.polled(place, now);
        self.report(place, fault, ErrorClass::Retriable);
    }

    fn stop(&mut self, place: usize, fault: Fault, class: ErrorClass) {
        self.ended = true;
        self.report(place, fault, class);
    }

    fn report(&mut self, place: usize, fault: Fault, class: ErrorClass) {
        self.error = Some(SourceError::AlphaVantage {
            symbol: self.symbol(place),
            fault,
            class,
        });
    }
}

impl Source for AlphaVantage {
    fn poll(&mut self) -> BoxFuture<'_, Result<Option<Batch>, SourceError>> {
        Box::pin(self.advance())
    }

    fn may_repeat(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
