//! A topic that is deleted and made again while it is read: another topic under the same name.

use std::{
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::support::*;

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
