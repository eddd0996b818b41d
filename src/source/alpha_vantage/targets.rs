//! What one request asks for: a symbol, a symbol's month, or up to a hundred symbols. Pure.

use chrono::{DateTime, Utc};
use compact_str::CompactString;

use super::BadSeen;
use super::backfill::Month;
use super::calendar::{Market, US};
use super::ledger::Knowledge;
use super::plan::Plan;
use super::settings::{Function, MAX_BULK_SYMBOLS, Settings};

/// What one request asks for.
#[derive(Debug, Default)]
pub(super) struct Target {
    /// At least one.
    pub(super) symbols: Vec<CompactString>,
    /// The month that is filled back.
    pub(super) month: Option<Month>,
    /// Bad bars that were counted.
    pub(super) bad_seen: BadSeen,
    /// The problem that was said last; it is not said again before something else happens.
    pub(super) told: Option<String>,
    /// An answer was had.
    pub(super) answered: bool,
}

impl Target {
    pub(super) fn new(symbols: Vec<CompactString>, month: Option<Month>) -> Self {
        Self {
            symbols,
            month,
            ..Self::default()
        }
    }

    /// The symbols as a request and a person read them.
    pub(super) fn name(&self) -> CompactString {
        self.symbols.join(",").into()
    }

    /// Whose hours count: bulk quotes are of US symbols.
    pub(super) fn market(&self) -> Market {
        match self.symbols.as_slice() {
            [symbol] => Market::of(symbol),
            _ => US,
        }
    }
}

/// What is to be asked for; months that are known to be filled are left out.
pub(super) fn of(settings: &Settings, function: Function, known: &Knowledge) -> Vec<Target> {
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
        // One body of days has all of its months.
        (None, _) | (Some(_), Function::Daily) => each().collect(),
        (Some(months), _) => {
            let filled = known.filled.get(&filled_series(settings));
            months
                .each()
                .flat_map(|month| symbols.iter().map(move |symbol| (symbol, month)))
                .filter(|(symbol, month)| {
                    let done =
                        filled.is_some_and(|filled| filled.contains(&filled_month(symbol, *month)));
                    months.again || !done
                })
                .map(|(symbol, month)| Target::new(vec![symbol.clone()], Some(month)))
                .collect()
        }
    }
}

/// The timetable of these: all are due at once.
pub(super) fn plan(
    settings: &Settings,
    targets: &[Target],
    known: &Knowledge,
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

/// The name under which filled months are kept: where they went, and what they are made of.
pub(super) fn filled_series(settings: &Settings) -> String {
    let destination = settings
        .months
        .as_ref()
        .map_or("", |months| &months.destination);
    let hours = if settings.extended_hours {
        "extended"
    } else {
        "regular"
    };
    format!(
        "{destination} intraday/{} {hours}",
        settings.interval.as_str()
    )
}

/// One of them.
pub(super) fn filled_month(symbol: &str, month: Month) -> String {
    format!("{symbol} {month}")
}
