//! A topic that grows, and a client that is throttled, on a real Kafka; the embedded broker has neither.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    thread::sleep,
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::{foreign_clients::run, support::*};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka");

fn kafka() -> Option<Cluster> {
    let address = std::env::var("STOCKFLOW_TEST_KAFKA").ok();
    if address.is_none() {
        say("left out: topics that grow and quotas, because STOCKFLOW_TEST_KAFKA names no broker");
    }
    address.map(Cluster::at)
}

#[test]
fn a_topic_that_grows_while_it_is_written_gets_events_in_its_new_partitions_and_loses_none() {
    const SYMBOLS: &str = "A,B,C,D,E,F,G,H,I,J,K,L";
    let Some(cluster) = kafka() else { return };
    let bench = Bench::new(&cluster);
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(&cluster.address, &bench.topic, 1, &[]));
    let mut child = bench
        .command(&["produce", "--source", "simulated", "--rate", "500"])
        .args(["--symbol", SYMBOLS, "--format", "json"])
        .args(["--set", "Kafka.MetadataMaxAgeMs=1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    sleep(Duration::from_secs(2));
    let alter = ["--alter", "--topic", &bench.topic, "--partitions", "3"];
    let topics = ["topics", "--bootstrap-server", &cluster.address];
    run(SCRIPT, &[&topics[..], &alter[..]].concat(), "");
    sleep(Duration::from_secs(5));
    signal(&child, "TERM");
    let status = wait(&mut child, Duration::from_secs(60));
    let output = child.finish();
    let text = stderr(&output);
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{text}");

    let columns = "Output.Columns=Symbol,Side,Quantity,Price,Timestamp,TradeId,Partition,Offset";
    bench.json(&["consume", "--until-end", "--set", columns]);
    let rows = rows(&bench.out());
    assert_eq!(last_json(&output)["published"], rows.len() as u64, "{text}");
    let mut ids = BTreeSet::new();
    // Of each symbol, by partition, in the order of offsets: the times.
    let mut times: BTreeMap<(&str, u32), BTreeMap<u64, DateTime<Utc>>> = BTreeMap::new();
    for row in &rows {
        let cells: Vec<&str> = row.split(',').collect();
        assert!(ids.insert(cells[5]), "doubled: {row}");
        let partition = cells[6].parse().expect("a partition");
        let offset = cells[7].parse().expect("an offset");
        let of = times.entry((cells[0], partition)).or_default();
        of.insert(offset, cells[4].parse().expect("a time"));
    }
    let partitions: BTreeSet<u32> = times.keys().map(|(_, partition)| *partition).collect();
    assert_eq!(partitions.len(), 3, "{partitions:?}");
    let mut moved = 0;
    for ((symbol, partition), in_order) in &times {
        let in_order: Vec<_> = in_order.values().collect();
        assert!(in_order.is_sorted(), "{symbol} in {partition}");
        // A key's newer events may be elsewhere, and are newer than all that stayed.
        if *partition > 0
            && let Some(before) = times.get(&(*symbol, 0))
        {
            moved += 1;
            let last = before.values().max().expect("an event");
            assert!(in_order.first() >= Some(&last), "{symbol}");
        }
    }
    assert!(moved > 0, "no symbol moved: {partitions:?}");
}

/// The group's leader sees that a topic grows, also one that came back and was told to leave the shares as they are
/// (KIP-814).
#[test]
fn a_static_leader_that_was_started_again_sees_that_its_topic_grows() {
    let Some(cluster) = kafka() else { return };
    let bench = Bench::new(&cluster);
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(&cluster.address, &bench.topic, 1, &[]));
    let produce = ["produce", "--source", "simulated", "--count", "200"];
    bench.json(&[&produce[..], &["--symbol", "A,B,C,D,E,F,G,H"]].concat());
    let start = |name: &str| {
        let mut command = bench.command(&["consume"]);
        command.args(["--set", "Kafka.GroupProtocol=classic"]);
        command.args(["--set", "Kafka.GroupInstanceId=host-a"]);
        command.args(["--set", "Kafka.MetadataMaxAgeMs=1000"]);
        Running::start(command, bench.directory.path().join(name))
    };
    let before = start("before.log");
    until("all is read", || rows_so_far(&bench.out()) == 200);
    let (code, said) = before.stop();
    assert_eq!(code, Some(0), "{said}");
    let after = start("after.log");
    until("it is assigned", || after.said().contains("assigned"));
    let alter = ["--alter", "--topic", &bench.topic, "--partitions", "3"];
    let topics = ["topics", "--bootstrap-server", &cluster.address];
    run(SCRIPT, &[&topics[..], &alter[..]].concat(), "");
    until("it has the new partitions", || {
        after.said().contains("given=[1, 2]")
    });
    bench.json(&[&produce[..], &["--symbol", "A,B,C,D,E,F,G,H"]].concat());
    until("all of them are read", || rows_so_far(&bench.out()) == 400);
    let (code, said) = after.stop();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_quota_slows_it_down_and_loses_nothing() {
    let Some(cluster) = kafka() else { return };
    let bench = Bench::new(&cluster);
    let client = unique("throttled");
    let entity = ["--entity-type", "clients", "--entity-name", &client];
    let quota = ["--alter", "--add-config", "producer_byte_rate=100000"];
    let tool = ["tool", "kafka.admin.ConfigCommand", "--bootstrap-server"];
    let arguments = [&tool[..], &[&*cluster.address], &entity[..], &quota[..]].concat();
    run(SCRIPT, &arguments, "");
    let client = format!("Kafka.ClientId={client}");
    let produce = ["produce", "--source", "simulated", "--count", "20000"];
    // 3 MB: its share of the quota's window of ten seconds is used up long before the end.
    let more = ["--set", &client, "--set", "Kafka.CompressionType=none"];
    let done = bench.json(&[&produce[..], &more[..]].concat());
    assert_eq!(done["published"], 20_000, "{done}");
    let seconds = done["seconds"].as_f64().expect("a number");
    assert!(seconds > 5.0, "not throttled: {done}");
    let read = bench.json(&["consume", "--until-end"]);
    assert_eq!(read["rows_written"], 20_000, "{read}");
}
