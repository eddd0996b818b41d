//! What becomes of a topic's log while it is read: records deleted, partitions added, compaction.

use stockflow::wire::{cluster, messages};

use crate::support::*;

const LEFT_OUT: &str = "left out: logs that change, because STOCKFLOW_TEST_KAFKA names no broker";

fn produce(bench: &Bench<'_>, count: u32, seed: u32) {
    let (count, seed) = (count.to_string(), seed.to_string());
    let produce = ["produce", "--source", "simulated", "--republish"];
    bench.json(&[&produce[..], &["--count", &count, "--seed", &seed]].concat());
}

fn make(bench: &Bench<'_>, partitions: i32, settings: &[(&'static str, &'static str)]) {
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(
            &bench.cluster.address,
            &bench.topic,
            partitions,
            settings,
        ));
}

fn verify(bench: &Bench<'_>) {
    let out = bench.out();
    bench.json(&["verify", out.to_str().expect("UTF-8")]);
}

/// Retention has deleted what comes next: reading goes on at the first record that is there, and says so.
#[test]
fn records_that_were_deleted_are_a_gap_that_is_told() {
    let Some(cluster) = Cluster::kafka(LEFT_OUT) else {
        return;
    };
    // What is still there is not left out for retention's sake, also where a new group would begin at the end.
    let both = ["earliest", "latest"].into_iter();
    for (protocol, reset) in
        both.flat_map(|reset| cluster.protocols().iter().map(move |of| (of, reset)))
    {
        let bench = Bench::new(&cluster);
        make(&bench, 1, &[]);
        produce(&bench, 300, 1);
        let set = format!("Kafka.GroupProtocol={protocol}");
        bench.json(&["consume", "--count", "100", "--set", &set]);
        let reset = format!("Kafka.AutoOffsetReset={reset}");
        let file = bench.directory.path().join("delete.json");
        let records = serde_json::json!({"version": 1, "partitions": [
            {"topic": bench.topic, "partition": 0, "offset": 180}]});
        std::fs::write(&file, records.to_string()).expect("a file");
        cluster.tool(
            "org.apache.kafka.tools.DeleteRecordsCommand",
            &["--offset-json-file", file.to_str().expect("UTF-8")],
        );
        let output = bench
            .command(&["consume", "--until-end", "--set", &set, "--set", &reset])
            .finish();
        let said = stderr(&output);
        assert!(output.status.success(), "{protocol}, {reset}: {said}");
        assert!(said.contains("retention has deleted"), "{said}");
        assert_eq!(rows(&bench.out()).len(), 220, "{protocol}: {said}");
        assert_eq!(bench.json(&["group", "describe"])["lag"], 0);
    }
}

/// A topic grows while it is read: what is published to the new partitions is read from their first record on.
#[test]
fn new_partitions_are_read_from_their_beginning() {
    let Some(cluster) = Cluster::kafka(LEFT_OUT) else {
        return;
    };
    for protocol in cluster.protocols() {
        let bench = Bench::new(&cluster);
        make(&bench, 1, &[]);
        produce(&bench, 200, 1);
        let sets = [
            "--set",
            &format!("Kafka.GroupProtocol={protocol}"),
            "--set",
            "Kafka.MetadataMaxAgeMs=2000",
            "--set",
            "Output.CommitIntervalMs=100",
            "--set",
            "Output.Columns=Symbol,Side,Quantity,Price,Timestamp,Partition",
        ];
        let command = bench.command(&[&["consume"], &sets[..]].concat());
        let reader = Running::start(command, bench.directory.path().join("log"));
        until("all is read", || rows_so_far(&bench.out()) == 200);
        cluster.tool(
            "topics",
            &["--alter", "--topic", &bench.topic, "--partitions", "4"],
        );
        produce(&bench, 1000, 2);
        until("all of the new ones is read", || {
            rows_so_far(&bench.out()) == 1200
        });
        let (code, said) = reader.stop();
        assert_eq!(code, Some(0), "{protocol}: {said}");
        let rows = rows(&bench.out());
        assert_eq!(rows.len(), 1200);
        assert!(rows.iter().any(|row| !row.ends_with(",0")), "{protocol}");
        verify(&bench);
    }
}

/// Compaction leaves holes, also where a reader stands: it goes on behind them, and the proof knows them.
#[test]
fn a_compacted_topic_has_holes_and_is_read_to_its_end() {
    let Some(cluster) = Cluster::kafka(LEFT_OUT) else {
        return;
    };
    for protocol in cluster.protocols() {
        let bench = Bench::new(&cluster);
        let compact = [
            ("cleanup.policy", "compact"),
            ("segment.ms", "100"),
            ("min.cleanable.dirty.ratio", "0.001"),
            ("max.compaction.lag.ms", "100"),
        ];
        make(&bench, 1, &compact);
        produce(&bench, 600, 1);
        let set = format!("Kafka.GroupProtocol={protocol}");
        bench.json(&["consume", "--count", "150", "--set", &set]);
        // Each round rolls a segment, so that the ones before can be compacted.
        let mut seed = 2;
        let left = |seed: &mut u32| {
            produce(&bench, 50, *seed);
            *seed += 1;
            let reader = Bench {
                directory: Directory::new(),
                cluster: &cluster,
                topic: bench.topic.clone(),
                group: unique("all"),
            };
            let done = reader.json(&["consume", "--until-end"]);
            done["rows_written"].as_u64().expect("a number")
        };
        until("it is compacted", || left(&mut seed) < 400);
        let done = bench.json(&["consume", "--until-end", "--set", &set]);
        let written = done["rows_written"].as_u64().expect("a number");
        assert!(written > 0 && written < 400, "{protocol}: {done}");
        assert_eq!(rows(&bench.out()).len() as u64, 150 + written);
        assert_eq!(bench.json(&["group", "describe"])["lag"], 0);
        verify(&bench);
    }
}

/// A commit goes by the topic's name: one that was meant for a topic that was deleted since can land on the one that was
/// made anew. What names another topic is not believed.
#[test]
fn an_offset_of_a_topic_that_is_gone_is_not_believed() {
    let Some(cluster) = Cluster::kafka(LEFT_OUT) else {
        return;
    };
    let bench = Bench::new(&cluster);
    make(&bench, 1, &[]);
    produce(&bench, 120, 1);
    let commit = messages::OffsetCommitRequest {
        group_id: bench.group.as_str().into(),
        generation_id_or_member_epoch: -1,
        topics: vec![messages::OffsetCommitRequestTopic {
            name: bench.topic.as_str().into(),
            partitions: vec![messages::OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: 70,
                committed_leader_epoch: -1,
                committed_metadata: Some(
                    "stockflow/2 dir=00000000-0000-0000-0000-000000000007 batch=3 \
                     topic=00000000-0000-0000-0000-000000000009"
                        .into(),
                ),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let client = cluster::Cluster::new(cluster::Settings {
        bootstrap: vec![cluster.address.clone()],
        client_id: "front-door".into(),
        request_timeout: std::time::Duration::from_secs(30),
        reconnect_backoff: std::time::Duration::from_millis(100),
        reconnect_backoff_max: std::time::Duration::from_secs(1),
        metadata_max_age: std::time::Duration::from_secs(300),
        connections_max_idle: std::time::Duration::from_secs(540),
        max_fetch_response_bytes: 1 << 20,
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // The coordinator of a group that nobody has asked for yet takes a moment.
    until("it is committed", || {
        let answer = runtime.block_on(client.request_any(&commit));
        answer.is_ok_and(|answer| answer.topics[0].partitions[0].error_code == 0)
    });
    assert_eq!(bench.json(&["group", "describe"])["lag"], 50);
    let done = bench.json(&["consume", "--until-end"]);
    assert_eq!(done["rows_written"], 120, "{done}");
    assert_eq!(bench.json(&["group", "describe"])["lag"], 0);
}
