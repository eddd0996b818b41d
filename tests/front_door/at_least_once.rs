//! A service without InitProducerId: said at once, and `Kafka.EnableIdempotence=false` publishes to it all the same.

use std::time::{Duration, Instant};

use stockflow::wire::messages::{InitProducerIdRequest, Request};

use crate::{
    scripted::{Script, Scripted},
    support::*,
};

const AT_LEAST_ONCE: [&str; 2] = ["--set", "Kafka.EnableIdempotence=false"];

/// Answers everything but that; the first request is not acknowledged in time.
fn without_ids() -> Scripted {
    Scripted::start(Script {
        producer_id: None,
        produce: |number| if number == 0 { 7 } else { 0 },
        ..Script::default()
    })
}

#[test]
fn a_service_without_producer_ids_is_named_at_once_with_what_helps() {
    let broker = without_ids();
    let cluster = Cluster::at(broker.address.clone());
    let bench = Bench::new(&cluster);
    for arguments in [&["--count", "10"][..], &["--rate", "10"]] {
        let started = Instant::now();
        let output = bench
            .command(&["produce", "--source", "simulated"])
            .args(arguments)
            .finish();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in ["InitProducerId", "Kafka.EnableIdempotence=false"] {
            assert!(said.contains(part), "{said}");
        }
        // Not after MessageTimeoutMs.
        assert!(started.elapsed() < Duration::from_secs(100));
    }
    let check = bench
        .command(&["check", "--set", "Source.Kind=simulated"])
        .finish();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    let line = said.lines().find(|line| line.contains("publishing"));
    let line = line.unwrap_or_else(|| panic!("not a word: {said}"));
    assert!(line.contains("Kafka.EnableIdempotence=false"), "{line}");
}

#[test]
fn without_idempotence_no_id_is_asked_for_and_that_is_said() {
    let broker = without_ids();
    let cluster = Cluster::at(broker.address.clone());
    let bench = Bench::new(&cluster);
    let output = bench
        .command(&["produce", "--source", "simulated", "--count", "10"])
        .args(["--format", "json"])
        .args(AT_LEAST_ONCE)
        .finish();
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(last_json(&output)["published"], 10);
    assert_eq!(said.matches("at least once").count(), 1, "{said}");
    assert!(broker.asked(InitProducerIdRequest::KEY).is_empty());
    // The request that was not acknowledged was sent again.
    assert!(broker.seen.produced.lock().expect("no panic").len() >= 2);
}

#[test]
fn a_transaction_and_no_idempotence_exclude_each_other() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let output = bench
        .command(&["produce", "--source", "simulated", "--count", "10"])
        .args(["--set", "Kafka.TransactionalId=t"])
        .args(AT_LEAST_ONCE)
        .finish();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    for key in ["Kafka.EnableIdempotence", "Kafka.TransactionalId"] {
        assert!(said.contains(key), "{said}");
    }
}

/// The TradeId still tells what is there already, and keys keep their order.
#[test]
fn without_idempotence_the_same_file_again_publishes_nothing() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let input = fixture("intraday_ibm_1min.json");
        let publish = || {
            let mut arguments = vec!["produce", "--source", "replay", "--input", &input];
            arguments.extend(AT_LEAST_ONCE);
            bench.json(&arguments)
        };
        let first = publish()["published"].as_u64().expect("a number");
        assert!(first > 0);
        let second = publish();
        assert_eq!(
            (&second["published"], &second["duplicates_skipped"]),
            (&0.into(), &first.into()),
            "{second}"
        );
        let done = bench.json(&["consume", "--until-end"]);
        assert_eq!(done["rows_written"], first, "{done}");
    }
}
