//! `stockflow config`.

use clap::{Args, Subcommand};

use super::common::FormatArgument;
use crate::pipeline::Format;

const EXAMPLES: &str = "\
Examples:
  stockflow config show                            what is in force, and where it was set
  stockflow config show --format json
  Kafka__Topic=trades stockflow config show --set Output.Directory=csv";

/// The configuration: what is in force, and where it was set
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// What is in force, and where it was set; secrets are masked
    #[command(after_help = EXAMPLES)]
    Show(FormatArgument),
}

impl Arguments {
    pub(super) fn format(&self) -> Format {
        let Commands::Show(format) = &self.command;
        format.get()
    }
}
