//! A link on which an answer takes longer than the program waits before it looks whether something is wrong.

use std::{fmt::Write as _, fs, time::Duration};

use crate::{dark::behind_a_proxy, support::*};

/// Some megabytes, however they are packed.
const EVENTS: u64 = 30_000;

#[test]
fn what_is_on_the_topic_is_found_over_a_slow_link() {
    let (cluster, proxy) = behind_a_proxy();
    let bench = Bench::new(&cluster);
    let mut lines = String::new();
    for number in 0..EVENTS {
        let _ = writeln!(
            lines,
            "{{\"TradeId\":\"{number:060}\",\"Symbol\":\"S{}\",\"Side\":\"Buy\",\"Quantity\":1,\"Price\":2.5,\"Timestamp\":\"2025-11-06T20:59:00Z\"}}",
            number % 16
        );
    }
    let input = bench.directory.path().join("events");
    fs::write(&input, lines).expect("a file");
    let input = input.to_str().expect("UTF-8");
    let produce = |state: &str| {
        bench
            .command(&["produce", "--source", "replay", "--input", input])
            .args(["--format", "json", "--set", "Kafka.CompressionType=none"])
            .args(["--set", "Kafka.BatchSize=1000000"])
            .args(["--set", &format!("State.Directory={state}")])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the binary runs")
    };
    let first = produce("one").finish();
    assert_eq!(last_json(&first)["published"], EVENTS, "{}", stderr(&first));
    proxy.slow_down(1 << 20);
    // Once by what is on the topic, and once by what was known and is recognised.
    for _ in 0..2 {
        let mut again = produce("another");
        let status = wait(&mut again, Duration::from_secs(90));
        if status.is_none() {
            let _ = again.kill();
        }
        let output = again.finish();
        let said = stderr(&output);
        assert!(
            status.is_some_and(|status| status.success()),
            "{status:?}: {said}"
        );
        assert_eq!(last_json(&output)["duplicates_skipped"], EVENTS, "{said}");
    }
}
