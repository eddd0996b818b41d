//! What is on the topic already is not published again, and a topic that cannot tell is refused.

use std::fs;

use crate::{foreign_clients::run, support::*};

/// The same topic, from a directory that has kept nothing of it.
fn without_memory<'a>(bench: &Bench<'a>) -> Bench<'a> {
    Bench {
        directory: Directory::new(),
        cluster: bench.cluster,
        topic: bench.topic.clone(),
        group: bench.group.clone(),
    }
}

#[test]
fn a_hundred_equal_polls_publish_once() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let polls = bench.directory.path().join("polls");
        fs::create_dir(&polls).expect("a directory");
        for poll in 0..100 {
            let path = polls.join(format!("{poll:03}.json"));
            fs::copy(fixture("intraday_ibm_1min.json"), path).expect("a copy");
        }
        let input = polls.display().to_string();
        let produce = ["produce", "--source", "replay", "--input", &input];
        let done = bench.json(&produce);
        assert_eq!(done["published"], 100, "{}: {done}", cluster.name);
        assert_eq!(done["duplicates_skipped"], 9_900, "{done}");
        // Also by a start that has kept nothing of the topic.
        let other = without_memory(&bench);
        let again = other.json(&produce);
        assert_eq!(again["published"], 0, "{}: {again}", cluster.name);
        let read = bench.json(&["consume", "--until-end"]);
        assert_eq!(read["rows_written"], 100, "{}: {read}", cluster.name);
    }
}

#[test]
fn a_compacted_topic_is_refused_unless_nothing_is_looked_up() {
    let Ok(address) = std::env::var("STOCKFLOW_TEST_KAFKA") else {
        say("left out: compacted topics, because STOCKFLOW_TEST_KAFKA names no broker");
        return;
    };
    let cluster = Cluster::at(address);
    let bench = Bench::new(&cluster);
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(
            &cluster.address,
            &bench.topic,
            1,
            &[("cleanup.policy", "compact")],
        ));
    let input = fixture("intraday_ibm_1min.json");
    let produce = ["produce", "--source", "replay", "--input", &input];
    let output = bench.command(&produce).finish();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    for part in [&*bench.topic, "Kafka.Topic", "compacted", "--republish"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(bench.json(&["consume", "--until-end"])["rows_written"], 0);
    let done = bench.json(&[&produce[..], &["--republish"]].concat());
    assert_eq!(done["published"], 100, "{done}");
}

#[test]
fn a_replay_older_than_very_many_newer_events_publishes_nothing() {
    // More than are kept in memory at a time.
    const NEWER: &str = "270000";
    let input = fixture("intraday_ibm_1min.json");
    let replay = ["produce", "--source", "replay", "--input", &input];
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        assert_eq!(bench.json(&replay)["published"], 100);
        bench.json(&["produce", "--source", "simulated", "--count", NEWER]);
        let unremembered = without_memory(&bench);
        for of in [&bench, &unremembered, &unremembered] {
            let again = of.json(&replay);
            assert_eq!(again["published"], 0, "{}: {again}", cluster.name);
            assert_eq!(again["duplicates_skipped"], 100, "{again}");
        }
    }
}

#[test]
fn republishing_publishes_again() {
    let input = fixture("intraday_ibm_1min.json");
    let replay = ["produce", "--source", "replay", "--input", &input];
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        bench.json(&replay);
        let again = bench.json(&[&replay[..], &["--republish"]].concat());
        assert_eq!(again["published"], 100, "{}: {again}", cluster.name);
        assert_eq!(bench.json(&replay)["published"], 0);
        let read = bench.json(&["consume", "--until-end"]);
        assert_eq!(read["rows_written"], 200, "{}: {read}", cluster.name);
    }
}

/// What retention has deleted stays known in `State.Directory`; nothing else can tell.
#[test]
fn what_retention_has_deleted_is_not_published_again() {
    let Ok(address) = std::env::var("STOCKFLOW_TEST_KAFKA") else {
        say("left out: retention, because STOCKFLOW_TEST_KAFKA names no broker");
        return;
    };
    let cluster = Cluster::at(address);
    let bench = Bench::new(&cluster);
    let input = fixture("intraday_ibm_1min.json");
    let replay = ["produce", "--source", "replay", "--input", &input];
    assert_eq!(bench.json(&replay)["published"], 100);
    let partition = |number| {
        format!(
            r#"{{"topic":"{}","partition":{number},"offset":-1}}"#,
            bench.topic
        )
    };
    let partitions = [0, 1, 2].map(partition).join(",");
    let path = bench.directory.path().join("delete.json");
    fs::write(
        &path,
        format!(r#"{{"partitions":[{partitions}],"version":1}}"#),
    )
    .expect("a file");
    run(
        concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka"),
        &[
            "tool",
            "org.apache.kafka.tools.DeleteRecordsCommand",
            "--bootstrap-server",
            &cluster.address,
            "--offset-json-file",
            path.to_str().expect("UTF-8"),
        ],
        "",
    );
    assert_eq!(bench.json(&["consume", "--until-end"])["rows_written"], 0);
    let again = bench.json(&replay);
    assert_eq!(again["published"], 0, "{again}");
    assert_eq!(again["duplicates_skipped"], 100, "{again}");
    let unremembered = without_memory(&bench).json(&replay);
    assert_eq!(unremembered["published"], 100, "{unremembered}");
}

/// Without a TradeId an event is known by what it says and by its line.
#[test]
fn events_without_an_identity_are_known_by_content_and_line() {
    let event = |quantity: u32| {
        format!(
            "{{\"Symbol\":\"IBM\",\"Side\":\"Buy\",\"Quantity\":{quantity},\"Price\":1.5,\"Timestamp\":\"2025-11-06T20:59:00Z\"}}\n"
        )
    };
    let two_equal = [event(1), event(1), event(2)].concat();
    let one_in_front = event(3) + &two_equal;
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let replay = |name: &str, text: &str| {
            fs::write(bench.directory.path().join(name), text).expect("a file");
            let done = bench.json(&["produce", "--source", "replay", "--input", name]);
            [&done["published"], &done["duplicates_skipped"]].map(|count| count.as_u64())
        };
        assert_eq!(replay("a.ndjson", &two_equal), [Some(3), Some(0)]);
        assert_eq!(replay("b.ndjson", &two_equal), [Some(0), Some(3)]);
        // Of these the second line alone is what it was.
        assert_eq!(replay("c.ndjson", &one_in_front), [Some(3), Some(1)]);
        let read = bench.json(&["consume", "--until-end"]);
        assert_eq!(read["rows_written"], 6, "{}: {read}", cluster.name);
    }
}
