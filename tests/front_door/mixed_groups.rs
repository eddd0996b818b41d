//! Groups that members of other programs are in, too: partitions are shared, and nothing is lost.

use std::{
    collections::BTreeSet,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{foreign_clients::kcat, raw::block_on, support::*};

type Records = BTreeSet<(i32, i64)>;

/// Publishes some more; how many there are.
fn more(bench: &Bench<'_>) -> u64 {
    static SEED: AtomicU32 = AtomicU32::new(1);
    let seed = SEED.fetch_add(1, Ordering::Relaxed).to_string();
    let produce = ["produce", "--source", "simulated", "--republish"];
    let done = bench.json(&[&produce[..], &["--count", "400", "--seed", &seed]].concat());
    done["published"].as_u64().expect("a number")
}

/// Partition and offset of our rows, each there once.
fn ours(bench: &Bench<'_>) -> Records {
    let mut records = Records::new();
    for row in rows(&bench.out()) {
        let mut fields = row.rsplit(',');
        let offset = fields.next().expect("an offset").parse().expect("a number");
        let partition = fields.next().expect("one").parse().expect("a number");
        assert!(records.insert((partition, offset)), "twice: {row}");
    }
    records
}

/// What another program printed: lines `partition offset`.
fn theirs(said: &str) -> Records {
    let line = |line: &str| {
        let line = line.replace("Partition:", "").replace("Offset:", "");
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    said.lines().filter_map(line).collect()
}

/// Lets another program join, read, and leave, while ours reads and events flow; at the end nothing may be missing.
fn share(cluster: &Cluster, strategy: &str, other: impl Fn(&Bench<'_>) -> Command) {
    let bench = Bench::new(cluster);
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(&cluster.address, &bench.topic, 6, &[]));
    let sets = [
        "--set",
        "Kafka.GroupProtocol=classic",
        "--set",
        &format!("Kafka.PartitionAssignmentStrategy={strategy}"),
        "--set",
        "Output.CommitIntervalMs=100",
        "--set",
        "Output.Columns=Symbol,Side,Quantity,Price,Timestamp,Partition,Offset",
    ];
    let mut all = more(&bench);
    let command = bench.command(&[&["consume"], &sets[..]].concat());
    let mut us = Running::start(command, bench.directory.path().join("ours.log"));
    until("we read", || rows_so_far(&bench.out()) > 0);
    let mut found = Records::new();
    for round in 0..2 {
        let log = bench.directory.path().join(format!("other-{round}.log"));
        let them = Running::start(other(&bench), log);
        // Both get something of what is published while both are there.
        let before = rows_so_far(&bench.out());
        until("they read", || {
            all += more(&bench);
            !theirs(&them.said()).is_empty() && rows_so_far(&bench.out()) > before
        });
        if round == 1 {
            // We leave, too, and come back while they are there.
            let (code, said) = us.stop();
            assert_eq!(code, Some(0), "{said}");
            all += more(&bench);
            let command = bench.command(&[&["consume"], &sets[..]].concat());
            us = Running::start(command, bench.directory.path().join("again.log"));
            until("we are assigned", || us.said().contains("assigned"));
        }
        let (_, said) = them.stop();
        found.extend(theirs(&said));
    }
    all += more(&bench);
    // Rows of ours are on their way to the disk meanwhile: how many there are at the end, the group's lag says.
    until("all is committed", || {
        bench.json(&["group", "describe"])["lag"] == serde_json::json!(0)
    });
    let (code, said) = us.stop();
    assert_eq!(code, Some(0), "{said}");
    let both = &ours(&bench) | &found;
    assert_eq!(both.len() as u64, all, "{strategy}: {said}");
}

#[test]
fn java_and_we_share_a_group() {
    let left_out =
        "left out: groups with Java's members, because STOCKFLOW_TEST_KAFKA names no broker";
    let Some(cluster) = Cluster::kafka(left_out) else {
        return;
    };
    let assignors = [
        ("range", "RangeAssignor"),
        ("cooperative-sticky", "CooperativeStickyAssignor"),
    ];
    for (strategy, assignor) in assignors {
        let properties = format!(
            "partition.assignment.strategy=org.apache.kafka.clients.consumer.{assignor}\n\
             auto.offset.reset=earliest\nsession.timeout.ms=10000\nauto.commit.interval.ms=200\n"
        );
        share(&cluster, strategy, |bench| {
            let file = bench.directory.path().join("consumer.properties");
            std::fs::write(&file, &properties).expect("a file");
            let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka"));
            command
                .args(["console-consumer", "--bootstrap-server", &cluster.address])
                .args(["--topic", &bench.topic, "--group", &bench.group])
                .args(["--command-config", file.to_str().expect("UTF-8")])
                .args(["--formatter-property", "print.partition=true"])
                .args(["--formatter-property", "print.offset=true"])
                .args(["--formatter-property", "print.value=false"]);
            command
        });
    }
}

#[test]
fn librdkafka_and_we_share_a_group() {
    let left_out = "left out: groups with kcat, because STOCKFLOW_TEST_KAFKA names no broker";
    let Some(cluster) = Cluster::kafka(left_out) else {
        return;
    };
    let Some(kcat) = kcat() else {
        say("left out: kcat, which is neither on the PATH nor named by STOCKFLOW_TEST_KCAT");
        return;
    };
    for (strategy, theirs) in [("range", "range"), ("round-robin", "roundrobin")] {
        share(&cluster, strategy, |bench| {
            let mut command = Command::new(&kcat);
            command
                .args(["-b", &cluster.address, "-u", "-q", "-f", "%p %o\\n"])
                .args(["-X", &format!("partition.assignment.strategy={theirs}")])
                .args(["-X", "auto.offset.reset=earliest"])
                .args(["-X", "auto.commit.interval.ms=200"])
                .args(["-G", &bench.group, &bench.topic]);
            command
        });
    }
}

/// A share group (KIP-932) takes no members of other kinds: one sentence says that it may be one, and what to do.
#[test]
fn the_name_of_a_share_group_is_refused_in_one_sentence() {
    let left_out = "left out: share groups, because STOCKFLOW_TEST_KAFKA names no broker";
    let Some(cluster) = Cluster::kafka(left_out) else {
        return;
    };
    let bench = Bench::new(&cluster);
    block_on(make_topic(&cluster.address, &bench.topic, 1, &[]));
    let group = ["--group", &bench.group];
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka");
    // It ends when nothing came for so long; the group stays.
    Command::new(script)
        .args([
            "tool",
            "org.apache.kafka.tools.consumer.ConsoleShareConsumer",
        ])
        .args(["--bootstrap-server", &cluster.address])
        .args(["--topic", &bench.topic, "--timeout-ms", "3000"])
        .args(group)
        .finish();
    let list = cluster.tool(
        "org.apache.kafka.tools.consumer.group.ShareGroupCommand",
        &["--list"],
    );
    if !list.lines().any(|line| line.trim() == bench.group) {
        say("left out: share groups, which this Kafka does not have");
        return;
    }
    for protocol in ["auto", "classic", "consumer"] {
        let setting = format!("Kafka.GroupProtocol={protocol}");
        let output = bench
            .command(&["consume", "--until-end", "--set", &setting])
            .finish();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{protocol}: {said}");
        assert_eq!(said.lines().count(), 1, "{protocol}: {said}");
        for part in [&bench.group, "share group", "Kafka.GroupId (-g)"] {
            assert!(said.contains(part), "{protocol}: {part} is not in: {said}");
        }
    }
}
