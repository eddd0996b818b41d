//! Members of a group: static ones, more of them than partitions, settings that a protocol does not know, directories that
//! are new or copied.

use std::{path::Path, time::Duration};

use crate::support::*;

fn produce(bench: &Bench<'_>, count: u32) {
    let count = count.to_string();
    bench.json(&["produce", "--source", "simulated", "--count", &count]);
}

fn consumer(bench: &Bench<'_>, name: &str, sets: &[String]) -> Running {
    let mut command = bench.command(&["consume", "--out", name]);
    for set in sets {
        command.args(["--set", set]);
    }
    Running::start(command, bench.directory.path().join(format!("{name}.log")))
}

fn so_far(bench: &Bench<'_>, names: &[&str]) -> usize {
    let count = |name: &&str| rows_so_far(&bench.directory.path().join(name));
    names.iter().map(count).sum()
}

/// How many partitions a topic has that nobody made before it was written.
const PARTITIONS: usize = 3;

/// Whether the group is stable with these members, each with partitions, and all partitions are theirs.
fn is_settled(bench: &Bench<'_>, instances: [&str; 2]) -> bool {
    let output = bench
        .command(&["group", "describe", "--format", "json"])
        .finish();
    // There is no group yet, at first.
    if !output.status.success() {
        return false;
    }
    let found = last_json(&output);
    let partitions = |instance: &str| {
        let members = found["members"].as_array()?;
        let member = members
            .iter()
            .find(|member| member["instance"] == *instance)?;
        let partitions = member["partitions"][&bench.topic].as_array()?;
        Some(partitions.len())
    };
    let shares = instances.map(|instance| partitions(instance).unwrap_or_default());
    found["state"] == "Stable"
        && shares.iter().all(|share| *share > 0)
        && shares.iter().sum::<usize>() == PARTITIONS
}

/// How many partitions a member has after the last assignment that it told.
fn holds(said: &str) -> usize {
    let Some(line) = said.lines().rfind(|line| line.contains("assigned")) else {
        return 0;
    };
    let after = |name: &str| line.split_once(name).map(|(_, rest)| rest);
    let given = after("given=[").and_then(|rest| rest.split(']').next());
    let given = given.unwrap_or_else(|| panic!("no partitions in {line}"));
    let kept = after("kept=").and_then(|rest| rest.split_whitespace().next());
    let kept: usize = kept.and_then(|kept| kept.parse().ok()).expect("a number");
    kept + given.split(", ").filter(|of| !of.is_empty()).count()
}

/// A static member that comes back within its session is given what it had, and the others notice nothing (KIP-345).
#[test]
fn a_static_member_restarts_without_a_rebalance() {
    for cluster in &clusters() {
        for protocol in cluster.protocols() {
            let bench = Bench::new(cluster);
            produce(&bench, 400);
            let sets = |instance: &str| {
                [
                    format!("Kafka.GroupProtocol={protocol}"),
                    format!("Kafka.GroupInstanceId={instance}"),
                    "Kafka.SessionTimeoutMs=30000".to_owned(),
                    "Output.CommitIntervalMs=100".to_owned(),
                ]
            };
            let stays = consumer(&bench, "a", &sets("host-a"));
            let goes = consumer(&bench, "b", &sets("host-b"));
            until("all is read", || so_far(&bench, &["a", "b"]) == 400);
            // A cooperative rebalance takes two rounds: what is counted before the second is not the whole of it.
            until("the group has settled", || {
                is_settled(&bench, ["host-a", "host-b"])
                    && holds(&stays.said()) + holds(&goes.said()) == PARTITIONS
            });
            let told = |said: &str| said.matches("assigned").count();
            let before = told(&stays.said());
            let (code, said) = goes.stop();
            assert_eq!(code, Some(0), "{said}");
            produce(&bench, 300);
            let comes_back = consumer(&bench, "b", &sets("host-b"));
            until("it reads on", || so_far(&bench, &["a", "b"]) == 700);
            let after = stays.said();
            assert_eq!(told(&after), before, "{} {protocol}: {after}", cluster.name);
            for member in [stays, comes_back] {
                let (code, said) = member.stop();
                assert_eq!(code, Some(0), "{said}");
            }
        }
    }
}

/// More members than partitions: also who is given none ends when all is read, though nobody gives one up.
#[test]
fn a_surplus_member_ends_too() {
    for cluster in &clusters() {
        for protocol in cluster.protocols() {
            let bench = Bench::new(cluster);
            tokio::runtime::Runtime::new()
                .expect("a runtime")
                .block_on(make_topic(&cluster.address, &bench.topic, 1, &[]));
            produce(&bench, 200);
            let set = format!("Kafka.GroupProtocol={protocol}");
            let stays = consumer(&bench, "a", std::slice::from_ref(&set));
            until("all is read", || so_far(&bench, &["a"]) == 200);
            let mut command = bench.command(&["consume", "--out", "b", "--until-end"]);
            command.args(["--set", &set]);
            let mut surplus = Running::start(command, bench.directory.path().join("b.log"));
            let ended = wait(&mut surplus.process, Duration::from_secs(120));
            let said = surplus.said();
            let code = ended.and_then(|status| status.code());
            assert_eq!(code, Some(0), "{} {protocol}: {said}", cluster.name);
            let (code, said) = stays.stop();
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(so_far(&bench, &["a", "b"]), 200);
        }
    }
}

#[test]
fn settings_of_the_classic_protocol_are_not_passed_over_under_the_other() {
    let left_out = "left out: KIP-848, because STOCKFLOW_TEST_KAFKA names no broker";
    let Some(cluster) = Cluster::kafka(left_out) else {
        return;
    };
    let bench = Bench::new(&cluster);
    produce(&bench, 10);
    for protocol in cluster.protocols() {
        let run = |sets: &[&str]| {
            let protocol = format!("Kafka.GroupProtocol={protocol}");
            let mut command = bench.command(&["consume", "--until-end", "--set", &protocol]);
            for set in sets {
                command.args(["--set", set]);
            }
            let output = command.finish();
            assert!(output.status.success(), "{}", stderr(&output));
            stderr(&output)
        };
        let given = [
            "Kafka.SessionTimeoutMs=20000",
            "Kafka.PartitionAssignmentStrategy=range",
        ];
        let said = run(&given);
        let names_them = said.contains("Kafka.SessionTimeoutMs, Kafka.PartitionAssignmentStrategy");
        assert_eq!(names_them, *protocol == "consumer", "{said}");
        assert!(!run(&[]).contains("the settings are not used"));
    }
}

/// While rows are on their way and the coordinator is away, it is said before the group would go on without the member.
#[test]
fn a_turn_that_takes_long_is_told() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, 10);
    let sets = [
        "Kafka.SessionTimeoutMs=6000",
        "Kafka.HeartbeatIntervalMs=1000",
        "Kafka.MaxPollIntervalMs=6000",
        "Output.CommitIntervalMs=10000",
    ];
    let member = consumer(&bench, "a", &sets.map(str::to_owned));
    until("it is assigned", || member.said().contains("assigned"));
    produce(&bench, 100);
    std::thread::sleep(Duration::from_secs(1));
    let broker = cluster.process().expect("an embedded broker");
    signal(broker, "STOP");
    until("it says so", || {
        member.said().contains("Kafka.MaxPollIntervalMs")
    });
    signal(broker, "CONT");
    until("all is committed", || {
        so_far(&bench, &["a"]) == 110
            && bench.json(&["group", "describe"])["lag"] == serde_json::json!(0)
    });
    let (code, said) = member.stop();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(rows(&bench.directory.path().join("a")).len(), 110);
}

#[test]
fn a_new_directory_in_a_group_that_has_read_says_what_is_not_in_it() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        produce(&bench, 50);
        let run = |name: &str| {
            let output = bench
                .command(&["consume", "--until-end", "--out", name])
                .finish();
            assert!(output.status.success(), "{}", stderr(&output));
            stderr(&output)
        };
        assert!(!run("a").contains("is new, and the group has read"));
        assert!(!run("a").contains("is new, and the group has read"));
        produce(&bench, 20);
        let said = run("b");
        assert_eq!(said.matches("is new, and the group has read").count(), 1);
        // Following that would have the other directories write all again.
        assert!(
            !said.contains("reset") && said.contains("a group of its own (-g)"),
            "{said}"
        );
        assert_eq!(so_far(&bench, &["b"]), 20, "{said}");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// Two directories with one identity in a group would double rows.
#[test]
fn a_copied_directory_is_refused() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        produce(&bench, 60);
        let consume = ["consume", "--until-end", "--out"];
        bench.json(&[&consume[..], &["a"]].concat());
        let at = |name: &str| bench.directory.path().join(name);
        copy(&at("a"), &at("b"));
        produce(&bench, 60);
        bench.json(&[&consume[..], &["a"]].concat());
        produce(&bench, 10);
        let refused = bench.command(&[&consume[..], &["b"]].concat()).finish();
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(78), "{said}");
        assert!(said.contains("is a copy"), "{said}");
        assert_eq!(rows(&at("b")).len(), 60);
        // The one that is up to date goes on; and the other may, when the group is set back on purpose.
        bench.json(&[&consume[..], &["a"]].concat());
        assert_eq!(rows(&at("a")).len(), 130);
        bench.json(&["group", "reset", "--to", "earliest", "--execute"]);
        bench.json(&[&consume[..], &["b"]].concat());
        assert_eq!(rows(&at("b")).len(), 130);
    }
}

/// `auto` takes KIP-848 where the brokers have it, and what the group speaks already.
#[test]
fn auto_takes_the_best_protocol_that_both_sides_have() {
    for cluster in &clusters() {
        let best = cluster.protocols().last().expect("a protocol");
        for first in [None, Some("classic")] {
            let bench = Bench::new(cluster);
            produce(&bench, 30);
            // A group that speaks the classic protocol at the moment is joined in it.
            let before = first.map(|first| {
                let sets = [format!("Kafka.GroupProtocol={first}")];
                let member = consumer(&bench, "a", &sets);
                until("it reads", || so_far(&bench, &["a"]) > 0);
                member
            });
            let member = consumer(&bench, "b", &[]);
            let mut found = None;
            until("both are there", || {
                let mut describe = bench.command(&["group", "describe", "--format", "json"]);
                // There is no group yet, at first.
                let output = describe.finish();
                found = output.status.success().then(|| last_json(&output));
                let members = found.as_ref().and_then(|found| found["members"].as_array());
                members.map_or(0, Vec::len) == 1 + usize::from(first.is_some())
            });
            let found = found.expect("what was found last");
            if first.is_none() {
                assert_eq!(found["type"], **best, "{}: {found}", cluster.name);
            }
            for member in before.into_iter().chain([member]) {
                let (code, said) = member.stop();
                assert_eq!(code, Some(0), "{said}");
            }
        }
    }
}
