//! What an answer is: its bars are handed out, or it is the fault that it stands for.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::bar::Series;
use super::body::{self, Ask, Bars, Refusal};
use super::http::Answer;
use super::notice::{Notice, NoticeKind};
use super::settings::Function;
use super::{AlphaVantage, Fault, count_bad_bars};
use crate::source::Batch;

/// Bad bars remembered per symbol; beyond it all are forgotten and counted again. A body of 100 bars cannot fill it.
const MAX_REMEMBERED_BAD_BARS: usize = 4096;

/// How far behind bars may be before they are called stale: three times the delay of delayed data.
const STALE: TimeDelta = TimeDelta::minutes(45);

/// What an answer had.
pub(super) struct Brought {
    /// When the latest bar began.
    pub(super) newest: Option<DateTime<Utc>>,
}

impl AlphaVantage {
    /// Makes batches of an answer's bars; what was wrong with it is the error.
    pub(super) fn read(
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
}
