//! Where a group begins under `latest`: at the end of what it met at its very first start, and at the beginning of what
//! appeared later.

use crate::{foreign_clients::run, support::*};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka");
const LATEST: &str = "Kafka.AutoOffsetReset=latest";

fn make(bench: &Bench<'_>, partitions: i32) {
    let address = &bench.cluster.address;
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(address, &bench.topic, partitions, &[]));
}

fn produce(bench: &Bench<'_>, count: &str) {
    let symbols = ["--symbol", "A,B,C,D,E,F,G,H,I,J,K,L"];
    let produce = ["produce", "--source", "simulated", "--count", count];
    let done = bench.json(&[&produce[..], &symbols[..]].concat());
    assert_eq!(done["published"].to_string(), count, "{done}");
}

fn grow(bench: &Bench<'_>, partitions: &str) {
    let topics = ["topics", "--bootstrap-server", &bench.cluster.address];
    let alter = ["--alter", "--topic", &bench.topic, "--partitions"];
    run(
        SCRIPT,
        &[&topics[..], &alter[..], &[partitions]].concat(),
        "",
    );
}

/// The same topic and group, in a directory of its own.
fn elsewhere<'a>(bench: &Bench<'a>) -> Bench<'a> {
    Bench {
        directory: Directory::new(),
        cluster: bench.cluster,
        topic: bench.topic.clone(),
        group: bench.group.clone(),
    }
}

fn follow(bench: &Bench<'_>, protocol: &str) -> Running {
    let protocol = format!("Kafka.GroupProtocol={protocol}");
    let mut command = bench.command(&["consume", "--set", LATEST, "--set", &protocol]);
    command.args(["--set", "Kafka.MetadataMaxAgeMs=1000"]);
    Running::start(command, bench.directory.path().join("log"))
}

fn to_the_end(bench: &Bench<'_>, protocol: &str) -> u64 {
    let protocol = format!("Kafka.GroupProtocol={protocol}");
    let done = bench.json(&[
        "consume",
        "--until-end",
        "--set",
        LATEST,
        "--set",
        &protocol,
    ]);
    done["rows_written"].as_u64().expect("a number")
}

#[test]
fn a_group_under_latest_reads_partitions_that_appear_later_from_their_beginning() {
    let left_out = "left out: topics that grow, because STOCKFLOW_TEST_KAFKA names no broker";
    let Some(cluster) = Cluster::kafka(left_out) else {
        return;
    };
    for protocol in cluster.protocols() {
        let bench = Bench::new(&cluster);
        make(&bench, 1);
        produce(&bench, "50");
        // The first start meets one partition, and leaves what is in it.
        assert_eq!(to_the_end(&bench, protocol), 0, "{protocol}");
        grow(&bench, "3");
        produce(&bench, "100");
        assert_eq!(to_the_end(&bench, protocol), 100, "stopped, {protocol}");
        // A host that knows nothing, and is told by the group's commits, also those that `group reset` made.
        grow(&bench, "6");
        produce(&bench, "100");
        bench.json(&["group", "reset", "--shift-by", "0", "--execute"]);
        let other = elsewhere(&bench);
        assert_eq!(to_the_end(&other, protocol), 100, "elsewhere, {protocol}");

        let running = follow(&other, protocol);
        until("it is assigned", || running.said().contains("assigned"));
        grow(&bench, "9");
        produce(&bench, "100");
        until("all is read while it runs", || {
            rows_so_far(&other.out()) == 200
        });
        let (code, said) = running.stop();
        assert_eq!(code, Some(0), "{protocol}: {said}");
        assert_eq!(rows(&bench.out()).len(), 100, "{protocol}");
    }
}

/// Whoever had the old topic reads the new one from its beginning, and tells hosts that come later.
#[test]
fn a_group_under_latest_reads_a_recreated_topic_from_its_beginning() {
    for cluster in &clusters() {
        for protocol in cluster.protocols() {
            let bench = Bench::new(cluster);
            make(&bench, 2);
            produce(&bench, "50");
            assert_eq!(to_the_end(&bench, protocol), 0, "{protocol}");
            tokio::runtime::Runtime::new()
                .expect("a runtime")
                .block_on(delete_topic(&cluster.address, &bench.topic));
            std::thread::sleep(std::time::Duration::from_secs(2));
            make(&bench, 2);
            produce(&bench, "40");
            let of = format!("{}, {protocol}", cluster.name);
            assert_eq!(to_the_end(&bench, protocol), 40, "{of}");
            produce(&bench, "30");
            assert_eq!(to_the_end(&elsewhere(&bench), protocol), 30, "{of}");
        }
    }
}

/// The rows of all members, their columns cut to TradeId and partition; each stands in one directory alone.
fn rows_of(members: &[&Bench<'_>]) -> Vec<String> {
    let mut all: Vec<String> = members
        .iter()
        .filter(|member| member.out().exists())
        .flat_map(|member| rows(&member.out()))
        .collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "a row is there twice");
    all
}

fn so_far(members: &[&Bench<'_>]) -> usize {
    members.iter().map(|of| rows_so_far(&of.out())).sum()
}

/// Whether the group has an offset for each of so many partitions.
fn is_begun(bench: &Bench<'_>, partitions: usize) -> bool {
    let described = bench.command(&["group", "describe", "--format", "json"]);
    let described = { described }.finish();
    if !described.status.success() {
        return false;
    }
    let described = last_json(&described);
    let all = described["partitions"].as_array().expect("partitions");
    all.len() == partitions && all.iter().all(|of| !of["committed"].is_null())
}

const COLUMNS: &str = "Output.Columns=Symbol,Side,Quantity,Price,Timestamp,TradeId,Partition";

/// A member of the group under `latest`, that knows itself by its rows' ids.
fn member(bench: &Bench<'_>, protocol: &str, more: &[&str]) -> Running {
    let protocol = format!("Kafka.GroupProtocol={protocol}");
    let sets = [
        LATEST,
        COLUMNS,
        &protocol,
        "Kafka.MetadataMaxAgeMs=1000",
        "Kafka.SessionTimeoutMs=6000",
        "Kafka.HeartbeatIntervalMs=500",
        "Output.CommitIntervalMs=200",
    ];
    let mut command = bench.command(&["consume"]);
    for set in sets.iter().chain(more) {
        command.args(["--set", set]);
    }
    let log = unique("log");
    Running::start(command, bench.directory.path().join(log))
}

#[test]
fn two_members_that_begin_at_once_leave_what_was_there_and_read_all_that_comes() {
    for cluster in &clusters() {
        for protocol in cluster.protocols() {
            let of = format!("{}, {protocol}", cluster.name);
            let one = Bench::new(cluster);
            make(&one, 4);
            produce(&one, "60");
            let other = elsewhere(&one);
            let running = [&one, &other].map(|bench| member(bench, protocol, &[]));
            until("the group has begun", || is_begun(&one, 4));
            produce(&one, "120");
            until("all that came is read", || so_far(&[&one, &other]) >= 120);
            let mut wanted = 120;
            if cluster.process().is_none() {
                grow(&one, "7");
                produce(&one, "140");
                wanted += 140;
                until("all that appeared is read", || {
                    so_far(&[&one, &other]) >= wanted
                });
            }
            for running in running {
                let (code, said) = running.stop();
                assert_eq!(code, Some(0), "{of}: {said}");
            }
            assert_eq!(rows_of(&[&one, &other]).len(), wanted, "{of}");
        }
    }
}

/// The first member has seen one partition, and is held up before it can commit that; meanwhile more appear, and a second
/// member begins that knows nothing of it.
#[test]
fn what_appears_between_a_members_start_and_its_first_commit_is_not_left_out() {
    let left_out = "left out: topics that grow, because STOCKFLOW_TEST_KAFKA names no broker";
    let Some(cluster) = Cluster::kafka(left_out) else {
        return;
    };
    for protocol in cluster.protocols() {
        let one = Bench::new(&cluster);
        make(&one, 1);
        produce(&one, "30");
        let slow = member(&one, protocol, &["Logging.Level=debug"]);
        until("it has seen the topic", || {
            slow.said().contains("the group begins")
        });
        signal(&slow.process, "STOP");
        grow(&one, "6");
        produce(&one, "90");
        let other = elsewhere(&one);
        let quick = member(&other, protocol, &[]);
        until("the second one begins", || {
            quick.said().contains("no offset is committed")
        });
        produce(&one, "90");
        signal(&slow.process, "CONT");
        nothing_later_is_left_out([(&one, slow), (&other, quick)], protocol);
    }
}

/// As there, and the second member has read, and knows nothing of the first one when it has to give up what it has read:
/// that one has not been in the group since.
#[test]
fn what_a_member_that_knew_less_has_read_is_begun_again_by_one_that_knows_more() {
    let left_out = "left out: topics that grow, because STOCKFLOW_TEST_KAFKA names no broker";
    let Some(cluster) = Cluster::kafka(left_out) else {
        return;
    };
    for protocol in cluster.protocols() {
        let one = Bench::new(&cluster);
        make(&one, 1);
        produce(&one, "30");
        assert_eq!(to_the_end(&one, protocol), 0, "{protocol}");
        the_group_is_forgotten(&one);
        // Of so many the first one gets some that the second has read, whatever it gets.
        grow(&one, "6");
        produce(&one, "90");
        let other = elsewhere(&one);
        let quick = member(&other, protocol, &[]);
        until("the second one begins", || is_begun(&one, 6));
        produce(&one, "180");
        until("it has read", || so_far(&[&other]) == 180);
        let knows = member(&one, protocol, &[]);
        nothing_later_is_left_out([(&one, knows), (&other, quick)], protocol);
    }
}

/// The group is deleted; the directory stays.
fn the_group_is_forgotten(bench: &Bench<'_>) {
    let mut delete = bench.command(&["group", "delete"]);
    let done = delete.finish();
    assert!(done.status.success(), "{done:?}");
}

/// Waits until two members have all that ever was on the partitions that appeared later, and lets them end.
fn nothing_later_is_left_out(members: [(&Bench<'_>, Running); 2], protocol: &str) {
    let benches = [members[0].0, members[1].0];
    let all = Bench {
        group: unique("all"),
        ..elsewhere(benches[0])
    };
    all.json(&["consume", "--until-end", "--set", COLUMNS]);
    let later = |members: &[&Bench<'_>]| {
        let mut rows = rows_of(members);
        rows.retain(|row| !row.ends_with(",0"));
        rows
    };
    let wanted = later(&[&all]);
    assert!(!wanted.is_empty(), "nothing was on the new partitions");
    // Whoever began too late notices it by and by.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(180);
    let said = loop {
        let said = members.each_ref().map(|(_, running)| running.said());
        let said = said.join("\n");
        let count: usize = benches.map(later_so_far).iter().sum();
        if count == wanted.len() {
            break said;
        }
        let now = std::time::Instant::now();
        assert!(now < end, "{protocol}: {count} of {}: {said}", wanted.len());
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    for (_, running) in members {
        let (code, _) = running.stop();
        assert_eq!(code, Some(0), "{protocol}: {said}");
    }
    assert_eq!(later(&benches), wanted, "{protocol}: {said}");
}

/// How many rows of partitions that appeared later a directory holds, that may be written to meanwhile.
fn later_so_far(bench: &Bench<'_>) -> usize {
    let files = std::fs::read_dir(bench.out()).into_iter().flatten();
    let texts = files.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok());
    let later = |text: String| {
        let rows = text.lines().skip(1);
        rows.filter(|row| !row.is_empty() && !row.ends_with(",0"))
            .count()
    };
    texts.map(later).sum()
}

/// Members come, stop and are killed while the topic grows: after the group's first start nothing is left out.
#[test]
#[ignore = "takes minutes; scripts/growth runs it"]
fn a_group_whose_topic_grows_under_latest_loses_nothing_in_ten_storms() {
    use rand::{RngExt as _, SeedableRng as _};

    let cluster = Cluster::kafka("left out: storms under latest").expect("STOCKFLOW_TEST_KAFKA");
    for seed in 0..10 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let protocols = cluster.protocols();
        let protocol = protocols[seed as usize % protocols.len()];
        let one = Bench::new(&cluster);
        make(&one, 1);
        produce(&one, "20");
        let benches = [elsewhere(&one), elsewhere(&one), one];
        let of_topic = &benches[2];
        let mut members: [Option<Running>; 3] = [None, None, None];
        members[0] = Some(member(&benches[0], protocol, &[]));
        until("the group has begun", || is_begun(of_topic, 1));
        let (mut partitions, mut published) = (1, 0);
        for _ in 0..12 {
            let at = random.random_range(0..3);
            match random.random_range(0..5) {
                0 | 1 if partitions < 12 => {
                    partitions += random.random_range(1..3);
                    grow(of_topic, &partitions.to_string());
                }
                2 => members[at] = None,
                3 => {
                    if let Some(member) = members[at].take() {
                        let (code, said) = member.stop();
                        assert_eq!(code, Some(0), "seed {seed}: {said}");
                    }
                }
                _ => {
                    let start = || member(&benches[at], protocol, &[]);
                    members[at].get_or_insert_with(start);
                }
            }
            produce(of_topic, "40");
            published += 40;
        }
        for (at, member_at) in members.iter_mut().enumerate() {
            member_at.get_or_insert_with(|| member(&benches[at], protocol, &[]));
        }
        let all = [&benches[0], &benches[1], &benches[2]];
        until("all is read", || so_far(&all) >= published);
        for member in members.into_iter().flatten() {
            let (code, said) = member.stop();
            assert_eq!(code, Some(0), "seed {seed}: {said}");
        }
        assert_eq!(rows_of(&all).len(), published, "seed {seed}, {protocol}");
        println!(
            "seed {seed}, {protocol}: {published} records on {partitions} partitions, each once"
        );
    }
}
