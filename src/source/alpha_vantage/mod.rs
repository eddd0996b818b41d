//! Bars and quotes from Alpha Vantage, polled: <https://www.alphavantage.co/documentation/>.
//!
//! The deciding parts are pure and have a file each; `poll` and `react` join them with a clock, a die and a socket.
//!
//! ```text
//!  market_hours ─► schedule ─────┐                        ┌─► bars ──► events
//!   when does it    who is next, ├─► poll ─► client ──────┤
//!   trade?          and when?    │    one request          └─► notice ─► fault ─► react: retry, wait, drop, stop,
//!  account: budget, breaker, file┘    at a time                                   another function
//! ```
//!
//! Invariants: one request at a time, kept while nobody polls; a request is counted before it goes out; one bad symbol
//! never stops the others; one function a run; a good bar is handed out whatever else was wrong with its body; the API
//! key is in no text.

mod answer;
mod poll;
mod react;
mod settings;

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use compact_str::CompactString;
use futures::future::BoxFuture;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use super::bars::BadBar;
use super::{BadCounts, Batch, Destination, Source, SourceError};
use crate::clock::Clock;
use account::{AccountFile, Breaker, Limits};
use client::Client;
use poll::{Answered, InFlight};
use schedule::{Next, Plan, Target};

pub use super::bars::{Interval, Notice, NoticeKind, Series};
pub use account::Limit;
pub use client::Fault;
pub use schedule::{Month, Months, NotAMonth, Outlook, Probe, Window};
pub use settings::{Function, KeySource, OutputSize, Settings};

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
    clock: Clock,
    /// When the clock was looked at last: where it says less now, it was set back.
    looked: DateTime<Utc>,
    client: Client,
    ledger: AccountFile,
    breaker: Breaker,
    plan: Plan,
    /// What is asked for, by its place in the plan.
    targets: Vec<Target>,
    /// What `settings.function` means for this key.
    function: Function,
    in_flight: Option<InFlight>,
    /// What came back, until the books can be kept of it.
    answered: Option<Answered>,
    /// What the destination of months was called by former versions, or when less was known of it.
    former: Vec<String>,
    /// Whether the targets are those that are left to be asked for: months are looked up with the first poll.
    planned: bool,
    ready: VecDeque<Batch>,
    /// Comes after what is ready.
    error: Option<SourceError>,
    /// Since when the service cannot be reached, and what the latest try said.
    unreachable: Option<(Instant, usize, Fault)>,
    /// Bars or quotes were handed out.
    handed_out: bool,
    /// Months that were handed out, and whose events may be on their way still: under which name each is kept.
    unsettled: Vec<(String, CompactString, Month)>,
    /// Requests for months that brought no bars of them.
    empty_months: usize,
    /// Polls that were given up.
    given_up: usize,
    /// The service says that its data come late.
    delayed: bool,
    said: Said,
    ended: bool,
}

/// What was said once and need not be said again.
#[derive(Debug, Default)]
struct Said {
    stale: bool,
    sparse: bool,
    /// How far back the latest 100 bars reach.
    reach: bool,
    key_unreadable: bool,
    /// The service keeps a request waiting for long.
    slow: bool,
    waits: schedule::Waits,
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
        Self::with_clock(settings, Clock::default())
    }

    fn with_clock(settings: Settings, clock: Clock) -> Result<Self, SourceError> {
        let learnt = |text: String| tracing::info!("{text}");
        Self::telling(settings, clock, &learnt)
    }

    /// A poller that says what was learnt of the key before to `learnt`.
    fn telling(
        settings: Settings,
        clock: Clock,
        learnt: &dyn Fn(String),
    ) -> Result<Self, SourceError> {
        settings.check()?;
        let client = Client::new(
            &settings.base_url,
            settings.api_key.clone(),
            settings.body_limit,
        )?;
        let now = clock.now();
        let ledger = AccountFile::open(
            settings.state_directory.as_deref(),
            &client.service(),
            settings.api_key.expose_secret(),
        );
        if ledger.known().spent.is_ahead(settings.day_reset_zone, now) {
            tracing::warn!(
                "State.Directory holds requests with times in the future, as after a clock that was ahead; they are ignored"
            );
        }
        let function = match settings.function {
            Function::Auto => match ledger.known().refused(react::INTRADAY, now) {
                Some(at) => {
                    learnt(format!(
                        "{} (found out on {}; AlphaVantage.Function=intraday asks again)",
                        react::what_a_free_key_may(&settings),
                        at.date_naive()
                    ));
                    Function::Daily
                }
                None => Function::Intraday,
            },
            function => function,
        };
        let targets = schedule::of(&settings, function, ledger.known(), now);
        let pause = TimeDelta::from_std(settings.circuit_breaker).unwrap_or(TimeDelta::hours(1));
        Ok(Self {
            plan: schedule::plan(&settings, &targets, ledger.known(), now),
            breaker: Breaker::new(settings.circuit_breaker_failures, pause),
            planned: settings.months.is_none(),
            looked: now,
            former: Vec::new(),
            ended: false,
            settings,
            clock,
            client,
            ledger,
            targets,
            function,
            in_flight: None,
            answered: None,
            ready: VecDeque::new(),
            error: None,
            unreachable: None,
            handed_out: false,
            unsettled: Vec::new(),
            empty_months: 0,
            given_up: 0,
            delayed: false,
            said: Said::default(),
        })
    }

    /// Draws up anew what is asked for: the function, or what the key gets of it, is another.
    fn replan(&mut self, now: DateTime<Utc>) {
        let known = self.ledger.known();
        self.targets = schedule::of(&self.settings, self.function, known, now);
        self.plan = schedule::plan(&self.settings, &self.targets, known, now);
        if self.targets.is_empty() {
            schedule::say_why_none(&self.settings, self.function, known, now);
            self.ended = true;
        }
    }

    /// Whether each is asked for once and no more.
    fn once(&self) -> bool {
        self.settings.once || self.settings.months.is_some()
    }

    fn limits(&self) -> Limits {
        Limits::new(
            self.settings.requests_per_second,
            self.settings.requests_per_minute,
            self.settings.requests_per_day,
            self.ledger.known().paid,
            self.settings.day_reset_zone,
        )
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
            if !self.planned {
                self.look_up_months().await;
                continue;
            }
            if self.answered.is_some() {
                self.ledger.acquire().await;
                if let Some(answered) = self.answered.take() {
                    self.settle(answered);
                }
                self.ledger.release();
                continue;
            }
            if let Some(in_flight) = &mut self.in_flight {
                let (place, since) = (in_flight.place, in_flight.since);
                let outcome = tokio::select! {
                    biased;
                    outcome = in_flight.answer.as_mut() => outcome,
                    () = schedule::too_long(since), if !self.said.slow => {
                        self.say_slow(place);
                        continue;
                    }
                };
                self.in_flight = None;
                self.answered = Some(Answered {
                    place,
                    since,
                    outcome,
                });
                continue;
            }
            let now = self.clock.now();
            self.look_at_the_clock(now);
            let limits = self.limits();
            let hold = self.ledger.known().spent.held(&limits, now);
            let mut ready = hold.map_or(now, |hold| hold.until);
            if let Some(at) = self.breaker.ready_at().filter(|_| !self.once()) {
                ready = ready.max(at);
            }
            match self.plan.next(now, ready) {
                Next::Ask(place) => {
                    self.renew_key();
                    self.ledger.acquire().await;
                    self.ask(place, self.clock.now());
                    self.ledger.release();
                }
                Next::Wait(until) => self.wait(until, hold, now).await,
                Next::Ended => self.end(),
                Next::NoneLeft => {
                    self.ended = true;
                    return Err(SourceError::NoSymbolLeft);
                }
            }
        }
    }

    /// Leaves out the months that were filled back already.
    async fn look_up_months(&mut self) {
        let (known, now) = (self.ledger.known(), self.clock.now());
        let refusals = [Function::Daily, Function::Intraday].map(react::full_of);
        if refusals
            .iter()
            .any(|what| known.refused(what, now).is_some())
            && schedule::doubts_refusal(&self.settings, known, now)
        {
            // Plans change: it is asked once more, and a refusal is learnt anew.
            self.ledger.acquire().await;
            self.ledger.update(|known| {
                for what in refusals {
                    known.refused.remove(what);
                }
            });
            self.ledger.release();
        }
        if self.ledger.known().keeps_as(&self.former) {
            let months = self.settings.months.as_ref();
            let name = months.map(|months| months.destination.clone());
            self.ledger.acquire().await;
            self.ledger
                .update(|known| known.rename(&self.former, &name.unwrap_or_default()));
            self.ledger.release();
        }
        self.planned = true;
        self.replan(self.clock.now());
    }

    /// Everything that was wanted was asked for.
    fn end(&mut self) {
        self.ended = true;
        if self.empty_months > 0 {
            tracing::warn!(
                months = self.empty_months,
                "months without bars are not recorded as filled: the same command asks for them again"
            );
        }
        if self.given_up > 0 {
            self.error = Some(SourceError::Incomplete {
                given_up: self.given_up,
            });
        }
    }
}

impl Source for AlphaVantage {
    fn poll(&mut self) -> BoxFuture<'_, Result<Option<Batch>, SourceError>> {
        Box::pin(self.advance())
    }

    fn may_repeat(&self) -> bool {
        true
    }

    fn is_after_the_fact(&self) -> bool {
        true
    }

    fn goes_to(&mut self, destination: &Destination) {
        if let Some(months) = &mut self.settings.months {
            months.destination = destination.name();
            self.former = destination.former_names();
        }
    }

    fn settled(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.note_filled())
    }
}

/// Bad bars that were said already, so that a bar that comes with every poll is counted once.
type BadSeen = HashSet<BadBar>;

mod account;
pub(super) mod client;
pub(super) mod schedule;
#[cfg(test)]
mod tests;
