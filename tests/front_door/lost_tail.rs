//! Brokers that lost records which they had acknowledged, and took others since: what is lost is published when it is polled
//! again, and nothing else. `scripts/lost-tail` starts the brokers and says in the environment where they are, and how many seeds
//! are to be tried.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    support::*,
    truncation::{FOLLOWER, LEADER, elect_the_follower, make},
};

/// How the process ended that had published what was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Orderly,
    Killed,
    /// It goes on, and is given the events again.
    Never,
}

/// The number of the seed, and what it draws.
fn seeds() -> impl Iterator<Item = (u64, StdRng)> {
    let seeds = env::var("STOCKFLOW_LOST_TAIL_SEEDS").expect("scripts/lost-tail sets it");
    let seeds = seeds.parse().expect("a number");
    (0..seeds).map(|seed| (seed, StdRng::seed_from_u64(seed)))
}

fn brokers() -> Cluster {
    let brokers = env::var("STOCKFLOW_LOST_TAIL_BROKERS");
    Cluster::at(brokers.expect("scripts/lost-tail sets it"))
}

/// Another process of the same topic, with a `State.Directory` of its own.
fn stranger<'a>(bench: &Bench<'a>) -> Bench<'a> {
    Bench {
        directory: Directory::new(),
        cluster: bench.cluster,
        topic: bench.topic.clone(),
        group: unique("group"),
    }
}

/// Puts events into a file; their ids begin with the word.
fn write(bench: &Bench<'_>, name: &str, of: &[(&str, u32)]) -> PathBuf {
    let start = chrono::DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
    let mut lines = String::new();
    for (word, count) in of {
        for number in 0..*count {
            let time = start + chrono::TimeDelta::seconds(i64::from(number));
            lines += &format!(
                "{{\"TradeId\":\"{word}-{number:06}\",\"Symbol\":\"S{}\",\"Side\":\"Buy\",\"Quantity\":1,\"Price\":2.5,\"Timestamp\":\"{}\"}}\n",
                number % 16,
                time.format("%Y-%m-%dT%H:%M:%SZ")
            );
        }
    }
    let path = bench.directory.path().join(name);
    fs::write(&path, lines).expect("a file");
    path
}

fn replay(bench: &Bench<'_>, input: &Path) -> serde_json::Value {
    let input = input.to_str().expect("UTF-8");
    bench.json(&["produce", "--source", "replay", "--input", input])
}

/// How often each TradeId is on the topic. Without a group: its coordinator may be the broker that is down.
fn on_topic(bench: &Bench<'_>) -> BTreeMap<String, usize> {
    let tail = ["tail", "--from", "earliest", "-n", "1000000"];
    let mut lines = String::new();
    until("the topic can be read", || {
        let read = bench.command(&tail).args(["--format", "json"]).finish();
        lines = String::from_utf8(read.stdout).expect("UTF-8");
        read.status.success()
    });
    let mut found = BTreeMap::new();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let id = line["event"]["TradeId"].as_str().expect("an id").to_owned();
        *found.entry(id).or_default() += 1;
    }
    found
}

/// Publishes the file; gives the process where it goes on.
fn publish(bench: &Bench<'_>, all: &Path, new: u32, end: End) -> Option<Running> {
    if end == End::Orderly {
        assert_eq!(replay(bench, all)["published"], new);
        return None;
    }
    let pipe = bench.directory.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let mut command = bench.command(&["produce", "--source", "replay", "--format", "json"]);
    command.arg("--input").arg(all).arg("--input").arg(&pipe);
    let before: usize = on_topic(bench).len();
    let process = Running::start(command, bench.directory.path().join("log"));
    until("all of it is on the topic", || {
        on_topic(bench).len() >= before + new as usize
    });
    // Dropping it is a SIGKILL.
    Some(process).filter(|_| end == End::Never)
}

/// Offers everything again: what is not there is published, once.
fn what_was_lost_comes_back(
    bench: &Bench<'_>,
    all: &Path,
    ours: usize,
    running: Option<Running>,
    seed: &str,
) -> String {
    let is_ours = |id: &&String| !id.starts_with("foreign");
    let there = on_topic(bench);
    let lost = ours - there.keys().filter(is_ours).count();
    let (done, said) = match running {
        None => (replay(bench, all), String::new()),
        Some(mut running) => {
            // Longer than between two looks of a process that sees no other leader.
            sleep(Duration::from_secs(12));
            fs::copy(all, bench.directory.path().join("pipe")).expect("a reader of the pipe");
            let status = wait(&mut running.process, Duration::from_secs(120));
            let said = running.said();
            assert!(
                status.is_some_and(|status| status.success()),
                "{seed}: {said}"
            );
            let last = said.lines().last().unwrap_or_default();
            (serde_json::from_str(last).expect("JSON"), said)
        }
    };
    let skipped = done["duplicates_skipped"].as_u64().expect("a number") as usize;
    let first_time = if said.is_empty() { 0 } else { ours };
    // Of the running process, what it skipped before counts, too.
    let (low, high) = (ours - lost, ours - lost + first_time);
    assert!(
        (low..=high).contains(&skipped),
        "{seed}: {lost} lost, {done}\n{said}"
    );
    let after = on_topic(bench);
    let once = after.values().all(|count| *count == 1);
    assert!(once, "{seed}: {lost} lost, {done}\n{said}");
    let found = after.keys().filter(is_ours).count();
    assert_eq!(found, ours, "{seed}: {lost} lost, {done}\n{said}");
    format!("{seed}: {ours} published, {lost} of them lost and published again")
}

/// The disk of the only broker is put back as it was earlier: all of it, or the logs of the topic alone.
#[test]
#[ignore = "needs a real broker of its own: scripts/lost-tail"]
fn a_disk_that_is_put_back() {
    let cluster = brokers();
    let directory = env::var("STOCKFLOW_KAFKA_DIR").expect("scripts/lost-tail sets it");
    let (now, then) = (
        Path::new(&directory).join("data1"),
        Path::new(&directory).join("data1.then"),
    );
    let copy = |from: &Path, to: &Path| {
        let _ = fs::remove_dir_all(to);
        let copied = Command::new("cp").arg("-a").args([from, to]).status();
        assert!(copied.expect("cp").success());
    };
    for (seed, mut random) in seeds() {
        let bench = Bench::new(&cluster);
        let end = [End::Orderly, End::Killed, End::Never][seed as usize % 3];
        let whole = seed % 2 == 0;
        let (early, late) = (random.random_range(1..300), random.random_range(1..300));
        let foreign = random.random_range(1..600);
        replay(&bench, &write(&bench, "early", &[("early", early)]));
        kafka_script(&["down"]);
        copy(&now, &then);
        kafka_script(&["up"]);
        let all = write(&bench, "all", &[("early", early), ("late", late)]);
        let running = publish(&bench, &all, late, end);
        kafka_script(&["down"]);
        if whole {
            copy(&then, &now);
        } else {
            for partition in 0..3 {
                let name = format!("{}-{partition}", bench.topic);
                copy(&then.join(&name), &now.join(&name));
            }
        }
        kafka_script(&["up"]);
        let other = stranger(&bench);
        replay(&other, &write(&other, "foreign", &[("foreign", foreign)]));
        let seed = format!("seed {seed}, {end:?}, all of the disk: {whole}, {foreign} foreign");
        let ours = (early + late) as usize;
        let told = what_was_lost_comes_back(&bench, &all, ours, running, &seed);
        println!("{told}");
    }
}

/// A follower that has not got everything is made the leader.
#[test]
#[ignore = "needs three real brokers of its own: scripts/lost-tail"]
fn an_unclean_election() {
    let cluster = brokers();
    for (seed, mut random) in seeds() {
        let bench = Bench::new(&cluster);
        make(&bench);
        let end = [End::Orderly, End::Killed, End::Never][seed as usize % 3];
        let (early, late) = (random.random_range(1..300), random.random_range(1..300));
        let foreign = random.random_range(1..600);
        replay(&bench, &write(&bench, "early", &[("early", early)]));
        kafka_script(&["kill", FOLLOWER]);
        let all = write(&bench, "all", &[("early", early), ("late", late)]);
        let running = publish(&bench, &all, late, end);
        kafka_script(&["kill", LEADER]);
        kafka_script(&["revive", FOLLOWER]);
        elect_the_follower(&bench);
        let other = stranger(&bench);
        replay(&other, &write(&other, "foreign", &[("foreign", foreign)]));
        let seed = format!("seed {seed}, {end:?}, {foreign} foreign");
        let ours = (early + late) as usize;
        let told = what_was_lost_comes_back(&bench, &all, ours, running, &seed);
        println!("{told}");
        kafka_script(&["revive", LEADER]);
    }
}
