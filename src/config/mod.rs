//! The typed, validated configuration, and where each value came from.
//!
//! Raw arguments become a [`Config`] in one step, and everything that is wrong is told together, before any socket opens.
//! One table (`sections`) says what keys there are; parsing, `config show`, suggestions and errors follow from it.
//!
//! Invariants:
//! - A key that was set is honoured, or the configuration is refused: nothing is ignored silently. What belongs to other
//!   programs (unknown top-level sections, Confluent.Kafka settings without a meaning here) is named in a warning.
//! - The value of a secret is in no error, no warning, no `Debug` and not in what is shown.
//! - Whatever the files, variables and flags hold, loading returns: it never panics, and reads at most 1 MiB a file.

mod error;
mod keys;
mod layers;
#[cfg(test)]
mod properties;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

pub use error::{ConfigError, Problem};
pub use keys::{AlphaVantage, Entry, Kafka, Logging, Output, Process, Simulated, Source, State};
pub use layers::{Given, Origin, Override};
pub use table::Key;
pub use values::{
    AutoOffsetReset, BadRecords, Choice, Column, Compression, CompressionType, Entitlement,
    FileDate, Function, GroupProtocol, HostPort, Interval, IsolationLevel, Kind, Level, LogFormat,
    OutputSize, PartitionAssignmentStrategy, Partitioner, Publish, RequestLimit, Secret,
    SecretError, SecurityProtocol, SourceKind, is_placeholder,
};

use keys::Reader;
use layers::{Layers, Write};

/// The file that is read when none is named, if it is there.
const DEFAULT_FILE: &str = "appsettings.json";

/// Everything that a configuration is made from.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Files in order, later wins; when empty, `appsettings.json` in the working directory, if it is there.
    pub files: Vec<PathBuf>,
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// `--set`, split at the first `=`.
    pub sets: Vec<(String, String)>,
    /// What flags set.
    pub overrides: Vec<Override>,
}

/// The configuration: every value checked, and where it came from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Brokers, topic, group, and how records get there and back.
    pub kafka: Kafka,
    /// Where market data comes from.
    pub source: Source,
    /// The simulated market.
    pub simulated: Simulated,
    /// The Alpha Vantage API.
    pub alpha_vantage: AlphaVantage,
    /// The CSV files.
    pub output: Output,
    /// What is kept between runs.
    pub state: State,
    /// The log.
    pub logging: Logging,
    /// Keys that stand in no section.
    pub process: Process,
    entries: Vec<Entry>,
    warnings: Vec<String>,
}

impl Config {
    /// Lays the inputs over the defaults and checks the result.
    ///
    /// # Errors
    /// With everything that is wrong, together.
    pub fn load(inputs: &Inputs) -> Result<Self, ConfigError> {
        let mut layers = Layers::new(keys::TABLE);
        layers.apply(state_directory(&inputs.variables), true);
        for path in files(&inputs.files) {
            match layers::read(&path) {
                Ok(writes) => layers.apply(writes, false),
                Err(problem) => layers.problems.push(problem),
            }
        }
        Self::finish(layers, inputs)
    }

    fn finish(mut layers: Layers, inputs: &Inputs) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        layers.apply(
            layers::environment(keys::TABLE, &inputs.variables, &mut problems),
            false,
        );
        layers.apply(layers::sets(&inputs.sets), true);
        layers.apply(layers::flags(&inputs.overrides), true);
        problems.append(&mut layers.problems);

        let mut reader = Reader::new(&layers);
        let kafka = Kafka::read(&mut reader);
        let source = Source::read(&mut reader);
        let simulated = Simulated::read(&mut reader);
        let alpha_vantage = AlphaVantage::read(&mut reader);
        let schema_registry = keys::SchemaRegistry::read(&mut reader);
        let output = Output::read(&mut reader);
        let state = State::read(&mut reader);
        let server = keys::Server::read(&mut reader);
        let logging = Logging::read(&mut reader);
        let process = Process::read(&mut reader);
        problems.append(&mut reader.problems);
        problems.extend(keys::between(&reader.entries));
        let entries = reader.entries;
        let config = (|| {
            schema_registry?;
            server?;
            Some(Self {
                kafka: kafka?,
                source: source?,
                simulated: simulated?,
                alpha_vantage: alpha_vantage?,
                output: output?,
                state: state?,
                logging: logging?,
                process: process?,
                entries,
                warnings: layers.warnings(),
            })
        })();
        config
            .filter(|_| problems.is_empty())
            .ok_or_else(|| ConfigError::new(problems))
    }

    /// Whether the chosen source has what it needs: a key and symbols for Alpha Vantage, files for a replay.
    ///
    /// # Errors
    /// With everything that it lacks, and how to give it.
    pub fn check_source(&self) -> Result<(), ConfigError> {
        let problems = keys::source(&self.source, &self.alpha_vantage, &self.entries);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::new(problems))
        }
    }

    /// Whether a source was chosen, or any of what the default one needs was given; a host that only reads the topic needs none.
    pub fn names_source(&self) -> bool {
        let given = |path| self.origin(path) != Origin::Default;
        given("Source.Kind")
            || self.alpha_vantage.api_key.is_some()
            || !self.alpha_vantage.symbols.is_empty()
    }

    /// Where the value of `Section.Key` came from.
    pub fn origin(&self, path: &str) -> Origin {
        keys::origin_of(&self.entries, path)
    }

    /// What is in force, in the table's order; secrets are masked.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is worth saying though it is no mistake.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// All keys, those of later versions included, in the table's order.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    keys::TABLE.iter().copied().flatten()
}

fn files(named: &[PathBuf]) -> Vec<PathBuf> {
    if !named.is_empty() {
        return named.to_vec();
    }
    let default = PathBuf::from(DEFAULT_FILE);
    if default.exists() {
        vec![default]
    } else {
        Vec::new()
    }
}

/// systemd names a unit's state directory in `$STATE_DIRECTORY`; of several, separated by colons, it is the first.
fn state_directory(variables: &[(OsString, OsString)]) -> Vec<Write> {
    let value = variables.iter().find(|(name, _)| name == "STATE_DIRECTORY");
    let first = value
        .and_then(|(_, value)| value.to_str())
        .and_then(|value| value.split(':').next());
    let write = |directory: &str| Write {
        path: vec!["State".to_owned(), "Directory".to_owned()],
        raw: values::Raw::Scalar(directory.to_owned()),
        origin: Origin::Variable("STATE_DIRECTORY".to_owned()),
    };
    first
        .filter(|first| !first.is_empty())
        .map(write)
        .into_iter()
        .collect()
}
