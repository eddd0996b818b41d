//! What follows from a fault: try again, wait, drop the symbol, go on with another function, or stop.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::super::bars::{NoticeKind, Series};
use super::account::{FREE_DAY, FREE_MINUTE, Limit, next_day};
use super::client::{Reaction, reaction};
use super::schedule::{Target, backoff};
use super::settings::{Function, OutputSize, Settings};
use super::{AlphaVantage, Fault};
use crate::source::{ErrorClass, SourceError};

/// The name under which it is kept that the key has no intraday data.
pub(super) const INTRADAY: &str = "intraday";

/// The name under which it is kept that the key gets no more than 100 bars of a function.
pub(super) fn full_of(function: Function) -> &'static str {
    match function {
        Function::Daily => "outputsize=full of daily",
        _ => "outputsize=full of intraday",
    }
}

/// The key that Alpha Vantage's documentation uses; it proves nothing.
const DEMO_KEY: &str = "demo";

/// In one line, what a key without intraday data may and may not do.
pub(super) fn what_a_free_key_may(settings: &Settings) -> String {
    let of = |limit, free: u32, unit: &str| match limit {
        Limit::Auto => format!("{free} requests {unit}"),
        Limit::Of(number) => format!("{number} requests {unit}"),
        Limit::Unlimited => format!("no limit {unit}"),
    };
    format!(
        "this API key has no intraday data (they need a paid plan) and {}, {}: continuing with daily bars, the latest 100 of each symbol now, then one poll a symbol and trading day after the close",
        of(settings.requests_per_day, FREE_DAY, "a day"),
        of(settings.requests_per_minute, FREE_MINUTE, "a minute"),
    )
}

impl AlphaVantage {
    pub(super) fn refused(&self, what: &str, now: DateTime<Utc>) -> bool {
        self.ledger.known().refused(what, now).is_some()
    }

    /// Bars that only paid plans have show what the key is.
    pub(super) fn learn_what_works(&mut self, series: Series) {
        let proves = matches!(series, Series::Intraday(_) | Series::BulkQuotes);
        let known = self.ledger.known();
        if !proves
            || self.client.key() == DEMO_KEY
            || (known.paid && !known.refused.contains_key(INTRADAY))
        {
            return;
        }
        self.ledger.update(|known| {
            known.paid = true;
            if matches!(series, Series::Intraday(_)) {
                known.refused.remove(INTRADAY);
            }
        });
        let limits = self.limits();
        tracing::info!(
            requests_per_minute = limits.minute,
            requests_per_day = limits.day,
            "this API key has a paid plan: its limits are {} (set AlphaVantage.RequestsPerMinute and RequestsPerDay where other programs use the key too)",
            series.origin()
        );
    }

    pub(super) fn react(&mut self, place: usize, fault: Fault, now: DateTime<Utc>) {
        let jitter = rand::random();
        let pause = backoff(self.settings.retry_backoff, self.plan.tries(place), jitter);
        let pause = TimeDelta::from_std(pause).unwrap_or_default();
        match reaction(&fault) {
            Reaction::Backoff => self.retry(place, fault, now, pause),
            Reaction::KeepStill(time) => {
                let time = TimeDelta::from_std(time).unwrap_or_default();
                // The limit is the key's, not the symbol's.
                self.ledger
                    .update(|known| known.spent.shut(now + time, now));
                self.said.waits.know_shut(now + time);
                self.retry(place, fault, now, time);
            }
            Reaction::NextDay => self.next_day(place, fault, now),
            Reaction::GiveUp => self.give_up(place, fault, now),
            Reaction::NoData => {
                self.empty_months += usize::from(self.settings.months.is_some());
                self.tell(place, &fault);
                self.next_poll(place, now, None);
            }
            // What has answered in this run stands at the right address, and the redirect is a passing one.
            Reaction::Elsewhere if self.targets.iter().any(|target| target.answered) => {
                self.give_up(place, fault, now);
            }
            Reaction::Elsewhere => self.stop(place, fault, ErrorClass::Configuration),
            Reaction::Lower(parameter)
                if parameter == "outputsize" && self.settings.output_size == OutputSize::Full =>
            {
                tracing::warn!(
                    "{fault}; continuing with AlphaVantage.OutputSize=compact, the latest 100 bars"
                );
                self.settings.output_size = OutputSize::Compact;
                let what = full_of(self.function).to_owned();
                self.ledger.update(|known| known.refused.insert(what, now));
                if self.settings.months.is_some() && self.function == Function::Daily {
                    // Some months may be out of reach by now.
                    self.replan(now);
                } else {
                    self.plan.again(place, now);
                }
            }
            Reaction::Lower(_) => self.stop(place, fault, ErrorClass::Stop),
            Reaction::DropSymbol => self.drop_symbol(place, fault, now),
            Reaction::Stop(class) => self.refusal(place, fault, class, now),
        }
    }

    /// A function that needs a better plan: with `auto` there is another one.
    fn refusal(&mut self, place: usize, fault: Fault, class: ErrorClass, now: DateTime<Utc>) {
        let (Function::Auto, Function::Intraday, Fault::Notice(notice)) =
            (self.settings.function, self.function, &fault)
        else {
            return self.stop(place, fault, class);
        };
        if notice.kind != NoticeKind::Premium {
            return self.stop(place, fault, class);
        }
        self.ledger.update(|known| {
            known.refused.insert(INTRADAY.to_owned(), now);
            known.paid = false;
        });
        if self.handed_out {
            let fault = Fault::PlanEnded(notice.clone());
            return self.stop(place, fault, class);
        }
        tracing::info!(
            "{} (AlphaVantage.Function=intraday asks again)",
            what_a_free_key_may(&self.settings)
        );
        self.function = Function::Daily;
        self.replan(now);
    }

    fn next_day(&mut self, place: usize, fault: Fault, now: DateTime<Utc>) {
        let until = next_day(self.settings.day_reset_zone, now);
        self.ledger.update(|known| {
            known.spent.shut(until, now);
            // A paid key has no such limit.
            known.paid = false;
        });
        if self.once() {
            return self.stop(place, fault, ErrorClass::Stop);
        }
        self.said.waits.know_shut(until);
        tracing::warn!(
            "no request is sent before the service's next day begins, at {}",
            until.to_rfc3339()
        );
        self.plan.again(place, until);
        self.report(place, fault, ErrorClass::Retriable);
    }

    fn drop_symbol(&mut self, place: usize, fault: Fault, now: DateTime<Utc>) {
        let symbols = self
            .targets
            .get(place)
            .map(|target| target.symbols.clone())
            .unwrap_or_default();
        self.plan.out(place);
        if symbols.len() < 2 {
            // Whatever else is asked of the symbol would be refused too.
            for (other, target) in self.targets.iter().enumerate() {
                if target.symbols == symbols {
                    self.plan.out(other);
                }
            }
            return self.report(place, fault, ErrorClass::Symbol);
        }
        // One of them is wrong: halves tell which.
        let (left, right) = symbols.split_at(symbols.len() / 2);
        for half in [left, right] {
            let target = Target::new(half.to_vec(), None);
            self.plan.add(target.market(), now);
            self.targets.push(target);
        }
    }

    fn retry(&mut self, place: usize, fault: Fault, now: DateTime<Utc>, pause: TimeDelta) {
        let patience = self.settings.unreachable_limit;
        if let (Some(limit), Some((since, ..))) = (patience, &self.unreachable)
            && Instant::now() >= *since + limit
        {
            return self.stop(place, fault, ErrorClass::Stop);
        }
        // A try that never got there costs nothing, so it is the time that limits those.
        let free = patience.is_some() && matches!(fault, Fault::Unreachable { sent: false, .. });
        if !free && self.breaker.is_open() && !self.once() {
            // It is the service that fails, not the symbol: the breaker says when it is tried again.
            tracing::debug!(symbol = %self.name(place), "{fault}");
            return self.plan.again(place, now);
        }
        if !free && self.plan.tries(place) >= self.settings.max_retries {
            return self.give_up(place, fault, now);
        }
        let symbol = self.name(place);
        if self.is_news(place, &fault) {
            tracing::warn!(%symbol, retry_in_ms = pause.num_milliseconds(), "{fault}");
            self.note(place, &fault);
        } else {
            tracing::debug!(%symbol, retry_in_ms = pause.num_milliseconds(), "{fault}");
        }
        self.plan.retry(place, now + pause);
    }

    fn give_up(&mut self, place: usize, fault: Fault, now: DateTime<Utc>) {
        if let Some(target) = self.targets.get_mut(place) {
            target.handed_out.clear();
        }
        if self.once() {
            self.given_up += 1;
            self.plan.done(place);
            return self.report(place, fault, ErrorClass::Retriable);
        }
        if let Some(market) = self.plan.market(place) {
            let (pause, share) = (self.poll_pause(), self.share(now));
            let due = self.cadence().after_failure(market, now, pause, share);
            self.plan.polled(place, due);
        }
        if self.is_news(place, &fault) {
            self.note(place, &fault);
            self.report(place, fault, ErrorClass::Retriable);
        } else {
            tracing::debug!(symbol = %self.name(place), "{fault}");
        }
    }

    /// Whether it is another problem than the one that was said last.
    fn is_news(&self, place: usize, fault: &Fault) -> bool {
        let told = self
            .targets
            .get(place)
            .and_then(|target| target.told.as_ref());
        told != Some(&fault.kind())
    }

    fn note(&mut self, place: usize, fault: &Fault) {
        if let Some(target) = self.targets.get_mut(place) {
            target.told = Some(fault.kind());
        }
    }

    fn tell(&mut self, place: usize, fault: &Fault) {
        if self.is_news(place, fault) {
            tracing::warn!(symbol = %self.name(place), "{fault}");
            self.note(place, fault);
        }
    }

    pub(super) fn stop(&mut self, place: usize, fault: Fault, class: ErrorClass) {
        self.ended = true;
        self.report(place, fault, class);
    }

    pub(super) fn report(&mut self, place: usize, fault: Fault, class: ErrorClass) {
        self.error = Some(SourceError::AlphaVantage {
            symbol: self.name(place),
            fault,
            class,
        });
    }
}
