//! Unclean leader elections under a consumer at random: how much of the tail is lost, when, whether the consumer runs meanwhile, was
//! killed, or ends by itself, under which group protocol, and whether Fetch says where branches part. What is written is what the
//! log holds, or it is said and the exit code is not 0; and `verify` proves no directory that is wrong. `scripts/truncation
//! --seeds N` starts the brokers.

use std::{
    env,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    framed::{Framed, cap},
    support::*,
    truncation::{COLUMNS, FOLLOWER, LEADER, elect_the_follower, in_the_log, make, publish, read},
};

const FETCH: i16 = 1;

/// The last version that does not say where branches part.
const SILENT: i16 = 11;

/// How long a consumer may take to hold what the log holds.
const LIMIT: Duration = Duration::from_secs(120);

/// What a seed draws.
#[derive(Clone, Copy, Debug)]
struct Draw {
    before: u32,
    lost: u32,
    after: u32,
    /// How long the consumer reads what will be lost, before it is killed or the log is truncated under it.
    reads_ms: u64,
    /// Whether it ends by itself when it has read to the end.
    one_shot: bool,
    killed: bool,
    classic: bool,
    /// Whether Fetch does not say where branches part.
    silent: bool,
}

impl Draw {
    /// The kinds are taken in turn, so that each is among a few seeds.
    fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        Self {
            before: random.random_range(1..300),
            lost: random.random_range(1..600),
            after: random.random_range(1..1_200),
            reads_ms: random.random_range(0..4_000),
            one_shot: seed & 2 != 0,
            killed: seed & 4 != 0,
            classic: seed % 6 >= 3,
            silent: seed & 1 != 0,
        }
    }
}

/// A proxy before each broker, which advertises the port five above its own.
fn proxies(silent: &Arc<AtomicBool>) -> Cluster {
    let brokers = env::var("STOCKFLOW_TRUNCATION_BROKERS").expect("scripts/truncation sets it");
    let before = |broker: &str| {
        let (host, port) = broker.rsplit_once(':').expect("an address with a port");
        let advertised = port.parse::<u16>().expect("a port") + 5;
        let silent = Arc::clone(silent);
        let from = format!("{host}:{advertised}");
        let proxy = Framed::start(&from, broker, move |api, frame| {
            if silent.load(SeqCst) {
                cap(api, frame, FETCH, SILENT);
            }
        });
        proxy.address.to_string()
    };
    Cluster::at(brokers.split(',').map(before).collect::<Vec<_>>().join(","))
}

fn start(bench: &Bench<'_>, draw: Draw, log: &str) -> Running {
    let protocol = if draw.classic { "classic" } else { "consumer" };
    let protocol = format!("Kafka.GroupProtocol={protocol}");
    let mut command = bench.command(&["consume", "--set", COLUMNS, "--set", &protocol]);
    command.args(["--set", "Output.CommitIntervalMs=200"]);
    if draw.one_shot {
        command.arg("--until-end");
    }
    Running::start(command, bench.directory.path().join(log))
}

/// Waits for what the consumer comes to; its exit code and what it has said.
fn ended(bench: &Bench<'_>, draw: Draw, mut member: Running, rows: usize) -> (Option<i32>, String) {
    if draw.one_shot {
        let status = wait(&mut member.process, LIMIT);
        let code = status.and_then(|status| status.code());
        return (code, member.said());
    }
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        let done = rows_so_far(&bench.out()) == rows
            && bench.json(&["group", "describe"])["lag"] == serde_json::json!(0);
        if done || member.said().contains("ERROR") || member.said().contains("error:") {
            break;
        }
        sleep(Duration::from_millis(300));
    }
    member.stop()
}

/// `verify` over the directory; whether it is proven.
fn is_proven(bench: &Bench<'_>, out: &Path) -> bool {
    let verify = ["verify", out.to_str().expect("UTF-8"), "--format", "json"];
    let output = bench.command(&verify).finish();
    let proven = last_json(&output)["verdict"] == "proven";
    assert_eq!(
        proven,
        output.status.code() == Some(0),
        "{}",
        stderr(&output)
    );
    proven
}

fn scene(cluster: &Cluster, seed: u64, draw: Draw) -> String {
    let bench = Bench::new(cluster);
    make(&bench);
    publish(&bench, 'a', draw.before);
    let mut member = Some(start(&bench, draw, "first.log"));
    if draw.one_shot {
        let first = member.take().expect("it runs");
        let (code, said) = ended(&bench, draw, first, draw.before as usize);
        assert_eq!(code, Some(0), "{said}");
    }
    kafka_script(&["kill", FOLLOWER]);
    publish(&bench, 'b', draw.lost);
    let mut reading = member.unwrap_or_else(|| start(&bench, draw, "second.log"));
    sleep(Duration::from_millis(draw.reads_ms));
    if draw.one_shot && !draw.killed {
        // What is lost is read for certain, and the next run finds that it is not there any more.
        assert!(
            wait(&mut reading.process, LIMIT).is_some(),
            "{}",
            reading.said()
        );
    }
    let had = rows_so_far(&bench.out());
    // Dropping it is a SIGKILL.
    let reading = Some(reading).filter(|_| !draw.killed && !draw.one_shot);
    kafka_script(&["kill", LEADER]);
    kafka_script(&["revive", FOLLOWER]);
    elect_the_follower(&bench);
    publish(&bench, 'c', draw.after);
    let log = in_the_log(&bench);
    let of = format!("seed {seed}, {draw:?}");
    let gone = (draw.before + draw.lost + draw.after) as usize - log.len();
    let member = reading.unwrap_or_else(|| start(&bench, draw, "third.log"));
    let (code, said) = ended(&bench, draw, member, log.len());
    let exact = read(&bench.out()) == log;
    let proven = is_proven(&bench, &bench.out());
    assert!(
        exact || !proven,
        "{of}: verify proves what is wrong: {said}"
    );
    assert!(
        exact || code != Some(0),
        "{of}: wrong, and not said: {said}"
    );
    assert!(code.is_some(), "{of}: it did not end: {said}");
    assert!(
        exact || said.contains("group reset"),
        "{of}: it does not say what to do: {said}"
    );
    kafka_script(&["revive", LEADER]);
    format!(
        "{of}: {gone} records lost, {had} rows before; {} rows, {} the log, code {code:?}, {}",
        rows_so_far(&bench.out()),
        if exact { "as" } else { "not as" },
        if proven { "proven" } else { "not proven" }
    )
}

#[test]
#[ignore = "needs three real brokers of its own: scripts/truncation --seeds"]
fn rows_are_what_the_log_holds_or_it_is_said() {
    let number = |name: &str| {
        let value = env::var(name).unwrap_or_else(|_| panic!("scripts/truncation sets {name}"));
        value.parse::<u64>().expect("a number")
    };
    let (from, seeds) = (
        number("STOCKFLOW_TRUNCATION_FROM"),
        number("STOCKFLOW_TRUNCATION_SEEDS"),
    );
    let silent = Arc::new(AtomicBool::new(false));
    let cluster = proxies(&silent);
    for seed in from..from + seeds {
        let draw = Draw::of(seed);
        silent.store(draw.silent, SeqCst);
        println!("{}", scene(&cluster, seed, draw));
    }
}
