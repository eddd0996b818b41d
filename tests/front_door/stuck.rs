//! A stop comes through whatever is waited for: a lock that another process holds, a pipe that nobody reads.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    alpha_vantage::{body, serve},
    support::*,
};

/// Far longer than any stop may take, on a slow machine too.
const LIMIT: Duration = Duration::from_secs(60);

/// The budget's lock in a state directory.
fn lock_of(bench: &Bench<'_>) -> PathBuf {
    let state = bench.directory.path().join(".stockflow");
    fs::read_dir(state)
        .expect("a state directory")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "lock")
        })
        .expect("a lock")
}

#[test]
fn a_budget_that_another_process_holds_does_not_hold_up_a_stop() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, requests) = serve(vec![(200, body("intraday_ibm_1min.json"))]);
    let base = format!("AlphaVantage.BaseUrl={url}");
    bench.json(&["produce", "--symbol", "IBM", "--once", "--set", &base]);
    let lock = File::open(lock_of(&bench)).expect("a file");
    lock.lock().expect("a lock");
    let produce = bench.command(&["produce", "--symbol", "IBM", "--set", &base]);
    let log = bench.directory.path().join("log");
    let running = Running::start(produce, log);
    until("the wait is said", || {
        running.said().contains("another process has held the lock")
    });
    let said = running.said();
    assert!(
        said.contains(".lock (State.Directory)") && said.matches("has held the lock").count() == 1,
        "{said}"
    );
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("ended by force"), "{said}");
    let sent = || requests.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(sent(), 1, "what cannot be counted is not sent");

    // `check` does not wait for ever.
    let check = Command::new(env!("CARGO_BIN_EXE_stockflow"))
        .current_dir(bench.directory.path())
        .env_clear()
        .env("AlphaVantage__ApiKey", KEY)
        .args(["check", "-b", &cluster.address, "-t", &bench.topic])
        .args(["--set", &base, "--set", "AlphaVantage.Symbols=IBM"])
        .finish();
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(1), "{text}");
    assert!(
        text.contains("no request was sent: State.Directory: another process has held the lock"),
        "{text}"
    );
    assert_eq!(sent(), 1);

    drop(lock);
    bench.json(&["produce", "--symbol", "IBM", "--once", "--set", &base]);
    assert_eq!(sent(), 2, "what is free again is used");
}

/// Prints into a pipe that is full, and waits there.
fn stuck_tail(bench: &Bench<'_>, timeout_ms: u32) -> Child {
    let timeout = format!("ShutdownTimeoutMs={timeout_ms}");
    let mut child = bench
        .command(&["tail", "--from", "earliest", "--format", "json"])
        .args(["--set", &timeout])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0]).expect("a first byte");
    // Longer than it takes to fill a pipe; it is read no more, and stays open.
    std::thread::sleep(Duration::from_secs(2));
    child.stdout = Some(stdout);
    child
}

#[test]
fn a_pipe_that_nobody_reads_does_not_hold_up_a_stop() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "20000"]);
    let mut child = stuck_tail(&bench, 500);
    let begin = Instant::now();
    signal(&child, "TERM");
    let status = wait(&mut child, LIMIT).expect("it ends");
    let said = stderr_of(&mut child);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("ended by force"), "{said}");
    assert!(begin.elapsed() >= Duration::from_millis(500));
}

#[test]
fn a_second_signal_ends_what_is_stuck_at_once() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "20000"]);
    for name in ["INT", "TERM"] {
        let mut child = stuck_tail(&bench, 600_000);
        signal(&child, name);
        let mut log = BufReader::new(child.stderr.take().expect("its log"));
        let mut said = String::new();
        while !said.contains("stopping") {
            assert_ne!(log.read_line(&mut said).expect("UTF-8"), 0, "{said}");
        }
        // Later than what counts as the same signal.
        std::thread::sleep(Duration::from_secs(1));
        assert!(child.try_wait().expect("a child").is_none(), "it is stuck");
        signal(&child, name);
        let status = wait(&mut child, LIMIT).expect("it ends");
        log.read_to_string(&mut said).expect("UTF-8");
        keep_secret_text(&said);
        assert_eq!(status.code(), Some(130), "{said}");
    }
}

/// What a program that has ended said.
fn stderr_of(child: &mut Child) -> String {
    let mut said = String::new();
    let mut pipe = child.stderr.take().expect("a pipe");
    pipe.read_to_string(&mut said).expect("UTF-8");
    keep_secret_text(&said);
    said
}
