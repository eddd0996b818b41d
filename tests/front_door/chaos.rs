//! Members of one group that join, leave, freeze and are killed at random while events flow: nothing is lost, ever, and
//! once every member has come back, the union of their directories holds each record exactly once.
//!
//! What happens is drawn from a seed, so that a run can be repeated as far as the machine's timing allows. The small form
//! runs with the others; `scripts/chaos` runs the large one against a real Kafka, for as many seeds as asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File},
    panic,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::support::{Finish as _, embedded, make_topic, signal, stderr, unique, wait};

/// One run.
struct Chaos {
    address: String,
    protocol: String,
    seed: u64,
    events: u64,
    partitions: i32,
    members: usize,
    /// Events a second.
    rate: u64,
    session: Duration,
}

fn binary() -> PathBuf {
    env::var_os("STOCKFLOW_CHAOS_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_stockflow").into(), PathBuf::from)
}

/// A member of the group, with a directory of its own.
struct Member {
    directory: PathBuf,
    process: Option<Child>,
    frozen_until: Option<Instant>,
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

struct Group<'a> {
    chaos: &'a Chaos,
    topic: String,
    group: String,
}

impl Group<'_> {
    fn command(&self, directory: &Path, arguments: &[&str]) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(directory.join("log"))
            .expect("a log");
        let mut command = Command::new(binary());
        let session = self.chaos.session.as_millis();
        command
            .current_dir(directory)
            .env_clear()
            .args(arguments)
            .args(["-b", &self.chaos.address, "-t", &self.topic])
            .args(["-g", &self.group, "--out", "csv"])
            .args(["--set", &format!("Kafka.SessionTimeoutMs={session}")])
            .args([
                "--set",
                &format!("Kafka.HeartbeatIntervalMs={}", session / 6),
            ])
            .args([
                "--set",
                &format!("Kafka.GroupProtocol={}", self.chaos.protocol),
            ])
            .args(["--set", "Output.CommitIntervalMs=200"])
            .args([
                "--set",
                "Output.Columns=Symbol,Side,Quantity,Price,Timestamp,Partition,Offset",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    fn start(&self, member: &mut Member) {
        let process = self.command(&member.directory, &["consume"]).spawn();
        member.process = Some(process.expect("a member starts"));
    }
}

/// Partition and offset of every row below a directory.
fn rows(directory: &Path) -> Vec<(i32, i64)> {
    let mut rows = Vec::new();
    let Ok(entries) = fs::read_dir(directory.join("csv")) else {
        return rows;
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            let text = fs::read_to_string(&path).expect("UTF-8");
            rows.extend(text.lines().skip(1).map(|line| {
                let mut fields = line.rsplit(',');
                let offset = fields.next().and_then(|field| field.parse().ok());
                let partition = fields.next().and_then(|field| field.parse().ok());
                (partition.expect("a partition"), offset.expect("an offset"))
            }));
        }
    }
    rows
}

impl Chaos {
    /// Runs it, and says what happened.
    fn run(&self) -> String {
        let home = tempfile::tempdir().expect("a directory");
        let (topic, name) = (unique("chaos"), unique("chaos"));
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(make_topic(&self.address, &topic, self.partitions, &[]));
        let group = Group {
            chaos: self,
            topic: topic.clone(),
            group: name,
        };
        let mut random = Pcg64Mcg::seed_from_u64(self.seed);
        let mut members: Vec<Member> = (0..self.members)
            .map(|index| {
                let directory = home.path().join(index.to_string());
                fs::create_dir(&directory).expect("a directory");
                Member {
                    directory,
                    process: None,
                    frozen_until: None,
                }
            })
            .collect();
        let mut producer = Command::new(binary())
            .current_dir(home.path())
            .env_clear()
            .args([
                "produce",
                "--source",
                "simulated",
                "-b",
                &self.address,
                "-t",
                &topic,
            ])
            .args([
                "--count",
                &self.events.to_string(),
                "--rate",
                &self.rate.to_string(),
            ])
            .args(["--seed", &self.seed.to_string()])
            .args([
                "--set",
                "Source.Simulated.Symbols=A,B,C,D,E,F,G,H,I,J,K,L,M,N,O,P,Q,R,S,T,U,V,W,X",
            ])
            .stdout(Stdio::null())
            .stderr(File::create(home.path().join("producer.log")).expect("a log"))
            .spawn()
            .expect("the producer starts");
        let mut done: BTreeMap<&str, u32> = BTreeMap::new();
        let mut did = |what| *done.entry(what).or_default() += 1;
        let limit = Instant::now() + Duration::from_secs(60 + 4 * self.events / self.rate);
        while producer.try_wait().expect("a child").is_none() {
            assert!(
                Instant::now() < limit,
                "the producer is not done: {}",
                self.say(home)
            );
            sleep(Duration::from_millis(random.random_range(50..1_000)));
            let now = Instant::now();
            for member in &mut members {
                if member.frozen_until.is_some_and(|until| until <= now) {
                    member.frozen_until = None;
                    signal(member.process.as_ref().expect("a frozen process"), "CONT");
                }
            }
            let which = random.random_range(0..members.len());
            let member = &mut members[which];
            if member.frozen_until.is_some() {
                continue;
            }
            match &mut member.process {
                None => {
                    group.start(member);
                    did("started");
                }
                Some(process) => match random.random_range(0..6) {
                    0 => {
                        process.kill().expect("it is there");
                        process.wait().expect("it ends");
                        member.process = None;
                        did("killed");
                    }
                    1 => {
                        signal(process, "TERM");
                        let ended = wait(process, Duration::from_secs(30));
                        assert!(
                            ended.is_some(),
                            "a member does not stop: {}",
                            self.say(home)
                        );
                        member.process = None;
                        did("stopped");
                    }
                    2 => {
                        signal(process, "STOP");
                        let long = self.session.mul_f64(random.random_range(0.2..1.8));
                        member.frozen_until = Some(now + long);
                        did("frozen");
                    }
                    _ => {
                        let ended = process.try_wait().expect("a child");
                        assert!(
                            ended.is_none(),
                            "a member ended by itself: {}",
                            self.say(home)
                        );
                    }
                },
            }
        }
        for member in &mut members {
            if let Some(mut process) = member.process.take() {
                if member.frozen_until.take().is_some() {
                    signal(&process, "CONT");
                }
                signal(&process, "TERM");
                wait(&mut process, Duration::from_secs(60));
            }
        }
        // Everybody comes back, one after the other; and once more when the group has forgotten who was killed last and
        // held partitions in its name.
        let rounds = members.iter().map(|member| (member, Duration::ZERO));
        let again = members.iter().zip([self.session.mul_f64(1.5)]);
        for (member, pause) in rounds.chain(again) {
            sleep(pause);
            let output = group
                .command(&member.directory, &["consume", "--until-end"])
                .stderr(Stdio::piped())
                .finish();
            assert!(
                output.status.success(),
                "{}: {}",
                stderr(&output),
                self.say(home)
            );
        }
        let mut seen: BTreeSet<(i32, i64)> = BTreeSet::new();
        let mut doubled = Vec::new();
        for member in &members {
            for row in rows(&member.directory) {
                if !seen.insert(row) {
                    doubled.push(row);
                }
            }
        }
        let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
        for (partition, offset) in &seen {
            let end = ends.entry(*partition).or_default();
            *end = (*end).max(offset + 1);
        }
        let lost: Vec<(i32, i64)> = ends
            .iter()
            .flat_map(|(partition, end)| (0..*end).map(|offset| (*partition, offset)))
            .filter(|row| !seen.contains(row))
            .collect();
        let undecided = members
            .iter()
            .filter(|member| member.directory.join("csv/.stockflow/undecided").exists())
            .count();
        let told = format!(
            "seed {}, {}: {} rows of {}, lost {} ({:?}…), doubled {} ({:?}…), undecided in {undecided}; {done:?}",
            self.seed,
            self.protocol,
            seen.len(),
            self.events,
            lost.len(),
            &lost[..lost.len().min(3)],
            doubled.len(),
            &doubled[..doubled.len().min(3)],
        );
        let exact = seen.len() as u64 == self.events && doubled.is_empty() && lost.is_empty();
        assert!(exact, "{told}: {}", self.say(home));
        self.prove(&members, home);
        told
    }

    /// `verify` comes to the same result, from the indexes of the directories alone.
    fn prove(&self, members: &[Member], home: tempfile::TempDir) {
        let directories = members.iter().map(|member| member.directory.join("csv"));
        let output = Command::new(binary())
            .current_dir(home.path())
            .env_clear()
            .arg("verify")
            .args(directories.filter(|directory| directory.exists()))
            .finish();
        assert!(
            output.status.success(),
            "verify: {}{}: {}",
            String::from_utf8_lossy(&output.stdout),
            stderr(&output),
            self.say(home)
        );
    }

    /// Keeps the directories of a run that failed, and says where.
    fn say(&self, home: tempfile::TempDir) -> String {
        format!(
            "seed {}, directories kept in {}",
            self.seed,
            home.keep().display()
        )
    }
}

#[test]
fn three_members_in_a_small_chaos() {
    let cluster = embedded();
    Chaos {
        address: cluster.address.clone(),
        protocol: "classic".to_owned(),
        seed: 1,
        events: 32_000,
        partitions: 12,
        members: 3,
        rate: 2_000,
        session: Duration::from_secs(6),
    }
    .run();
}

/// For `scripts/chaos`, which says what the variables mean.
#[test]
#[ignore = "takes minutes a seed; scripts/chaos runs it"]
fn three_members_in_a_large_chaos() {
    let number = |name: &str, default: u64| -> u64 {
        env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let address = env::var("STOCKFLOW_TEST_KAFKA").expect("a broker");
    let protocols = env::var("STOCKFLOW_CHAOS_PROTOCOL").unwrap_or_else(|_| "alternate".to_owned());
    let first = number("STOCKFLOW_CHAOS_SEED", 1);
    let mut failed = Vec::new();
    for seed in first..first + number("STOCKFLOW_CHAOS_SEEDS", 1) {
        let protocols = match &*protocols {
            "both" => vec!["classic", "consumer"],
            "alternate" if seed % 2 == 1 => vec!["classic"],
            "alternate" => vec!["consumer"],
            one => vec![one],
        };
        for protocol in protocols {
            let chaos = Chaos {
                address: address.clone(),
                protocol: protocol.to_owned(),
                seed,
                events: number("STOCKFLOW_CHAOS_EVENTS", 1_000_000),
                partitions: 12,
                members: 3,
                rate: number("STOCKFLOW_CHAOS_RATE", 12_000),
                session: Duration::from_secs(6),
            };
            let began = Instant::now();
            // A seed that fails has said why; the others are still worth to be known.
            let ended = panic::catch_unwind(|| chaos.run());
            let told = match &ended {
                Ok(told) => format!("ok      {told}"),
                Err(_) => format!("FAILED  seed {seed}, {protocol}"),
            };
            println!("{told} ({} s)", began.elapsed().as_secs());
            if ended.is_err() {
                failed.push((seed, protocol.to_owned()));
            }
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
