//! The load test: what it measures, and that it leaves nothing behind.

use std::{
    process::{Command, Output},
    time::Duration,
};

use stockflow::wire::messages;

use crate::support::{self, Cluster, Finish as _};

fn bench(cluster: &Cluster, more: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_stockflow"))
        .current_dir(tempfile::tempdir().expect("a directory").path())
        .env_clear()
        .args(["bench", "--produce", "-b", &cluster.address])
        .args(more)
        .finish();
    assert!(
        output.status.success(),
        "{} {more:?}: {}",
        cluster.name,
        support::stderr(&output)
    );
    output
}

/// The topics of load tests that are there.
async fn topics(address: &str) -> Vec<String> {
    let request = messages::MetadataRequest::default();
    let answer = support::client(address).request_any(&request).await;
    let topics = answer.expect("an answer").topics.into_iter();
    topics
        .filter_map(|topic| Some(topic.name?.to_string()))
        .filter(|name| name.starts_with("stockflow-bench-"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn says_what_it_measured_and_removes_its_topic() {
    for cluster in support::clusters() {
        let before = topics(&cluster.address).await;
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let set = format!("Kafka.CompressionType={codec}");
            let output = bench(
                &cluster,
                &["--count", "5000", "--set", &set, "--format", "json"],
            );
            let measured = support::last_json(&output);
            assert_eq!(measured["published"], 5000, "{} {codec}", cluster.name);
            let ratio = measured["compression_ratio"].as_f64().expect("a number");
            assert!(
                if codec == "none" {
                    ratio == 1.0
                } else {
                    ratio > 1.5
                },
                "{} {codec}: {ratio}",
                cluster.name
            );
            let latency = |of: &str| measured["latency_ms"][of].as_f64().expect("a number");
            assert!(0.0 < latency("p50") && latency("p50") <= latency("p99"));
            assert!(latency("p99") <= latency("p99_9"));
        }
        let paced = [
            "--count",
            "300",
            "--rate",
            "1000",
            "--set",
            "Kafka.LingerMs=0",
        ];
        let text = String::from_utf8(bench(&cluster, &paced).stdout).expect("UTF-8");
        assert!(text.starts_with("300 events published in "), "{text}");
        assert!(text.contains("acknowledged p99.9 "), "{text}");
        // Brokers learn a moment later that a topic is gone.
        let mut left = topics(&cluster.address).await;
        for _ in 0..100 {
            if left == before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            left = topics(&cluster.address).await;
        }
        assert_eq!(left, before, "{}", cluster.name);
    }
}
