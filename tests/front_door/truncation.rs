//! An unclean leader election on three real brokers (KIP-320): rows that were written and committed are not in the log any
//! more, and others have their offsets. `scripts/truncation` starts the brokers and says in the environment where they are.

use std::{
    collections::BTreeSet,
    env, fmt, fs,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::support::*;

/// The topic's first partition is on the first two of these, its second on the last two: so there is always a majority of
/// controllers but for the moment between two leaders.
pub(crate) const LEADER: &str = "1";
pub(crate) const FOLLOWER: &str = "2";

pub(crate) const COLUMNS: &str =
    "Output.Columns=Symbol,Side,Quantity,Price,Timestamp,TradeId,Partition,Offset";

fn brokers() -> Cluster {
    let brokers = env::var("STOCKFLOW_TRUNCATION_BROKERS");
    Cluster::at(brokers.expect("scripts/truncation sets STOCKFLOW_TRUNCATION_BROKERS"))
}

pub(crate) fn make(bench: &Bench<'_>) {
    let to = ["topics", "--bootstrap-server", &bench.cluster.address];
    let create = ["--create", "--topic", &bench.topic];
    let on = ["--replica-assignment", "1:2,3:2"];
    let unclean = ["--config", "unclean.leader.election.enable=true"];
    let in_sync = ["--config", "min.insync.replicas=1"];
    kafka_script(&[&to[..], &create[..], &on[..], &unclean[..], &in_sync[..]].concat());
}

/// Publishes events that are later than those of all phases before; their ids begin with the phase.
pub(crate) fn publish(bench: &Bench<'_>, phase: char, count: u32) {
    let start = chrono::DateTime::from_timestamp(1_700_000_000, 0).expect("a time")
        + chrono::TimeDelta::hours(i64::from(u32::from(phase) - u32::from('a')));
    let events: Vec<String> = (0..count)
        .map(|number| {
            let time = start + chrono::TimeDelta::milliseconds(i64::from(number));
            format!(
                "{{\"TradeId\":\"{phase}-{number:06}\",\"Symbol\":\"S{}\",\"Side\":\"Buy\",\"Quantity\":1,\"Price\":2.5,\"Timestamp\":\"{}\"}}\n",
                number % 16,
                time.format("%Y-%m-%dT%H:%M:%S%.3fZ")
            )
        })
        .collect();
    let name = format!("{phase}.ndjson");
    fs::write(bench.directory.path().join(&name), events.concat()).expect("a file");
    let done = bench.json(&["produce", "--source", "replay", "--input", &name]);
    assert_eq!(done["published"], count, "{done}");
}

fn start(bench: &Bench<'_>, name: &str) -> Running {
    let mut command = bench.command(&["consume", "--set", COLUMNS]);
    command.args(["--set", "Output.CommitIntervalMs=200"]);
    Running::start(command, bench.directory.path().join(name))
}

/// A row of the columns above.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    partition: u32,
    offset: u64,
    id: String,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}: {}", self.partition, self.offset, self.id)
    }
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.split(',').collect();
    Row {
        partition: cells[6].parse().expect("a partition"),
        offset: cells[7].parse().expect("an offset"),
        id: cells[5].to_owned(),
    }
}

pub(crate) fn read(directory: &Path) -> Vec<Row> {
    let mut read: Vec<Row> = rows(directory).iter().map(|line| row(line)).collect();
    read.sort_unstable();
    read
}

/// What the log holds now.
pub(crate) fn in_the_log(bench: &Bench<'_>) -> Vec<Row> {
    let mut other = Bench::new(bench.cluster);
    other.topic.clone_from(&bench.topic);
    other.json(&["consume", "--until-end", "--set", COLUMNS]);
    read(&other.out())
}

/// The rows that were moved aside, of whatever files.
fn superseded(bench: &Bench<'_>) -> Vec<Row> {
    let aside = bench.out().join(".stockflow/superseded");
    let mut found = Vec::new();
    for entry in fs::read_dir(aside).into_iter().flatten() {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("UTF-8");
        let lines = text.lines().filter(|line| !line.starts_with("Symbol,"));
        found.extend(lines.map(row));
    }
    found.sort_unstable();
    found
}

/// Waits until everything that is on the topic is written and committed.
fn caught_up(bench: &Bench<'_>, count: usize, member: &Running) {
    until(&format!("{count} rows are committed"), || {
        let died = member.said().contains("error:");
        assert!(!died, "{}", member.said());
        rows_so_far(&bench.out()) == count
            && bench.json(&["group", "describe"])["lag"] == serde_json::json!(0)
    });
}

/// Lets the follower lead, though it has not got what the leader had.
pub(crate) fn elect_the_follower(bench: &Bench<'_>) {
    let bootstrap = ["--bootstrap-server", &*bench.cluster.address];
    let describe = ["--describe", "--topic", &bench.topic];
    let wanted = format!("Partition: 0\tLeader: {FOLLOWER}");
    let end = Instant::now() + Duration::from_secs(180);
    loop {
        let described = kafka_script(&[&["topics"], &bootstrap[..], &describe[..]].concat());
        if described.contains(&wanted) {
            return;
        }
        assert!(Instant::now() < end, "it does not lead: {described}");
        // It may be refused while the old leader counts as alive.
        let class = "org.apache.kafka.tools.LeaderElectionCommand";
        let of = ["--election-type", "unclean", "--partition", "0"];
        let topic = ["--topic", &*bench.topic];
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka");
        let mut elect = Command::new(script);
        elect.args(["tool", class]).args(bootstrap);
        let _ = elect.args(of).args(topic).finish();
        sleep(Duration::from_secs(1));
    }
}

/// `while_it_runs`: whether the consumer is there when the log is truncated; if not, it is killed before, and comes back
/// when the log has grown beyond what it had read: then only the leader epoch tells.
fn rows_that_an_unclean_election_took_are_superseded(while_it_runs: bool) -> String {
    const BEFORE: u32 = 300;
    const LOST: u32 = 400;
    let after = if while_it_runs { 160 } else { 1_200 };
    let cluster = brokers();
    let bench = Bench::new(&cluster);
    make(&bench);
    publish(&bench, 'a', BEFORE);
    let member = start(&bench, "first.log");
    caught_up(&bench, BEFORE as usize, &member);
    kafka_script(&["kill", FOLLOWER]);
    publish(&bench, 'b', LOST);
    caught_up(&bench, (BEFORE + LOST) as usize, &member);
    let had = read(&bench.out());
    // Dropping it is a SIGKILL.
    let member = Some(member).filter(|_| while_it_runs);
    kafka_script(&["kill", LEADER]);
    kafka_script(&["revive", FOLLOWER]);
    elect_the_follower(&bench);
    publish(&bench, 'c', after);
    let log = in_the_log(&bench);

    let lost: Vec<Row> = had
        .iter()
        .filter(|row| row.partition == 0 && row.id.starts_with('b'))
        .cloned()
        .collect();
    let (from, to) = (lost[lost.len() - 1].offset + 1, lost[0].offset);
    let gone: BTreeSet<&str> = lost.iter().map(|row| &*row.id).collect();
    assert!(
        log.iter().all(|row| !gone.contains(&*row.id)),
        "nothing was lost: the election was clean"
    );
    let end = log
        .iter()
        .filter(|row| row.partition == 0)
        .map(|row| row.offset);
    let end = end.max().expect("rows") + 1;
    assert_eq!(while_it_runs, end < from, "{end} {from}");
    let member = member.unwrap_or_else(|| start(&bench, "second.log"));
    caught_up(&bench, log.len(), &member);
    let (code, said) = member.stop();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(read(&bench.out()), log, "{said}");
    assert_eq!(superseded(&bench), lost, "{said}");
    let told = said.lines().find(|line| line.contains("truncated"));
    let told = told.unwrap_or_else(|| panic!("not a word: {said}"));
    let places = [
        bench.topic.clone(),
        "partition=0".to_owned(),
        format!("from={from}"),
        format!("to={to}"),
    ];
    for place in places {
        assert!(told.contains(&place), "{place}: {told}");
    }
    let out = bench.out();
    let verified = bench.json(&["verify", out.to_str().expect("UTF-8")]);
    assert_eq!(verified["verdict"], "proven", "{verified}");
    assert_eq!(verified["rows"], log.len(), "{verified}");
    kafka_script(&["revive", LEADER]);
    format!(
        "{}: partition 0 from {from} back to {to}, {} rows superseded, {} rows are what the log holds",
        if while_it_runs {
            "a running consumer"
        } else {
            "a killed consumer"
        },
        lost.len(),
        log.len()
    )
}

#[test]
#[ignore = "needs three real brokers of its own: scripts/truncation"]
fn a_running_consumer_goes_back() {
    let result = rows_that_an_unclean_election_took_are_superseded(true);
    println!("{result}");
}

#[test]
#[ignore = "needs three real brokers of its own: scripts/truncation"]
fn a_killed_consumer_goes_back_when_it_returns() {
    let result = rows_that_an_unclean_election_took_are_superseded(false);
    println!("{result}");
}
