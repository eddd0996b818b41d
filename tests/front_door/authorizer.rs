//! What Kafka's own authorizer does not allow: each command ends by itself, and says what to grant. `scripts/authorizer` starts
//! a broker with one; what has no ACL at all is allowed there, and nobody has to log in.

use std::time::Duration;

use crate::support::*;

/// Who does not log in.
const US: &str = "User:ANONYMOUS";

fn acls(cluster: &Cluster, arguments: &[&str]) {
    cluster.tool("org.apache.kafka.tools.AclCommand", arguments);
}

/// Runs a command that has no end; it fails soon, and says all of this.
fn refused(bench: &Bench<'_>, arguments: &[&str], said: &[&str]) {
    let log = bench.directory.path().join("log");
    let mut running = Running::start(bench.command(arguments), log);
    let status = wait(&mut running.process, Duration::from_secs(60));
    let text = running.said();
    let code = status.and_then(|status| status.code());
    assert_eq!(code, Some(1), "{arguments:?}: {text}");
    for part in said {
        assert!(
            text.contains(part),
            "{arguments:?}: {part} is not in: {text}"
        );
    }
}

#[test]
#[ignore = "needs a broker with an authorizer, which scripts/authorizer starts"]
fn what_the_authorizer_refuses_is_named_with_what_to_grant() {
    let cluster = Cluster::kafka("left out: an authorizer").expect("STOCKFLOW_TEST_KAFKA");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let [hidden, described, granted] = ["hidden", "described", "granted"].map(unique);
    for topic in [&hidden, &described, &granted] {
        runtime.block_on(make_topic(&cluster.address, topic, 1, &[]));
    }
    let to_us = ["--add", "--allow-principal", US];
    let to_others = ["--add", "--allow-principal", "User:somebody"];
    let locked = [
        &to_others[..],
        &["--operation", "All", "--topic", &hidden],
        &["--group", "locked", "--transactional-id", "locked"],
    ];
    acls(&cluster, &locked.concat());
    let describe = ["--operation", "Describe", "--topic", &described];
    acls(&cluster, &[&to_us[..], &describe].concat());
    let both = ["--operation", "Read", "--operation", "Write"];
    acls(
        &cluster,
        &[&to_us[..], &both, &["--topic", &granted]].concat(),
    );
    let read = ["--operation", "Read", "--group", "granted"];
    acls(&cluster, &[&to_us[..], &read].concat());
    let write = ["--operation", "Write", "--transactional-id", "granted"];
    acls(&cluster, &[&to_us[..], &write].concat());

    let bench = |topic: &String, group: &str| Bench {
        directory: Directory::new(),
        cluster: &cluster,
        topic: topic.clone(),
        group: group.into(),
    };
    // What the README asks for is enough.
    let fine = bench(&granted, "granted");
    let input = fixture("intraday_ibm_1min.json");
    let replay = ["produce", "--source", "replay", "--input", &input];
    let with_id = ["--set", "Kafka.TransactionalId=granted"];
    let done = fine.json(&[&replay[..], &with_id].concat());
    assert_eq!(done["published"], 100, "{done}");
    assert_eq!(fine.json(&replay)["duplicates_skipped"], 100);
    let read = fine.json(&["consume", "--until-end"]);
    assert_eq!(read["rows_written"], 100, "{read}");

    let simulated = ["produce", "--source", "simulated", "--rate", "10"];
    for topic in [&hidden, &described] {
        let said = [topic, "TOPIC_AUTHORIZATION_FAILED", "Kafka.Topic", "WRITE"];
        refused(&bench(topic, "granted"), &simulated, &said);
        for protocol in cluster.protocols() {
            let protocol = format!("Kafka.GroupProtocol={protocol}");
            let consume = ["consume", "--set", &protocol];
            let said = [topic, "TOPIC_AUTHORIZATION_FAILED", "Kafka.Topic", "READ"];
            refused(&bench(topic, "granted"), &consume, &said);
        }
    }
    for protocol in cluster.protocols() {
        let protocol = format!("Kafka.GroupProtocol={protocol}");
        let consume = ["consume", "--set", &protocol];
        let said = [
            "locked",
            "GROUP_AUTHORIZATION_FAILED",
            "Kafka.GroupId",
            "READ",
        ];
        refused(&bench(&granted, "locked"), &consume, &said);
    }
    let with_id = ["--set", "Kafka.TransactionalId=locked"];
    let said = [
        "locked",
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
        "Kafka.TransactionalId",
        "WRITE",
    ];
    let transactional = [&simulated[..], &with_id].concat();
    refused(&bench(&granted, "granted"), &transactional, &said);

    // Without IDEMPOTENT_WRITE on the cluster it goes on, since WRITE on a topic is enough, until that is taken away, too.
    let rest = ["Alter", "ClusterAction", "Describe", "DescribeConfigs"];
    let rest = rest.map(|operation| ["--operation", operation]);
    acls(
        &cluster,
        &[&to_us[..], &["--cluster"], rest.as_flattened()].concat(),
    );
    let count = ["produce", "--source", "simulated", "--count", "10"];
    assert_eq!(fine.json(&count)["published"], 10);
    let nowhere = ["--add", "--deny-principal", US, "--operation", "Write"];
    acls(&cluster, &[&nowhere[..], &["--topic", "*"]].concat());
    let said = ["CLUSTER_AUTHORIZATION_FAILED", "WRITE", "IDEMPOTENT_WRITE"];
    refused(&bench(&granted, "granted"), &simulated, &said);
}
