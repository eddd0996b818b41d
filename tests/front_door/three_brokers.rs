//! What needs three real brokers that may be killed: `scripts/storm` starts them and says in the environment where they are.

use std::{
    env, fs,
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};

use crate::{proxy::Proxy, storm, support::*};

fn number(name: &str) -> u64 {
    let value = env::var(name).unwrap_or_else(|_| panic!("scripts/storm sets {name}"));
    value.parse().expect("a number")
}

/// The brokers' first port; one follows the other by ten.
fn port() -> u64 {
    number("STOCKFLOW_STORM_PORT")
}

/// A proxy before each broker: they advertise the port five above their own.
fn proxies() -> (Vec<Proxy>, Cluster) {
    let proxies: Vec<Proxy> = (0..3)
        .map(|broker| {
            let port = port() + 10 * broker;
            Proxy::start(&format!("127.0.0.1:{}", port + 5), move || {
                format!("127.0.0.1:{port}")
            })
        })
        .collect();
    let addresses: Vec<_> = proxies
        .iter()
        .map(|proxy| proxy.address.to_string())
        .collect();
    (proxies, Cluster::at(addresses.join(",")))
}

fn make(topic: &str, partitions: &str) {
    let bootstrap = format!("127.0.0.1:{}", port());
    let create = ["topics", "--bootstrap-server", &bootstrap, "--create"];
    let of = ["--topic", topic, "--partitions", partitions];
    let copies = ["--replication-factor", "3"];
    let in_sync = ["--config", "min.insync.replicas=2"];
    kafka_script(&[&create[..], &of[..], &copies[..], &in_sync[..]].concat());
}

/// Kills each broker in turn, for long enough that another takes over its partitions, and in the end all at once.
fn kill_brokers(all: bool) {
    const BROKERS: [&str; 3] = ["1", "2", "3"];
    for broker in BROKERS {
        thread::sleep(Duration::from_millis(1_500));
        kafka_script(&["kill", broker]);
        thread::sleep(Duration::from_secs(4));
        kafka_script(&["revive", broker]);
    }
    if all {
        for broker in BROKERS {
            kafka_script(&["kill", broker]);
        }
        thread::sleep(Duration::from_secs(2));
        // None is ready before two are.
        thread::scope(|scope| {
            for broker in BROKERS {
                scope.spawn(move || kafka_script(&["revive", broker]));
            }
        });
    }
}

#[test]
#[ignore = "needs three real brokers of its own: scripts/storm"]
fn everything_goes_wrong_at_once() {
    let seed = number("STOCKFLOW_STORM_SEED");
    let count = number("STOCKFLOW_STORM_EVENTS");
    let kills = number("STOCKFLOW_STORM_KILLS") as u32;
    let all = number("STOCKFLOW_STORM_ALL") > 0;
    let transactions = number("STOCKFLOW_STORM_TRANSACTIONS") > 0;
    let (proxies, cluster) = proxies();
    let bench = Bench::new(&cluster);
    let input = bench.directory.path().join("events.ndjson");
    fs::write(&input, storm::events(count)).expect("a file");
    let input = input.to_str().expect("UTF-8");
    let mut random = StdRng::seed_from_u64(seed);
    make(&bench.topic, "3");
    for (proxy, place) in proxies.iter().zip(0..) {
        proxy.storm(seed * 3 + place);
    }
    let started = Instant::now();
    thread::scope(|scope| {
        let brokers = scope.spawn(|| kill_brokers(all));
        storm::produce(&bench, input, transactions, kills, &mut random, 5_000);
        brokers.join().expect("the brokers are back");
    });
    let faults: u64 = proxies.iter().map(Proxy::calm).sum();
    storm::check(&storm::on_topic(&bench), count, seed);
    println!(
        "seed {seed}: {count} events once and in order; {} kills of brokers, {kills} of the producer, {faults} faults{}, {:.0} s",
        if all { 6 } else { 3 },
        if transactions {
            ", in transactions"
        } else {
            ""
        },
        started.elapsed().as_secs_f64()
    );
}

/// What a killed producer wrote is at the end of the leader's log, and no follower has it: it may come to count, and may
/// be cut off. The next start waits until that is decided.
#[test]
#[ignore = "needs three real brokers of its own: scripts/storm"]
fn a_tail_that_is_not_replicated_is_waited_for() {
    const COUNT: u64 = 2_000;
    let (_proxies, cluster) = proxies();
    let bench = Bench::new(&cluster);
    let input = bench.directory.path().join("events.ndjson");
    fs::write(&input, storm::events(COUNT)).expect("a file");
    let input = input.to_str().expect("UTF-8");
    make(&bench.topic, "1");
    let bootstrap = format!("127.0.0.1:{}", port());
    let describe = ["topics", "--bootstrap-server", &bootstrap, "--describe"];
    let described = kafka_script(&[&describe[..], &["--topic", &bench.topic]].concat());
    let leader = described
        .split("Leader: ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or_else(|| panic!("{described}"));
    let directory = env::var("STOCKFLOW_KAFKA_DIR").expect("scripts/storm sets it");
    let signal_followers = |name: &str| {
        for broker in ["1", "2", "3"] {
            if broker != leader {
                let file = fs::read_to_string(format!("{directory}/node{broker}.pid"));
                let file = file.expect("a process id");
                let id = file.lines().next().expect("a process id");
                let sent = Command::new("kill")
                    .args([&format!("-{name}"), id])
                    .status();
                assert!(sent.expect("kill runs").success());
            }
        }
    };
    let log = format!(
        "{directory}/data{leader}/{}-0/00000000000000000000.log",
        bench.topic
    );
    let logged = || fs::metadata(&log).map_or(0, |log| log.len());
    let spawn = |more: &[&str]| {
        bench
            .command(&["produce", "--source", "replay", "--input", input])
            .args(["--format", "json"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs")
    };
    let more_than = |before: u64| {
        let end = Instant::now() + Duration::from_secs(60);
        while logged() <= before && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        logged() > before
    };
    // It has its producer id before the controllers are frozen with the followers, and events for ten seconds.
    let mut first = spawn(&["--speed", "2"]);
    assert!(more_than(0), "nothing was written");
    thread::sleep(Duration::from_secs(1));
    signal_followers("STOP");
    let grown = more_than(logged());
    first.kill().expect("a process");
    let _ = first.wait();
    let tail = logged();
    let mut second = spawn(&[]);
    thread::sleep(Duration::from_secs(3));
    let waits = second.try_wait().expect("a child").is_none();
    let untouched = logged() == tail;
    signal_followers("CONT");
    let status = wait(&mut second, Duration::from_secs(120));
    let output = second.finish();
    let text = stderr(&output);
    assert!(grown, "nothing was written behind the followers\n{text}");
    assert!(waits && untouched, "it did not wait\n{text}");
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{text}");
    let done = last_json(&output);
    let known = done["duplicates_skipped"].as_u64().expect("a number");
    let published = done["published"].as_u64().expect("a number");
    assert_eq!(known + published, COUNT, "{done}");
    storm::check(&storm::on_topic(&bench), COUNT, 0);
    println!("an unreplicated tail in {tail} bytes: {known} events found, {published} published");
}

/// Events whose ids begin with the word, one of each of so many symbols.
fn lines(word: &str) -> String {
    let line = |number: u32| {
        format!(
            "{{\"TradeId\":\"{word}-{number}\",\"Symbol\":\"S{number}\",\"Side\":\"Buy\",\"Quantity\":1,\"Price\":2.5,\"Timestamp\":\"2025-11-06T20:59:00Z\"}}\n"
        )
    };
    (0..SYMBOLS).map(line).collect()
}

const SYMBOLS: u32 = 48;

/// The TradeIds that are on these partitions, in order.
fn ids(bench: &Bench<'_>, partitions: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for partition in partitions {
        let tail = [
            "tail", "--from", "earliest", "-n", "100000", "-p", partition,
        ];
        let mut lines = String::new();
        until("the partition can be read", || {
            let read = bench.command(&tail).args(["--format", "json"]).finish();
            lines = String::from_utf8(read.stdout).expect("UTF-8");
            read.status.success()
        });
        for line in lines.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            found.push(line["event"]["TradeId"].as_str().expect("an id").to_owned());
        }
    }
    found.sort_unstable();
    found
}

/// A partition whose only broker is dead holds up no other, also when one of these gets another leader: what is on its way
/// to the dead one waits, what goes to the others is published, and each event is there once in the end.
#[test]
#[ignore = "needs three real brokers of its own: scripts/storm"]
fn a_partition_without_a_leader_holds_up_no_other() {
    const DEAD: &str = "3";
    const LIVING: [&str; 2] = ["1", "2"];
    const ALL: [&str; 3] = ["0", "1", "2"];
    let (_proxies, cluster) = proxies();
    let bench = Bench::new(&cluster);
    let bootstrap = format!("127.0.0.1:{}", port());
    let topics = ["topics", "--bootstrap-server", &bootstrap, "--topic"];
    // The second gets another leader, the third keeps its own, the first is there alone, which no topic is made with.
    let on = ["--create", "--replica-assignment", "3:1,3:1,1:2"];
    let in_sync = ["--config", "min.insync.replicas=1"];
    kafka_script(&[&topics[..], &[&*bench.topic], &on[..], &in_sync[..]].concat());
    let alone = bench.directory.path().join("alone.json");
    let json = format!(
        "{{\"version\":1,\"partitions\":[{{\"topic\":\"{}\",\"partition\":0,\"replicas\":[{DEAD}]}}]}}",
        bench.topic
    );
    fs::write(&alone, json).expect("a file");
    let class = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
    let reassign = ["tool", class, "--bootstrap-server", &bootstrap, "--execute"];
    let by = ["--reassignment-json-file", alone.to_str().expect("UTF-8")];
    kafka_script(&[&reassign[..], &by[..]].concat());
    let described = || kafka_script(&[&topics[..], &[&*bench.topic, "--describe"]].concat());
    until("the first partition is there alone", || {
        described().contains(&format!("Partition: 0\tLeader: {DEAD}\tReplicas: {DEAD}\t"))
    });
    let log = bench.directory.path().join("log");
    let file = fs::File::create(&log).expect("a log");
    let mut child = bench
        .command(&["produce", "--source", "replay", "--input", "-"])
        .args(["--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(file)
        .spawn()
        .expect("the binary runs");
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let mut input = child.stdin.take().expect("its input");
    let mut poll = |words: &[&str]| {
        let text: String = words.iter().map(|word| lines(word)).collect();
        input.write_all(text.as_bytes()).expect("a reader");
    };
    poll(&["a"]);
    until("the first poll is on the topic", || {
        ids(&bench, &ALL).len() == SYMBOLS as usize
    });
    let living: Vec<String> = ids(&bench, &LIVING)
        .iter()
        .map(|id| id.trim_start_matches("a-").to_owned())
        .collect();
    assert!((1..SYMBOLS as usize).contains(&living.len()), "{living:?}");
    let of_living = |words: &[&str]| {
        let mut ids = Vec::new();
        for word in words {
            ids.extend(living.iter().map(|of| format!("{word}-{of}")));
        }
        ids.sort_unstable();
        ids
    };
    kafka_script(&["kill", DEAD]);
    // On their way while nobody leads anything.
    poll(&["a", "b"]);
    until("another broker leads the second partition", || {
        let described = described();
        let leads = |partition: &str, leader: &str| {
            let of = format!("Partition: {partition}\tLeader: {leader}");
            described.contains(&of)
        };
        leads("0", "none") && leads("1", "1")
    });
    let mut sent = vec!["a", "b"];
    for word in ["c", "d", "e"] {
        // Longer than between two looks at who leads.
        thread::sleep(Duration::from_secs(2));
        poll(&[&sent[..], &[word]].concat());
        sent.push(word);
        let wanted = of_living(&sent);
        until(&format!("{word} is on the others; {}", said()), || {
            ids(&bench, &LIVING) == wanted
        });
    }
    kafka_script(&["revive", DEAD]);
    poll(&[&sent[..], &["f"]].concat());
    sent.push("f");
    drop(input);
    let status = wait(&mut child, Duration::from_secs(120));
    let output = child.finish();
    let text = said();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{text}");
    let mut wanted = Vec::new();
    for word in &sent {
        wanted.extend((0..SYMBOLS).map(|number| format!("{word}-{number}")));
    }
    wanted.sort_unstable();
    assert_eq!(ids(&bench, &ALL), wanted, "{text}");
    let done = last_json(&output);
    let polled = SYMBOLS * (1 + 2 + 3 + 4 + 5 + 6);
    let published = SYMBOLS * sent.len() as u32;
    assert_eq!(done["published"], published, "{done}");
    assert_eq!(done["duplicates_skipped"], polled - published, "{done}");
    println!(
        "a dead partition: {} of {SYMBOLS} symbols went on, {published} events once each",
        living.len()
    );
}
