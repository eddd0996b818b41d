//! What an answer is: its bars are handed out, or it is the fault that it stands for.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use compact_str::CompactString;

use super::super::bars;
use super::super::bars::{Ask, Bars, Notice, NoticeKind, Refusal, Series, Untold};
use super::super::market_hours::Market;
use super::client::Answer;
use super::schedule::{Month, Target};
use super::settings::{Function, OutputSize};
use super::{AlphaVantage, Fault, count_bad_bars};
use crate::event::TradeEvent;
use crate::source::Batch;

/// Bad bars remembered per symbol; beyond it all are forgotten and counted again. A body of 100 bars cannot fill it.
const MAX_REMEMBERED_BAD_BARS: usize = 4096;

/// How far behind bars may be before they are called stale: three times the delay of delayed data.
const STALE: TimeDelta = TimeDelta::minutes(45);

/// What an answer had.
pub(super) struct Brought {
    /// When the latest bar began.
    pub(super) newest: Option<DateTime<Utc>>,
    /// The months of which it had bars, of those that are filled back.
    pub(super) months: BTreeSet<Month>,
}

/// When the oldest and the latest of a body's closed bars began.
struct Span(Option<(DateTime<Utc>, DateTime<Utc>)>);

impl Span {
    fn of(bars: &Bars) -> Self {
        let first = bars.events.first().map(|event| event.timestamp.instant);
        let last = bars.events.last().map(|event| event.timestamp.instant);
        Self(first.zip(last))
    }
}

impl AlphaVantage {
    /// Makes batches of an answer's bars; what was wrong with it is the error.
    pub(super) fn read(
        &mut self,
        place: usize,
        mut answer: Answer,
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
            bars: Untold::Asked(self.settings.interval),
            adjusted: self.settings.adjusted,
            now: Some(now),
            delayed: self.settings.delayed(),
            key: Some(self.client.key()),
        };
        let success = (200..300).contains(&answer.status);
        let bars = match bars::parse(&mut answer.body, &ask) {
            Ok(bars) if success => bars,
            // A notice explains more than a status does, but a page of HTML does not.
            Err(Refusal::Notice(notice))
                if success
                    || !matches!(
                        notice.kind,
                        NoticeKind::Html | NoticeKind::NoData | NoticeKind::Unknown
                    ) =>
            {
                return Err(match (&notice.kind, self.asked_months(place)) {
                    (NoticeKind::NoData, Some((symbol, of))) => {
                        Fault::NoBars(format!("no bars for {symbol} in {of}: {notice}"))
                    }
                    _ => Fault::Notice(notice),
                });
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
        let (span, none) = (Span::of(&bars), bars.bad.is_empty() && !some);
        let mut brought = self.hand_out(place, bars, broken.is_some(), now);
        if let Some(why) = broken {
            return Err(Fault::Broken(why));
        }
        if self.settings.months.is_some() {
            self.say_reach(place, &span);
            self.check_months(place, &mut brought, &span)?;
        } else if none {
            return Err(Fault::NoBars(format!(
                "no bars: the answer of {} has none",
                self.function.query_name()
            )));
        }
        Ok(brought)
    }

    fn hand_out(&mut self, place: usize, bars: Bars, broken: bool, now: DateTime<Utc>) -> Brought {
        let mut brought = Brought {
            newest: bars.newest,
            months: BTreeSet::new(),
        };
        self.delayed = bars.delayed;
        let origin: Arc<str> = bars.series.origin().into();
        let mut events = bars.events;
        if let Some(months) = &self.settings.months {
            events.retain(|event| months.hold(event.timestamp.instant));
            brought.months = events
                .iter()
                .map(|event| Month::of(event.timestamp.instant))
                .collect();
        }
        let Some(target) = self.targets.get_mut(place) else {
            return brought;
        };
        target.answered = true;
        if bars.series == Series::BulkQuotes && !broken {
            say_missing(target, &events);
        }
        if let Some(asked) = target.month {
            brought.months.retain(|month| *month == asked);
        }
        // The tries before handed these out already.
        events.retain(|event| !target.handed_out.contains(&event.trade_id));
        if broken {
            let handed_out = events.iter().map(|event| event.trade_id.clone());
            target.handed_out.extend(handed_out);
        }
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

    /// Of each month that is filled back there have to be bars, and of that month.
    fn check_months(&self, place: usize, brought: &mut Brought, span: &Span) -> Result<(), Fault> {
        let (Some(months), Some((symbol, of))) = (&self.settings.months, self.asked_months(place))
        else {
            return Ok(());
        };
        let function = self.function.query_name();
        if !brought.months.is_empty() {
            let mut part = Vec::new();
            let compact = self.settings.output_size == OutputSize::Compact;
            if let (true, Some((oldest, _))) = (compact, span.0) {
                // The latest 100 bars need not begin where a month does.
                let market = Market::of(&symbol);
                let oldest = market.day_of(oldest);
                brought.months.retain(|month| {
                    let whole = month.is_whole_from(oldest, &market);
                    part.extend((!whole).then_some(*month));
                    whole
                });
            }
            let now = Month::of(self.clock.now());
            let lacks = |month: &Month| {
                *month < now && !brought.months.contains(month) && !part.contains(month)
            };
            let names = |months: Vec<Month>| -> String {
                let names: Vec<String> = months.iter().map(Month::to_string).collect();
                names.join(", ")
            };
            let lacking = names(months.each().filter(lacks).collect());
            if self.function == Function::Daily && !lacking.is_empty() {
                tracing::warn!(
                    "no bars for {symbol} in {lacking}: the answer of {function} has none; run the same command again to ask for them once more"
                );
            }
            if let (false, Some((oldest, _))) = (part.is_empty(), span.0) {
                tracing::warn!(
                    "not all bars for {symbol} in {}: the answer of {function} begins on {}; run the same command again to ask for the others",
                    names(part),
                    oldest.date_naive()
                );
            }
            return Ok(());
        }
        let instead = match span.0 {
            Some((oldest, newest)) => format!(
                "the service answered with bars from {} to {} instead",
                oldest.date_naive(),
                newest.date_naive()
            ),
            None => format!("the answer of {function} has none"),
        };
        Err(Fault::NoBars(format!(
            "no bars for {symbol} in {of}: {instead}"
        )))
    }

    /// The symbol and the months that a request is for, when months are filled back.
    fn asked_months(&self, place: usize) -> Option<(CompactString, String)> {
        let (months, target) = (self.settings.months.as_ref()?, self.targets.get(place)?);
        let (from, to) = target
            .month
            .map_or((months.from, months.to), |month| (month, month));
        let of = if from == to {
            from.to_string()
        } else {
            format!("{from} to {to}")
        };
        Some((target.name(), of))
    }

    fn is_compact_daily(&self) -> bool {
        self.settings.output_size == OutputSize::Compact && self.function == Function::Daily
    }

    /// Months may lie before the latest 100 days, which is all that some keys get.
    fn say_reach(&mut self, place: usize, span: &Span) {
        let (Some(months), Some((oldest, _))) = (&self.settings.months, span.0) else {
            return;
        };
        if !self.is_compact_daily() || months.from >= Month::of(oldest) {
            return;
        }
        if !std::mem::replace(&mut self.said.reach, true) {
            tracing::warn!(
                symbol = %self.name(place),
                "this API key gets the latest 100 days only (OutputSize=compact), which reach back to {}; what is before needs a premium key (the same command asks again, when the key has one)",
                oldest.date_naive()
            );
        }
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

/// One request asks for many symbols, and the service says nothing of those that it does not know.
fn say_missing(target: &mut Target, events: &[TradeEvent]) {
    let there: HashSet<&str> = events.iter().map(|event| event.symbol.as_str()).collect();
    let asked = target.symbols.iter();
    let missing: Vec<CompactString> = asked
        .filter(|symbol| !there.contains(symbol.as_str()))
        .cloned()
        .collect();
    if missing != target.missing && !missing.is_empty() {
        tracing::warn!(
            "no good quote of {}: the answer of {} has none; are they symbols of the service? (AlphaVantage.Symbols)",
            missing.join(", "),
            Function::BulkQuotes.query_name()
        );
    }
    target.missing = missing;
}
