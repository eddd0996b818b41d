//! One request after the other: asks, keeps the books of what became of it, and says when to ask next.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use super::super::bars;
use super::account::{AccountFile, Change};
use super::answer::Brought;
use super::client::Answer;
use super::schedule::{Cadence, Share, targets};
use super::settings::{Function, OutputSize};
use super::{AlphaVantage, Fault, react};

/// The least time that a request gets, however near the end of its limit.
const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// Of the 100 bars of a compact body, how many may pass between two polls.
const COMPACT_BARS: i32 = 95;

/// What became of a request.
pub(super) struct Answered {
    pub(super) place: usize,
    pub(super) since: Instant,
    pub(super) outcome: Result<Answer, Fault>,
}

/// A request that is under way.
pub(super) struct InFlight {
    pub(super) place: usize,
    pub(super) since: Instant,
    pub(super) answer: BoxFuture<'static, Result<Answer, Fault>>,
}

impl AlphaVantage {
    /// Sends a request, if the budget has one still; the ledger is acquired.
    pub(super) fn ask(&mut self, place: usize, now: DateTime<Utc>) {
        let limits = self.limits();
        // Another process may have used what seemed to be left.
        let symbols = self.name(place);
        let counted = self.ledger.update(|known| {
            let ready = known.spent.ready_at(&limits, now) <= now;
            if ready {
                known.spent.spend(&limits, now);
                known.ask(&symbols, now);
            }
            ready
        });
        if !counted {
            return;
        }
        self.plan.asked(place, now);
        if self.settings.months.is_some() && !self.refused(react::full_of(self.function), now) {
            // A compact body does not hold a month.
            self.settings.output_size = OutputSize::Full;
        }
        let Some(target) = self.targets.get(place) else {
            return;
        };
        let began = Instant::now();
        let mut timeout = self.settings.timeout;
        if let Some(limit) = self.settings.unreachable_limit {
            let since = self
                .unreachable
                .as_ref()
                .map_or(began, |(since, ..)| *since);
            timeout = timeout.min(
                (since + limit)
                    .saturating_duration_since(began)
                    .max(MIN_TIMEOUT),
            );
        }
        let month = target.month.map(|month| month.to_string());
        let asked = self
            .settings
            .query(self.function, &symbols, month.as_deref());
        let answer = Box::pin(self.client.get(&asked, timeout));
        self.in_flight = Some(InFlight {
            place,
            since: began,
            answer,
        });
    }

    /// Looks the key up again, where it stands in a file that may have been replaced.
    pub(super) fn renew_key(&mut self) {
        let Some(source) = &self.settings.key_source else {
            return;
        };
        match (source.0)() {
            Ok(key) => {
                self.said.key_unreadable = false;
                if key.expose_secret() != self.client.key() {
                    tracing::info!("the API key was replaced");
                    self.ledger = AccountFile::open(
                        self.settings.state_directory.as_deref(),
                        &self.client.service(),
                        key.expose_secret(),
                    );
                    self.client.set_key(key);
                }
            }
            Err(error) if !self.said.key_unreadable => {
                self.said.key_unreadable = true;
                tracing::warn!("{error}; continuing with the API key that was read last");
            }
            Err(_) => {}
        }
    }

    /// Keeps the books of what became of a request; the ledger is acquired.
    pub(super) fn settle(&mut self, answered: Answered) {
        let Answered {
            place,
            since,
            outcome,
        } = answered;
        let now = self.clock.now();
        let outcome = outcome.and_then(|answer| self.read(place, answer, now));
        let fault = outcome.as_ref().err();
        match fault {
            Some(fault @ (Fault::Unreachable { .. } | Fault::TimedOut { .. })) => {
                let since = self
                    .unreachable
                    .as_ref()
                    .map_or(since, |(since, ..)| *since);
                self.unreachable = Some((since, place, fault.clone()));
            }
            _ => {
                self.unreachable = None;
                self.said.slow = false;
            }
        }
        if let Some(Fault::Unreachable { sent: false, .. }) = fault {
            self.ledger.update(|known| known.spent.refund());
        }
        let change = if fault.is_some_and(Fault::is_failure) {
            self.breaker.failed(now)
        } else {
            self.breaker.succeeded(now)
        };
        match (change, fault) {
            (Change::Opened, Some(fault)) if !self.once() => tracing::warn!(
                seconds = self.settings.circuit_breaker.as_secs(),
                "{fault}; that was the last of {} failures in a row: no request is sent for a while, then one at a time until the service answers (AlphaVantage.CircuitBreakerFailures)",
                self.settings.circuit_breaker_failures
            ),
            (Change::Closed(took), _) if !self.once() => {
                tracing::info!(seconds = took.num_seconds(), "the service answers again");
            }
            _ => {}
        }
        match outcome {
            Ok(brought) => self.polled(place, now, &brought),
            Err(fault) => self.react(place, fault, now),
        }
    }

    /// What is known of how often something new can be there.
    pub(super) fn cadence(&self) -> Cadence {
        let extended = self.settings.extended_hours;
        let entitled = self.settings.entitlement.is_some();
        match self.function {
            Function::Daily => Cadence::Days,
            Function::Quote if !entitled => Cadence::Days,
            Function::Quote | Function::BulkQuotes => Cadence::Bars {
                length: TimeDelta::minutes(1),
                delay: TimeDelta::zero(),
                extended,
            },
            Function::Auto | Function::Intraday => Cadence::Bars {
                length: self.settings.interval.length(),
                delay: if self.delayed {
                    bars::DELAY
                } else {
                    TimeDelta::zero()
                },
                extended,
            },
        }
    }

    pub(super) fn share(&self, now: DateTime<Utc>) -> Share {
        let left = self.ledger.known().spent.left_today(&self.limits(), now);
        Share {
            left: left.map(u64::from),
            askers: self.plan.active() as u64,
        }
    }

    pub(super) fn poll_pause(&self) -> TimeDelta {
        TimeDelta::from_std(self.settings.poll).unwrap_or(TimeDelta::days(1))
    }

    /// A poll went well.
    fn polled(&mut self, place: usize, now: DateTime<Utc>, brought: &Brought) {
        if let Some(target) = self.targets.get_mut(place)
            && target.told.take().is_some()
        {
            let symbol = target.name();
            tracing::info!(%symbol, "everything works again");
        }
        self.next_poll(place, now, brought.newest);
        if self.settings.months.is_some() {
            let series = targets::filled_series(&self.settings, self.function);
            let symbol = self.name(place);
            let filled = brought.months.iter();
            self.unsettled
                .extend(filled.map(|month| (series.clone(), symbol.clone(), *month)));
        }
    }

    /// This poll is over: the next one, if there is one, comes when something new can be there.
    pub(super) fn next_poll(
        &mut self,
        place: usize,
        now: DateTime<Utc>,
        newest: Option<DateTime<Utc>>,
    ) {
        if let Some(target) = self.targets.get_mut(place) {
            target.handed_out.clear();
        }
        if self.once() {
            return self.plan.done(place);
        }
        let Some(market) = self.plan.market(place) else {
            return;
        };
        let (cadence, share) = (self.cadence(), self.share(now));
        let newest = newest.map(|newest| market.day_of(newest));
        let due = cadence.next(
            market,
            self.plan.due(place),
            now,
            self.poll_pause(),
            share,
            newest,
        );
        if let (
            Cadence::Bars {
                length, extended, ..
            },
            Function::Intraday,
        ) = (cadence, self.function)
            && due - now > length * COMPACT_BARS
            && market.session_after(now, extended).open < now
            && self.settings.output_size == OutputSize::Compact
            && !self.said.sparse
        {
            self.said.sparse = true;
            tracing::warn!(
                minutes = (due - now).num_minutes(),
                "the budget allows so few polls of a symbol that bars are missed in between: a compact body holds 100 (AlphaVantage.OutputSize=full, a longer Interval, or fewer Symbols)"
            );
        }
        self.plan.polled(place, due);
    }

    pub(super) fn name(&self, place: usize) -> compact_str::CompactString {
        self.targets
            .get(place)
            .map(targets::Target::name)
            .unwrap_or_default()
    }

    /// Everything that was handed out is on its topic: months among it need not be asked for again.
    pub(super) async fn note_filled(&mut self) {
        if self.unsettled.is_empty() || !self.ready.is_empty() {
            return;
        }
        let now = self.clock.now();
        self.unsettled.retain(|(.., month)| month.is_over(now));
        if self.unsettled.is_empty() {
            return;
        }
        self.ledger.acquire().await;
        let done = std::mem::take(&mut self.unsettled);
        self.ledger.update(|known| {
            for (series, symbol, month) in done {
                let name = targets::filled_month(&symbol, month);
                known.filled.entry(series).or_default().insert(name);
            }
        });
        self.ledger.release();
    }
}
