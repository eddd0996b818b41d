//! From an [`Invocation`] to an [`Exit`]: starts the log and the runtime, calls what does the command, prints its result.
//! `watch` ends it when a stop does not come through.

use std::io::{self, IsTerminal};

use super::{Command, Exit, Invocation, logging, memory, output, panics, threads, watch};
use crate::commands::{Outcome, Proof};
use crate::config::Config;
use crate::pipeline::{Fault, Format, PipelineError, Report, Stop};
use crate::{commands, pipeline};

/// Runs a command to its end, prints its result, and says how the program is to end.
pub fn execute(invocation: &Invocation) -> Exit {
    let Invocation { config, command } = invocation;
    // A core file would hold the API key. Where the system cannot do it, there is nothing to be done about it.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    logging::init(&config.logging);
    panics::end_the_command();
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if let Command::ConfigShow(format) = command {
        return printed(show_config(config, *format), Exit::Done);
    }
    let stop = Stop::new(config.process.shutdown_timeout);
    let (invocation, stopped) = (invocation.clone(), stop.clone());
    watch::run(&stop, move || work(&invocation, &stopped))
}

/// All that can wait for a disk, a network or a reader.
fn work(invocation: &Invocation, stop: &Stop) -> Exit {
    let runtime = match threads::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return threads::missing(&error),
    };
    if moves_events(&invocation.command)
        && let Err(error) = memory::can_be_had(memory::NEEDED)
    {
        return memory::missing(&error);
    }
    let exit = runtime.block_on(async {
        tokio::select! {
            biased;
            () = stop.interrupted() => {
                tracing::warn!("stopped without draining; the next start checks what was written and committed, and continues from there");
                Exit::Interrupted
            }
            exit = pipeline(invocation, stop) => exit,
        }
    });
    // A thread that waits for the disk or the terminal does not hold up the end.
    runtime.shutdown_background();
    exit
}

/// Whether the command holds as much in memory as is fetched or sent at a time.
fn moves_events(command: &Command) -> bool {
    matches!(
        command,
        Command::Produce(_)
            | Command::Consume(_)
            | Command::Run(_)
            | Command::Demo(_)
            | Command::Tail(_)
    )
}

async fn pipeline(Invocation { config, command }: &Invocation, stop: &Stop) -> Exit {
    let say = |line: &str| {
        // Who closed standard output does not want to know.
        let _ = output::print(&format!("{line}\n"));
    };
    let (report, format) = match command {
        Command::Produce(options) => (
            pipeline::produce(config, options, stop).await,
            options.format,
        ),
        Command::Consume(options) => {
            let report = match &options.replay {
                Some(file) => commands::replay_dead_letters(config, file, stop).await,
                None => pipeline::consume(config, options, stop).await,
            };
            (report, options.format)
        }
        Command::Run(options) => (pipeline::run(config, options, stop).await, options.format),
        Command::Demo(options) => (
            commands::demo(config, options, stop, &say).await,
            options.format,
        ),
        Command::Broker(options) => {
            return match commands::broker(options, stop, &say).await {
                Ok(()) => Exit::Done,
                Err(error) => failed(&error),
            };
        }
        Command::Tail(options) => {
            let colour = io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let print = |line: &str| output::goes_on(line);
            return match commands::tail(config, options, colour, stop, &print).await {
                Ok(()) => Exit::Done,
                Err(error) => failed(&error),
            };
        }
        Command::Verify(options) => {
            return match commands::verify(config, options).await {
                Ok(proof) => prove(&proof, options.format),
                Err(error) => failed(&error),
            };
        }
        Command::Bench(options) => {
            return match commands::bench(config, options, stop).await {
                Ok(measured) => {
                    printed(output::print(&measured.render(options.format)), Exit::Done)
                }
                Err(error) => failed(&error),
            };
        }
        Command::Group(action, format) => {
            return match commands::group(config, action, *format).await {
                Ok(text) => printed(output::print(&text), Exit::Done),
                Err(error) => failed(&error),
            };
        }
        Command::Check(options) => {
            let report = commands::check(config, *options).await;
            let exit = if report.is_good() {
                Exit::Done
            } else {
                Exit::Failed
            };
            return printed(output::print(&report.render(options.format)), exit);
        }
        // Shown before there is a runtime.
        Command::ConfigShow(_) => return Exit::Done,
    };
    end(&report, format)
}

fn prove(proof: &Proof, format: Format) -> Exit {
    let text = match format {
        Format::Text => proof.text(),
        Format::Json => format!("{}\n", proof.json()),
    };
    let exit = match proof.verdict {
        Outcome::Proven => Exit::Done,
        Outcome::Broken => Exit::Failed,
        Outcome::Undecided => Exit::Undecided,
    };
    printed(output::print(&text), exit)
}

fn end(report: &Report, format: Format) -> Exit {
    let exit = report.error.as_ref().map_or(Exit::Done, failed);
    // For people, a command that never began has nothing to sum up; programs count on the last line.
    if exit == Exit::Configuration && format == Format::Text && report.summary.is_nothing() {
        return exit;
    }
    printed(output::print(&report.summary.render(format)), exit)
}

fn failed(error: &PipelineError) -> Exit {
    tracing::error!("{error}");
    match error.fault() {
        Fault::Running => Exit::Failed,
        Fault::Configuration => Exit::Configuration,
    }
}

fn printed(result: std::io::Result<()>, exit: Exit) -> Exit {
    match result {
        Ok(()) => exit,
        Err(error) => {
            tracing::error!("standard output cannot be written: {error}");
            Exit::Failed
        }
    }
}

/// Prints what is in force.
fn show_config(config: &Config, format: Format) -> std::io::Result<()> {
    match format {
        Format::Text => output::print(&config.to_text()),
        Format::Json => output::print(&format!("{:#}\n", config.to_json())),
    }
}
