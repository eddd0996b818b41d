//! Waiting, and saying so: for the budget, for the service, and at most until it is time to give up.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::super::account::{Cause, Hold};
use super::super::{AlphaVantage, Fault};
use super::cadence::Cadence;
use crate::source::ErrorClass;

/// A wait for the budget, and for an answer, is said when it is longer than this.
const SAID: Duration = Duration::from_secs(2);

/// A wait for the budget that a command which ends by itself does not take upon itself.
pub(in crate::source::alpha_vantage) const LONG_WAIT: TimeDelta = TimeDelta::minutes(10);

/// A clock that is set back by less is not worth a word: what was due comes so much later.
const SET_BACK: TimeDelta = TimeDelta::minutes(1);

/// Which waits were said already.
#[derive(Debug, Default)]
pub(in crate::source::alpha_vantage) struct Waits {
    /// Each second or minute is used up as the one before: once is enough.
    second: bool,
    minute: bool,
    /// Until when.
    day: Option<DateTime<Utc>>,
    service: Option<DateTime<Utc>>,
    /// Nothing can be there before.
    idle: Option<DateTime<Utc>>,
}

impl Waits {
    /// Whether it is news; from now on it is not.
    fn is_news(&mut self, hold: Hold) -> bool {
        match hold.cause {
            Cause::Second => !std::mem::replace(&mut self.second, true),
            Cause::Minute => !std::mem::replace(&mut self.minute, true),
            Cause::Day => self.day.replace(hold.until) != Some(hold.until),
            Cause::Service => self.service.replace(hold.until) != Some(hold.until),
        }
    }

    /// The fault that keeps the service shut until then was said.
    pub(in crate::source::alpha_vantage) fn know_shut(&mut self, until: DateTime<Utc>) {
        self.service = Some(until);
    }
}

/// Returns when a request that went out then waits for its answer long enough to be said.
pub(in crate::source::alpha_vantage) async fn too_long(since: Instant) {
    tokio::time::sleep_until(since + SAID).await;
}

impl AlphaVantage {
    /// Sees to it that a clock that is set back by days does not make what is due in a minute wait for days. One that is set
    /// forwards needs nothing: what becomes due by that is asked for once, as far as the budget goes.
    pub(in crate::source::alpha_vantage) fn look_at_the_clock(&mut self, now: DateTime<Utc>) {
        let by = std::mem::replace(&mut self.looked, now) - now;
        if by > SET_BACK {
            tracing::warn!(
                seconds = by.num_seconds(),
                "the clock of this machine was set back; the next polls come at the times planned before that"
            );
            self.plan.set_back(by);
            self.breaker.set_back(by);
        }
    }

    /// Waits, at most until it is time to give up; `hold` is what the budget says.
    pub(in crate::source::alpha_vantage) async fn wait(
        &mut self,
        until: DateTime<Utc>,
        hold: Option<Hold>,
        now: DateTime<Utc>,
    ) {
        // Else there is nothing to be asked before, or the circuit breaker is longer.
        if let Some(hold) = hold.filter(|hold| hold.until == until) {
            let day = matches!(hold.cause, Cause::Day | Cause::Service);
            if self.once() && day && until - now > LONG_WAIT {
                let limit = self.limits().day.unwrap_or_default();
                let until = until.to_rfc3339();
                return self.stop(0, Fault::BudgetUsedUp { limit, until }, ErrorClass::Stop);
            }
            let wait = (until - now).to_std().unwrap_or_default();
            if wait > SAID && self.said.waits.is_news(hold) {
                self.say_hold(hold, now);
            }
        } else if until - now > LONG_WAIT && self.breaker.ready_at() != Some(until) {
            self.say_idle(until);
        }
        match (&self.unreachable, self.settings.unreachable_limit) {
            (Some((since, place, fault)), Some(limit)) => {
                let left = (*since + limit).saturating_duration_since(Instant::now());
                if left.is_zero() {
                    let (place, fault) = (*place, fault.clone());
                    return self.stop(place, fault, ErrorClass::Stop);
                }
                let left = TimeDelta::from_std(left).unwrap_or_default();
                self.clock.sleep_towards(until.min(now + left)).await;
            }
            _ => self.clock.sleep_towards(until).await,
        }
    }

    /// Nobody should have to guess why nothing comes for hours.
    fn say_idle(&mut self, until: DateTime<Utc>) {
        if self.said.waits.idle.replace(until) == Some(until) {
            return;
        }
        let why = match self.cadence() {
            Cadence::Days => "a new day's data come after its close",
            Cadence::Bars { .. } => {
                "before that there is no new bar, or the requests left have to last until then"
            }
        };
        // A command that ends by itself, though not after one poll of each symbol: --count.
        let count = match self.settings.unreachable_limit {
            Some(_) => "; --count waits for as many events, --once does not",
            None => "",
        };
        tracing::info!(
            "no request is sent before {}: {why}{count}",
            until.to_rfc3339()
        );
    }

    fn say_hold(&self, hold: Hold, now: DateTime<Utc>) {
        let limits = self.limits();
        let until = hold.until.to_rfc3339();
        match hold.cause {
            Cause::Second => tracing::info!(
                until,
                "waiting: the key has one request every {} s (AlphaVantage.RequestsPerSecond)",
                limits.gap.as_seconds_f64()
            ),
            Cause::Minute => tracing::info!(
                until,
                "waiting: the minute's {} requests are used up (AlphaVantage.RequestsPerMinute)",
                limits.minute.unwrap_or_default()
            ),
            Cause::Day => tracing::warn!(
                used = self.ledger.known().spent.used_today(limits.zone, now),
                limit = limits.day,
                "the day's requests are used up (AlphaVantage.RequestsPerDay); the next one goes out at {until}"
            ),
            Cause::Service => tracing::info!(
                until,
                "waiting: the service said that it will not answer this key before"
            ),
        }
    }

    /// The answer lets itself be waited for: what cannot be reached may be silent for as long as a request may take.
    pub(in crate::source::alpha_vantage) fn say_slow(&mut self, place: usize) {
        self.said.slow = true;
        tracing::warn!(
            symbol = %self.name(place),
            "{} has not answered within {} s (AlphaVantage.BaseUrl); waiting for up to {} s (AlphaVantage.TimeoutSeconds)",
            self.client.service(),
            SAID.as_secs(),
            self.settings.timeout.as_secs_f64()
        );
    }
}
