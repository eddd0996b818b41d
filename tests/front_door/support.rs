//! The real binary in a directory of its own, and the clusters that the tests run against: the embedded broker always,
//! a real Kafka where `STOCKFLOW_TEST_KAFKA` names one (`host:port`).

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use stockflow::wire::{cluster, messages};
use tempfile::TempDir;

/// The API key that every program of these tests has. Whatever a test looks at is searched for it, see [`keep_secret`].
pub(crate) const KEY: &str = "K3YTHATMUSTNOTLEAK";

/// A fixture's path.
pub(crate) fn fixture(name: &str) -> String {
    format!(
        "{}/tests/fixtures/alphavantage/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// A cluster to test against.
pub(crate) struct Cluster {
    /// `host:port`.
    pub(crate) address: String,
    /// For messages of failed tests.
    pub(crate) name: &'static str,
    embedded: Option<Child>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(child) = &mut self.embedded {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Cluster {
    /// The real Kafka of this run, if there is one; says what is left out without it.
    pub(crate) fn kafka(left_out: &'static str) -> Option<Self> {
        let address = std::env::var("STOCKFLOW_TEST_KAFKA").ok();
        if address.is_none() {
            say(left_out);
        }
        address.map(Self::at)
    }

    /// The process of an embedded broker.
    pub(crate) fn process(&self) -> Option<&Child> {
        self.embedded.as_ref()
    }

    /// Whether the brokers have KIP-848 switched on: the group protocols to test.
    pub(crate) fn protocols(&self) -> &'static [&'static str] {
        let classic_only = std::env::var_os("STOCKFLOW_TEST_CLASSIC_ONLY").is_some();
        if self.embedded.is_some() || classic_only {
            &["classic"]
        } else {
            &["classic", "consumer"]
        }
    }

    /// Runs one of Kafka's own tools on a real Kafka; its output.
    pub(crate) fn tool(&self, name: &str, arguments: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka");
        let mut command = Command::new(script);
        match name {
            "topics" | "groups" => command.arg(name),
            class => command.args(["tool", class]),
        };
        let done = command
            .args(["--bootstrap-server", &self.address])
            .args(arguments)
            .output()
            .expect("scripts/kafka runs");
        assert!(done.status.success(), "{arguments:?}: {}", stderr(&done));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// One that runs already.
    pub(crate) fn at(address: String) -> Self {
        Self {
            address,
            name: "Kafka",
            embedded: None,
        }
    }
}

/// An embedded broker in a process of its own.
pub(crate) fn embedded() -> Cluster {
    embedded_as(None)
}

/// An embedded broker that tells clients to connect to `advertised`.
pub(crate) fn embedded_as(advertised: Option<&str>) -> Cluster {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stockflow"))
        .args(["broker", "--listen", "127.0.0.1:0"])
        .args(
            advertised
                .iter()
                .flat_map(|address| ["--advertise", address]),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the broker starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output"))
        .read_line(&mut line)
        .expect("a first line");
    let address = line
        .trim()
        .strip_prefix("listening on ")
        .unwrap_or_else(|| panic!("an address, not {line:?}"))
        .to_owned();
    Cluster {
        address,
        name: "embedded",
        embedded: Some(child),
    }
}

/// Says once what this run leaves out, past the test runner, which keeps the output of tests that pass to itself.
pub(crate) fn say(what: &'static str) {
    static SAID: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    if SAID.lock().expect("nobody panics with it").insert(what) {
        let _ = writeln!(std::io::stderr(), "{what}");
    }
}

/// The clusters of this run.
pub(crate) fn clusters() -> Vec<Cluster> {
    let mut clusters = vec![embedded()];
    match std::env::var("STOCKFLOW_TEST_KAFKA") {
        Ok(address) => clusters.push(Cluster {
            address,
            name: "Kafka",
            embedded: None,
        }),
        Err(_) => say("left out: the real Kafka, because STOCKFLOW_TEST_KAFKA names no broker"),
    }
    clusters
}

/// A client of the tests' own.
pub(crate) fn client(address: &str) -> Arc<cluster::Cluster> {
    cluster::Cluster::new(cluster::Settings {
        bootstrap: vec![address.to_owned()],
        client_id: "front-door".into(),
        request_timeout: Duration::from_secs(30),
        reconnect_backoff: Duration::from_millis(100),
        reconnect_backoff_max: Duration::from_secs(1),
        metadata_max_age: Duration::from_secs(300),
        connections_max_idle: Duration::from_secs(540),
        max_fetch_response_bytes: 1 << 20,
    })
}

/// Makes a topic with one replica and these settings of its own.
pub(crate) async fn make_topic(
    address: &str,
    topic: &str,
    partitions: i32,
    settings: &[(&'static str, &'static str)],
) {
    let cluster = client(address);
    let configs = settings
        .iter()
        .map(|(name, value)| messages::CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
        });
    let request = messages::CreateTopicsRequest {
        topics: vec![messages::CreatableTopic {
            name: topic.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = cluster.request_any(&request).await.expect("an answer");
    assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
}

/// Deletes a topic.
pub(crate) async fn delete_topic(address: &str, topic: &str) {
    let request = messages::DeleteTopicsRequest {
        topic_names: vec![topic.into()],
        timeout_ms: 30_000,
    };
    let answer = client(address).request_any(&request).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
}

/// A name that no other test has, nor this one when it runs again.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock")
        .as_nanos();
    format!("{prefix}-{now}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A directory, topic and group of a test's own on a cluster.
pub(crate) struct Bench<'a> {
    pub(crate) directory: Directory,
    pub(crate) cluster: &'a Cluster,
    pub(crate) topic: String,
    pub(crate) group: String,
}

/// A temporary directory. Whatever was left in it is searched for the key: logs, state, files of trades.
pub(crate) struct Directory(TempDir);

impl Directory {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            keep_secret_below(self.path());
        }
    }
}

impl<'a> Bench<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        Self {
            directory: Directory::new(),
            cluster,
            topic: unique("trades"),
            group: unique("group"),
        }
    }

    /// The binary with the cluster, topic and (where it has one) group of this bench.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_at(&self.cluster.address, arguments)
    }

    /// The same, by way of another address.
    pub(crate) fn command_at(&self, address: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockflow"));
        command
            .current_dir(self.directory.path())
            .env_clear()
            .env("AlphaVantage__ApiKey", KEY)
            .args(arguments)
            .args(["-b", address, "-t", &self.topic]);
        if arguments[0] != "produce" {
            command.args(["-g", &self.group]);
        }
        command
    }

    /// Runs it to its end; the last line of its output is JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self
            .command(arguments)
            .args(["--format", "json"])
            .output()
            .expect("the binary runs");
        assert!(
            output.status.success(),
            "{} {arguments:?}: {}\n{}",
            self.cluster.name,
            output.status,
            stderr(&output)
        );
        last_json(&output)
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.directory.path().join("ConsumedTrades")
    }
}

/// The API key is in nothing that a program says.
pub(crate) fn keep_secret(output: &Output) {
    for said in [&output.stdout, &output.stderr] {
        keep_secret_text(&String::from_utf8_lossy(said));
    }
}

/// The API key is not in this, in capitals or not.
pub(crate) fn keep_secret_text(said: &str) {
    assert!(!holds_key(said.as_bytes()), "the key leaks: {said}");
}

pub(crate) fn holds_key(bytes: &[u8]) -> bool {
    memchr::memmem::find(&bytes.to_ascii_uppercase(), KEY.as_bytes()).is_some()
}

/// What tests give the key to a program in.
pub(crate) const KEY_FILE: &str = "key";

/// The API key is in no file of a directory, nor in a name, but in the one that it is given in.
pub(crate) fn keep_secret_below(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        keep_secret_text(&path.to_string_lossy());
        match kind {
            Ok(kind) if kind.is_dir() => keep_secret_below(&path),
            Ok(kind) if kind.is_file() && !path.ends_with(KEY_FILE) => {
                let bytes = fs::read(&path).unwrap_or_default();
                assert!(!holds_key(&bytes), "the key leaks into {}", path.display());
            }
            _ => {}
        }
    }
}

/// Runs `scripts/kafka`; what it prints.
pub(crate) fn kafka_script(arguments: &[&str]) -> String {
    let done = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka"))
        .args(arguments)
        .finish();
    assert!(done.status.success(), "{arguments:?}: {}", stderr(&done));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Runs a program to its end: the one way in which these tests do it, so that whatever a program says is searched for the
/// key. A test of `secrets` sees to that.
pub(crate) trait Finish {
    fn finish(self) -> Output;
}

impl Finish for &mut Command {
    fn finish(self) -> Output {
        let output = self.output().expect("it runs");
        keep_secret(&output);
        output
    }
}

impl Finish for Child {
    fn finish(self) -> Output {
        let output = self.wait_with_output().expect("its output");
        keep_secret(&output);
        output
    }
}

/// What a program said on standard error; the key is in none of its outputs.
pub(crate) fn stderr(output: &Output) -> String {
    keep_secret(output);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn last_json(output: &Output) -> serde_json::Value {
    keep_secret(output);
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let line = text
        .lines()
        .last()
        .unwrap_or_else(|| panic!("no output; {}", stderr(output)));
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// The rows of all CSV files of a directory, with the header of each checked.
pub(crate) fn rows(directory: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    for entry in fs::read_dir(directory).expect("an output directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            let text = fs::read_to_string(&path).expect("UTF-8");
            let mut lines = text.lines();
            let header = lines.next().expect("a header").to_owned();
            assert!(
                header.starts_with("Symbol,Side,Quantity,Price,Timestamp"),
                "{header}"
            );
            assert!(
                text.ends_with('\n'),
                "{} ends in a line end",
                path.display()
            );
            rows.extend(lines.map(str::to_owned));
            assert!(!rows.contains(&header), "one header a file");
        }
    }
    rows
}

/// How many whole rows a directory holds that may be written to meanwhile, or may not be there yet: a file can be met
/// between its making and its header, and in the middle of a row.
pub(crate) fn rows_so_far(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .filter_map(|path| fs::read(path).ok())
        .map(|bytes| {
            let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
            ends.saturating_sub(1)
        })
        .sum()
}

/// Waits for a process, at most `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(status);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process that runs in the background, with what it says in a file.
pub(crate) struct Running {
    pub(crate) process: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Self {
        let file = fs::File::create(&log).expect("a log");
        let process = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .expect("it starts");
        Self { process, log }
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to stop; its exit code.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        signal(&self.process, "TERM");
        let status = wait(&mut self.process, Duration::from_secs(60));
        (status.and_then(|status| status.code()), self.said())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !std::thread::panicking() {
            keep_secret_text(&self.said());
        }
    }
}

/// Waits until something is so, for two minutes at most; `what` is for the message.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Sends a signal by its name.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
}
