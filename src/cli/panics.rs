//! A mistake of this program in any of its tasks ends the command. Others may wait for that task, and would for ever; to end
//! at once is as safe as a crash is, and the next start finds out what was done. It is what the program that ships does
//! anyway, because there a panic does not unwind, but with a sentence and with the exit code of all failures.

use std::panic::{self, PanicHookInfo};

use super::output;
use crate::pipeline::give_terminal_back;

/// From now on.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever would close files and commit may wait for the task that is gone"
)]
pub(super) fn end_the_command() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panicked: &PanicHookInfo<'_>| {
        give_terminal_back();
        report(panicked);
        output::complain(
            "internal error, described in the line above: the command ends now, as after a crash. The next start checks what was done and continues from there. Please report the line above",
        );
        std::process::exit(1);
    }));
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    /// What the test below runs: a command that waits for a task that is gone.
    #[test]
    #[ignore = "ends the process: the test below runs it in one of its own"]
    fn waits_for_a_task_that_panics() {
        super::end_the_command();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            tokio::spawn(async { panic!("a mistake") });
            std::future::pending::<()>().await;
        });
    }

    #[test]
    fn a_task_that_panics_ends_the_command_with_a_sentence() {
        let child = "cli::panics::tests::waits_for_a_task_that_panics";
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--nocapture", "--exact", child]);
        let piped = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = piped.spawn().unwrap();
        let limit = Instant::now() + Duration::from_secs(120);
        while running.try_wait().unwrap().is_none() {
            if Instant::now() > limit {
                running.kill().unwrap();
                panic!("it waits for ever");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = running.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("a mistake"), "{said}");
        assert!(said.contains("stockflow: internal error"), "{said}");
    }
}
