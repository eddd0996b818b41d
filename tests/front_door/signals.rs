//! Signals: what stops it, what does not, and what a death leaves behind.

use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::*;

/// Far longer than any stop may take, on a slow machine too.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_hangup_drains_and_stops() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "1000"]);
    let log = bench.directory.path().join("log");
    let mut consume = Running::start(bench.command(&["consume", "--out", "out"]), log);
    let out = bench.directory.path().join("out");
    until("the rows are there", || rows_so_far(&out) == 1000);
    signal(&consume.process, "HUP");
    let status = wait(&mut consume.process, LIMIT).expect("it stops");
    let said = consume.said();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("stopping (SIGHUP)"), "{said}");
    let proven = bench.json(&["verify", "out"]);
    assert_eq!(proven["verdict"], "proven", "{proven}");
}

#[test]
fn a_hangup_that_was_ignored_stays_ignored() {
    let log = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!(
            "trap '' HUP; exec {} broker --listen 127.0.0.1:0",
            env!("CARGO_BIN_EXE_stockflow")
        ),
    ]);
    let broker = Running::start(command, log.path().join("log"));
    until("it listens", || broker.said().contains("127.0.0.1:"));
    signal(&broker.process, "HUP");
    std::thread::sleep(Duration::from_millis(500));
    let (code, said) = broker.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("SIGHUP"), "{said}");
}

/// GNU `timeout` sends SIGTERM to its child and then to the process group, which holds the child too.
#[test]
fn two_signals_at_once_are_one_stop_that_drains() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "1000"]);
    let out = bench.directory.path().join("out");
    loop {
        let log = bench.directory.path().join("log");
        let mut consume = Running::start(bench.command(&["consume", "--out", "out"]), log);
        until("the rows are there", || rows_so_far(&out) == 1000);
        let child = i32::try_from(consume.process.id()).expect("a process");
        let child = Pid::from_raw(child).expect("a process");
        let begin = Instant::now();
        kill_process(child, Signal::TERM).expect("sent");
        std::thread::sleep(Duration::from_millis(2));
        kill_process(child, Signal::TERM).expect("sent");
        let took = begin.elapsed();
        let status = wait(&mut consume.process, LIMIT).expect("it stops");
        if took > Duration::from_millis(50) {
            // The machine was busy in between: these were two.
            continue;
        }
        assert_eq!(status.code(), Some(0), "{}", consume.said());
        break;
    }
    let proven = bench.json(&["verify", "out"]);
    assert_eq!(proven["verdict"], "proven", "{proven}");
}

/// Whether a program that dies of a signal leaves a core file (or would, where a pipe takes it).
fn dumps(mut child: std::process::Child) -> bool {
    signal(&child, "ABRT");
    let status = wait(&mut child, LIMIT).expect("it dies");
    assert_eq!(status.signal(), Some(6), "{status}");
    status.core_dumped()
}

#[test]
fn a_core_file_is_never_left_because_it_would_hold_the_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let start = |program: &str| {
        Command::new("sh")
            .args(["-c", &format!("ulimit -c unlimited; exec {program}")])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts")
    };
    if !dumps(start("sleep 60")) {
        eprintln!("this machine keeps no core files: nothing to see");
    }
    let broker = format!(
        "{} broker --listen 127.0.0.1:0",
        env!("CARGO_BIN_EXE_stockflow")
    );
    let mut child = start(&broker);
    let mut listening = std::io::BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut listening, &mut line).expect("a line");
    assert!(line.contains("127.0.0.1:"), "{line}");
    assert!(!dumps(child), "a core file was left");
}
