//! One request and its answer: asks, reads the body, hands the events out, and says when to ask next.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use super::bar::Series;
use super::body::{self, Ask, Bars, Refusal};
use super::breaker::Change;
use super::cadence::{Cadence, Share};
use super::http::Answer;
use super::ledger::Ledger;
use super::notice::{Notice, NoticeKind};
use super::settings::{Function, OutputSize};
use super::{AlphaVantage, Fault, count_bad_bars, react, targets};
use crate::source::Batch;

/// Bad bars remembered per symbol; beyond it all are forgotten and counted again. A body of 100 bars cannot fill it.
const MAX_REMEMBERED_BAD_BARS: usize = 4096;

/// The least time that a request gets, however near the end of its limit.
const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// How far behind bars may be before they are called stale: three times the delay of delayed data.
const STALE: TimeDelta = TimeDelta::minutes(45);

/// Of the 100 bars of a compact body, how many may pass between two polls.
const COMPACT_BARS: i32 = 95;

/// A request that is under way.
pub(super) struct InFlight {
    pub(super) place: usize,
    pub(super) since: Instant,
    pub(super) answer: BoxFuture<'static, Result<Answer, Fault>>,
}

/// What an answer had.
pub(super) struct Brought {
    /// When the latest bar began.
    newest: Option<DateTime<Utc>>,
}

impl AlphaVantage {
    pub(super) fn ask(&mut self, place: usize, now: DateTime<Utc>) {
        self.renew_key();
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
    fn renew_key(&mut self) {
        let Some(source) = &self.settings.key_source else {
            return;
        };
        match (source.0)() {
            Ok(key) => {
                self.said.key_unreadable = false;
                if key.expose_secret() != self.client.key() {
                    tracing::info!("the API key was replaced");
                    self.ledger = Ledger::open(
                        self.settings.state_directory.as_deref(),
                        &self.client.service(),
                        key.expose_secret(),
                    );
                    self.client.set_key(key);
                }
            }
            Err(error) if !self.said.key_unreadable => {
                self.said.key_unreadable = true;
                tracing::warn!("{error}; going on with the API key that was read last");
            }
            Err(_) => {}
        }
    }

    pub(super) fn settle(&mut self, place: usize, since: Instant, outcome: Result<Answer, Fault>) {
        let now = self.clock.now();
        let outcome = outcome.and_then(|answer| self.read(place, &answer, now));
        let fault = outcome.as_ref().err();
        match fault {
            Some(fault @ (Fault::Unreachable { .. } | Fault::TimedOut { .. })) => {
                let since = self
                    .unreachable
                    .as_ref()
                    .map_or(since, |(since, ..)| *since);
                self.unreachable = Some((since, place, fault.clone()));
            }
            _ => self.unreachable = None,
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
                "{fault}; that was the last of {} failures in a row: nothing is asked for a while, then the service is tried with one request at a time (AlphaVantage.CircuitBreakerFailures)",
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

    /// Makes batches of an answer's bars; what was wrong with it is the error.
    fn read(
        &mut self,
        place: usize,
        answer: &Answer,
        now: DateTime<Utc>,
    ) -> Result<Brought, Fault> {
        if let (300..400, Some(to)) = (answer.status, &answer.redirect) {
            return Err(Fault::Redirect {
                status: answer.status,
                to: to.clone(),
            });
        }
        let ask = Ask {
            symbols: self
                .targets
                .get(place)
                .map_or(&[], |target| &target.symbols),
            interval: self.settings.interval,
            now: Some(now),
            delayed: self.settings.delayed(),
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
        // One function a run, never mixed, whatever is answered.
        let wanted = match bars.series {
            Series::Intraday(interval) => {
                self.function == Function::Intraday && interval == self.settings.interval
            }
            Series::Daily => self.function == Function::Daily,
            Series::Quote => self.function == Function::Quote,
            Series::BulkQuotes => self.function == Function::BulkQuotes,
        };
        // A body without any bars does not say what it is.
        let some = !bars.events.is_empty() || bars.forming > 0;
        if some && !wanted {
            let quote = matches!(bars.series, Series::Quote | Series::BulkQuotes);
            return Err(if quote {
                Fault::Notice(Notice::wordless(NoticeKind::Quote))
            } else {
                Fault::Unusable(format!("{} was not asked for", bars.series.origin()))
            });
        }
        let broken = answer.cut.clone().or_else(|| bars.broken.clone());
        let brought = self.hand_out(place, bars, now);
        broken.map_or(Ok(brought), |why| Err(Fault::Broken(why)))
    }

    fn hand_out(&mut self, place: usize, bars: Bars, now: DateTime<Utc>) -> Brought {
        let brought = Brought {
            newest: bars.newest,
        };
        self.delayed = bars.delayed;
        let origin: Arc<str> = bars.series.origin().into();
        let mut events = bars.events;
        if let Some(months) = &self.settings.months {
            events.retain(|event| months.hold(event.timestamp.instant));
        }
        let Some(target) = self.targets.get_mut(place) else {
            return brought;
        };
        target.answered = true;
        let mut news = bars.bad;
        let seen = &mut target.bad_seen;
        news.retain(|bar| {
            if seen.len() >= MAX_REMEMBERED_BAD_BARS {
                seen.clear();
            }
            seen.insert(bar.clone())
        });
        let name = target.name();
        let bad = count_bad_bars(&name, &news);
        tracing::debug!(symbol = %name, closed = events.len(), forming = bars.forming, "bars came in");
        self.handed_out |= !events.is_empty();
        if !events.is_empty() || bars.forming > 0 {
            self.learn_what_works(bars.series);
        }
        if let (Series::Intraday(_), Some(newest), None) =
            (bars.series, bars.newest, &self.settings.months)
        {
            self.say_if_stale(place, newest, now);
        }
        self.ready.extend(Batch::split(events, &origin, bad));
        brought
    }

    /// Intraday bars that end long before now come from a key without an entitlement, or from one that has ended.
    fn say_if_stale(&mut self, place: usize, newest: DateTime<Utc>, now: DateTime<Utc>) {
        let Some(market) = self.plan.market(place).filter(|_| !self.said.stale) else {
            return;
        };
        let late = now - STALE;
        let expected = market.session_before(late, false).close.min(late);
        if newest + self.settings.interval.length() + TimeDelta::minutes(15) >= expected {
            return;
        }
        self.said.stale = true;
        let symbol = self.name(place);
        let newest = newest.to_rfc3339();
        match &self.settings.entitlement {
            None => tracing::warn!(
                %symbol, newest,
                "the intraday bars are stale: without an entitlement the service sends past days only; a plan that has one needs AlphaVantage.Entitlement set to realtime or delayed"
            ),
            Some(entitlement) => tracing::warn!(
                %symbol, newest, entitlement,
                "the intraday bars are stale, though AlphaVantage.Entitlement is set: does the plan have it?"
            ),
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
                    body::DELAY
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
            tracing::info!(%symbol, "all is well again");
        }
        self.next_poll(place, now, brought.newest);
        if self.settings.months.is_some() {
            self.unsettled.push(place);
        }
    }

    /// This poll is over: the next one, if there is one, comes when something new can be there.
    pub(super) fn next_poll(
        &mut self,
        place: usize,
        now: DateTime<Utc>,
        newest: Option<DateTime<Utc>>,
    ) {
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
    pub(super) fn note_filled(&mut self) {
        if self.unsettled.is_empty() || !self.ready.is_empty() {
            return;
        }
        let now = self.clock.now();
        let series = targets::filled_series(&self.settings);
        let done: Vec<String> = std::mem::take(&mut self.unsettled)
            .into_iter()
            .filter_map(|place| self.targets.get(place))
            .filter_map(|target| Some((target.name(), target.month?)))
            .filter(|(_, month)| month.is_over(now))
            .map(|(symbol, month)| targets::filled_month(&symbol, month))
            .collect();
        if !done.is_empty() {
            self.ledger
                .update(|known| known.filled.entry(series).or_default().extend(done));
        }
    }
}
