//! What the user is told when something is not there.

use std::{
    fs::File,
    io::Read,
    net::TcpListener,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::support::*;

/// An address at which nobody listens.
fn nowhere() -> Cluster {
    let mut cluster = embedded();
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    cluster.address = format!("127.0.0.1:{port}");
    cluster
}

#[test]
fn a_one_shot_command_gives_up_on_a_broker_that_is_not_there() {
    let cluster = nowhere();
    let bench = Bench::new(&cluster);
    let started = Instant::now();
    let output = bench.command(&["consume", "--until-end"]).finish();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        started.elapsed() >= Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    let text = stderr(&output);
    for part in [
        cluster.address.as_str(),
        "Kafka.BootstrapServers",
        "stockflow demo",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn an_advertised_address_that_does_not_resolve_is_blamed_and_not_the_bootstrap_servers() {
    let cluster = embedded_as(Some("kafka.invalid:9092"));
    let bench = Bench::new(&cluster);
    let mut command = bench.command(&["produce", "--source", "simulated", "--rate", "10"]);
    command.args(["--set", "Kafka.ReconnectBackoffMaxMs=500"]);
    let producing = Running::start(command, bench.directory.path().join("log"));
    until("it is said", || {
        producing.said().contains("advertised.listeners")
    });
    let said = producing.said();
    for part in [
        "cannot connect to kafka.invalid:9092",
        "can be reached, and names this broker kafka.invalid:9092",
        &cluster.address,
    ] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert!(!said.contains("stockflow demo"), "{said}");
}

#[test]
fn the_others_say_so_at_once_and_try_for_ever() {
    let cluster = nowhere();
    let bench = Bench::new(&cluster);
    let mut child = bench
        .command(&["consume"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stderr = child.stderr.take().expect("its errors");
    let mut text = vec![0; 4096];
    let read = stderr.read(&mut text).expect("a first line");
    let text = String::from_utf8_lossy(&text[..read]).into_owned();
    for part in [
        cluster.address.as_str(),
        "Kafka.BootstrapServers",
        "stockflow demo",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert!(
        child.try_wait().expect("a child").is_none(),
        "it goes on trying"
    );
    signal(&child, "TERM");
    assert_eq!(
        wait(&mut child, Duration::from_secs(10)).and_then(|status| status.code()),
        Some(0)
    );
}

#[test]
fn a_missing_topic_is_named_with_the_command_that_creates_it() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let output = bench.command(&["consume", "--until-end"]).finish();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(
        text.contains(&bench.topic) && text.contains("--create"),
        "{text}"
    );
}

#[test]
fn a_directory_of_another_topic_is_refused() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "10"]);
    bench.json(&["consume", "--until-end"]);
    let mut other = Bench::new(&cluster);
    bench.json(&[
        "produce",
        "--source",
        "simulated",
        "--count",
        "10",
        "--republish",
    ]);
    other.topic = bench.topic.clone();
    let output = other
        .command(&[
            "consume",
            "--until-end",
            "--out",
            bench.out().to_str().expect("UTF-8"),
        ])
        .finish();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    let text = stderr(&output);
    for part in [bench.group.as_str(), other.group.as_str(), "--out"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn a_missing_or_placeholder_key_is_told_before_any_socket_opens() {
    let cluster = nowhere();
    let bench = Bench::new(&cluster);
    for set in [
        "AlphaVantage.ApiKey=YOUR_API_KEY_HERE",
        "AlphaVantage.Symbol=IBM",
    ] {
        let output = bench
            .command(&["produce", "--symbol", "IBM", "--set", set])
            .env_remove("AlphaVantage__ApiKey")
            .finish();
        assert_eq!(output.status.code(), Some(78), "{set}: {}", stderr(&output));
        let text = stderr(&output);
        assert!(
            text.contains("AlphaVantage.ApiKey") && text.contains("--source simulated"),
            "{text}"
        );
    }
}

/// A log on a disk that is full, or whose reader has gone, ends nothing.
#[test]
fn a_log_that_nobody_takes_ends_nothing() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let arguments = [
        "produce",
        "--source",
        "simulated",
        "--count",
        "50",
        "-vv",
        "--format",
        "json",
    ];
    let full = File::options().write(true).open("/dev/full");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    for log in [Stdio::from(full.expect("the full device")), writer.into()] {
        let output = bench.command(&arguments).stderr(log).finish();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(last_json(&output)["published"], 50);
    }
}

/// A request whose use cannot be noted is not made: it would be made again at each start.
#[test]
fn what_cannot_be_kept_is_not_asked_for() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, asked) = counting();
    let file = bench.directory.path().join("file");
    std::fs::write(&file, "no directory").expect("a file");
    let state = format!("State.Directory={}", file.display());
    let base = format!("AlphaVantage.BaseUrl={url}");
    let mut command = bench.command(&["produce", "--symbol", "IBM", "--once"]);
    command.args(["--set", &state, "--set", &base]);
    let output = command
        .env("AlphaVantage__ApiKey", "EXAMPLEKEY000001")
        .finish();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("State.Directory"),
        "{}",
        stderr(&output)
    );
    assert_eq!(asked.load(Ordering::SeqCst), 0, "{}", stderr(&output));
}

/// A service that counts connections and says nothing.
fn counting() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    (url, asked)
}
