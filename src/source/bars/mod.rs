//! What a body is, and its bars or quotes as events: the one entry for answers of the service and for saved bodies.
//!
//! Pure. The good bars of a body are kept, whatever stands beside or behind them.

use std::collections::HashMap;
use std::str::FromStr as _;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use compact_str::CompactString;

use bar::{Bar, BarTexts, Frame};
use csv::{Row, Rows};
use json::Document;

use super::redact::{redact, redact_beginning};

use crate::event::{TradeEvent, symbol, timestamp};
use crate::source::BadReason;
pub(crate) use bar::SETTLE;
pub use interval::Interval;
pub use spacing::Said;

/// The largest body that is read, in bytes: a month of minute bars with extended hours has some 5 MB.
pub const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The zone of bars whose body names none (CSV): the one that the service documents.
const DOCUMENTED_ZONE: Tz = chrono_tz::US::Eastern;

/// How late data are that the service calls delayed.
pub(super) const DELAY: TimeDelta = TimeDelta::minutes(15);

/// What was asked for, or is known of a saved body.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The symbols that were asked for; none takes the one that the body says.
    pub symbols: &'a [CompactString],
    /// What the bars are in a body that does not say it.
    pub bars: Untold,
    /// Whether intraday prices are adjusted for splits and dividends; no body says it.
    pub adjusted: bool,
    /// Only bars closed by then become events; `None` takes all of them as closed.
    pub now: Option<DateTime<Utc>>,
    /// Whether delayed data were asked for.
    pub delayed: bool,
    /// The API key, to be kept out of every text.
    pub key: Option<&'a str>,
}

/// What the bars of CSV are, which does not say it.
#[derive(Clone, Copy, Debug)]
pub enum Untold {
    /// What was asked for.
    Asked(Interval),
    /// A saved body: what its rows show, and what is said of it.
    Saved(Said),
}

/// The bars of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bars {
    /// What the bars are.
    pub series: Series,
    /// The events of the good and closed ones, oldest first.
    pub events: Vec<TradeEvent>,
    /// The bad ones.
    pub bad: Vec<BadBar>,
    /// How many were still forming.
    pub forming: usize,
    /// When the latest good one began, closed or not.
    pub newest: Option<DateTime<Utc>>,
    /// Whether the service says that its data come late.
    pub delayed: bool,
    /// Why the body ended before its end, when it did: there may be more bars than these.
    pub broken: Option<String>,
}

impl Bars {
    fn none(series: Series) -> Self {
        Self {
            series,
            events: Vec::new(),
            bad: Vec::new(),
            forming: 0,
            newest: None,
            delayed: false,
            broken: None,
        }
    }

    fn bad(&mut self, start: &str, reason: BadReason, key: Option<&str>) {
        let start: String = start.chars().filter(|c| !c.is_control()).collect();
        let start = redact_beginning(start.as_bytes(), 24, key).into();
        self.bad.push(BadBar { start, reason });
    }
}

/// A bar that no event could be made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BadBar {
    /// Its start as the body has it, shortened.
    pub start: CompactString,
    /// Why.
    pub reason: BadReason,
}

/// Why a body has no bars to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is a notice.
    Notice(Notice),
    /// It is nothing that is known, for this reason.
    Unusable(String),
    /// It is CSV, and what its bars are is not known: why, and what to do.
    SeriesUnknown(String),
    /// It is CSV, which does not say the symbol, and none is known.
    SymbolMissing,
}

/// Reads a body. What is no UTF-8 in it is overwritten, because a copy would take several times its size.
///
/// # Errors
/// When it is no body of bars.
pub fn parse(body: &mut [u8], ask: &Ask<'_>) -> Result<Bars, Refusal> {
    let start = if body.starts_with(b"\xef\xbb\xbf") {
        3
    } else {
        0
    };
    let body = body.get_mut(start..).unwrap_or_default();
    let blanks = body.len() - body.trim_ascii_start().len();
    let end = body.trim_ascii_end().len().max(blanks);
    let body = body.get_mut(blanks..end).unwrap_or_default();
    match body.first() {
        None => Err(Refusal::Unusable("it is empty".to_owned())),
        Some(b'{') => parse_json(json::text_of(body), ask),
        Some(b'<') => Err(Refusal::Notice(Notice::wordless(NoticeKind::Html))),
        Some(_) if csv::is_csv(body) => parse_csv(body, ask),
        Some(_) if !is_text(body) => Err(Refusal::Unusable(
            "neither JSON, CSV nor HTML, but binary data".to_owned(),
        )),
        Some(_) => Err(Refusal::Unusable(format!(
            "neither JSON, HTML nor CSV with a known header: {:?}",
            redact_beginning(body, MAX_SHOWN_BYTES, ask.key)
        ))),
    }
}

/// As much of a body as is shown.
const MAX_SHOWN_BYTES: usize = 200;

fn beginning(body: &[u8]) -> &[u8] {
    body.get(..MAX_SHOWN_BYTES).unwrap_or(body)
}

/// Whether a body begins as a text does: UTF-8, but for a character that is cut at the end, without control characters.
fn is_text(body: &[u8]) -> bool {
    let start = beginning(body);
    let whole = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && start.len() < body.len() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !whole.chars().any(|c| c.is_control() && !c.is_whitespace())
}

fn parse_json(text: &str, ask: &Ask<'_>) -> Result<Bars, Refusal> {
    let document = Document::read(text);
    if document.bars.is_empty() {
        if let Some((key, words)) = &document.notice {
            return Err(Refusal::Notice(Notice {
                kind: match classify(key, words) {
                    NoticeKind::PremiumParameter { name } => NoticeKind::PremiumParameter {
                        name: redact(&name, ask.key),
                    },
                    kind => kind,
                },
                text: redact(words, ask.key),
            }));
        }
        if let Some(series) = quotes(&document, ask) {
            return series;
        }
        if document.keys == 0 && document.broken.is_none() {
            return Err(Refusal::Notice(Notice::wordless(NoticeKind::NoData)));
        }
    }
    let Some(meta) = &document.meta else {
        return Err(Refusal::Unusable(match document.broken {
            Some(why) => format!(
                "broken before \"Meta Data\" was read: {}",
                redact(&why, ask.key)
            ),
            None => "a JSON object without \"Meta Data\"".to_owned(),
        }));
    };
    if let (Some(series), true) = (&document.other_series, document.bars.is_empty()) {
        return Err(Refusal::Unusable(format!(
            "it holds {:?}, and weekly and monthly series are not read, only bars of minutes and of days",
            redact(series, ask.key)
        )));
    }
    let unusable = |what: &str, value: Option<&String>| {
        let value = redact(value.map_or("nothing", String::as_str), ask.key);
        Refusal::Unusable(format!("\"Meta Data\" has {value:?} as {what}"))
    };
    let zone = meta.get("Time Zone");
    let zone = zone
        .and_then(|zone| Tz::from_str(zone).ok())
        .ok_or_else(|| unusable("Time Zone", zone))?;
    let symbol = match ask.symbols {
        [symbol, ..] => symbol.as_str(),
        [] => {
            let symbol = meta.get("Symbol");
            let good = symbol.filter(|symbol| symbol::is_symbol(symbol.as_bytes()));
            good.ok_or_else(|| unusable("Symbol", symbol))?
        }
    };
    let daily = document
        .series
        .as_deref()
        .is_some_and(|name| name.contains("Daily"));
    let symbol = symbol.to_ascii_uppercase();
    let series = match meta.get("Interval") {
        Some(interval) => interval
            .parse()
            .map(Series::Intraday)
            .map_err(|_| unusable("Interval", Some(interval)))?,
        None if daily || document.series.is_none() => Series::Daily,
        None => return Err(unusable("Interval", None)),
    };
    let delayed = ask.delayed
        || document.delayed
        || meta
            .values()
            .any(|value| value.to_ascii_uppercase().contains("DELAYED BY"));
    let refreshed = meta.get("Last Refreshed");
    let mut collector = Collector::new(
        ask.key,
        Frame {
            symbol: &symbol,
            series,
            adjusted: ask.adjusted,
            zone,
            now: ask.now,
            delay: if delayed { DELAY } else { TimeDelta::zero() },
            refreshed: refreshed.and_then(|text| timestamp::local_time(text.as_bytes())),
        },
    );
    collector.bars.delayed = delayed;
    for (start, bar) in &document.bars {
        collector.add(start, json::bar_texts(bar).as_ref());
    }
    Ok(collector.finish(document.broken.map(|why| redact(&why, ask.key))))
}

/// The events of quotes; `None` when the document has none.
fn quotes(document: &Document<'_>, ask: &Ask<'_>) -> Option<Result<Bars, Refusal>> {
    let no_data = || Err(Refusal::Notice(Notice::wordless(NoticeKind::NoData)));
    let (series, rows) = match (&document.quote, &document.rows) {
        (Some(quote), _) => (Series::Quote, std::slice::from_ref(quote)),
        (None, Some(rows)) => (Series::BulkQuotes, rows.as_slice()),
        (None, None) => return None,
    };
    let mut bars = Bars::none(series);
    bars.delayed = ask.delayed || document.delayed;
    bars.broken = document.broken.as_ref().map(|why| redact(why, ask.key));
    for row in rows {
        let Some(fields) = json::fields(row) else {
            bars.bad(row.get(), BadReason::Malformed, ask.key);
            continue;
        };
        if fields.is_empty() {
            continue;
        }
        match quote::event(series, &fields, ask.symbols) {
            Ok(event) => {
                bars.newest = bars.newest.max(Some(event.timestamp.instant));
                bars.events.push(event);
            }
            Err(reason) => {
                let symbol = fields.get("symbol").map_or("", String::as_str);
                bars.bad(symbol, reason, ask.key);
            }
        }
    }
    let nothing = bars.events.is_empty() && bars.bad.is_empty() && bars.broken.is_none();
    Some(if nothing { no_data() } else { Ok(bars) })
}

fn parse_csv(body: &[u8], ask: &Ask<'_>) -> Result<Bars, Refusal> {
    let (rows, broken) = match csv::read(body) {
        Rows::Bars { rows, broken } => (rows, broken),
        Rows::Notice => return Err(Refusal::Notice(Notice::wordless(NoticeKind::CsvRow))),
        Rows::Columns(column, 0) => {
            return Err(Refusal::Unusable(format!(
                "CSV without a column {column:?}"
            )));
        }
        Rows::Columns(column, _) => {
            return Err(Refusal::Unusable(format!(
                "CSV with two columns {column:?}, so it is not known which one counts; rename one of them"
            )));
        }
    };
    let symbol = ask.symbols.first().ok_or(Refusal::SymbolMissing)?;
    let symbol = symbol.to_ascii_uppercase();
    let daily = || {
        let first = rows.first();
        first.is_some_and(|row| timestamp::date(row.start.as_bytes()).is_some())
    };
    let series = match ask.bars {
        Untold::Asked(_) if daily() => Series::Daily,
        Untold::Asked(interval) => Series::Intraday(interval),
        Untold::Saved(said) => one_series(&rows)
            .and_then(|()| spacing::series(rows.iter().map(|row| row.start.as_str()), said))
            .map_err(Refusal::SeriesUnknown)?,
    };
    let mut collector = Collector::new(
        ask.key,
        Frame {
            symbol: &symbol,
            series,
            adjusted: ask.adjusted,
            zone: DOCUMENTED_ZONE,
            now: ask.now,
            delay: if ask.delayed {
                DELAY
            } else {
                TimeDelta::zero()
            },
            refreshed: None,
        },
    );
    collector.bars.delayed = ask.delayed;
    for row in &rows {
        collector.add(&row.start, row.texts.as_ref());
    }
    Ok(collector.finish(broken))
}

/// Refuses rows of several series in one file: two bars that begin at one moment and differ.
fn one_series(rows: &[Row]) -> Result<(), String> {
    let mut seen = HashMap::new();
    for row in rows {
        if let Some(texts) = &row.texts
            && let Some(other) = seen.insert(row.start.as_str(), texts)
            && other != texts
            && (timestamp::date(row.start.as_bytes()).is_some()
                || timestamp::local_time(row.start.as_bytes()).is_some())
        {
            return Err(format!(
                "two of its bars begin at {} and have other numbers, so they are of several series or symbols; replay each of these from a file of its own",
                row.start
            ));
        }
    }
    Ok(())
}

struct Collector<'a> {
    key: Option<&'a str>,
    frame: Frame<'a>,
    bars: Bars,
}

impl<'a> Collector<'a> {
    fn new(key: Option<&'a str>, frame: Frame<'a>) -> Self {
        let bars = Bars::none(frame.series);
        Self { key, frame, bars }
    }

    fn add(&mut self, start: &str, texts: Option<&BarTexts<'_>>) {
        let outcome = match texts {
            Some(texts) => bar::event(&self.frame, start, texts),
            None => Err(BadReason::Malformed),
        };
        match outcome {
            Ok(Bar::Closed(event)) => {
                self.bars.newest = self.bars.newest.max(Some(event.timestamp.instant));
                self.bars.events.push(event);
            }
            Ok(Bar::Forming(start)) => {
                self.bars.newest = self.bars.newest.max(Some(start));
                self.bars.forming += 1;
            }
            Err(reason) => self.bars.bad(start, reason, self.key),
        }
    }

    fn finish(mut self, broken: Option<String>) -> Bars {
        // Bodies are newest first, and the sort is quick on what is sorted already.
        self.bars.events.reverse();
        self.bars
            .events
            .sort_by_key(|event| event.timestamp.instant);
        self.bars.broken = broken;
        self.bars
    }
}

mod bar;
mod csv;
mod interval;
mod json;
mod notice;
mod quote;
mod spacing;
#[cfg(test)]
mod tests;

pub use bar::Series;

pub(super) use notice::classify;
pub use notice::{Notice, NoticeKind};
