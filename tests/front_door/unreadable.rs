//! Batches that cannot be read: each stops its own partition and nothing else, what stands before it counts, and the way
//! past it is said.

use std::sync::{Arc, Mutex};

use stockflow::wire::records::Codec;

use crate::{proxy::Proxy, raw::*, support::*};

/// Appends good events to a partition, in a batch of their own.
fn good(bench: &Bench<'_>, partition: i32, numbers: std::ops::Range<u64>) -> i64 {
    let values: Vec<String> = numbers.map(event).collect();
    let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
    let made = batch(&values, Codec::None, |_| {});
    block_on(append(
        &bench.cluster.address,
        &bench.topic,
        partition,
        made,
    ))
    .expect("taken")
}

/// The numbers of the events that have a row, in order.
pub(crate) fn numbers(bench: &Bench<'_>) -> Vec<u64> {
    let quantity = |row: &String| row.split(',').nth(2)?.parse().ok();
    let rows = rows(&bench.out());
    let mut numbers: Vec<u64> = rows
        .iter()
        .map(|row| quantity(row).expect("a row"))
        .collect();
    numbers.sort_unstable();
    numbers
}

fn committed(bench: &Bench<'_>, partition: i32) -> i64 {
    let group = bench.json(&["group", "describe"]);
    let partitions = group["partitions"].as_array().expect("partitions");
    let found = partitions.iter().find(|of| of["partition"] == partition);
    found.expect("the partition")["committed"]
        .as_i64()
        .expect("an offset")
}

/// Runs the command that a message names.
pub(crate) fn obey(bench: &Bench<'_>, said: &str) {
    let mut commands = said
        .lines()
        .filter_map(|line| line.split("stockflow group reset ").nth(1));
    let command = commands.next_back();
    let words: Vec<&str> = command.expect("a command").split_whitespace().collect();
    let mut binary = std::process::Command::new(env!("CARGO_BIN_EXE_stockflow"));
    let done = binary
        .current_dir(bench.directory.path())
        .env_clear()
        .args(["group", "reset"])
        .args(words)
        .args(["-b", &bench.cluster.address])
        .finish();
    assert!(done.status.success(), "{}", stderr(&done));
}

#[test]
fn offsets_out_of_order_stop_their_partition_alone() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        block_on(make_topic(&cluster.address, &bench.topic, 3, &[]));
        good(&bench, 0, 0..10);
        good(&bench, 1, 10..13);
        // Brokers take this as it is: they look into compressed batches alone.
        let values: Vec<String> = (100..105).map(event).collect();
        let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
        let bad = batch(&values, Codec::None, |records| {
            renumber(records, &[0, 1, 4, 2, 3])
        });
        let at = block_on(append(&cluster.address, &bench.topic, 1, bad));
        assert_eq!(at, Ok(3), "{}", cluster.name);
        good(&bench, 1, 20..30);
        good(&bench, 2, 30..40);

        let wanted: Vec<u64> = (0..13).chain(30..40).chain(100..102).collect();
        let mut said = String::new();
        for time in 0..2 {
            let done = bench.command(&["consume", "--until-end"]).finish();
            said = stderr(&done);
            assert_eq!(
                done.status.code(),
                Some(1),
                "{}, {time}: {said}",
                cluster.name
            );
            assert_eq!(numbers(&bench), wanted, "{}: {said}", cluster.name);
            assert_eq!(
                [0, 1, 2].map(|of| committed(&bench, of)),
                [10, 5, 10],
                "{said}"
            );
        }
        assert!(
            said.contains("its offset is not the next one of the batch"),
            "{said}"
        );
        assert!(said.contains("losing offsets 5 to 7"), "{said}");
        obey(&bench, &said);
        let done = bench.json(&["consume", "--until-end"]);
        assert_eq!(done["rows_written"], 10, "{done}");
        let wanted: Vec<u64> = (0..13).chain(20..40).chain(100..102).collect();
        assert_eq!(numbers(&bench), wanted, "{}", cluster.name);
        let report = bench.json(&["verify", bench.out().to_str().expect("UTF-8")]);
        assert_eq!(report["rows"], 35, "{report}");
    }
}

#[test]
fn what_cannot_be_unpacked_stops_no_other_partition_of_any_command() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    block_on(make_topic(&cluster.address, &bench.topic, 2, &[]));
    good(&bench, 0, 0..5);
    good(&bench, 1, 5..10);
    let long = vec![b'x'; 10_000];
    let bad = batch(&[&long], Codec::Gzip, |records| records[12..].fill(0x55));
    let at = block_on(append(&cluster.address, &bench.topic, 1, bad));
    assert_eq!(at, Ok(5));
    good(&bench, 0, 10..15);

    let tail = bench
        .command(&[
            "tail", "--from", "earliest", "-n", "100", "--format", "json",
        ])
        .finish();
    let said = stderr(&tail);
    assert_eq!(tail.status.code(), Some(1), "{said}");
    assert!(
        said.contains("partition 1") && said.contains("gzip"),
        "{said}"
    );
    let shown = String::from_utf8_lossy(&tail.stdout).into_owned();
    assert_eq!(shown.lines().count(), 15, "{shown}");

    let produce = bench
        .command(&[
            "produce",
            "--source",
            "simulated",
            "--seed",
            "1",
            "--count",
            "5",
        ])
        .finish();
    let said = stderr(&produce);
    assert_eq!(produce.status.code(), Some(1), "{said}");
    assert!(said.contains("--republish"), "{said}");

    let done = bench.command(&["consume", "--until-end"]).finish();
    let said = stderr(&done);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert_eq!(numbers(&bench), (0..15).collect::<Vec<_>>(), "{said}");
    assert!(said.contains("losing offset 5:"), "{said}");
    // How much waits can be told, though not for how long.
    assert_eq!(committed(&bench, 1), 5);
}

#[test]
fn damage_stops_its_partition_and_the_others_go_on() {
    let broker: Arc<Mutex<String>> = Arc::default();
    let of_proxy = Arc::clone(&broker);
    let to = move || of_proxy.lock().expect("no panic").clone();
    let proxy = Proxy::start("127.0.0.1:0", to);
    let address = proxy.address.to_string();
    let embedded = embedded_as(Some(&address));
    broker
        .lock()
        .expect("no panic")
        .clone_from(&embedded.address);
    let cluster = Cluster::at(address);
    let bench = Bench::new(&cluster);
    block_on(make_topic(&cluster.address, &bench.topic, 2, &[]));
    good(&bench, 1, 0..3);
    good(&bench, 1, 77_077..77_080);
    good(&bench, 1, 3..6);
    proxy.flip(b"t-77078");

    let log = bench.directory.path().join("log");
    let running = Running::start(bench.command(&["consume"]), log);
    until("it stops partition 1", || {
        running.said().contains("group reset")
    });
    let before = rows_so_far(&bench.out());
    good(&bench, 0, 10..20);
    until("the rows of partition 0", || {
        rows_so_far(&bench.out()) >= before + 10
    });
    let (code, said) = running.stop();
    assert_eq!(code, Some(1), "{said}");
    let wanted: Vec<u64> = (0..3).chain(10..20).collect();
    assert_eq!(numbers(&bench), wanted, "{said}");
    assert!(said.contains("losing offsets 3 to 5"), "{said}");
    assert_eq!((committed(&bench, 0), committed(&bench, 1)), (10, 3));
    obey(&bench, &said);
    bench.json(&["consume", "--until-end"]);
    let wanted: Vec<u64> = (0..6).chain(10..20).collect();
    assert_eq!(numbers(&bench), wanted);
}
