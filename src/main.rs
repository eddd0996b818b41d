//! Parse, run, map the outcome to an exit code.

use std::env;
use std::process::ExitCode;

use stockflow::cli::{self, Command, Exit, Invocation};

fn main() -> ExitCode {
    match cli::parse(env::args_os(), env::vars_os().collect()) {
        Ok(invocation) => run(invocation),
        Err(refusal) => refusal.report(),
    }
    .into()
}

fn run(Invocation { config, command }: Invocation) -> Exit {
    cli::init_logging(&config.logging);
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    match command {
        Command::ConfigShow(format) => match cli::show_config(&config, format) {
            Ok(()) => Exit::Done,
            Err(error) => {
                tracing::error!("standard output cannot be written: {error}");
                Exit::Failed
            }
        },
        command => {
            tracing::error!("this build has no pipeline for {command:?}");
            Exit::Failed
        }
    }
}
