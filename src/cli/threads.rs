//! Runtimes that the system has threads for: where it gives none (`ulimit -u`, `pids.max` of a container, address space), that
//! is an error with a sentence, at the start and not in the middle of the work.
//!
//! The runtime itself panics where it cannot start a thread and has none that could do what blocks. So before it is made,
//! as many as it needs are started for a moment; and of those for what blocks, one is there from the beginning and stays:
//! when no other can be had later, things wait for it.

use std::io;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use tokio::runtime::{Builder, Runtime};

use super::Exit;

/// Threads beside the workers: those that block on the disk, and those that read files.
const BESIDE: usize = 3;

/// A thread that blocks is kept for as long.
const KEPT: Duration = Duration::from_secs(365 * 24 * 3600);

/// A runtime with as many workers as there are processors, or as there can be.
pub(super) fn runtime() -> io::Result<Runtime> {
    let wanted = thread::available_parallelism().map_or(1, usize::from);
    let workers = workers(wanted, most_threads(wanted + BESIDE)?)?;
    let mut builder = Builder::new_multi_thread();
    warm(builder.worker_threads(workers))
}

/// A runtime on this thread.
pub(super) fn runtime_of_one() -> io::Result<Runtime> {
    most_threads(1)?;
    warm(Builder::new_current_thread().max_blocking_threads(1))
}

/// How a command ends that the system does not let begin.
pub(super) fn missing(error: &io::Error) -> Exit {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => tracing::error!(
            "cannot start: {error}. This process is allowed too few open files: raise ulimit -n, 64 is enough"
        ),
        _ => tracing::error!(
            "cannot start enough threads: {error}. The system limits the threads of this process, user or container, or their \
             memory: raise ulimit -u, the container's pids limit or ulimit -v"
        ),
    }
    Exit::Failed
}

fn warm(builder: &mut Builder) -> io::Result<Runtime> {
    let runtime = builder.enable_all().thread_keep_alive(KEPT).build()?;
    runtime.spawn_blocking(|| ());
    Ok(runtime)
}

/// How many workers there are, where so many threads can be had.
fn workers(wanted: usize, threads: Threads) -> io::Result<usize> {
    match threads.started.saturating_sub(BESIDE) {
        0 => Err(threads
            .error
            .unwrap_or_else(|| io::ErrorKind::OutOfMemory.into())),
        workers => Ok(workers.min(wanted)),
    }
}

/// How many threads were there at once, and why not more.
struct Threads {
    started: usize,
    error: Option<io::Error>,
}

/// Starts as many threads at once as are wanted, or as there can be, one at least; they are gone when this returns.
fn most_threads(wanted: usize) -> io::Result<Threads> {
    let mut senders = Vec::new();
    let mut threads = Vec::new();
    let mut error = None;
    for _ in 0..wanted {
        let (sender, receiver) = channel::<()>();
        match thread::Builder::new().spawn(move || receiver.recv()) {
            Ok(thread) => {
                senders.push(sender);
                threads.push(thread);
            }
            Err(refused) => {
                error = Some(refused);
                break;
            }
        }
    }
    drop(senders);
    let started = threads.len();
    for thread in threads {
        // It waited for the senders to go, which is no result.
        let _ = thread.join();
    }
    match error {
        Some(error) if started == 0 => Err(error),
        error => Ok(Threads { started, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_workers_as_threads_allow() {
        let threads = |started| Threads {
            started,
            error: Some(io::ErrorKind::WouldBlock.into()),
        };
        assert_eq!(workers(8, threads(8 + BESIDE)).unwrap(), 8);
        assert_eq!(workers(8, threads(2 + BESIDE)).unwrap(), 2);
        assert_eq!(workers(8, threads(1 + BESIDE)).unwrap(), 1);
        let error = workers(8, threads(BESIDE)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(most_threads(5).unwrap().started, 5);
    }
}
