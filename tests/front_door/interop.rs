//! What the program publishes is where other clients would have put it, and they can read it: kcat (librdkafka) and Kafka's
//! own tools, where they are there.

use std::{collections::BTreeMap, env, fmt::Write, fs};

use crate::{
    foreign_clients::{kcat, run, sorted},
    support::*,
};

/// More partitions than the default, and a number that no bit mask hits.
const PARTITIONS: i32 = 7;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka");

/// Many keys, with every character and some of the lengths that symbols have.
fn symbols() -> Vec<String> {
    let odd = ["^GSPC", "BRK.B", "a_b:c", "X=Y-1", "Z", "AB", "ABC", "ABCD"];
    let numbered = (0..300).map(|number| format!("S{number}"));
    odd.into_iter().map(str::to_owned).chain(numbered).collect()
}

/// One event for each symbol, published with this partitioner to a topic of its own.
fn publish(cluster: &Cluster, symbols: &[String], partitioner: &str) -> String {
    let bench = Bench::new(cluster);
    make(cluster, &bench.topic);
    let mut text = String::new();
    for (number, symbol) in symbols.iter().enumerate() {
        let _ = writeln!(
            text,
            r#"{{"TradeId":"e-{number}","Symbol":"{symbol}","Side":"Buy","Quantity":1,"Price":1,"Timestamp":"2025-11-06T20:59:00Z"}}"#
        );
    }
    let input = bench.directory.path().join("events.ndjson");
    fs::write(&input, text).expect("a file");
    let input = input.to_str().expect("UTF-8");
    let partitioner = format!("Kafka.Partitioner={partitioner}");
    let replay = ["produce", "--source", "replay", "--input", input];
    let done = bench.json(&[&replay[..], &["--set", &partitioner]].concat());
    assert_eq!(done["published"], symbols.len() as u64);
    bench.topic
}

fn make(cluster: &Cluster, topic: &str) {
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(&cluster.address, topic, PARTITIONS, &[]));
}

/// Where each key of a topic is, as kcat reads it.
fn places(kcat: &std::path::Path, cluster: &Cluster, topic: &str) -> BTreeMap<String, String> {
    let read = ["-C", "-e", "-q", "-o", "beginning", "-f", "%k %p\\n"];
    let from = ["-b", &cluster.address, "-t", topic];
    run(kcat, &[&read[..], &from[..]].concat(), "")
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(key, partition)| (key.to_owned(), partition.to_owned()))
        .collect()
}

fn keyed(symbols: &[String]) -> String {
    let mut text = String::new();
    for symbol in symbols {
        let _ = writeln!(text, "{symbol}|x");
    }
    text
}

#[test]
fn keys_are_where_librdkafka_and_java_put_them() {
    let Some(kcat) = kcat() else {
        say("left out: kcat, which is neither on the PATH nor named by STOCKFLOW_TEST_KCAT");
        return;
    };
    let symbols = symbols();
    for cluster in &clusters() {
        let theirs = unique("kcat");
        make(cluster, &theirs);
        let produce = ["-P", "-K", "|", "-b", &cluster.address, "-t", &theirs];
        run(&kcat, &produce, &keyed(&symbols));
        let theirs = places(&kcat, cluster, &theirs);
        let ours = publish(cluster, &symbols, "consistent_random");
        let ours = places(&kcat, cluster, &ours);
        assert_eq!(ours.len(), symbols.len());
        assert_eq!(ours, theirs, "{}: consistent_random", cluster.name);

        if env::var_os("STOCKFLOW_TEST_KAFKA").is_none() {
            say("left out: Kafka's own tools, because STOCKFLOW_TEST_KAFKA names no broker");
            continue;
        }
        let theirs = unique("java");
        make(cluster, &theirs);
        let parse = ["parse.key=true", "key.separator=|"];
        let start = ["console-producer", "--bootstrap-server", &cluster.address];
        let arguments = ["--topic", &theirs, "--reader-property", parse[0]];
        let more = ["--reader-property", parse[1]];
        run(
            SCRIPT,
            &[&start[..], &arguments[..], &more[..]].concat(),
            &keyed(&symbols),
        );
        let theirs = places(&kcat, cluster, &theirs);
        let ours = publish(cluster, &symbols, "murmur2_random");
        let ours = places(&kcat, cluster, &ours);
        assert_eq!(ours, theirs, "{}: murmur2_random", cluster.name);
    }
}

#[test]
fn every_codec_is_read_by_kcat_and_by_kafkas_console_consumer() {
    const COUNT: &str = "2000";
    let kcat = kcat();
    if kcat.is_none() {
        say("left out: kcat, which is neither on the PATH nor named by STOCKFLOW_TEST_KCAT");
    }
    for cluster in &clusters() {
        let mut plain = Vec::new();
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let bench = Bench::new(cluster);
            let setting = format!("Kafka.CompressionType={codec}");
            let produce = ["produce", "--source", "simulated", "--seed", "7"];
            let more = ["--count", COUNT, "--set", &setting];
            bench.json(&[&produce[..], &more[..]].concat());
            let name = cluster.name;
            let mut check = |who: &str, read: Vec<String>| {
                assert_eq!(read.len().to_string(), COUNT, "{name} {codec}: {who}");
                if plain.is_empty() {
                    plain = read;
                } else {
                    assert_eq!(read, plain, "{name} {codec}: {who}");
                }
            };
            if let Some(kcat) = &kcat {
                let read = ["-C", "-e", "-q", "-o", "beginning", "-f", "%s\\n"];
                let from = ["-b", &cluster.address, "-t", &bench.topic];
                let read = run(kcat, &[&read[..], &from[..]].concat(), "");
                check("kcat", sorted(&read));
            }
            if env::var_os("STOCKFLOW_TEST_KAFKA").is_some() {
                let start = ["console-consumer", "--bootstrap-server", &cluster.address];
                let of = ["--topic", &bench.topic, "--from-beginning"];
                let end = ["--max-messages", COUNT, "--timeout-ms", "60000"];
                let read = run(SCRIPT, &[&start[..], &of[..], &end[..]].concat(), "");
                check("console consumer", sorted(&read));
            }
        }
    }
}
