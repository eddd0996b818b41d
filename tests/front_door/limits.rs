//! Waits are said: for the budget, for a service that is silent; and `check` sees what would keep a run from writing.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    alpha_vantage::{body, serve},
    support::*,
};

/// Runs it until it says this on standard error; what it said until then. Ends with the test when it never does.
pub(crate) fn says(mut command: Command, words: &str) -> Vec<String> {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("a pipe")).lines() {
        let line = line.expect("UTF-8");
        assert!(!line.contains(KEY), "{line}");
        let found = line.contains(words);
        lines.push(line);
        if found {
            break;
        }
    }
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().expect("it ends");
    if lines.last().is_some_and(|line| line.contains(words)) {
        return lines;
    }
    panic!("it ended without saying {words:?}: {lines:#?}");
}

#[test]
fn one_line_says_that_what_answers_is_no_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let cluster = Cluster::at(listener.local_addr().expect("an address").to_string());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            // Frames of no length, to each request a few.
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                while stream.read(&mut request).is_ok_and(|read| read > 0)
                    && stream.write_all(&[0; 4 * 100]).is_ok()
                {}
            });
        }
    });
    let bench = Bench::new(&cluster);
    let command = bench.command(&["consume"]);
    let lines = says(command, "does not answer as a Kafka broker");
    assert_eq!(lines.len(), 1, "{lines:#?}");
}

#[test]
fn both_halves_say_once_that_there_is_no_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let cluster = Cluster::at(listener.local_addr().expect("an address").to_string());
    drop(listener);
    let bench = Bench::new(&cluster);
    let mut child = bench
        .command(&["run", "--source", "simulated", "--rate", "5", "--seed", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    std::thread::sleep(Duration::from_secs(3));
    child.kill().expect("it runs");
    let said = stderr(&child.finish());
    assert_eq!(said.matches("Kafka.BootstrapServers").count(), 1, "{said}");
}

#[test]
fn a_wait_for_the_budget_is_said() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, _) = serve(vec![(200, body("intraday_ibm_1min.json"))]);
    for (setting, words) in [
        (
            "RequestsPerMinute=1",
            "the minute's 1 requests are used up (AlphaVantage.RequestsPerMinute)",
        ),
        (
            "RequestsPerSecond=0.05",
            "one request every 21 s (AlphaVantage.RequestsPerSecond)",
        ),
    ] {
        let mut command = bench.command(&["produce", "--symbol", "IBM,MSFT", "--once"]);
        let state = setting.split('=').next().unwrap_or_default();
        command
            .args(["--set", &format!("AlphaVantage.BaseUrl={url}")])
            .args(["--set", &format!("AlphaVantage.{setting}")])
            .args(["--set", &format!("State.Directory={state}")]);
        let lines = says(command, words);
        assert!(
            lines.last().is_some_and(|line| line.contains("until=")),
            "{lines:#?}"
        );
    }
}

#[test]
fn a_service_that_is_silent_is_said_before_its_time_is_over() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    // Takes connections, and never answers.
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", service.local_addr().expect("an address"));
    let mut command = bench.command(&["produce", "--symbol", "IBM"]);
    command
        .args(["--set", &format!("AlphaVantage.BaseUrl={url}")])
        .args(["--set", "AlphaVantage.TimeoutSeconds=600"]);
    let lines = says(
        command,
        "has not answered within 2 s (AlphaVantage.BaseUrl)",
    );
    assert!(lines.iter().any(|line| line.contains(&url)), "{lines:#?}");
}

#[test]
fn check_says_whose_the_output_directory_is_and_who_writes_into_it() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "10"]);
    let (url, _) = serve(vec![(200, body("intraday_ibm_1min.json"))]);
    let look = |more: &[&str]| {
        let output = bench
            .command(&[
                "check",
                "--format",
                "json",
                "--set",
                "AlphaVantage.Symbols=IBM",
            ])
            .args(["--set", &format!("AlphaVantage.BaseUrl={url}")])
            .args(more)
            .finish();
        let report = last_json(&output);
        let checks = report["checks"].as_array().expect("checks").clone();
        let found = checks
            .into_iter()
            .find(|check| check["check"] == "output directory")
            .expect("the check");
        let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        (output.status.code(), text("outcome"), text("detail"))
    };
    assert_eq!(look(&[]).1, "ok");

    let mut child = bench
        .command(&["consume"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let limit = Instant::now() + Duration::from_secs(120);
    while rows_so_far(&bench.out()) < 10 && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (code, outcome, detail) = look(&[]);
    // A healthy consumer is not a fault.
    assert_eq!((code, outcome.as_str()), (Some(0), "ok"), "{detail}");
    assert!(
        detail.contains(&format!("process id {}", child.id())) && detail.contains("--out"),
        "{detail}"
    );
    signal(&child, "TERM");
    wait(&mut child, Duration::from_secs(120)).expect("it stops");

    let (code, outcome, detail) = look(&[]);
    assert_eq!((code, outcome.as_str()), (Some(0), "ok"), "{detail}");
    let other = ["--set", "Kafka.GroupId=another"];
    let output = bench.command(&["check", "--offline"]).finish();
    assert!(!stderr(&output).contains("another"));
    let output = Command::new(env!("CARGO_BIN_EXE_stockflow"))
        .current_dir(bench.directory.path())
        .env_clear()
        .env("AlphaVantage__ApiKey", KEY)
        .args(["check", "-b", &cluster.address, "-t", &bench.topic])
        .args(other)
        .args(["--set", "AlphaVantage.Symbols=IBM"])
        .args(["--set", &format!("AlphaVantage.BaseUrl={url}")])
        .finish();
    keep_secret(&output);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let line = said
        .lines()
        .find(|line| line.contains("output directory"))
        .expect("the check");
    assert!(
        [bench.group.as_str(), "another", "--out"]
            .iter()
            .all(|part| line.contains(part)),
        "{line}"
    );
}
