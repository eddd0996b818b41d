//! `stockflow tail`: the last events, what comes, and what was no trade; no group, nothing committed.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;

use crate::{raw::*, support::*};

fn lines(bench: &Bench<'_>, arguments: &[&str]) -> Vec<String> {
    let output = bench.command(&[&["tail"], arguments].concat()).finish();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

fn numbers(bench: &Bench<'_>, arguments: &[&str]) -> Vec<u64> {
    let lines = lines(bench, &[arguments, &["--format", "json"]].concat());
    let number = |line: &String| {
        let json: Value = serde_json::from_str(line).expect("JSON");
        json["event"]["Quantity"].as_u64().expect("a quantity")
    };
    lines.iter().map(number).collect()
}

fn events(range: std::ops::Range<u64>) -> Vec<Raw> {
    range
        .map(|number| Raw::new(b"IBM", Some(event(number).as_bytes())))
        .collect()
}

#[test]
fn the_last_ones_are_shown_from_wherever_it_is_asked_for() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let address = &cluster.address;
        block_on(async {
            make_topic(address, &bench.topic, 1, &[]).await;
            publish(address, &bench.topic, None, events(0..25)).await;
        });
        let ten: Vec<u64> = (15..25).collect();
        assert_eq!(numbers(&bench, &["--count", "10"]), ten, "{}", cluster.name);
        assert_eq!(numbers(&bench, &["--count", "3"]), [22, 23, 24]);
        let first = ["--from", "earliest", "--count", "2"];
        assert_eq!(numbers(&bench, &first), [0, 1]);
        let at = ["--from", "20", "--count", "2"];
        assert_eq!(numbers(&bench, &at), [20, 21]);
        // Fewer than asked for are shown, and it ends all the same.
        let all: Vec<u64> = (0..25).collect();
        assert_eq!(numbers(&bench, &["-n", "100"]), all);
        assert_eq!(numbers(&bench, &["--from", "24", "-n", "100"]), [24]);
        assert_eq!(numbers(&bench, &["--from", "latest", "-n", "1"]), [0; 0]);
        // Beyond the end there is nothing, and that is said.
        let output = bench.command(&["tail", "--from", "99", "-n", "1"]).finish();
        assert!(output.status.success() && output.stdout.is_empty());
        let said = stderr(&output);
        assert!(said.contains("partition 0 ends at offset 25"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(numbers(&bench, &["-n", "0"]), [0; 0]);
        assert_eq!(numbers(&bench, &["-n", "0", "--from", "3"]), [0; 0]);
        let time = ["--from", "2020-01-01", "--count", "1"];
        assert_eq!(numbers(&bench, &time), [0]);
        let text = lines(&bench, &["--count", "1"]);
        assert_eq!(
            text,
            ["2025-11-06T20:59:00Z  IBM    Buy          24 @ 314.1        partition 0, offset 24"]
        );

        // The last ten, then what comes; nobody else hears of it.
        let mut child = bench
            .command(&["tail", "--format", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut next = || {
            let mut line = String::new();
            output.read_line(&mut line).expect("a line");
            let json: Value = serde_json::from_str(&line).expect("JSON");
            json["event"]["Quantity"].as_u64().expect("a quantity")
        };
        assert_eq!((0..10).map(|_| next()).collect::<Vec<_>>(), ten);
        block_on(publish(address, &bench.topic, None, events(25..26)));
        assert_eq!(next(), 25);
        let groups = bench.json(&["group", "list"]);
        assert!(!groups.to_string().contains(&bench.group), "{groups}");

        // A reader that goes away ends it, without a word.
        drop(output);
        block_on(publish(address, &bench.topic, None, events(26..27)));
        let status = wait(&mut child, Duration::from_secs(30)).expect("it ends");
        let mut said = String::new();
        child
            .stderr
            .take()
            .expect("its log")
            .read_to_string(&mut said)
            .expect("UTF-8");
        assert!(status.success() && said.is_empty(), "{status}: {said}");
    }
}

#[test]
fn one_partition_is_shown_and_followed_behind_a_count() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let address = &cluster.address;
        // Of two partitions, murmur2 puts IBM into 1 and MSFT into 0.
        let in_partition_0 = |range: std::ops::Range<u64>| {
            range.map(|number| Raw::new(b"MSFT", Some(event(number).as_bytes())))
        };
        block_on(async {
            make_topic(address, &bench.topic, 2, &[]).await;
            publish(address, &bench.topic, None, in_partition_0(0..3)).await;
            publish(address, &bench.topic, None, events(10..13)).await;
        });
        assert_eq!(numbers(&bench, &["-p", "1", "-n", "2"]), [11, 12]);
        let first = ["-p", "0", "--from", "earliest", "-n", "100"];
        assert_eq!(numbers(&bench, &first), [0, 1, 2]);
        let none = bench.command(&["tail", "-p", "7", "-n", "1"]).finish();
        assert_eq!(none.status.code(), Some(78));
        assert!(stderr(&none).contains("partition 7 does not exist"));

        let mut child = bench
            .command(&["tail", "-f", "-n", "1", "-p", "1", "--format", "json"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut next = || {
            let mut line = String::new();
            output.read_line(&mut line).expect("a line");
            let json: Value = serde_json::from_str(&line).expect("JSON");
            json["event"]["Quantity"].as_u64().expect("a quantity")
        };
        assert_eq!(next(), 12);
        block_on(async {
            publish(address, &bench.topic, None, in_partition_0(3..4)).await;
            publish(address, &bench.topic, None, events(13..14)).await;
        });
        assert_eq!(next(), 13);
        drop(output);
        block_on(publish(address, &bench.topic, None, events(14..15)));
        wait(&mut child, Duration::from_secs(60)).expect("it ends");
    }
}

#[test]
fn a_count_of_0_shows_nothing_of_what_is_there_and_then_what_comes() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let address = &cluster.address;
        block_on(async {
            make_topic(address, &bench.topic, 1, &[]).await;
            publish(address, &bench.topic, None, events(0..3)).await;
        });
        let log = bench.directory.path().join("log");
        let command = bench.command(&["tail", "-n", "0", "-f", "--format", "json"]);
        let tail = Running::start(command, log);
        // When it has found the end cannot be seen: what comes before that is not shown.
        let mut next = 3;
        until("something is shown", || {
            block_on(publish(address, &bench.topic, None, events(next..next + 1)));
            next += 1;
            tail.said().contains("Quantity")
        });
        let (code, said) = tail.stop();
        assert_eq!(code, Some(0), "{said}");
        for old in 0..3 {
            assert!(!said.contains(&format!("\"Quantity\":{old},")), "{said}");
        }
    }
}

#[test]
fn what_is_no_trade_is_shown_as_such_and_cannot_harm_the_terminal() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let bad = Raw::new(b"IBM", Some(b"\x1b[2Jgone"));
    let none = Raw::new(b"IBM", None);
    let records = events(0..1).into_iter().chain([bad, none]);
    block_on(async {
        make_topic(&cluster.address, &bench.topic, 1, &[]).await;
        publish(&cluster.address, &bench.topic, None, records).await;
    });
    let text = lines(&bench, &["--count", "3"]);
    assert_eq!(
        text[1..],
        [
            r"bad record  partition 0, offset 1: the value is not JSON: \u{1b}[2Jgone".to_owned(),
            "no value  partition 0, offset 2".to_owned()
        ]
    );

    // Dead letters of files, as a file that can be repaired.
    bench.json(&["consume", "--until-end"]);
    let text = lines(&bench, &["--dead-letters", "--count", "5"]);
    let wanted = format!(
        r"dead letter  topic {}, partition 0, offset 1: the value is not JSON: \u{{1b}}[2Jgone",
        bench.topic
    );
    assert_eq!(text, [wanted]);
    let from = [
        "--dead-letters",
        "--from",
        "1",
        "--count",
        "1",
        "--format",
        "json",
    ];
    let json: Value = serde_json::from_str(&lines(&bench, &from)[0]).expect("JSON");
    assert_eq!(json["value_text"], "\x1b[2Jgone");
    assert_eq!(
        (&json["offset"], &json["reason"]),
        (&1.into(), &"the value is not JSON".into())
    );
    assert_eq!(lines(&bench, &["--dead-letters", "-n", "0"]), [""; 0]);
    let nothing = bench
        .command(&["tail", "--dead-letters", "--out", "nowhere"])
        .finish();
    assert_eq!(nothing.status.code(), Some(78), "{}", stderr(&nothing));
}
