//! `Kafka.TransactionalId` on a real Kafka; the embedded broker has no transactions.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    raw::{Raw, begin, block_on, event, publish},
    support::*,
};

fn kafka() -> Option<Cluster> {
    let address = std::env::var("STOCKFLOW_TEST_KAFKA").ok();
    if address.is_none() {
        say("left out: transactions, because STOCKFLOW_TEST_KAFKA names no broker");
    }
    address.map(Cluster::at)
}

/// A transactional id of this bench's own.
fn id(bench: &Bench<'_>) -> String {
    format!("Kafka.TransactionalId={}", bench.topic)
}

/// What a reader of a group of its own finds on the topic, now.
fn read(bench: &Bench<'_>, isolation: &str) -> Vec<String> {
    let name = unique(isolation);
    let isolation = format!("Kafka.IsolationLevel={isolation}");
    let reader = Bench {
        directory: Directory::new(),
        cluster: bench.cluster,
        topic: bench.topic.clone(),
        group: name,
    };
    let done = reader.json(&["consume", "--until-end", "--set", &isolation]);
    let rows = match reader.out().exists() {
        true => rows(&reader.out()),
        false => Vec::new(),
    };
    assert_eq!(done["rows_written"], rows.len() as u64, "{done}");
    rows
}

/// A file of `count` bars, one a minute.
fn bars(bench: &Bench<'_>, count: i64) -> String {
    let start = chrono::DateTime::from_timestamp(1_700_000_040, 0).expect("a time");
    let mut text = String::from("timestamp,open,high,low,close,volume\n");
    for minute in (0..count).rev() {
        let at = start + chrono::TimeDelta::minutes(minute);
        let at = at.format("%Y-%m-%d %H:%M:%S");
        writeln!(text, "{at},10.0,11.0,9.0,10.5,{}", minute + 1).expect("room");
    }
    let path = bench.directory.path().join("bars.csv");
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

fn spawn(bench: &Bench<'_>, arguments: &[&str]) -> Child {
    bench
        .command(arguments)
        .args(["--set", &id(bench)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

#[test]
fn a_poll_is_seen_whole_or_not_at_all_and_once_after_a_kill() {
    const BARS: usize = 60_000;
    let Some(cluster) = kafka() else { return };
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "1"]);
    let input = bars(&bench, BARS as i64);
    let produce = [
        "produce", "--source", "replay", "--input", &input, "--symbol", "IBM",
    ];
    let mut first = spawn(&bench, &produce);
    // It is frozen when a part of its transaction is on the topic.
    let end = Instant::now() + Duration::from_secs(60);
    let part = loop {
        signal(&first, "CONT");
        sleep(Duration::from_millis(30));
        signal(&first, "STOP");
        let part = read(&bench, "read_uncommitted").len() - 1;
        if part > 0 {
            break part;
        }
        assert!(Instant::now() < end, "nothing came");
    };
    assert!(part < BARS, "all of it was there before it could be frozen");
    assert_eq!(read(&bench, "read_committed").len(), 1, "not one of {part}");
    first.kill().expect("a process");
    first.wait().expect("its end");

    // What the dead one wrote does not count as published: all is published, and seen once.
    let transactional = id(&bench);
    let again = [&produce[..], &["--set", &transactional]].concat();
    let done = bench.json(&again);
    assert_eq!(done["published"], BARS as u64, "{done}");
    assert_eq!(done["duplicates_skipped"], 0, "{done}");
    let seen = read(&bench, "read_committed");
    assert_eq!(seen.len(), BARS + 1);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), BARS + 1);
    assert!(read(&bench, "read_uncommitted").len() > BARS + part);

    let nothing = bench.json(&again);
    assert_eq!(nothing["published"], 0, "{nothing}");
    assert_eq!(nothing["duplicates_skipped"], BARS as u64, "{nothing}");
}

#[test]
fn a_stop_leaves_no_part_of_a_poll() {
    const BARS: usize = 60_000;
    let Some(cluster) = kafka() else { return };
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "1"]);
    let input = bars(&bench, BARS as i64);
    let produce = [
        "produce",
        "--source",
        "replay",
        "--input",
        &input,
        "--symbol",
        "IBM",
        // So little that it has to wait for the broker again and again, and is stopped in the middle.
        "--set",
        "Kafka.QueueBufferingMaxKbytes=1024",
        "--set",
        "Kafka.BatchSize=4096",
    ];
    let mut first = spawn(&bench, &produce);
    let end = Instant::now() + Duration::from_secs(60);
    while read(&bench, "read_uncommitted").len() < 2 {
        if let Some(status) = first.try_wait().expect("a process") {
            let output = first.finish();
            panic!("it ended with {status}: {}", stderr(&output));
        }
        assert!(Instant::now() < end, "nothing came");
    }
    signal(&first, "TERM");
    let status = wait(&mut first, Duration::from_secs(60));
    let output = first.finish();
    let text = stderr(&output);
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{text}");
    let seen = read(&bench, "read_committed").len() - 1;
    assert!(seen == 0 || seen == BARS, "{seen} of {BARS}: {text}");
    let transactional = id(&bench);
    let done = bench.json(&[&produce[..], &["--set", &transactional]].concat());
    assert_eq!(done["published"], (BARS - seen) as u64, "{done}");
    assert_eq!(read(&bench, "read_committed").len(), BARS + 1);
}

#[test]
fn a_second_producer_with_the_id_fences_the_first() {
    let Some(cluster) = kafka() else { return };
    let bench = Bench::new(&cluster);
    let simulated = ["produce", "--source", "simulated", "--rate", "100"];
    let mut first = spawn(&bench, &simulated);
    let end = Instant::now() + Duration::from_secs(60);
    bench.json(&["produce", "--source", "simulated", "--count", "1"]);
    while read(&bench, "read_committed").len() < 20 {
        assert!(Instant::now() < end, "nothing came");
        sleep(Duration::from_millis(100));
    }
    let mut second = spawn(&bench, &simulated);
    let status = wait(&mut first, Duration::from_secs(60));
    if status.is_none() {
        first.kill().expect("a process");
    }
    let output = first.finish();
    let text = stderr(&output);
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{text}");
    assert!(text.contains("Kafka.TransactionalId"), "{text}");
    assert!(text.contains("taken over"), "{text}");
    // The other one is not disturbed.
    sleep(Duration::from_secs(1));
    signal(&second, "TERM");
    let status = wait(&mut second, Duration::from_secs(30));
    let output = second.finish();
    assert_eq!(
        status.and_then(|status| status.code()),
        Some(0),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_record_that_times_out_ends_even_a_command_without_an_end() {
    let Some(cluster) = kafka() else { return };
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "1"]);
    let mut child = spawn(
        &bench,
        &[
            "produce",
            "--source",
            "simulated",
            "--rate",
            "100",
            "--set",
            "Kafka.MessageTimeoutMs=2000",
        ],
    );
    let end = Instant::now() + Duration::from_secs(60);
    while read(&bench, "read_committed").len() < 20 {
        assert!(Instant::now() < end, "nothing came");
        sleep(Duration::from_millis(100));
    }
    // Nobody takes its records any more.
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(delete_topic(&cluster.address, &bench.topic));
    let status = wait(&mut child, Duration::from_secs(60));
    if status.is_none() {
        child.kill().expect("a process");
    }
    let output = child.finish();
    let text = stderr(&output);
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{text}");
    assert!(text.contains("not acknowledged"), "{text}");
}

/// Markers have no row: the index knows that, and the brokers say so, too, as long as they have them.
#[test]
fn offsets_without_a_record_are_confirmed_by_the_brokers() {
    let Some(cluster) = kafka() else { return };
    let bench = Bench::new(&cluster);
    block_on(async {
        make_topic(&cluster.address, &bench.topic, 1, &[]).await;
        for transaction in 0..3 {
            let events = (0..10).map(|number| {
                let event = event(transaction * 10 + number);
                Raw::new(b"IBM", Some(event.as_bytes()))
            });
            let id = format!("{}-raw", bench.topic);
            publish(&cluster.address, &bench.topic, Some(&id), events).await;
        }
    });
    bench.json(&["consume", "--until-end"]);
    let out = bench.out();
    let verify = ["verify", out.to_str().expect("UTF-8")];
    let report = bench.json(&verify);
    assert_eq!(
        (&report["rows"], &report["holes"]),
        (&30.into(), &3.into()),
        "{report}"
    );

    block_on(delete_topic(&cluster.address, &bench.topic));
    let asked = bench.command(&verify).args(["--format", "json"]).finish();
    let report = last_json(&asked);
    assert_eq!(asked.status.code(), Some(3), "{report}");
    let doubt = report["doubts"][0].as_str().expect("a doubt");
    assert!(
        doubt.contains("cannot be asked about 3 offsets"),
        "{report}"
    );
    // Nobody was asked: what the consumer saw is believed.
    let unasked = std::process::Command::new(env!("CARGO_BIN_EXE_stockflow"))
        .current_dir(bench.directory.path())
        .args(verify)
        .finish();
    assert_eq!(unasked.status.code(), Some(0), "{}", stderr(&unasked));
}

/// Kafka 4.0 and newer, where a cluster is not told otherwise, have the second version (KIP-890), as they have KIP-848.
#[test]
fn the_version_of_transactions_is_the_one_that_the_brokers_have() {
    let Some(cluster) = kafka() else { return };
    let protocol = match cluster.protocols().contains(&"consumer") {
        true => "protocol=Second",
        false => "protocol=First",
    };
    let bench = Bench::new(&cluster);
    let simulated = ["produce", "--source", "simulated", "--count", "10", "-v"];
    let output = bench
        .command(&simulated)
        .args(["--set", &id(&bench)])
        .finish();
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(protocol), "{protocol} is not in: {text}");
    assert_eq!(read(&bench, "read_committed").len(), 10, "{text}");
}

#[test]
fn an_open_transaction_that_holds_records_back_is_named() {
    let Some(cluster) = kafka() else { return };
    let bench = Bench::new(&cluster);
    block_on(async {
        let records = |from: u64| {
            let events = (from..from + 3).map(event);
            events.map(|event| Raw::new(b"IBM", Some(event.as_bytes())))
        };
        make_topic(&cluster.address, &bench.topic, 1, &[]).await;
        let [done, id] = ["done", "open"].map(unique);
        publish(&cluster.address, &bench.topic, Some(&done), records(0)).await;
        let open = begin(&cluster.address, &bench.topic, Some(&id), records(3)).await;
        let told = |said: &str| {
            let told = said.lines().filter(|line| line.contains("is still open"));
            let told: Vec<String> = told.map(str::to_owned).collect();
            told
        };
        let output = bench.command(&["consume", "--until-end"]).finish();
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        let named = told(&said);
        assert_eq!(named.len(), 1, "{said}");
        // Behind three records and the marker.
        for part in ["offset=4", "partition=0", "IsolationLevel"] {
            assert!(named[0].contains(part), "{named:?}");
        }
        // One that runs says it too, once.
        let log = bench.directory.path().join("log");
        let running = Running::start(bench.command(&["consume"]), log);
        until("it is said", || !told(&running.said()).is_empty());
        open.commit().await.expect("committed");
        until("the rest is read", || rows_so_far(&bench.out()) == 6);
        let (code, said) = running.stop();
        assert_eq!((code, told(&said).len()), (Some(0), 1), "{said}");
    });
}
