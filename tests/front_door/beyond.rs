//! A committed offset beyond the end of its log, as a tool can set it: reading goes on where the directory ends, or else
//! where `Kafka.AutoOffsetReset` says, both offsets are said, and a run that ends by itself does not end well.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
    time::Duration,
};

use stockflow::wire::messages;

use crate::{framed::Framed, support::*};

const BEYOND: i64 = 5_000;

fn make(bench: &Bench<'_>, partitions: i32) {
    let (address, topic) = (&bench.cluster.address, &bench.topic);
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(address, topic, partitions, &[]));
}

fn produce(bench: &Bench<'_>, count: u32) {
    let count = count.to_string();
    let symbols = ["--symbol", "A,B,C,D,E,F,G,H,I,J,K,L"];
    let produce = ["produce", "--source", "simulated", "--count", &count];
    bench.json(&[&produce[..], &symbols[..]].concat());
}

/// What a tool does while nobody is in the group.
fn set_offset(bench: &Bench<'_>, partition: i32, offset: i64) {
    commit(bench, partition, offset, "a tool");
}

fn commit(bench: &Bench<'_>, partition: i32, offset: i64, metadata: &str) {
    let commit = messages::OffsetCommitRequest {
        group_id: bench.group.as_str().into(),
        generation_id_or_member_epoch: -1,
        topics: vec![messages::OffsetCommitRequestTopic {
            name: bench.topic.as_str().into(),
            partitions: vec![messages::OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset,
                committed_leader_epoch: -1,
                committed_metadata: Some(metadata.into()),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let client = client(&bench.cluster.address);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // The coordinator of a group that nobody has asked for yet takes a moment.
    until("it is committed", || {
        let answer = runtime.block_on(client.request_any(&commit));
        answer.is_ok_and(|answer| answer.topics[0].partitions[0].error_code == 0)
    });
}

/// Reads to the end; exit code, rows of this run, and what it said.
fn to_the_end(bench: &Bench<'_>, sets: &[&str]) -> (Option<i32>, u64, String) {
    let mut command = bench.command(&["consume", "--until-end", "--format", "json"]);
    for set in sets {
        command.args(["--set", set]);
    }
    let output = command.finish();
    let rows = last_json(&output)["rows_written"].as_u64();
    (
        output.status.code(),
        rows.expect("a number"),
        stderr(&output),
    )
}

fn each(mut scene: impl FnMut(&Cluster, &str)) {
    for cluster in &clusters() {
        for protocol in cluster.protocols() {
            scene(cluster, &format!("Kafka.GroupProtocol={protocol}"));
        }
    }
}

#[test]
fn an_offset_beyond_the_end_goes_back_to_where_the_directory_ends() {
    each(|cluster, protocol| {
        let bench = Bench::new(cluster);
        make(&bench, 2);
        produce(&bench, 100);
        assert_eq!(to_the_end(&bench, &[protocol]).0, Some(0));
        let described = bench.json(&["group", "describe"]);
        let durable = described["partitions"][1]["committed"].as_i64();
        let durable = durable.expect("an offset");
        set_offset(&bench, 1, BEYOND);
        produce(&bench, 60);
        let (code, rows_written, said) = to_the_end(&bench, &[protocol]);
        let of = format!("{}, {protocol}: {said}", cluster.name);
        assert_eq!((code, rows_written), (Some(1), 60), "{of}");
        let wanted = [
            format!("topic {}, partition 1", bench.topic),
            format!("the offset {BEYOND} that is committed"),
            format!("reading goes on at {durable},"),
        ];
        for wanted in &wanted {
            assert!(said.contains(wanted), "{wanted}: {of}");
        }
        assert_eq!(rows(&bench.out()).len(), 160, "{of}");
        assert_eq!(bench.json(&["group", "describe"])["lag"], 0, "{of}");
        assert_eq!(to_the_end(&bench, &[protocol]).0, Some(0), "it is mended");
        let out = bench.out();
        let verified = bench.json(&["verify", out.to_str().expect("UTF-8")]);
        assert_eq!(verified["verdict"], "proven", "{of}: {verified}");
        assert_eq!(verified["rows"], 160, "{of}: {verified}");
    });
}

/// A leader that takes longer than a look waits for is asked until it answers: what it was not asked is not taken for right.
#[test]
fn a_leader_that_answers_late_is_waited_for() {
    const LIST_OFFSETS: i16 = 2;
    const LATE: Duration = Duration::from_secs(11);
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        make(&bench, 2);
        produce(&bench, 100);
        assert_eq!(to_the_end(&bench, &[]).0, Some(0));
        let described = bench.json(&["group", "describe"]);
        let durable = described["partitions"][1]["committed"].as_i64();
        let durable = durable.expect("an offset");
        set_offset(&bench, 1, BEYOND);
        produce(&bench, 60);
        // The answers to the first look at where the logs begin and end.
        let late = AtomicUsize::new(2);
        let less = |left: usize| left.checked_sub(1);
        let proxy = Framed::start("127.0.0.1:0", &cluster.address, move |api, _| {
            if api == LIST_OFFSETS && late.fetch_update(SeqCst, SeqCst, less).is_ok() {
                thread::sleep(LATE);
            }
        });
        let consume = ["consume", "--until-end", "--format", "json"];
        let mut command = bench.command_at(&proxy.address.to_string(), &consume);
        let output = command.finish();
        let said = stderr(&output);
        let of = format!("{}: {said}", cluster.name);
        assert_eq!(output.status.code(), Some(1), "{of}");
        assert_eq!(last_json(&output)["rows_written"], 60, "{of}");
        assert!(
            said.contains("do not say yet where their logs begin"),
            "{of}"
        );
        let goes_on = format!("reading goes on at {durable},");
        assert!(said.contains(&goes_on), "{goes_on}: {of}");
        assert_eq!(rows(&bench.out()).len(), 160, "{of}");
        assert_eq!(bench.json(&["group", "describe"])["lag"], 0, "{of}");
    }
}

#[test]
fn an_offset_beyond_the_end_goes_where_the_reset_says_when_the_directory_has_nothing() {
    each(|cluster, protocol| {
        for (reset, before, behind) in [("earliest", 50, 20), ("latest", 0, 20)] {
            let bench = Bench::new(cluster);
            make(&bench, 1);
            produce(&bench, 50);
            set_offset(&bench, 0, BEYOND);
            let reset = format!("Kafka.AutoOffsetReset={reset}");
            let sets = [protocol, &reset];
            let (code, rows_written, said) = to_the_end(&bench, &sets);
            let of = format!("{}, {protocol}, {reset}: {said}", cluster.name);
            assert_eq!((code, rows_written), (Some(1), before), "{of}");
            let goes_on = format!("reading goes on at {},", 50 - before);
            assert!(said.contains(&goes_on), "{goes_on}: {of}");
            assert!(said.contains(&format!("the offset {BEYOND} that")), "{of}");
            produce(&bench, 20);
            let (code, rows_written, said) = to_the_end(&bench, &sets);
            assert_eq!((code, rows_written), (Some(0), behind), "{of}\n{said}");
        }
    });
}

#[test]
fn a_member_that_stays_goes_back_into_the_log_and_reads_what_comes() {
    each(|cluster, protocol| {
        let bench = Bench::new(cluster);
        make(&bench, 1);
        produce(&bench, 40);
        assert_eq!(to_the_end(&bench, &[protocol]).0, Some(0));
        set_offset(&bench, 0, BEYOND);
        produce(&bench, 10);
        let command = bench.command(&["consume", "--set", protocol]);
        let running = Running::start(command, bench.directory.path().join("log"));
        until("what came is read", || rows_so_far(&bench.out()) == 50);
        produce(&bench, 30);
        until("what comes is read", || rows_so_far(&bench.out()) == 80);
        let (code, said) = running.stop();
        assert_eq!(code, Some(0), "{protocol}: {said}");
        assert!(said.contains("reading goes on at 40,"), "{said}");
    });
}

/// Another directory has read up to there, so the log has lost records; where the branches part, nobody can tell without a
/// leader epoch. The end that lies before the position is not taken for the end of what there is to read.
#[test]
fn a_log_that_ends_before_what_another_directory_has_read_does_not_end_well() {
    each(|cluster, protocol| {
        let bench = Bench::new(cluster);
        make(&bench, 1);
        produce(&bench, 50);
        let theirs = "stockflow/1 dir=00000000-0000-0000-0000-000000000007 batch=3";
        commit(&bench, 0, BEYOND, theirs);
        let (code, rows_written, said) = to_the_end(&bench, &[protocol]);
        let of = format!("{}, {protocol}: {said}", cluster.name);
        assert_eq!((code, rows_written), (Some(1), 0), "{of}");
        assert!(said.contains("the log ends before this offset"), "{of}");
        let wanted = [
            format!("the offset {BEYOND} that"),
            "reading goes on at 50".to_owned(),
        ];
        for wanted in wanted {
            assert!(said.contains(&wanted), "{wanted}: {of}");
        }
        produce(&bench, 20);
        let (code, rows_written, said) = to_the_end(&bench, &[protocol]);
        assert_eq!((code, rows_written), (Some(0), 20), "{of}\n{said}");
    });
}
