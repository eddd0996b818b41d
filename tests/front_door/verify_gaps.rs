//! `stockflow verify` tells apart why offsets are in no file: retention, a reset, another directory, another program.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stockflow::wire::messages;

use crate::support::*;

fn produce(bench: &Bench<'_>, count: u32, seed: u32) {
    let (count, seed) = (count.to_string(), seed.to_string());
    let produce = ["produce", "--source", "simulated", "--republish"];
    bench.json(&[&produce[..], &["--count", &count, "--seed", &seed]].concat());
}

/// A topic with one partition and so many events.
fn begin(bench: &Bench<'_>, count: u32) {
    let address = &bench.cluster.address;
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(address, &bench.topic, 1, &[]));
    produce(bench, count, 1);
}

/// The exit code and the report on these directories; what brokers add must not make it better.
fn verify(bench: &Bench<'_>, directories: &[&str], offline: bool) -> (Option<i32>, Value) {
    let mut verify = vec!["verify", "--format", "json"];
    verify.extend(directories);
    verify.extend(offline.then_some("--offline"));
    let output = bench.command(&verify).finish();
    (output.status.code(), last_json(&output))
}

/// Deletes what lies before the offset, as retention does.
fn delete(bench: &Bench<'_>, before: i64) {
    let file = bench.directory.path().join("delete.json");
    let records = json!({"version": 1, "partitions": [
        {"topic": bench.topic, "partition": 0, "offset": before}]});
    std::fs::write(&file, records.to_string()).expect("a file");
    bench.cluster.tool(
        "org.apache.kafka.tools.DeleteRecordsCommand",
        &["--offset-json-file", file.to_str().expect("UTF-8")],
    );
}

/// Commits as a program does that knows nothing of ours.
fn commit(bench: &Bench<'_>, offset: i64) {
    let request = messages::OffsetCommitRequest {
        group_id: bench.group.as_str().into(),
        generation_id_or_member_epoch: -1,
        topics: vec![messages::OffsetCommitRequestTopic {
            name: bench.topic.as_str().into(),
            partitions: vec![messages::OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: offset,
                committed_leader_epoch: -1,
                committed_metadata: Some("".into()),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let client = client(&bench.cluster.address);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    until("it is committed", || {
        let answer = runtime.block_on(client.request_any(&request));
        answer.is_ok_and(|answer| answer.topics[0].partitions[0].error_code == 0)
    });
}

const LEFT_OUT: &str = "left out: retention, because STOCKFLOW_TEST_KAFKA names no broker";

/// With rows behind the gap, and, where everything was deleted, without any.
#[test]
fn what_retention_took_is_counted_and_never_proven() {
    let Some(cluster) = Cluster::kafka(LEFT_OUT) else {
        return;
    };
    for (before, lost) in [(180, 80), (300, 200)] {
        let bench = Bench::new(&cluster);
        begin(&bench, 300);
        bench.json(&["consume", "--count", "100"]);
        delete(&bench, before);
        let output = bench
            .command(&["consume", "--until-end", "--format", "json"])
            .finish();
        let said = stderr(&output);
        assert!(said.contains(&format!("{lost} offsets are lost")), "{said}");
        let done = last_json(&output);
        assert_eq!(done["lost_to_retention"], lost, "{done}");
        assert_eq!(done["rows_written"], 300 - before, "{done}");
        for offline in [true, false] {
            let (code, report) = verify(&bench, &["ConsumedTrades"], offline);
            assert_eq!(code, Some(3), "{report}");
            assert_eq!(report["absent"]["retention"], lost, "{report}");
            let partition = &report["partitions"][0];
            assert_eq!(
                (&partition["from"], &partition["to"]),
                (&0.into(), &300.into()),
                "{report}"
            );
        }
    }
}

/// A directory that takes over where the log has lost what comes next.
#[test]
fn what_retention_took_between_two_directories_is_counted_once() {
    let Some(cluster) = Cluster::kafka(LEFT_OUT) else {
        return;
    };
    let bench = Bench::new(&cluster);
    begin(&bench, 300);
    bench.json(&["consume", "--count", "100", "--out", "a"]);
    delete(&bench, 180);
    bench.json(&["consume", "--until-end", "--out", "b"]);
    for offline in [true, false] {
        let (code, report) = verify(&bench, &["a", "b"], offline);
        assert_eq!((code, &report["rows"]), (Some(3), &220.into()), "{report}");
        assert_eq!(report["absent"]["retention"], 80, "{report}");
        assert_eq!(report["absent"]["missing"], 0, "{report}");
    }
}

/// The jump is durable before it is committed, so that a start that finds nothing to read, or a kill right then, does not
/// forget why.
#[test]
fn a_jump_forwards_is_skipped_though_nothing_came_since() {
    for cluster in clusters() {
        let bench = Bench::new(&cluster);
        begin(&bench, 300);
        bench.json(&["consume", "--count", "100"]);
        bench.json(&["group", "reset", "--to", "250", "--execute"]);
        let jumped = |count: u64| {
            bench.json(&["consume", "--until-end"]);
            for offline in [true, false] {
                let (code, report) = verify(&bench, &["ConsumedTrades"], offline);
                assert_eq!(code, Some(0), "{}: {report}", cluster.name);
                assert_eq!(report["offsets_skipped"], count, "{report}");
            }
        };
        jumped(150);
        // On to the end, where nothing comes.
        produce(&bench, 60, 2);
        bench.json(&["group", "reset", "--to", "latest", "--execute"]);
        jumped(210);
        jumped(210);
        produce(&bench, 5, 3);
        bench.json(&["consume", "--until-end"]);
        let (code, report) = verify(&bench, &["ConsumedTrades"], false);
        assert_eq!((code, &report["rows"]), (Some(0), &155.into()), "{report}");
        // Back into what was jumped.
        bench.json(&["group", "reset", "--to", "120", "--execute"]);
        bench.json(&["consume", "--until-end"]);
        let (code, report) = verify(&bench, &["ConsumedTrades"], false);
        assert_eq!((code, &report["rows"]), (Some(0), &345.into()), "{report}");
        assert_eq!(report["offsets_skipped"], 20, "{report}");
    }
}

/// Where another directory holds the beginning, that directory is needed.
#[test]
fn a_directory_that_took_over_is_not_the_whole() {
    for cluster in clusters() {
        let bench = Bench::new(&cluster);
        begin(&bench, 300);
        bench.json(&["consume", "--count", "100", "--out", "a"]);
        bench.json(&["consume", "--until-end", "--out", "b"]);
        for offline in [true, false] {
            let (code, report) = verify(&bench, &["b"], offline);
            assert_eq!(code, Some(3), "{}: {report}", cluster.name);
            assert_eq!(report["absent"]["elsewhere"], 100, "{report}");
            let (code, report) = verify(&bench, &["a", "b"], offline);
            assert_eq!((code, &report["rows"]), (Some(0), &300.into()), "{report}");
        }
        let (code, report) = verify(&bench, &["a"], false);
        assert_eq!(code, Some(3), "{}: {report}", cluster.name);
        assert_eq!(report["absent"]["elsewhere"], 200, "{report}");
        // Set forwards in between.
        bench.json(&["group", "reset", "--to", "latest", "--execute"]);
        produce(&bench, 50, 2);
        bench.json(&["group", "reset", "--to", "320", "--execute"]);
        bench.json(&["consume", "--until-end", "--out", "c"]);
        let (code, report) = verify(&bench, &["a", "b", "c"], true);
        assert_eq!((code, &report["rows"]), (Some(0), &330.into()), "{report}");
        assert_eq!(report["offsets_skipped"], 20, "{report}");
        assert_eq!(verify(&bench, &["c"], true).0, Some(3));
    }
}

/// Nobody here knows whether it wrote anything anywhere: undecided, never missing and never proven.
#[test]
fn what_another_program_read_is_undecided() {
    for cluster in clusters() {
        for second in ["a", "b"] {
            let bench = Bench::new(&cluster);
            begin(&bench, 300);
            bench.json(&["consume", "--count", "100", "--out", "a"]);
            commit(&bench, 170);
            bench.json(&["consume", "--until-end", "--out", second]);
            for offline in [true, false] {
                let directories: BTreeSet<&str> = ["a", second].into();
                let directories: Vec<&str> = directories.into_iter().collect();
                let (code, report) = verify(&bench, &directories, offline);
                assert_eq!(
                    (code, &report["rows"]),
                    (Some(3), &230.into()),
                    "{}: {report}",
                    cluster.name
                );
                assert_eq!(report["absent"]["another_program"], 70, "{report}");
            }
        }
    }
}

/// A reset says where it was set from: what the other program had read by then is nobody's wish.
#[test]
fn a_reset_does_not_hide_what_another_program_read() {
    for cluster in clusters() {
        for second in ["a", "b"] {
            let bench = Bench::new(&cluster);
            begin(&bench, 300);
            bench.json(&["consume", "--count", "100", "--out", "a"]);
            commit(&bench, 170);
            bench.json(&["group", "reset", "--to", "240", "--execute"]);
            bench.json(&["group", "reset", "--to", "250", "--execute"]);
            let is_told = |offline: bool| {
                let directories: BTreeSet<&str> = ["a", second].into();
                let there = |name: &&str| bench.directory.path().join(name).is_dir();
                let directories: Vec<&str> = directories.into_iter().filter(there).collect();
                let (code, report) = verify(&bench, &directories, offline);
                assert_eq!(code, Some(3), "{}: {report}", cluster.name);
                let absent = &report["absent"];
                assert_eq!(absent["another_program"], 70, "{report}");
                assert_eq!(absent["jumped"], 80, "{report}");
            };
            is_told(false);
            bench.json(&["consume", "--until-end", "--out", second]);
            is_told(true);
            is_told(false);
        }
    }
}

/// That there was none was seen when it was read; nobody can see it again.
#[test]
fn a_marker_that_retention_took_is_believed() {
    let Some(cluster) = Cluster::kafka(LEFT_OUT) else {
        return;
    };
    let bench = Bench::new(&cluster);
    begin(&bench, 10);
    let id = format!("Kafka.TransactionalId={}", bench.topic);
    let produce = ["produce", "--source", "simulated", "--republish"];
    bench.json(&[&produce[..], &["--count", "10", "--set", &id]].concat());
    let done = bench.json(&["consume", "--until-end"]);
    assert_eq!(done["rows_written"], 20, "{done}");
    let (code, report) = verify(&bench, &["ConsumedTrades"], false);
    assert_eq!(code, Some(0), "{report}");
    let end = report["partitions"][0]["to"].as_i64().expect("an end");
    assert!(end > 20, "{report}");
    delete(&bench, end);
    let (code, report) = verify(&bench, &["ConsumedTrades"], false);
    assert_eq!(code, Some(0), "{report}");
    let unseen = report["not_looked_at"][0].as_str().expect("a text");
    let gone = format!("whether {} offsets", end - 20);
    assert!(unseen.contains(&gone), "{report}");
}
