//! `group list|describe|reset|delete`, and that the consumer obeys a deliberate reset.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::*;

fn produce(bench: &Bench<'_>, count: u32, seed: u32) {
    let (count, seed) = (count.to_string(), seed.to_string());
    let arguments = [
        "produce",
        "--source",
        "simulated",
        "--count",
        &count,
        "--seed",
        &seed,
    ];
    bench.json(&arguments);
}

fn group(bench: &Bench<'_>, arguments: &[&str]) -> Value {
    bench.json(&[&["group"], arguments].concat())
}

/// The text of a command that has to fail with exit code 1.
fn fails(bench: &Bench<'_>, arguments: &[&str]) -> String {
    let output = bench.command(arguments).finish();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stderr(&output)
}

fn committed(described: &Value) -> i64 {
    let partitions = described["partitions"].as_array().expect("partitions");
    partitions
        .iter()
        .map(|partition| partition["committed"].as_i64().expect("an offset"))
        .sum()
}

#[test]
fn a_group_is_described_and_set_back_and_the_consumer_obeys() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        produce(&bench, 300, 1);
        bench.json(&["consume", "--until-end"]);
        let listed = group(&bench, &["list"]);
        let ours = listed["groups"].as_array().expect("groups").iter();
        assert_eq!(
            ours.filter(|listed| listed["group"] == bench.group.as_str())
                .count(),
            1,
            "{}: {listed}",
            cluster.name
        );
        produce(&bench, 40, 2);
        let described = group(&bench, &["describe"]);
        assert_eq!(described["lag"], 40, "{}: {described}", cluster.name);
        assert_eq!(described["state"], "Empty");
        let aged = described["partitions"]
            .as_array()
            .expect("partitions")
            .iter();
        assert!(
            aged.clone().any(|of| of["age_seconds"].is_i64()),
            "{described}"
        );
        assert_eq!(committed(&described), 300);

        // A dry run changes nothing.
        let planned = group(&bench, &["reset", "--to", "earliest"]);
        assert_eq!(planned["executed"], false);
        assert_eq!(committed(&group(&bench, &["describe"])), 300);

        // Backwards: everything is read again, and still every record is there once.
        let before = rows(&bench.out());
        group(&bench, &["reset", "--to", "earliest", "--execute"]);
        assert_eq!(committed(&group(&bench, &["describe"])), 0);
        let again = bench.json(&["consume", "--until-end"]);
        assert_eq!(again["rows_written"], 340, "{}: {again}", cluster.name);
        let after = rows(&bench.out());
        assert_eq!(after.len(), 340);
        assert!(before.iter().all(|row| after.contains(row)));
        assert!(bench.out().join(".stockflow/superseded").is_dir());

        // A few back, and forwards over what was not read.
        group(&bench, &["reset", "--shift-by", "-2", "--execute"]);
        assert_eq!(rows(&bench.out()).len(), 340);
        bench.json(&["consume", "--until-end"]);
        assert_eq!(rows(&bench.out()).len(), 340);
        produce(&bench, 10, 3);
        group(&bench, &["reset", "--to", "latest", "--execute"]);
        let skipped = bench.json(&["consume", "--until-end"]);
        assert_eq!(skipped["rows_written"], 0, "{}: {skipped}", cluster.name);
        assert_eq!(group(&bench, &["describe"])["lag"], 0);
        let hours = group(&bench, &["reset", "--by-duration", "1h"]);
        let to = hours["partitions"].as_array().expect("partitions").iter();
        assert_eq!(
            to.map(|of| of["to"].as_i64().expect("an offset"))
                .sum::<i64>(),
            0
        );
    }
}

/// Every target, under both protocols: where it leads, and that the consumer goes there.
#[test]
fn a_group_is_reset_to_every_target() {
    for cluster in &clusters() {
        for protocol in cluster.protocols() {
            let bench = Bench::new(cluster);
            tokio::runtime::Runtime::new()
                .expect("a runtime")
                .block_on(make_topic(&cluster.address, &bench.topic, 1, &[]));
            let set = format!("Kafka.GroupProtocol={protocol}");
            let consume = ["consume", "--until-end", "--set", &set];
            produce(&bench, 100, 1);
            bench.json(&consume);
            let file = bench.directory.path().join("offsets.csv");
            std::fs::write(&file, format!("{},0,42\n", bench.topic)).expect("a file");
            let file = file.to_str().expect("UTF-8");
            let targets: [(&[&str], u64); 9] = [
                (&["--to", "earliest"], 0),
                (&["--to", "latest"], 100),
                (&["--to", "10"], 10),
                (&["--to", "1000"], 100),
                (&["--to", "2001-01-01"], 0),
                (&["--to", "2999-01-01T00:00:00Z"], 100),
                (&["--shift-by", "-5"], 95),
                (&["--by-duration", "1h"], 0),
                (&["--from-file", file], 42),
            ];
            for (target, to) in targets {
                let name = format!("{} {protocol} {target:?}", cluster.name);
                let plan = group(&bench, &[&["reset"], target].concat());
                assert_eq!(plan["partitions"][0]["to"], to, "{name}: {plan}");
                assert_eq!(plan["executed"], false, "{name}");
                group(&bench, &[&["reset", "--execute"], target].concat());
                assert_eq!(
                    committed(&group(&bench, &["describe"])),
                    to as i64,
                    "{name}"
                );
                let again = bench.json(&consume);
                assert_eq!(again["rows_written"], 100 - to, "{name}: {again}");
                assert_eq!(rows(&bench.out()).len(), 100, "{name}");
            }
        }
    }
}

/// Killed before it learnt that its last commit counted, and then the group's offset is set: what was committed before
/// the reset still says whose the rows are.
#[test]
fn a_reset_after_a_kill_leaves_the_rows_that_counted() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(make_topic(&cluster.address, &bench.topic, 1, &[]));
        produce(&bench, 100, 1);
        let classic = [
            "--set",
            "Kafka.GroupProtocol=classic",
            "--set",
            "Kafka.SessionTimeoutMs=6000",
            "--set",
            "Kafka.HeartbeatIntervalMs=1000",
        ];
        let mut consumer = bench
            .command(&[&["consume"][..], &classic].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a consumer");
        let limit = Instant::now() + Duration::from_secs(60);
        let described = || {
            let described = bench.command(&["group", "describe", "--format", "json"]);
            let output = { described }.finish();
            output.status.success().then(|| last_json(&output))
        };
        let until = |what: &dyn Fn(&Value) -> bool| {
            while !described().is_some_and(|described| what(&described)) {
                assert!(Instant::now() < limit, "{}", cluster.name);
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        // A partition without a commit says null.
        until(&|described| described["partitions"][0]["committed"] == 100);
        consumer.kill().expect("it can be killed");
        consumer.wait().expect("it ends");
        until(&|described| described["state"] == "Empty");
        group(&bench, &["reset", "--execute", "--to", "latest"]);
        let again = bench.json(&[&["consume", "--until-end"][..], &classic].concat());
        assert_eq!(again["rows_written"], 0, "{}: {again}", cluster.name);
        assert_eq!(rows(&bench.out()).len(), 100, "{}", cluster.name);
    }
}

#[test]
fn an_active_group_is_left_alone() {
    for cluster in &clusters() {
        for protocol in ["classic", "auto"] {
            let bench = Bench::new(cluster);
            produce(&bench, 20, 1);
            let protocol = format!("Kafka.GroupProtocol={protocol}");
            let mut consumer = bench
                .command(&["consume", "--set", &protocol])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("a consumer");
            let limit = Instant::now() + Duration::from_secs(60);
            loop {
                let output = bench
                    .command(&["group", "describe", "--format", "json"])
                    .finish();
                if output.status.success() {
                    let described = last_json(&output);
                    let members = described["members"].as_array().expect("members");
                    if members.len() == 1 && described["lag"] == 0 {
                        let partitions = described["partitions"].as_array().expect("partitions");
                        assert!(
                            partitions
                                .iter()
                                .all(|of| of["member"] == members[0]["member"])
                        );
                        break;
                    }
                }
                assert!(Instant::now() < limit, "{}: no member", cluster.name);
                std::thread::sleep(Duration::from_millis(100));
            }
            let refused = fails(&bench, &["group", "reset", "--to", "earliest", "--execute"]);
            assert!(refused.contains("is active"), "{refused}");
            if cluster.name != "embedded" {
                let refused = fails(&bench, &["group", "delete"]);
                assert!(refused.contains("is active"), "{refused}");
            }
            signal(&consumer, "TERM");
            let ended = wait(&mut consumer, Duration::from_secs(30)).expect("it stops");
            assert!(ended.success());
            if cluster.name != "embedded" {
                assert_eq!(group(&bench, &["delete"])["deleted"], true);
                let gone = fails(&bench, &["group", "describe"]);
                assert!(gone.contains("there is no group"), "{gone}");
            }
        }
    }
}
