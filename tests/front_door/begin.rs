//! Where a group begins under `latest`: at the end of what it met at its very first start, and at the beginning of what
//! appeared later.

use crate::{foreign_clients::run, support::*};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka");
const LATEST: &str = "Kafka.AutoOffsetReset=latest";

fn make(bench: &Bench<'_>, partitions: i32) {
    let address = &bench.cluster.address;
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(address, &bench.topic, partitions, &[]));
}

fn produce(bench: &Bench<'_>, count: &str) {
    let symbols = ["--symbol", "A,B,C,D,E,F,G,H,I,J,K,L"];
    let produce = ["produce", "--source", "simulated", "--count", count];
    let done = bench.json(&[&produce[..], &symbols[..]].concat());
    assert_eq!(done["published"].to_string(), count, "{done}");
}

fn grow(bench: &Bench<'_>, partitions: &str) {
    let topics = ["topics", "--bootstrap-server", &bench.cluster.address];
    let alter = ["--alter", "--topic", &bench.topic, "--partitions"];
    run(
        SCRIPT,
        &[&topics[..], &alter[..], &[partitions]].concat(),
        "",
    );
}

/// The same topic and group, in a directory of its own.
fn elsewhere<'a>(bench: &Bench<'a>) -> Bench<'a> {
    Bench {
        directory: Directory::new(),
        cluster: bench.cluster,
        topic: bench.topic.clone(),
        group: bench.group.clone(),
    }
}

fn follow(bench: &Bench<'_>, protocol: &str) -> Running {
    let protocol = format!("Kafka.GroupProtocol={protocol}");
    let mut command = bench.command(&["consume", "--set", LATEST, "--set", &protocol]);
    command.args(["--set", "Kafka.MetadataMaxAgeMs=1000"]);
    Running::start(command, bench.directory.path().join("log"))
}

fn to_the_end(bench: &Bench<'_>, protocol: &str) -> u64 {
    let protocol = format!("Kafka.GroupProtocol={protocol}");
    let done = bench.json(&[
        "consume",
        "--until-end",
        "--set",
        LATEST,
        "--set",
        &protocol,
    ]);
    done["rows_written"].as_u64().expect("a number")
}

#[test]
fn a_group_under_latest_reads_partitions_that_appear_later_from_their_beginning() {
    let left_out = "left out: topics that grow, because STOCKFLOW_TEST_KAFKA names no broker";
    let Some(cluster) = Cluster::kafka(left_out) else {
        return;
    };
    for protocol in cluster.protocols() {
        let bench = Bench::new(&cluster);
        make(&bench, 1);
        produce(&bench, "50");
        // The first start meets one partition, and leaves what is in it.
        assert_eq!(to_the_end(&bench, protocol), 0, "{protocol}");
        grow(&bench, "3");
        produce(&bench, "100");
        assert_eq!(to_the_end(&bench, protocol), 100, "stopped, {protocol}");
        // A host that knows nothing, and is told by the group's commits, also those that `group reset` made.
        grow(&bench, "6");
        produce(&bench, "100");
        bench.json(&["group", "reset", "--shift-by", "0", "--execute"]);
        let other = elsewhere(&bench);
        assert_eq!(to_the_end(&other, protocol), 100, "elsewhere, {protocol}");

        let running = follow(&other, protocol);
        until("it is assigned", || running.said().contains("assigned"));
        grow(&bench, "9");
        produce(&bench, "100");
        until("all is read while it runs", || {
            rows_so_far(&other.out()) == 200
        });
        let (code, said) = running.stop();
        assert_eq!(code, Some(0), "{protocol}: {said}");
        assert_eq!(rows(&bench.out()).len(), 100, "{protocol}");
    }
}

/// Whoever had the old topic reads the new one from its beginning, and tells hosts that come later.
#[test]
fn a_group_under_latest_reads_a_recreated_topic_from_its_beginning() {
    for cluster in &clusters() {
        for protocol in cluster.protocols() {
            let bench = Bench::new(cluster);
            make(&bench, 2);
            produce(&bench, "50");
            assert_eq!(to_the_end(&bench, protocol), 0, "{protocol}");
            tokio::runtime::Runtime::new()
                .expect("a runtime")
                .block_on(delete_topic(&cluster.address, &bench.topic));
            std::thread::sleep(std::time::Duration::from_secs(2));
            make(&bench, 2);
            produce(&bench, "40");
            let of = format!("{}, {protocol}", cluster.name);
            assert_eq!(to_the_end(&bench, protocol), 40, "{of}");
            produce(&bench, "30");
            assert_eq!(to_the_end(&elsewhere(&bench), protocol), 30, "{of}");
        }
    }
}
