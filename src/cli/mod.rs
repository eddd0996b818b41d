//! Arguments, one file a subcommand; what they ask for is done elsewhere, and `execute` calls it.
//!
//! Raw arguments and the environment become an [`Invocation`]: a checked configuration and what one run was asked to do.
//! A flag that has a key in the configuration becomes the uppermost layer, so `config show` can say "flag --topic"; the
//! rest are options of the run. Nothing here opens a socket or starts a runtime, so `--version` and wrong usage are told
//! at once.

mod bench;
mod broker;
mod check;
mod command;
mod common;
mod config;
mod consume;
mod demo;
mod execute;
mod exit;
mod group;
mod logging;
mod memory;
mod output;
mod panics;
mod produce;
mod run;
mod tail;
#[cfg(test)]
mod tests;
mod threads;
mod verify;
mod watch;

pub use command::{Command, Invocation};

use std::ffi::OsString;

use clap::{Parser, Subcommand};

pub use execute::execute;
pub use exit::Exit;

use crate::config::{Config, ConfigError, Inputs, Override};
use common::Global;

const EXAMPLES: &str = "\
Examples:
  stockflow demo                                   see it work: no Kafka, no key, no network
  stockflow produce --symbol IBM --once            one poll of IBM into Kafka
  stockflow consume --out trades --until-end       what is on the topic into CSV files
  stockflow run --symbol AAPL,IBM                  both, until stopped
  stockflow tail                                   the last events, and what comes
  stockflow check                                  whether all that a run needs is there
  stockflow config show                            what is in force, and where it was set";

/// Stock trades from Alpha Vantage through Apache Kafka into CSV files: none lost, none doubled.
#[derive(Debug, Parser)]
#[command(name = "stockflow", version, after_help = EXAMPLES, arg_required_else_help = true, subcommand_required = true)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    Produce(produce::Arguments),
    Consume(consume::Arguments),
    Run(run::Arguments),
    Demo(demo::Arguments),
    Broker(broker::Arguments),
    Tail(tail::Arguments),
    Verify(verify::Arguments),
    Bench(bench::Arguments),
    Group(group::Arguments),
    Check(check::Arguments),
    Config(config::Arguments),
}

/// Why there is nothing to be done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Wrong usage; or help or the version was asked for.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The configuration is wrong.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
}

impl Refusal {
    /// Tells it, help and version on standard output and the rest on standard error.
    pub fn report(&self) -> Exit {
        match self {
            Self::Usage(error) => {
                // Nobody is left to be told when this fails.
                let _ = error.print();
                if error.use_stderr() {
                    Exit::Usage
                } else {
                    Exit::Done
                }
            }
            Self::Configuration(error) => {
                output::complain(&error.to_string());
                Exit::Configuration
            }
        }
    }
}

/// Arguments and environment, as a checked invocation.
///
/// # Errors
/// When the usage is wrong, or help or the version is asked for; and with everything that is wrong with the
/// configuration, also with what the chosen source lacks.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    variables: Vec<(OsString, OsString)>,
) -> Result<Invocation, Refusal> {
    let arguments = Arguments::try_parse_from(arguments)?;
    let mut overrides = arguments.global.overrides();
    let (command, flags) = arguments.command.split();
    overrides.extend(flags);
    let config = Config::load(&Inputs {
        files: arguments.global.config,
        variables,
        sets: arguments.global.set,
        overrides,
    })?;
    if matches!(command, Command::Produce(_) | Command::Run(_)) {
        config.check_source()?;
    }
    Ok(Invocation { config, command })
}

impl Commands {
    fn split(self) -> (Command, Vec<Override>) {
        match self {
            Self::Produce(arguments) => {
                (Command::Produce(arguments.options()), arguments.overrides())
            }
            Self::Consume(arguments) => {
                (Command::Consume(arguments.options()), arguments.overrides())
            }
            Self::Run(arguments) => (Command::Run(arguments.options()), arguments.overrides()),
            Self::Demo(arguments) => (Command::Demo(arguments.options()), Vec::new()),
            Self::Check(arguments) => (Command::Check(arguments.options()), arguments.overrides()),
            Self::Broker(arguments) => (Command::Broker(arguments.options()), Vec::new()),
            Self::Tail(arguments) => (Command::Tail(arguments.options()), arguments.overrides()),
            Self::Verify(arguments) => {
                (Command::Verify(arguments.options()), arguments.overrides())
            }
            Self::Bench(arguments) => (Command::Bench(arguments.options()), arguments.overrides()),
            Self::Group(arguments) => arguments.split(),
            Self::Config(arguments) => (Command::ConfigShow(arguments.format()), Vec::new()),
        }
    }
}
