//! A topic that is deleted and made again while it is read or published to: another topic under the same name.

use std::{
    fs,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{proxy::Proxy, support::*};

fn topics(cluster: &Cluster, arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka");
    let done = Command::new(script)
        .args(["topics", "--bootstrap-server", &cluster.address])
        .args(arguments)
        .finish();
    assert!(done.status.success(), "{arguments:?}: {}", stderr(&done));
}

fn wait_for_rows(bench: &Bench<'_>, wanted: usize) -> usize {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let written = rows_so_far(&bench.out());
        if written >= wanted || Instant::now() > end {
            return written;
        }
        sleep(Duration::from_millis(100));
    }
}

/// Nothing of the old topic's offsets is believed for the new one, and no record of it is left out.
#[test]
fn a_topic_that_is_made_anew_is_read_from_its_beginning() {
    for cluster in clusters().iter().filter(|cluster| cluster.name == "Kafka") {
        for protocol in cluster.protocols() {
            let bench = Bench::new(cluster);
            let set = format!("Kafka.GroupProtocol={protocol}");
            let produce = ["produce", "--source", "simulated", "--count"];
            topics(
                cluster,
                &["--create", "--topic", &bench.topic, "--partitions", "1"],
            );
            bench.json(&[&produce[..], &["500"]].concat());
            let mut reader = bench
                .command(&["consume", "--set", &set])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the binary runs");
            assert_eq!(wait_for_rows(&bench, 500), 500, "{protocol}");
            topics(cluster, &["--delete", "--topic", &bench.topic]);
            // Longer than a heartbeat's interval, so that the member asks for a topic that is not there.
            sleep(Duration::from_secs(6));
            topics(
                cluster,
                &["--create", "--topic", &bench.topic, "--partitions", "1"],
            );
            bench.json(&[&produce[..], &["700"]].concat());
            let written = wait_for_rows(&bench, 1200);
            signal(&reader, "TERM");
            let status = wait(&mut reader, Duration::from_secs(20));
            let output = reader.finish();
            assert_eq!(written, 1200, "{protocol}: {}", stderr(&output));
            assert_eq!(rows(&bench.out()).len(), 1200, "{protocol}");
            assert_eq!(
                status.and_then(|status| status.code()),
                Some(0),
                "{protocol}: {}",
                stderr(&output)
            );
        }
    }
}

/// What was published to the old topic is published again when the source gives it again, once; what somebody else has
/// put on the new one meanwhile is not.
#[test]
fn a_topic_that_is_made_anew_is_published_to_once() {
    for cluster in &clusters() {
        for transactions in [false, true] {
            // The embedded broker has no transactions.
            if transactions && cluster.name != "Kafka" {
                continue;
            }
            for there in [0, 100] {
                published_to_once(cluster, transactions, there);
            }
        }
    }
}

/// Replays the same hundred events three times, with the topic made anew before the second; `there` of them are on the
/// new one then.
fn published_to_once(cluster: &Cluster, transactions: bool, there: u64) {
    let bench = Bench::new(cluster);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let make = || runtime.block_on(make_topic(&cluster.address, &bench.topic, 1, &[]));
    make();
    let input = fixture("intraday_ibm_1min.json");
    let pipe = bench.directory.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|made| made.success()) {
        return say("left out: named pipes, which mkfifo would make");
    }
    let replay = ["produce", "--source", "replay", "--format", "json"];
    let mut command = bench.command(&replay);
    for input in [&*input, "pipe", &*input] {
        command.args(["--input", input]);
    }
    if transactions {
        let id = format!("Kafka.TransactionalId={}", bench.topic);
        command.args(["--set", &id]);
    }
    let mut producing = Running::start(command, bench.directory.path().join("log"));
    let tail = ["tail", "--from", "earliest", "--count", "100"];
    until("a hundred events are on the topic", || {
        let tail = bench.command(&tail).finish();
        assert!(tail.status.success());
        tail.stdout.iter().filter(|byte| **byte == b'\n').count() == 100
    });

    runtime.block_on(delete_topic(&cluster.address, &bench.topic));
    // Longer than it takes until it is looked at again whether it is the same.
    sleep(Duration::from_secs(3));
    make();
    if there > 0 {
        let other = Bench {
            directory: Directory::new(),
            cluster,
            topic: bench.topic.clone(),
            group: bench.group.clone(),
        };
        let done = other.json(&["produce", "--source", "replay", "--input", &input]);
        assert_eq!(done["published"], there, "{done}");
    }
    // It waits in the pipe, and reads it to its end.
    fs::copy(&input, &pipe).expect("a reader of the pipe");
    let status = wait(&mut producing.process, Duration::from_secs(120));
    let said = producing.said();
    let of = format!("{}, transactions: {transactions}: {said}", cluster.name);
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{of}");
    let done = said.lines().last().unwrap_or_default();
    let done: serde_json::Value = serde_json::from_str(done).expect("JSON");
    assert_eq!(done["published"], 200 - there, "{of}");
    assert_eq!(done["duplicates_skipped"], 100 + there, "{of}");
    assert!(said.contains("was deleted and made anew"), "{of}");
    let read = bench.json(&["consume", "--until-end"]);
    assert_eq!(read["rows_written"], 100, "{of}");
}

/// No checksum covers the topic's id in Metadata: one answer alone does not make it another topic.
#[test]
fn one_flipped_bit_does_not_make_a_topic_anew() {
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
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let id = runtime.block_on(async {
        make_topic(&cluster.address, &bench.topic, 1, &[]).await;
        let described = client(&cluster.address).refresh_topic(&bench.topic).await;
        described.expect("an answer").id.expect("an id")
    });
    let pipe = bench.directory.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|made| made.success()) {
        return say("left out: named pipes, which mkfifo would make");
    }
    let input = fixture("intraday_ibm_1min.json");
    let mut command = bench.command(&["produce", "--source", "replay", "--format", "json"]);
    command.args(["--input", &input, "--input", "pipe"]);
    // At the start, and when it is looked again whether it is the same topic.
    proxy.flip_once(id.as_bytes());
    let mut producing = Running::start(command, bench.directory.path().join("log"));
    let tail = ["tail", "--from", "earliest", "--count", "100"];
    until("a hundred events are on the topic", || {
        let tail = bench.command(&tail).finish();
        tail.stdout.iter().filter(|byte| **byte == b'\n').count() == 100
    });
    assert!(proxy.has_flipped());
    proxy.flip_once(id.as_bytes());
    // Longer than it takes until it is looked at again.
    sleep(Duration::from_secs(2));
    fs::copy(&input, &pipe).expect("a reader of the pipe");
    let status = wait(&mut producing.process, Duration::from_secs(120));
    let said = producing.said();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{said}");
    assert!(proxy.has_flipped(), "{said}");
    assert!(!said.contains("made anew"), "{said}");
    let kept = fs::read_dir(bench.directory.path().join(".stockflow/published"));
    let topics = kept.expect("what is kept").flatten();
    let topics = topics.filter(|entry| entry.path().is_dir());
    assert_eq!(topics.count(), 1, "{said}");
    assert_eq!(bench.json(&["consume", "--until-end"])["rows_written"], 100);
}
