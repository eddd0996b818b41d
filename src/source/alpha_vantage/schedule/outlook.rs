//! What a key has left, when it runs out, and whether the service takes it: for `check`, and for whoever shows it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::super::client::{Reaction, reaction};
use super::super::poll::{Answered, InFlight};
use super::super::settings::{Function, Settings};
use super::super::{AlphaVantage, Fault, react};
use super::cadence::Cadence;
use super::plan::Next;
use super::wait::LONG_WAIT;
use crate::clock::Clock;
use crate::source::{ErrorClass, SourceError};

/// How long a look waits for another process that holds the ledger's lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// One limit of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Requests used in it.
    pub used: u32,
    /// Requests that it has; `None` is no limit.
    pub limit: Option<u32>,
}

/// What a key has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The service's present day.
    pub day: Window,
    /// Requests a minute; `None` is no limit.
    pub minute: Option<u32>,
    /// When the next day begins.
    pub renewed: DateTime<Utc>,
    /// When the day's requests are used up if all is polled as often as is configured; `None` when they last. Polls of
    /// bars are spread out so that they last until the close all the same.
    pub runs_out: Option<DateTime<Utc>>,
    /// The key has proved to be one of a paid plan.
    pub paid: bool,
    /// The service said that it answers this key no more before then; waits of minutes are none.
    pub blocked_until: Option<DateTime<Utc>>,
    /// Since when it is known that the key has no intraday data.
    pub no_intraday_since: Option<DateTime<Utc>>,
}

impl Outlook {
    /// Requests left of the day; `None` is no limit.
    pub fn left(&self) -> Option<u32> {
        if self.blocked_until.is_some() {
            return Some(0);
        }
        self.day
            .limit
            .map(|limit| limit.saturating_sub(self.day.used))
    }
}

/// What one request showed.
#[derive(Debug)]
pub struct Probe {
    /// In one sentence, what the key may do; or what keeps a run from getting data: a refused key, an unreachable
    /// service, a budget that is used up.
    pub finding: Result<String, SourceError>,
    /// Whether the request went out.
    pub sent: bool,
    /// What is left after it.
    pub outlook: Outlook,
}

impl AlphaVantage {
    /// What the key has left, as far as it is known here; nothing is sent.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn outlook(settings: Settings) -> Result<Outlook, SourceError> {
        // What was learnt before is in the outlook.
        let poller = Self::telling(settings, Clock::default(), &|_| {})?;
        Ok(poller.look_ahead(Utc::now()))
    }

    /// Sends one request, for the first symbol, with the function that a run would begin with.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub async fn probe(settings: Settings) -> Result<Probe, SourceError> {
        let settings = Settings {
            symbols: settings.symbols.into_iter().take(1).collect(),
            once: true,
            months: None,
            max_retries: 0,
            unreachable_limit: Some(settings.timeout),
            ..settings
        };
        let mut poller = Self::with_clock(settings, Clock::default())?;
        while poller.in_flight.is_none() && poller.error.is_none() {
            let now = poller.clock.now();
            let hold = poller.ledger.known().spent.held(&poller.limits(), now);
            let ready = hold.map_or(now, |hold| hold.until);
            match poller.plan.next(now, ready) {
                Next::Ask(place) => {
                    poller.renew_key();
                    if !poller.acquire_soon().await {
                        return Err(SourceError::Setting {
                            setting: "State.Directory",
                            problem: poller.ledger.is_held(PATIENCE),
                        });
                    }
                    poller.ask(place, poller.clock.now());
                    poller.ledger.release();
                }
                Next::Wait(until) => poller.wait(until, hold, now).await,
                Next::Ended | Next::NoneLeft => return Err(SourceError::NoSymbolLeft),
            }
        }
        let began = poller.function;
        let mut unanswered = None;
        if let Some(InFlight {
            place,
            since,
            answer,
        }) = poller.in_flight.take()
        {
            let outcome = answer.await;
            // A run would try again later; whoever checks wants to know now.
            unanswered = outcome
                .as_ref()
                .err()
                .filter(|fault| !matches!(reaction(fault), Reaction::NoData))
                .cloned();
            if !poller.acquire_soon().await {
                // What was learnt is still worth saying.
                poller.ledger.give_up_the_lock(PATIENCE);
            }
            poller.settle(Answered {
                place,
                since,
                outcome,
            });
            poller.ledger.release();
        }
        let changed = poller.function != began;
        if let (None, false, Some(fault)) = (&poller.error, changed, unanswered) {
            poller.error = Some(SourceError::AlphaVantage {
                symbol: poller.name(0),
                fault,
                class: ErrorClass::Stop,
            });
        }
        let sent = !matches!(
            poller.error,
            Some(SourceError::AlphaVantage {
                fault: Fault::BudgetUsedUp { .. } | Fault::Unreachable { sent: false, .. },
                ..
            })
        );
        let outlook = poller.look_ahead(poller.clock.now());
        let finding = if let Some(error) = poller.error.take() {
            Err(error)
        } else if poller.function == Function::Daily && began == Function::Intraday {
            Ok(react::what_a_free_key_may(&poller.settings))
        } else {
            let events: usize = poller.ready.iter().map(|batch| batch.events.len()).sum();
            let what = poller
                .ready
                .front()
                .map_or_else(|| "data".into(), |batch| batch.origin.clone());
            Ok(format!(
                "the service answered for {} with {events} events of {what}",
                poller.name(0)
            ))
        };
        Ok(Probe {
            finding,
            sent,
            outlook,
        })
    }

    async fn acquire_soon(&mut self) -> bool {
        let acquired = tokio::time::timeout(PATIENCE, self.ledger.acquire());
        acquired.await.is_ok()
    }

    fn look_ahead(&self, now: DateTime<Utc>) -> Outlook {
        let limits = self.limits();
        let known = self.ledger.known();
        let renewed = super::super::account::next_day(limits.zone, now);
        let left = known.spent.left_today(&limits, now);
        let askers = i32::try_from(self.plan.active()).unwrap_or(i32::MAX).max(1);
        let runs_out = left.and_then(|left| {
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            match (left, self.cadence()) {
                (0, _) => Some(now),
                // One poll each, now; the rest of them when the next day begins.
                (_, Cadence::Days) => (left < askers).then_some(now),
                (
                    _,
                    Cadence::Bars {
                        length, extended, ..
                    },
                ) => {
                    let market = self.plan.market(0)?;
                    let session = market.session_after(now, extended);
                    let rounds = (left - 1).div_euclid(askers);
                    let pause = self.poll_pause().max(length);
                    let end = now
                        .max(session.open)
                        .checked_add_signed(pause.checked_mul(rounds)?)?;
                    (end < session.close.min(renewed)).then_some(end)
                }
            }
        });
        let blocked_until = known
            .spent
            .shut_until(now)
            .filter(|until| *until - now > LONG_WAIT);
        Outlook {
            blocked_until,
            day: Window {
                used: known.spent.used_today(limits.zone, now),
                limit: limits.day,
            },
            minute: limits.minute,
            renewed,
            runs_out: blocked_until.map(|_| now).or(runs_out),
            paid: known.paid,
            no_intraday_since: known.refused(react::INTRADAY, now),
        }
    }
}
