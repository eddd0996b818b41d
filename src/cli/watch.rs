//! Sees to it that a stop comes through.
//!
//! The work may wait in a call of the system that does not return, for a disk, a pipe that nobody reads or a lock, and a
//! task that waits there hears of no stop. So the work has a thread and a runtime of its own, and this thread does nothing
//! that can wait: it takes the signals, and when the work has not ended by itself in time, it ends the process. That is as
//! safe as a crash is.
//!
//! ```text
//!  stop asked for ── ShutdownTimeoutMs ──► the work ends by itself ── GRACE ──► ended by force (1)
//!        └───────── second Ctrl-C ───────► the work ends by itself ── INTERRUPTED_GRACE ──► ended by force (130)
//! ```

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::{Exit, threads};
use crate::pipeline::{Stop, give_terminal_back};

/// What the work may take beyond its time to end by itself: long enough to print a summary, and with the default
/// `ShutdownTimeoutMs` still within the ten seconds after which supervisors kill.
const GRACE: Duration = Duration::from_secs(1);

/// The same after a second Ctrl-C, when nothing is drained and a person waits.
const INTERRUPTED_GRACE: Duration = Duration::from_millis(500);

/// For how long the last words are waited for: standard error may be what hangs.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What the first thread of a process has. The work has it too.
const STACK_BYTES: usize = 8 << 20;

/// Runs `work` to its end, or to the end of the time that a stop leaves it.
pub(super) fn run(stop: &Stop, work: impl FnOnce() -> Exit + Send + 'static) -> Exit {
    let runtime = match threads::runtime_of_one() {
        Ok(runtime) => runtime,
        Err(error) => return threads::missing(&error),
    };
    let exit = runtime.block_on(async {
        if let Err(error) = stop.on_signals() {
            tracing::error!("cannot listen for signals: {error}");
            return Exit::Failed;
        }
        let (done, end) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("work".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || done.send(work()));
        if let Err(error) = thread {
            return threads::missing(&error);
        }
        tokio::select! {
            biased;
            // Nothing comes of work that panicked, which was said then.
            exit = end => exit.unwrap_or(Exit::Failed),
            exit = overdue(stop) => {
                give_terminal_back();
                let said = spawn_blocking(|| {
                    tracing::error!(
                        "ended by force: a system call does not return (a disk or a lock that hangs, a pipe that nobody reads), so the stop could not finish. The next start checks what was done and continues from there"
                    );
                });
                let _ = timeout(LAST_WORDS, said).await;
                exit
            }
        }
    });
    // A line of the log that cannot be written does not hold up the end.
    runtime.shutdown_background();
    exit
}

/// Returns when the work should have ended long ago.
async fn overdue(stop: &Stop) -> Exit {
    tokio::select! {
        biased;
        () = interrupted(stop) => Exit::Interrupted,
        () = async {
            stop.overdue().await;
            sleep(GRACE).await;
        } => Exit::Failed,
    }
}

async fn interrupted(stop: &Stop) {
    stop.interrupted().await;
    sleep(INTERRUPTED_GRACE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_is_given_its_time() {
        let stop = Stop::new(Duration::from_secs(8));
        let start = tokio::time::Instant::now();
        assert!(
            timeout(Duration::from_secs(3600), overdue(&stop))
                .await
                .is_err()
        );
        stop.request();
        assert_eq!(overdue(&stop).await, Exit::Failed);
        let took = start.elapsed() - Duration::from_secs(3600);
        assert!(took >= GRACE, "{took:?}");
    }
}
