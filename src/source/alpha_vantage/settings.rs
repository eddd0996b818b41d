//! What an Alpha Vantage poller is told: values only, checked where the poller is made.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use compact_str::CompactString;
use secrecy::SecretString;

use super::super::bars::{Interval, MAX_BODY_BYTES};
use super::account::Limit;
use super::schedule::Months;
use crate::event::symbol::is_symbol;
use crate::source::{SourceError, UnknownValue};

/// The most symbols of one request for bulk quotes.
pub(super) const MAX_BULK_SYMBOLS: usize = 100;

/// Gives the API key anew whenever it may have changed.
#[derive(Clone)]
pub struct KeySource(pub Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>);

impl std::fmt::Debug for KeySource {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("KeySource")
    }
}

/// Settings of the section `AlphaVantage`. `Debug` does not show the key.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The API key; placeholders are refused before they get here.
    pub api_key: SecretString,
    /// Where the key is looked up before each request, when it stands in a file.
    pub key_source: Option<KeySource>,
    /// The symbols to poll, at least one.
    pub symbols: Vec<CompactString>,
    /// What to ask for.
    pub function: Function,
    /// Length of intraday bars.
    pub interval: Interval,
    /// The latest 100 bars, or all that there are.
    pub output_size: OutputSize,
    /// With bars before the opening and after the close.
    pub extended_hours: bool,
    /// Intraday prices adjusted for splits and dividends, and not as they were traded.
    pub adjusted: bool,
    /// `realtime` or `delayed`, for plans that have a choice.
    pub entitlement: Option<String>,
    /// `https://host` or `http://host:port`; `/query` is added where it is missing.
    pub base_url: String,
    /// The most requests a second, above 0.
    pub requests_per_second: f64,
    /// The most requests a minute.
    pub requests_per_minute: Limit,
    /// The most requests a day.
    pub requests_per_day: Limit,
    /// Failures in a row, at least 1, after which nothing is asked for a while.
    pub circuit_breaker_failures: u32,
    /// For how long.
    pub circuit_breaker: Duration,
    /// Where requests used up and refusals learnt are kept; `None` forgets them with the process.
    pub state_directory: Option<PathBuf>,
    /// Months to be filled back, and nothing else.
    pub months: Option<Months>,
    /// From the request to the last byte of its answer.
    pub timeout: Duration,
    /// Tries after the first one, within one poll of a symbol.
    pub max_retries: u32,
    /// The first pause between two tries; each next one is twice as long, up to a minute.
    pub retry_backoff: Duration,
    /// From one poll of a symbol to its next.
    pub poll: Duration,
    /// One poll of each symbol, then the end.
    pub once: bool,
    /// Where the day of the daily limit begins at midnight.
    pub day_reset_zone: Tz,
    /// Stop when the service could not be reached for this long; `None` tries for ever.
    pub unreachable_limit: Option<Duration>,
    /// The largest body, in bytes.
    pub body_limit: usize,
}

impl Settings {
    /// The defaults of the section `AlphaVantage`.
    pub fn new(api_key: SecretString, symbols: Vec<CompactString>) -> Self {
        Self {
            api_key,
            key_source: None,
            symbols,
            function: Function::Auto,
            interval: Interval::Min1,
            output_size: OutputSize::Compact,
            extended_hours: true,
            adjusted: false,
            entitlement: None,
            base_url: "https://www.alphavantage.co".to_owned(),
            requests_per_second: 1.0,
            requests_per_minute: Limit::Auto,
            requests_per_day: Limit::Auto,
            circuit_breaker_failures: 5,
            circuit_breaker: Duration::from_secs(60),
            state_directory: None,
            months: None,
            timeout: Duration::from_secs(15),
            max_retries: 5,
            retry_backoff: Duration::from_millis(500),
            poll: Duration::from_secs(60),
            once: false,
            day_reset_zone: chrono_tz::America::New_York,
            unreachable_limit: None,
            body_limit: MAX_BODY_BYTES,
        }
    }

    /// The parameters of a request, without the key. Only what differs from the service's own defaults is said; one of these
    /// is that intraday prices are adjusted.
    pub(super) fn query<'a>(
        &'a self,
        function: Function,
        symbols: &'a str,
        month: Option<&'a str>,
    ) -> Vec<(&'static str, &'a str)> {
        let name = function.query_name();
        let intraday = matches!(function, Function::Auto | Function::Intraday);
        let mut query = vec![("function", name), ("symbol", symbols)];
        if intraday {
            query.push(("interval", self.interval.as_str()));
        }
        if let Some(month) = month {
            query.push(("month", month));
        }
        if self.output_size == OutputSize::Full && (intraday || function == Function::Daily) {
            query.push(("outputsize", "full"));
        }
        if !self.extended_hours && intraday {
            query.push(("extended_hours", "false"));
        }
        if !self.adjusted && intraday {
            query.push(("adjusted", "false"));
        }
        if let Some(entitlement) = &self.entitlement {
            query.push(("entitlement", entitlement));
        }
        query
    }

    /// Refuses what cannot work.
    pub(super) fn check(&self) -> Result<(), SourceError> {
        let refuse = |setting, problem: String| Err(SourceError::Setting { setting, problem });
        if self.symbols.is_empty() {
            let problem = "no symbol is given; name at least one, such as IBM";
            return refuse("AlphaVantage.Symbols", problem.to_owned());
        }
        let bad = |symbol: &&CompactString| !is_symbol(symbol.as_bytes());
        if let Some(bad) = self.symbols.iter().find(bad) {
            return refuse(
                "AlphaVantage.Symbols",
                format!("{bad:?} does not match [A-Za-z0-9^][A-Za-z0-9.^:_=&-]{{0,31}}"),
            );
        }
        let per_second = self.requests_per_second;
        let gap = Duration::try_from_secs_f64(per_second.recip());
        if !(per_second > 0.0 && gap.is_ok()) {
            return refuse(
                "AlphaVantage.RequestsPerSecond",
                "has to be above 0".to_owned(),
            );
        }
        if let Some(months) = &self.months {
            if months.from > months.to {
                let problem = format!("{} is after --to-month {}", months.from, months.to);
                return refuse("--from-month", problem);
            }
            if matches!(self.function, Function::Quote | Function::BulkQuotes) {
                let problem = "quotes have no past; --from-month needs auto, intraday or daily";
                return refuse("AlphaVantage.Function", problem.to_owned());
            }
        }
        Ok(())
    }

    /// Whether delayed data are asked for.
    pub(super) fn delayed(&self) -> bool {
        self.entitlement.as_deref() == Some("delayed")
    }
}

impl Function {
    /// The service's name of it.
    pub(super) fn query_name(self) -> &'static str {
        match self {
            Self::Auto | Self::Intraday => "TIME_SERIES_INTRADAY",
            Self::Daily => "TIME_SERIES_DAILY",
            Self::Quote => "GLOBAL_QUOTE",
            Self::BulkQuotes => "REALTIME_BULK_QUOTES",
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Intraday bars, or daily ones when the key has no intraday data.
    Auto,
    /// TIME_SERIES_INTRADAY.
    Intraday,
    /// TIME_SERIES_DAILY.
    Daily,
    /// GLOBAL_QUOTE.
    Quote,
    /// REALTIME_BULK_QUOTES.
    BulkQuotes,
}

impl FromStr for Function {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "intraday" => Ok(Self::Intraday),
            "daily" => Ok(Self::Daily),
            "quote" => Ok(Self::Quote),
            "bulk-quotes" => Ok(Self::BulkQuotes),
            _ => Err(UnknownValue("auto, intraday, quote, bulk-quotes, daily")),
        }
    }
}

/// How far back a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputSize {
    /// The latest 100 bars.
    Compact,
    /// All that the service has (30 days of intraday bars); may need a paid plan.
    Full,
}

impl FromStr for OutputSize {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        match text.to_ascii_lowercase().as_str() {
            "compact" => Ok(Self::Compact),
            "full" => Ok(Self::Full),
            _ => Err(UnknownValue("compact, full")),
        }
    }
}
