//! What is on the topic already is not published again, and a topic that cannot tell is refused.

use std::fs;

use crate::support::*;

#[test]
fn a_hundred_equal_polls_publish_once() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let polls = bench.directory.path().join("polls");
        fs::create_dir(&polls).expect("a directory");
        for poll in 0..100 {
            let path = polls.join(format!("{poll:03}.json"));
            fs::copy(fixture("intraday_ibm_1min.json"), path).expect("a copy");
        }
        let input = polls.display().to_string();
        let produce = ["produce", "--source", "replay", "--input", &input];
        let done = bench.json(&produce);
        assert_eq!(done["published"], 100, "{}: {done}", cluster.name);
        assert_eq!(done["duplicates_skipped"], 9_900, "{done}");
        // Also by a start that has kept nothing of the topic.
        let other = Bench {
            directory: tempfile::tempdir().expect("a directory"),
            cluster,
            topic: bench.topic.clone(),
            group: bench.group.clone(),
        };
        let again = other.json(&produce);
        assert_eq!(again["published"], 0, "{}: {again}", cluster.name);
        let read = bench.json(&["consume", "--until-end"]);
        assert_eq!(read["rows_written"], 100, "{}: {read}", cluster.name);
    }
}

#[test]
fn a_compacted_topic_is_refused_unless_nothing_is_looked_up() {
    let Ok(address) = std::env::var("STOCKFLOW_TEST_KAFKA") else {
        say("left out: compacted topics, because STOCKFLOW_TEST_KAFKA names no broker");
        return;
    };
    let cluster = Cluster::at(address);
    let bench = Bench::new(&cluster);
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(
            &cluster.address,
            &bench.topic,
            1,
            &[("cleanup.policy", "compact")],
        ));
    let input = fixture("intraday_ibm_1min.json");
    let produce = ["produce", "--source", "replay", "--input", &input];
    let output = bench.command(&produce).output().expect("the binary runs");
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    for part in [&*bench.topic, "Kafka.Topic", "compacted", "--republish"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(bench.json(&["consume", "--until-end"])["rows_written"], 0);
    let done = bench.json(&[&produce[..], &["--republish"]].concat());
    assert_eq!(done["published"], 100, "{done}");
}
