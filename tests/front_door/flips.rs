//! One flipped bit of what brokers say, where no checksum covers it: whatever a run makes of it, it is right or it says
//! that it failed, and `verify` proves nothing that is wrong. `scripts/bitflips` runs many trials; a few always run.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{framed::Framed, raw::*, support::*};

const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const OFFSET_FETCH: i16 = 9;

const EVENTS: usize = 2_000;

/// Longer than any request is waited for, twice.
const LIMIT: Duration = Duration::from_secs(180);

/// Which bit of which answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flip {
    api: i16,
    /// The message format that all batches say they are in, instead of one bit.
    format: Option<u8>,
    /// Only in the base offset of a batch.
    base_offset: bool,
    /// How many answers of this kind pass before.
    after: u64,
    seed: u64,
}

#[derive(Debug, Default)]
struct Flipped {
    seen: AtomicU64,
    /// What was flipped, once it was.
    done: Mutex<Option<String>>,
}

/// A proxy that flips one bit.
#[derive(Debug)]
pub(crate) struct Flipper {
    pub(crate) address: SocketAddr,
    flipped: Arc<Flipped>,
}

impl Flipper {
    /// Makes every batch look like one of this message format: its number stands where v2 has its own.
    pub(crate) fn old_format(broker: &str, format: u8) -> Self {
        let flip = Flip {
            api: FETCH,
            format: Some(format),
            base_offset: false,
            after: 0,
            seed: 0,
        };
        Self::start(broker, flip)
    }

    fn start(broker: &str, flip: Flip) -> Self {
        let flipped = Arc::new(Flipped::default());
        let of_proxy = Arc::clone(&flipped);
        let proxy = Framed::start("127.0.0.1:0", broker, move |api, frame| {
            if api == flip.api {
                spoil(frame, flip, &of_proxy);
            }
        });
        let address = proxy.address;
        Self { address, flipped }
    }

    fn done(&self) -> Option<String> {
        self.flipped.done.lock().expect("no panic").clone()
    }
}

/// Where record batches begin in an answer, and how long they are.
fn batches(frame: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(head) = frame.get(at..at + 21) {
        let length = u32::from_be_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let crc = u32::from_be_bytes([head[17], head[18], head[19], head[20]]);
        let covered = frame.get(at + 21..(at + 12).saturating_add(length));
        if head[16] == 2 && length > 49 && covered.is_some_and(|all| crc32c::crc32c(all) == crc) {
            found.push((at, 12 + length));
            at += 12 + length;
        } else {
            at += 1;
        }
    }
    found
}

fn spoil(frame: &mut [u8], flip: Flip, flipped: &Flipped) {
    let batches = if flip.api == FETCH {
        batches(frame)
    } else {
        Vec::new()
    };
    if let Some(format) = flip.format {
        for (at, _) in batches {
            frame[at + 16] = format;
        }
        return;
    }
    let counts = flip.api != FETCH || !batches.is_empty();
    if !counts || flipped.seen.fetch_add(1, SeqCst) != flip.after {
        return;
    }
    let mut random = StdRng::seed_from_u64(flip.seed);
    let covered = |byte: usize| {
        let within = |(at, length): &(usize, usize)| (at + 21..at + length).contains(&byte);
        batches.iter().any(within)
    };
    let byte = if flip.base_offset {
        batches[random.random_range(0..batches.len())].0 + random.random_range(0..8)
    } else {
        let open: Vec<usize> = (0..frame.len()).filter(|byte| !covered(*byte)).collect();
        open[random.random_range(0..open.len())]
    };
    let bit = if flip.base_offset && random.random_bool(0.8) {
        // Far more telling than offsets that no log has: the lower bits.
        let at = batches[random.random_range(0..batches.len())].0;
        let low = random.random_range(0..12);
        (at + 7 - low / 8, low % 8)
    } else {
        (byte, random.random_range(0..8))
    };
    frame[bit.0] ^= 1 << bit.1;
    let places: Vec<usize> = batches.iter().map(|(at, _)| *at).collect();
    let said = format!(
        "api {}, answer {}, byte {} of {}, bit {}, batches at {places:?}",
        flip.api,
        flip.after,
        bit.0,
        frame.len(),
        bit.1
    );
    *flipped.done.lock().expect("no panic") = Some(said);
}

/// A topic that all trials read.
struct Stage {
    cluster: Cluster,
    topic: String,
    input: Directory,
    rows: Vec<String>,
}

impl Stage {
    fn new(cluster: Cluster) -> Self {
        let input = Directory::new();
        let events: String = (0..EVENTS as u64)
            .map(|number| event(number).replace("IBM", &format!("S{}", number % 7)) + "\n")
            .collect();
        fs::write(input.path().join("events.ndjson"), events).expect("a file");
        let (topic, rows) = (String::new(), Vec::new());
        let mut stage = Self {
            cluster,
            topic,
            input,
            rows,
        };
        stage.topic = stage.fill();
        let bench = stage.bench();
        bench.json(&["consume", "--until-end"]);
        let rows = sorted_rows(&bench);
        assert_eq!(rows.len(), EVENTS);
        stage.rows = rows;
        stage
    }

    fn bench(&self) -> Bench<'_> {
        Bench {
            topic: self.topic.clone(),
            ..Bench::new(&self.cluster)
        }
    }

    /// Makes a topic with all events on it, in small batches, so that there is much to flip.
    fn fill(&self) -> String {
        let bench = Bench::new(&self.cluster);
        block_on(make_topic(&self.cluster.address, &bench.topic, 3, &[]));
        let input = self
            .input
            .path()
            .join("events.ndjson")
            .display()
            .to_string();
        let mut produce = vec!["produce", "--source", "replay", "--input", &input];
        produce.extend(["--set", "Kafka.BatchSize=4096", "--set", "Kafka.LingerMs=0"]);
        let done = bench.json(&produce);
        assert_eq!(done["published"], EVENTS, "{done}");
        bench.topic
    }
}

fn sorted_rows(bench: &Bench<'_>) -> Vec<String> {
    let mut found = if bench.out().exists() {
        rows(&bench.out())
    } else {
        Vec::new()
    };
    found.sort_unstable();
    found
}

/// Runs a command to its end, which it has to reach within [`LIMIT`].
fn run(mut command: Command) -> Output {
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("it runs");
    let id = child.id();
    let ended = Arc::new(AtomicUsize::new(0));
    let watched = Arc::clone(&ended);
    let watcher = thread::spawn(move || {
        let mut waited = Duration::ZERO;
        while watched.load(SeqCst) == 0 {
            thread::park_timeout(Duration::from_millis(500));
            waited += Duration::from_millis(500);
            if waited > LIMIT {
                let _ = Command::new("kill")
                    .args(["-KILL", &id.to_string()])
                    .status();
                return;
            }
        }
    });
    let output = child.finish();
    ended.store(1, SeqCst);
    watcher.thread().unpark();
    watcher.join().expect("no panic");
    output
}

/// One trial: what is wrong with its outcome, or whether the bit was flipped at all.
fn trial(stage: &Stage, seed: u64) -> Result<bool, String> {
    let mut random = StdRng::seed_from_u64(seed);
    let base_offset = seed.is_multiple_of(2);
    let api = if base_offset {
        FETCH
    } else {
        [FETCH, LIST_OFFSETS, OFFSET_FETCH, METADATA][random.random_range(0..4)]
    };
    let after = match api {
        FETCH => random.random_range(0..6),
        OFFSET_FETCH => random.random_range(0..2),
        _ => random.random_range(0..4),
    };
    let flip = Flip {
        format: None,
        api,
        base_offset,
        after,
        seed,
    };
    let flipper = Flipper::start(&stage.cluster.address, flip);
    let through = flipper.address.to_string();
    let bench = stage.bench();
    let outcome = if api != OFFSET_FETCH && random.random_bool(0.25) {
        look_up(stage, bench, &through)
    } else {
        consume(stage, &bench, &through, random.random_bool(0.5))
    };
    let Some(done) = flipper.done() else {
        return outcome
            .map(|()| false)
            .map_err(|error| format!("seed {seed}, nothing flipped: {error}"));
    };
    outcome
        .map(|()| true)
        .map_err(|error| format!("seed {seed}, {done}: {error}"))
}

/// Runs a command, through the proxy where one is named.
fn said(bench: &Bench<'_>, arguments: &[&str], through: Option<&str>) -> (Option<i32>, String) {
    let mut command = bench.command(arguments);
    if let Some(address) = through {
        // In many small answers.
        command = bench.command_at(address, arguments);
        command.env("Kafka__MaxPartitionFetchBytes", "20000");
    }
    let output = run(command);
    let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
    (output.status.code(), said)
}

/// What an end that is not good is told with.
fn has_sentence(text: &str) -> bool {
    text.contains("ERROR ") || text.contains("error: ")
}

/// A consumer from the beginning, or one that `goes_on`, then one that nothing disturbs.
fn consume(stage: &Stage, bench: &Bench<'_>, through: &str, goes_on: bool) -> Result<(), String> {
    if goes_on {
        said(bench, &["consume", "--count", "700"], None);
    }
    let mut told = String::new();
    for through in [Some(through), None] {
        let (code, text) = said(bench, &["consume", "--until-end"], through);
        told += &format!("\n-- {through:?}, {code:?}: {text}");
        let is_right = sorted_rows(bench) == stage.rows;
        if code == Some(0) && !is_right {
            return Err(format!(
                "exit 0 with {} rows{told}",
                sorted_rows(bench).len()
            ));
        }
        if code.is_none() {
            return Err(format!("it did not end{told}"));
        }
        if code != Some(0) && !has_sentence(&text) {
            return Err(format!("no sentence{told}"));
        }
        if code != Some(0) && through.is_none() {
            return Err(format!("not healed{told}"));
        }
        if bench.out().exists() {
            let out = bench.out().display().to_string();
            let (proven, text) = said(bench, &["verify", &out], None);
            // What was not read yet is no part of what is proven.
            let is_part = sorted_rows(bench).windows(2).all(|two| two[0] != two[1])
                && sorted_rows(bench)
                    .iter()
                    .all(|row| stage.rows.binary_search(row).is_ok());
            let may_prove = is_right || (is_part && code != Some(0));
            if (is_right && proven != Some(0)) || (!may_prove && proven == Some(0)) {
                return Err(format!(
                    "{is_right}, and verify says {proven:?}: {text}{told}"
                ));
            }
        }
    }
    Ok(())
}

/// A producer that has kept nothing of what is on the topic already.
fn look_up(stage: &Stage, mut bench: Bench<'_>, through: &str) -> Result<(), String> {
    bench.topic = stage.fill();
    let input = stage
        .input
        .path()
        .join("events.ndjson")
        .display()
        .to_string();
    let produce = ["produce", "--source", "replay", "--input", &input];
    let mut told = String::new();
    for through in [Some(through), None] {
        let (code, text) = said(&bench, &produce, through);
        told += &format!("\n-- {through:?}, {code:?}: {text}");
        if code.is_none() {
            return Err(format!("it did not end{told}"));
        }
        if code != Some(0) && !has_sentence(&text) {
            return Err(format!("no sentence{told}"));
        }
        if code != Some(0) && through.is_none() {
            return Err(format!("not healed{told}"));
        }
        let there = block_on(read(&stage.cluster.address, &bench.topic)).len();
        if there != EVENTS {
            return Err(format!("{there} events on the topic{told}"));
        }
    }
    Ok(())
}

/// So many trials from a seed on, some at a time; what went wrong.
fn trials(stage: &Stage, from: u64, wanted: usize) -> Vec<String> {
    let (next, hits) = (AtomicU64::new(from), AtomicUsize::new(0));
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while hits.load(SeqCst) < wanted {
                    match trial(stage, next.fetch_add(1, SeqCst)) {
                        Ok(hit) => {
                            hits.fetch_add(usize::from(hit), SeqCst);
                        }
                        Err(error) => {
                            hits.fetch_add(1, SeqCst);
                            let _ = writeln!(std::io::stderr(), "{error}");
                            wrong.lock().expect("no panic").push(error);
                        }
                    }
                }
            });
        }
    });
    let _ = writeln!(
        std::io::stdout(),
        "{}: {} trials, {} seeds",
        stage.cluster.name,
        hits.load(SeqCst),
        next.load(SeqCst) - from
    );
    wrong.into_inner().expect("no panic")
}

#[test]
fn a_flipped_bit_is_noticed_or_does_no_harm() {
    for cluster in clusters() {
        let wrong = trials(&Stage::new(cluster), 1, 12);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
#[ignore = "takes minutes; scripts/bitflips runs it"]
fn many_flipped_bits_are_noticed_or_do_no_harm() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let wanted = number("STOCKFLOW_FLIPS", 500) as usize;
    let cluster = clusters().pop().expect("a cluster");
    let wrong = trials(
        &Stage::new(cluster),
        number("STOCKFLOW_FLIPS_FROM", 1),
        wanted,
    );
    assert!(
        wrong.is_empty(),
        "{} of {wanted} are wrong: {wrong:#?}",
        wrong.len()
    );
}
