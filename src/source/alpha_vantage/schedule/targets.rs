//! What one request asks for: a symbol, a symbol's month, or up to a hundred symbols. Pure.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use compact_str::CompactString;

use super::super::BadSeen;
use super::super::account::KeyState;
use super::super::react::full_of;
use super::super::settings::{Function, MAX_BULK_SYMBOLS, OutputSize, Settings};
use super::backfill::{Month, Months};
use super::plan::Plan;
use crate::event::TradeId;
use crate::source::market_hours::{Market, US};

/// Longer than 100 trading days: 20 weeks, and some holidays.
const REACH: TimeDelta = TimeDelta::days(155);

/// Not longer than 100 trading days: 20 weeks without a holiday, less the last weekend.
const SURE_REACH: TimeDelta = TimeDelta::days(138);

/// What one request asks for.
#[derive(Debug, Default)]
pub(in crate::source::alpha_vantage) struct Target {
    /// At least one.
    pub(in crate::source::alpha_vantage) symbols: Vec<CompactString>,
    /// The month that is filled back.
    pub(in crate::source::alpha_vantage) month: Option<Month>,
    /// Bad bars that were counted.
    pub(in crate::source::alpha_vantage) bad_seen: BadSeen,
    /// The problem that was said last; it is not said again before something else happens.
    pub(in crate::source::alpha_vantage) told: Option<String>,
    /// Events of broken bodies, which come again with the next try.
    pub(in crate::source::alpha_vantage) handed_out: HashSet<TradeId>,
    /// An answer was had.
    pub(in crate::source::alpha_vantage) answered: bool,
    /// Symbols of which the last answer had nothing, of those that one request asks for together.
    pub(in crate::source::alpha_vantage) missing: Vec<CompactString>,
}

impl Target {
    pub(in crate::source::alpha_vantage) fn new(
        symbols: Vec<CompactString>,
        month: Option<Month>,
    ) -> Self {
        Self {
            symbols,
            month,
            ..Self::default()
        }
    }

    /// The symbols as a request and a person read them.
    pub(in crate::source::alpha_vantage) fn name(&self) -> CompactString {
        self.symbols.join(",").into()
    }

    /// Whose hours count: bulk quotes are of US symbols.
    pub(in crate::source::alpha_vantage) fn market(&self) -> Market {
        match self.symbols.as_slice() {
            [symbol] => Market::of(symbol),
            _ => US,
        }
    }
}

/// What is to be asked for; months that are known to be filled are left out.
pub(in crate::source::alpha_vantage) fn of(
    settings: &Settings,
    function: Function,
    known: &KeyState,
    now: DateTime<Utc>,
) -> Vec<Target> {
    let symbols = &settings.symbols;
    let each = || {
        symbols
            .iter()
            .map(|symbol| Target::new(vec![symbol.clone()], None))
    };
    match (&settings.months, function) {
        (None, Function::BulkQuotes) => symbols
            .chunks(MAX_BULK_SYMBOLS)
            .map(|symbols| Target::new(symbols.to_vec(), None))
            .collect(),
        (None, _) => each().collect(),
        // One body of days has all of its months.
        (Some(months), Function::Daily) => symbols
            .iter()
            .filter(|symbol| {
                months
                    .each()
                    .any(|month| is_wanted(settings, function, known, now, symbol, month))
            })
            .map(|symbol| Target::new(vec![symbol.clone()], None))
            .collect(),
        (Some(months), _) => months
            .each()
            .flat_map(|month| symbols.iter().map(move |symbol| (symbol, month)))
            .filter(|(symbol, month)| is_wanted(settings, function, known, now, symbol, *month))
            .map(|(symbol, month)| Target::new(vec![symbol.clone()], Some(month)))
            .collect(),
    }
}

/// Whether a month is to be asked for: it is within reach, and was not filled before.
fn is_wanted(
    settings: &Settings,
    function: Function,
    known: &KeyState,
    now: DateTime<Utc>,
    symbol: &str,
    month: Month,
) -> bool {
    let filled = known.filled.get(&filled_series(settings, function));
    let done = filled.is_some_and(|filled| filled.contains(&filled_month(symbol, month)));
    let again = settings.months.as_ref().is_some_and(|months| months.again);
    let compact = is_compact(function, known, now);
    !(compact && month.ends_before(reach(now))) && (again || !done)
}

/// Whether a refusal of more than the latest 100 bars, learnt in a former run, is put to the test once more: the run
/// asks for more, or the key has proved to be a paid one.
pub(in crate::source::alpha_vantage) fn doubts_refusal(
    settings: &Settings,
    known: &KeyState,
    now: DateTime<Utc>,
) -> bool {
    let sure = (now - SURE_REACH).date_naive();
    let asks = |months: &Months| months.again || months.from.begins_before(sure);
    known.paid
        || settings.output_size == OutputSize::Full
        || settings.months.as_ref().is_some_and(asks)
}

/// Whether the key is known to get no more than the latest 100 days.
pub(in crate::source::alpha_vantage) fn is_compact(
    function: Function,
    known: &KeyState,
    now: DateTime<Utc>,
) -> bool {
    function == Function::Daily && known.refused(full_of(function), now).is_some()
}

/// The day before which the latest 100 trading days do not reach for sure.
pub(in crate::source::alpha_vantage) fn reach(now: DateTime<Utc>) -> NaiveDate {
    (now - REACH).date_naive()
}

/// Says why nothing is asked for when months are filled back.
pub(in crate::source::alpha_vantage) fn say_why_none(
    settings: &Settings,
    function: Function,
    known: &KeyState,
    now: DateTime<Utc>,
) {
    let reach = reach(now);
    let beyond = |months: &Months| months.from.ends_before(reach);
    if is_compact(function, known, now) && settings.months.as_ref().is_some_and(beyond) {
        tracing::warn!(
            "nothing is asked for: this API key gets the latest 100 days only (OutputSize=compact), which reach back to about {reach}; months before need a premium key (the same command asks again, when the key has one), and the later months were filled already"
        );
    } else {
        tracing::info!(
            "every month of every symbol was filled already; --republish fills them again"
        );
    }
}

/// The timetable of these: all are due at once.
pub(in crate::source::alpha_vantage) fn plan(
    settings: &Settings,
    targets: &[Target],
    known: &KeyState,
    now: DateTime<Utc>,
) -> Plan {
    let markets = targets.iter().map(Target::market);
    let mut plan = Plan::new(markets, settings.extended_hours, now);
    // A month has its turn in the order of months.
    for (place, target) in targets
        .iter()
        .enumerate()
        .filter(|_| settings.months.is_none())
    {
        if let Some(at) = known.asked.get(target.name().as_str()) {
            plan.asked(place, *at);
        }
    }
    plan
}

/// The name under which filled months are kept: where they went, and what they are made of. Former versions kept
/// months that the latest 100 days held in part under `daily compact`, which is believed no more.
pub(in crate::source::alpha_vantage) fn filled_series(
    settings: &Settings,
    function: Function,
) -> String {
    let destination = settings
        .months
        .as_ref()
        .map_or("", |months| &months.destination);
    if function == Function::Daily {
        return format!("{destination} daily");
    }
    let hours = if settings.extended_hours {
        "extended"
    } else {
        "regular"
    };
    let prices = if settings.adjusted {
        " adjusted"
    } else {
        " as-traded"
    };
    format!(
        "{destination} intraday/{} {hours}{prices}",
        settings.interval.as_str()
    )
}

/// One of them.
pub(in crate::source::alpha_vantage) fn filled_month(symbol: &str, month: Month) -> String {
    format!("{symbol} {month}")
}
