//! Parse, run, map the outcome to an exit code.

use std::env;
use std::process::ExitCode;

use stockflow::cli;

fn main() -> ExitCode {
    match cli::parse(env::args_os(), env::vars_os().collect()) {
        Ok(invocation) => cli::execute(&invocation),
        Err(refusal) => refusal.report(),
    }
    .into()
}
