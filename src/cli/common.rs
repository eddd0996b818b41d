//! Flags that several commands have.
//!
//! Their structs have no doc comments, which clap would take for the description of the command.

use crate::commands::ResetTo;
use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, ValueEnum};

use crate::config::{AutoOffsetReset, Choice, Given, Level, LogFormat, Override, SourceKind};
use crate::pipeline::{Format, Month, SourceOptions};

/// A flag's value, for the configuration's uppermost layer.
pub(super) fn one(
    path: &'static str,
    flag: &'static str,
    value: Option<impl ToString>,
) -> Option<Override> {
    let given = Given::One(value?.to_string());
    Some(Override { path, flag, given })
}

fn many(path: &'static str, flag: &'static str, values: &[String]) -> Option<Override> {
    let given = Given::Many(values.to_vec());
    (!values.is_empty()).then_some(Override { path, flag, given })
}

fn section_key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.trim().is_empty() => {
            Ok((path.trim().to_owned(), value.to_owned()))
        }
        _ => Err("expected Section.Key=VALUE, such as Kafka.Topic=trades".to_owned()),
    }
}

/// The parser of a flag that takes one of a setting's names.
pub(super) fn names<C: Choice + Send + Sync>() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(C::NAMES)
}

// Flags of every command.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// Configuration file, JSON with comments; repeatable, later wins [default: appsettings.json, if there]
    #[arg(
        short,
        long,
        value_name = "FILE",
        global = true,
        help_heading = "Configuration"
    )]
    pub(super) config: Vec<PathBuf>,
    /// Set one key; repeatable
    #[arg(
        long,
        value_name = "SECTION.KEY=VALUE",
        value_parser = section_key_value,
        global = true,
        help_heading = "Configuration"
    )]
    pub(super) set: Vec<(String, String)>,
    /// Log more: -v debug, -vv trace
    #[arg(short, long, action = ArgAction::Count, global = true, conflicts_with = "quiet", help_heading = "Logging")]
    verbose: u8,
    /// Log less: -q warnings and errors, -qq errors only
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "Logging")]
    quiet: u8,
    /// How log lines are written, on standard error [Logging.Format]
    #[arg(long, value_name = "FORMAT", value_parser = names::<LogFormat>(), global = true, help_heading = "Logging")]
    log_format: Option<String>,
}

impl Global {
    pub(super) fn overrides(&self) -> Vec<Override> {
        let level = match (self.verbose, self.quiet) {
            (0, 0) => None,
            (0, 1) => Some(("-q", Level::Warn)),
            (0, _) => Some(("-qq", Level::Error)),
            (1, _) => Some(("-v", Level::Debug)),
            (_, _) => Some(("-vv", Level::Trace)),
        };
        let level = level.and_then(|(flag, level)| one("Logging.Level", flag, Some(level.name())));
        let format = one("Logging.Format", "--log-format", self.log_format.as_ref());
        level.into_iter().chain(format).collect()
    }
}

// Flags of the commands that talk to Kafka.
#[derive(Debug, Args)]
pub(super) struct KafkaArguments {
    /// Brokers to ask first, HOST:PORT, comma-separated [Kafka.BootstrapServers]
    #[arg(short, long, value_name = "HOST:PORT", help_heading = "Kafka")]
    bootstrap_servers: Option<String>,
    /// Topic [Kafka.Topic]
    #[arg(short, long, value_name = "NAME", help_heading = "Kafka")]
    topic: Option<String>,
    /// Consumer group [Kafka.GroupId]
    #[arg(short, long, value_name = "NAME", help_heading = "Kafka")]
    group: Option<String>,
}

impl KafkaArguments {
    /// Whether `--topic` was given.
    pub(super) fn names_topic(&self) -> bool {
        self.topic.is_some()
    }

    pub(super) fn overrides(&self) -> impl Iterator<Item = Override> {
        let servers = one(
            "Kafka.BootstrapServers",
            "--bootstrap-servers",
            self.bootstrap_servers.as_ref(),
        );
        let topic = one("Kafka.Topic", "--topic", self.topic.as_ref());
        let group = one("Kafka.GroupId", "--group", self.group.as_ref());
        [servers, topic, group].into_iter().flatten()
    }
}

// Flags of the commands that read market data.
#[derive(Debug, Args)]
pub(super) struct SourceArguments {
    /// Where market data comes from [Source.Kind]
    #[arg(long, value_name = "KIND", value_parser = names::<SourceKind>(), help_heading = "Source")]
    source: Option<String>,
    /// Symbols, comma-separated [AlphaVantage.Symbols, Source.Simulated.Symbols]
    #[arg(
        long,
        value_name = "A,B,C",
        value_delimiter = ',',
        help_heading = "Source"
    )]
    symbol: Vec<String>,
    /// Files or directories to replay: Alpha Vantage bodies (JSON, CSV) or TradeEvents (JSON, CSV), gzip, zstd or lz4 too; - is standard input [Source.Input]
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Source")]
    input: Vec<String>,
    /// Simulated events a second [Source.Simulated.Rate] [default: as fast as possible]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Source"
    )]
    rate: Option<f64>,
    /// Seed of the simulated market: the same seed, the same market [Source.Simulated.Seed]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Source"
    )]
    seed: Option<u64>,
    /// Replay by the events' own times, N times as fast [default: as fast as possible]
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true, help_heading = "Source")]
    speed: Option<f64>,
    /// Fill back from this month on, then stop; a run that was interrupted goes on where it was
    #[arg(
        long,
        value_name = "YYYY-MM",
        help_heading = "Source",
        conflicts_with = "once"
    )]
    from_month: Option<Month>,
    /// The last month to fill back [default: the present one]
    #[arg(
        long,
        value_name = "YYYY-MM",
        requires = "from_month",
        help_heading = "Source"
    )]
    to_month: Option<Month>,
    /// Poll each symbol once, then stop
    #[arg(long)]
    once: bool,
    /// Publish events that are on the topic already, too
    #[arg(long)]
    republish: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("has to be a number above 0".to_owned()),
    }
}

impl SourceArguments {
    pub(super) fn options(&self) -> SourceOptions {
        SourceOptions {
            once: self.once,
            republish: self.republish,
            speed: self.speed,
            months: self
                .from_month
                .map(|from| (from, self.to_month.unwrap_or_else(Month::present))),
        }
    }

    pub(super) fn overrides(&self) -> impl Iterator<Item = Override> {
        [
            one("Source.Kind", "--source", self.source.as_ref()),
            // Which of the two is meant depends on the source, which a file may choose.
            many("AlphaVantage.Symbols", "--symbol", &self.symbol),
            many("Source.Simulated.Symbols", "--symbol", &self.symbol),
            many("Source.Input", "--input", &self.input),
            one("Source.Simulated.Rate", "--rate", self.rate),
            one("Source.Simulated.Seed", "--seed", self.seed),
        ]
        .into_iter()
        .flatten()
    }
}

// Flags of the commands that write files.
#[derive(Debug, Args)]
pub(super) struct SinkArguments {
    /// Directory of the CSV files [Output.Directory]
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    out: Option<String>,
    /// Stop when everything that is on the topic at the start was read
    #[arg(long)]
    pub(super) until_end: bool,
    /// Where a group without offsets begins [Kafka.AutoOffsetReset]
    #[arg(long, value_name = "WHERE", value_parser = names::<AutoOffsetReset>(), help_heading = "Kafka")]
    from: Option<String>,
}

impl SinkArguments {
    pub(super) fn overrides(&self) -> impl Iterator<Item = Override> {
        let out = one("Output.Directory", "--out", self.out.as_ref());
        let from = one("Kafka.AutoOffsetReset", "--from", self.from.as_ref());
        out.into_iter().chain(from)
    }

    pub(super) fn from(&self) -> Option<AutoOffsetReset> {
        self.from.as_deref().and_then(AutoOffsetReset::from_name)
    }
}

// How the result is printed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct FormatArgument {
    /// How the result is printed, on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: FormatName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatName {
    Text,
    Json,
}

impl FormatArgument {
    pub(super) fn get(self) -> Format {
        match self.format {
            FormatName::Text => Format::Text,
            FormatName::Json => Format::Json,
        }
    }
}

pub(super) fn place(text: &str) -> Result<ResetTo, String> {
    if text.eq_ignore_ascii_case("earliest") {
        return Ok(ResetTo::Earliest);
    }
    if text.eq_ignore_ascii_case("latest") {
        return Ok(ResetTo::Latest);
    }
    if let Ok(offset) = text.parse::<i64>() {
        return if offset < 0 {
            Err(
                "an offset cannot be negative (to go back from the group's position, use group reset --shift-by)"
                    .to_owned(),
            )
        } else {
            Ok(ResetTo::Offset(offset))
        };
    }
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis());
    let local = || {
        [
            "%Y-%m-%dT%H:%M:%S%.f",
            "%Y-%m-%dT%H:%M",
            "%Y-%m-%d %H:%M:%S",
        ]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .or_else(|| {
            NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .ok()?
                .and_hms_opt(0, 0, 0)
        })
        .map(|time| time.and_utc().timestamp_millis())
    };
    time.ok().or_else(local).map(ResetTo::Since).ok_or_else(|| {
        "expected earliest, latest, an offset, or a time such as 2025-11-06T20:59:00Z".to_owned()
    })
}
