//! What a broker refuses, or cannot do, ends with words that name the setting, and is not tried for ever in silence.

use std::{
    process::Output,
    time::{Duration, Instant},
};

use stockflow::wire::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, ProduceRequest, Request,
};

use crate::{
    scripted::{Script, Scripted},
    support::*,
};

/// Publishes some events to a broker that answers by a script, which is to end within the limit for messages.
fn produce(script: Script, more: &[&str]) -> (Output, String, Scripted) {
    let broker = Scripted::start(script);
    let cluster = Cluster::at(broker.address.clone());
    let bench = Bench::new(&cluster);
    let output = bench
        .command(&["produce", "--source", "simulated", "--count", "4"])
        .args(["--set", "Kafka.MessageTimeoutMs=4000"])
        .args(more)
        .finish();
    (output, bench.topic.clone(), broker)
}

/// It failed, and said all of this.
fn failed(script: Script, said: &[&str]) {
    let (output, topic, _) = produce(script, &[]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in said.iter().copied().chain([&*topic]) {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn a_full_disk_is_said_and_ends_a_one_shot_command_in_doubt() {
    let script = Script {
        produce: |_| 56,
        ..Script::default()
    };
    failed(
        script,
        &[
            "KAFKA_STORAGE_ERROR",
            "full",
            "WARN",
            "sent again",
            "Kafka.MessageTimeoutMs",
            "it may have been written",
            "TradeId",
        ],
    );
}

#[test]
fn a_partition_without_a_leader_is_said_and_nothing_was_written() {
    let script = Script {
        leader: false,
        ..Script::default()
    };
    let said = [
        "no leader",
        "Kafka.MessageTimeoutMs",
        "it was not written",
        "TradeId",
    ];
    failed(script, &said);
}

#[test]
fn a_topic_that_is_not_there_ends_it_with_the_command_that_makes_it() {
    let script = Script {
        topic: 3,
        ..Script::default()
    };
    failed(script, &["Kafka.Topic", "does not exist", "--create"]);
}

#[test]
fn what_is_not_allowed_ends_it_at_once() {
    let of_metadata = Script {
        topic: 29,
        ..Script::default()
    };
    let of_produce = Script {
        produce: |_| 29,
        ..Script::default()
    };
    for script in [of_metadata, of_produce] {
        failed(
            script,
            &["TOPIC_AUTHORIZATION_FAILED", "Kafka.Topic", "ACL"],
        );
    }
    let of_producer_ids = Script {
        producer_id: Some(31),
        ..Script::default()
    };
    failed(
        of_producer_ids,
        &["CLUSTER_AUTHORIZATION_FAILED", "IDEMPOTENT_WRITE"],
    );
}

#[test]
fn a_batch_that_is_too_large_is_split_down_to_the_event_that_is() {
    let script = Script {
        produce: |_| 10,
        ..Script::default()
    };
    failed(
        script,
        &[
            "MESSAGE_TOO_LARGE",
            "max.message.bytes",
            "with 1 records",
            "TradeId",
            "it was not written",
            "raise the topic's max.message.bytes",
        ],
    );
    let (output, ..) = produce(script, &[]);
    assert!(!stderr(&output).contains("Kafka.BatchSize"));
    // Only the first, whole batch is too large.
    let script = Script {
        produce: |number| if number == 0 { 10 } else { 0 },
        ..Script::default()
    };
    let (output, _, broker) = produce(
        script,
        // However slow the machine is, that batch has more than one event.
        &["--format", "json", "--set", "Kafka.LingerMs=2000"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(last_json(&output)["published"], 4);
    assert!(broker.seen.produced.lock().expect("no panic").len() > 2);
}

#[test]
fn a_topic_deleted_meanwhile_is_named_with_the_command_that_makes_it() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(make_topic(&cluster.address, &bench.topic, 1, &[]));
        let simulated = ["produce", "--source", "simulated", "--rate", "50"];
        let mut command = bench.command(&simulated);
        command.args(["--count", "100000", "--set", "Kafka.MessageTimeoutMs=4000"]);
        let mut producing = Running::start(command, bench.directory.path().join("log"));
        let client = client(&cluster.address);
        until("events are published", || {
            runtime.block_on(client.refresh_topic(&bench.topic)).is_ok() && {
                std::thread::sleep(Duration::from_secs(1));
                true
            }
        });
        runtime.block_on(delete_topic(&cluster.address, &bench.topic));
        let status = wait(&mut producing.process, Duration::from_secs(60));
        let text = producing.said();
        assert_eq!(status.and_then(|status| status.code()), Some(1), "{text}");
        let named = format!("topic {} (Kafka.Topic) does not exist", bench.topic);
        let (warned, failed) = text
            .split_once("were not acknowledged")
            .unwrap_or_else(|| panic!("no end: {text}"));
        assert!(
            warned.contains("WARN") && warned.contains("until it is there"),
            "{text}"
        );
        for part in [named.as_str(), "--create"] {
            assert!(warned.contains(part) && failed.contains(part), "{text}");
        }
        assert!(failed.contains("it was not written"), "{text}");
        assert!(!text.contains("may have been written"), "{text}");
    }
}

/// The embedded broker has no transactions.
#[test]
fn a_transactional_id_without_a_coordinator_is_said_and_ends_a_one_shot_command() {
    const SAID: [&str; 5] = [
        "WARN",
        "Kafka.TransactionalId",
        "COORDINATOR_NOT_AVAILABLE",
        "no transaction coordinator",
        "__transaction_state",
    ];
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let id = ["--set", "Kafka.TransactionalId=zz"];
    let simulated = ["produce", "--source", "simulated"];
    let mut command = bench.command(&simulated);
    command.args(id);
    let mut patient = Running::start(command, bench.directory.path().join("log"));
    until("it says so", || {
        let text = patient.said();
        SAID.iter().all(|part| text.contains(part)) && text.contains("until it answers")
    });
    signal(&patient.process, "INT");
    let status = wait(&mut patient.process, Duration::from_secs(20));
    assert_eq!(status.and_then(|status| status.code()), Some(0));

    let started = Instant::now();
    let output = bench
        .command(&simulated)
        .args(id)
        .args(["--count", "4"])
        .finish();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(started.elapsed() >= Duration::from_secs(30));
    for part in SAID.iter().copied().chain(["zz", "given up after 30 s"]) {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

/// What is said of a transaction of which nobody says whether it is committed.
const UNANSWERED: [&str; 6] = [
    "WARN",
    "asked again",
    "transactional id zz (Kafka.TransactionalId)",
    "has not said for",
    "Kafka.MessageTimeoutMs",
    "publishes again what is not",
];

#[test]
fn a_commit_that_nobody_answers_ends_a_one_shot_command_in_its_time() {
    // The coordinator says that it is none, or nothing at all.
    for end in [Some(15), None] {
        let script = Script {
            end: match end {
                Some(_) => |_| Some(15),
                None => |_| None,
            },
            ..Script::default()
        };
        let started = Instant::now();
        let (output, _, broker) = produce(script, &["--set", "Kafka.TransactionalId=zz"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(started.elapsed() >= Duration::from_secs(4), "{text}");
        assert!(started.elapsed() < Duration::from_secs(60), "{text}");
        let code = end.map(|_| "COORDINATOR_NOT_AVAILABLE");
        for part in UNANSWERED.iter().copied().chain(code) {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        let ends = broker.asked(EndTxnRequest::KEY).len();
        assert!(ends > 1, "asked {ends} times");
    }
}

/// A loaded coordinator fails without saying why, and in passing; one that goes on so is believed.
#[test]
fn a_coordinator_that_fails_in_passing_is_asked_again() {
    let passing: fn(usize) -> Option<i16> = |number| Some(if number < 3 { -1 } else { 0 });
    for (end, code) in [(passing, 0), (|_| Some(-1), 1)] {
        let script = Script {
            end,
            ..Script::default()
        };
        let more = [
            "--set",
            "Kafka.TransactionalId=zz",
            "--set",
            "Kafka.MessageTimeoutMs=60000",
        ];
        let (output, _, broker) = produce(script, &more);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains("EndTxn"), "{text}");
        assert!(text.contains("UNKNOWN_SERVER_ERROR"), "{text}");
        assert!(broker.asked(EndTxnRequest::KEY).len() > 3, "{text}");
    }
}

#[test]
fn one_stop_is_enough_while_the_coordinator_is_away() {
    let broker = Scripted::start(Script {
        end: |_| Some(15),
        ..Script::default()
    });
    let cluster = Cluster::at(broker.address.clone());
    // Also for what would end by itself, and commits when it is done.
    for how_long in [["--rate", "50"], ["--count", "4"]] {
        let bench = Bench::new(&cluster);
        let mut command = bench.command(&["produce", "--source", "simulated"]);
        command.args(how_long);
        // It would be waited for as long as that.
        command.args(["--set", "Kafka.TransactionalId=zz"]);
        command.args(["--set", "Kafka.MessageTimeoutMs=600000"]);
        command.args(["--set", "ShutdownTimeoutMs=600000"]);
        let mut producing = Running::start(command, bench.directory.path().join("log"));
        until("it says that there is no answer", || {
            producing.said().contains("asked again")
        });
        signal(&producing.process, "INT");
        let status = wait(&mut producing.process, Duration::from_secs(60));
        let text = producing.said();
        assert_eq!(status.and_then(|status| status.code()), Some(1), "{text}");
        for part in UNANSWERED {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}

/// KIP-890: the first batch adds its partition, and the end of a transaction raises the epoch.
#[test]
fn the_second_version_of_transactions_is_spoken_where_the_brokers_have_it() {
    for (level, protocol, versions) in [
        (2, "Second", 5..=5),
        (1, "First", 0..=4),
        (0, "First", 0..=4),
    ] {
        let script = Script {
            transactions: level,
            ..Script::default()
        };
        let more = ["-v", "--set", "Kafka.TransactionalId=zz"];
        let (output, _, broker) = produce(script, &more);
        let text = stderr(&output);
        assert!(output.status.success(), "{text}");
        let said = format!("protocol={protocol}");
        assert!(text.contains(&said), "{said} is not in: {text}");
        let ends = broker.asked(EndTxnRequest::KEY);
        assert!(!ends.is_empty(), "no commit: {text}");
        assert!(
            ends.iter().all(|version| versions.contains(version)),
            "{ends:?}"
        );
        let added = broker.asked(AddPartitionsToTxnRequest::KEY);
        assert_eq!(added.is_empty(), protocol == "Second", "{added:?}");
        // Older versions of Produce do not add a partition.
        let produced = broker.asked(ProduceRequest::KEY);
        let adds = |version: &i16| *version >= 12;
        assert_eq!(
            produced.iter().all(adds),
            protocol == "Second",
            "{produced:?}"
        );
    }
}

#[test]
fn check_refuses_a_compacted_topic_as_produce_does() {
    let broker = Scripted::start(Script {
        policy: "compact,delete",
        ..Script::default()
    });
    let cluster = Cluster::at(broker.address.clone());
    let bench = Bench::new(&cluster);
    let topic_line = |more: &[&str]| {
        let output = bench
            .command(&["check", "--format", "json"])
            .args(more)
            .finish();
        let found = last_json(&output);
        let of_topic = |check: &&serde_json::Value| check["check"] == "topic";
        let line = found["checks"].as_array().expect("checks");
        line.iter().find(of_topic).expect("the topic's").clone()
    };
    let input = format!("Source.Input={}", fixture("intraday_ibm_1min.json"));
    let refused = topic_line(&["--set", "Source.Kind=replay", "--set", &input]);
    assert_eq!(refused["outcome"], "failed", "{refused}");
    let detail = refused["detail"].as_str().expect("a text");
    for part in [&*bench.topic, "Kafka.Topic", "compacted", "--republish"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    let fine = topic_line(&["--set", "Source.Kind=simulated"]);
    assert_eq!(fine["outcome"], "ok", "{fine}");
}

#[test]
fn a_broker_that_asks_to_be_spared_is_spared() {
    const THROTTLE: Duration = Duration::from_millis(800);
    let script = Script {
        throttle_ms: THROTTLE.as_millis() as i32,
        ..Script::default()
    };
    // One by one, so that there is more than one request, and each waits for the answer before it.
    let paced = ["--rate", "20", "--set", "Kafka.LingerMs=0"];
    let more = [&paced[..], &["--set", "Kafka.MaxInFlight=1"]].concat();
    let (output, _, broker) = produce(script, &more);
    assert!(output.status.success(), "{}", stderr(&output));
    let produced = broker.seen.produced.lock().expect("no panic");
    assert!(produced.len() > 1, "one request says nothing");
    for pair in produced.windows(2) {
        let pause = pair[1].duration_since(pair[0]);
        // The answer leaves a moment after the request came.
        assert!(pause >= THROTTLE, "{pause:?}");
    }
}

#[test]
fn one_dead_bootstrap_server_among_live_ones_costs_nothing() {
    let mut cluster = embedded();
    let dead = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("its address")
    };
    cluster.address = format!("{dead},{}", cluster.address);
    let bench = Bench::new(&cluster);
    let started = Instant::now();
    let done = bench.json(&["produce", "--source", "simulated", "--count", "100"]);
    assert_eq!(done["published"], 100);
    // A one-shot command gives an unreachable cluster 30 s.
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn batches_are_split_until_the_topic_takes_them_also_in_a_transaction() {
    let Ok(address) = std::env::var("STOCKFLOW_TEST_KAFKA") else {
        say("left out: batches that are too large, because STOCKFLOW_TEST_KAFKA names no broker");
        return;
    };
    let cluster = Cluster::at(address);
    let input = fixture("intraday_ibm_1min.json");
    let replay = ["produce", "--source", "replay", "--input", &input];
    let plain = ["--set", "Kafka.CompressionType=none"];
    for transactions in [false, true] {
        let bench = Bench::new(&cluster);
        make(&bench, "2000");
        let id = format!("Kafka.TransactionalId={}", bench.topic);
        let id = ["--set", &id];
        let id = if transactions { &id[..] } else { &[] };
        let done = bench.json(&[&replay[..], &plain[..], id].concat());
        assert_eq!(done["published"], 100, "{done}");
        let read = bench.json(&["consume", "--until-end"]);
        assert_eq!(read["rows_written"], 100, "{read}");

        // No event is as small as that.
        let bench = Bench::new(&cluster);
        make(&bench, "100");
        let output = bench
            .command(&[&replay[..], &plain[..], id].concat())
            .finish();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for part in ["MESSAGE_TOO_LARGE", "max.message.bytes", "TradeId", "IBM"] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        assert_eq!(bench.json(&["consume", "--until-end"])["rows_written"], 0);
    }
}

/// Makes the bench's topic, which takes batches of so many bytes.
fn make(bench: &Bench<'_>, max_message_bytes: &'static str) {
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(
            &bench.cluster.address,
            &bench.topic,
            1,
            &[("max.message.bytes", max_message_bytes)],
        ));
}
