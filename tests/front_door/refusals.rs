//! What a broker refuses, or cannot do, ends with words that name the setting, and is not tried for ever in silence.

use std::{
    process::Output,
    time::{Duration, Instant},
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
        .output()
        .expect("the binary runs");
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
        producer_id: 31,
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
        ],
    );
    // Only the first, whole batch is too large.
    let script = Script {
        produce: |number| if number == 0 { 10 } else { 0 },
        ..Script::default()
    };
    let (output, _, broker) = produce(script, &["--format", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(last_json(&output)["published"], 4);
    assert!(broker.produced.lock().expect("no panic").len() > 2);
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
    let produced = broker.produced.lock().expect("no panic");
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
            .output()
            .expect("the binary runs");
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
