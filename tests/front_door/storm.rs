//! Everything goes wrong at once, and every event is on the topic once, in the order of its key.
//!
//! The small form is a test like others: the embedded broker behind a proxy that storms, and a producer that is killed
//! again and again. The large one, on three real brokers that are killed and revived in turn, is `scripts/storm`.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{proxy::Proxy, support::*};

const SYMBOLS: [&str; 8] = [
    "IBM", "AAPL", "MSFT", "TSLA", "NVDA", "AMZN", "META", "GOOG",
];

/// A name for the file's line `number`, so that order can be read off it.
fn trade_id(number: u64) -> String {
    format!("event-{number:09}")
}

fn symbol(number: u64) -> &'static str {
    SYMBOLS[(number % 8) as usize]
}

/// Newline-delimited events, one a second of a day long gone.
pub(crate) fn events(count: u64) -> String {
    let mut text = String::new();
    let start = chrono::DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
    for number in 0..count {
        let time = start + chrono::TimeDelta::milliseconds(number as i64 * 10);
        let _ = writeln!(
            text,
            "{{\"TradeId\":\"{}\",\"Symbol\":\"{}\",\"Side\":\"Buy\",\"Quantity\":{number},\"Price\":{}.25,\"Timestamp\":\"{}\"}}",
            trade_id(number),
            symbol(number),
            number % 900,
            time.format("%Y-%m-%dT%H:%M:%S%.3fZ")
        );
    }
    text
}

/// What the topic holds, in the order of its offsets by partition: symbol and TradeId.
pub(crate) fn on_topic(bench: &Bench<'_>) -> Vec<(String, String)> {
    let columns = "Output.Columns=Symbol,Side,Quantity,Price,Timestamp,TradeId,Partition,Offset";
    bench.json(&["consume", "--until-end", "--set", columns]);
    let mut read: Vec<((u32, u64), String, String)> = rows(&bench.out())
        .iter()
        .map(|row| {
            let cells: Vec<&str> = row.split(',').collect();
            let number = |cell: &str| cell.parse::<u64>().expect("a number");
            let place = (number(cells[6]) as u32, number(cells[7]));
            (place, cells[0].to_owned(), cells[5].to_owned())
        })
        .collect();
    read.sort_unstable();
    read.into_iter().map(|(_, key, id)| (key, id)).collect()
}

/// Each event once, and those of a key in the order of the input.
pub(crate) fn check(read: &[(String, String)], count: u64, seed: u64) {
    let mut newest: HashMap<&str, &str> = HashMap::new();
    let mut seen = HashMap::new();
    for (key, id) in read {
        *seen.entry(id.as_str()).or_insert(0_u32) += 1;
        if let Some(before) = newest.insert(key, id) {
            assert!(
                before < id.as_str(),
                "seed {seed}: {key} has {before} before {id} (equal: doubled)"
            );
        }
    }
    for number in 0..count {
        let id = trade_id(number);
        assert_eq!(seen.get(id.as_str()), Some(&1), "seed {seed}: {id}");
    }
    assert_eq!(read.len() as u64, count, "seed {seed}");
}

/// Runs `produce` to its end, killing and starting it again `kills` times before, each after `longest` ms at most. In
/// transactions it may end by itself when one is lost, as it says it does; then it is started again, too.
pub(crate) fn produce(
    bench: &Bench<'_>,
    input: &str,
    transactions: bool,
    kills: u32,
    random: &mut StdRng,
    longest: u64,
) {
    let id = format!("Kafka.TransactionalId={}", bench.topic);
    let id = ["--set", &id];
    let limit = Duration::from_secs(900);
    let end = Instant::now() + limit;
    let mut left = kills;
    loop {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(bench.directory.path().join("produce.log"))
            .expect("a log");
        let mut child = bench
            .command(&["produce", "--source", "replay", "--input", input, "-v"])
            .args(["--set", "Kafka.ReconnectBackoffMaxMs=500"])
            .args(["--set", "Kafka.MessageTimeoutMs=600000"])
            .args(["--set", "Kafka.RequestTimeoutMs=5000"])
            .args(if transactions { &id[..] } else { &[] })
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let patience = match left {
            0 => end.saturating_duration_since(Instant::now()),
            _ => Duration::from_millis(random.random_range(longest / 10..longest)),
        };
        if let Some(status) = wait(&mut child, patience) {
            if status.success() {
                return;
            }
            let log = fs::read_to_string(bench.directory.path().join("produce.log"));
            let log = log.unwrap_or_default();
            let aborted = transactions && status.code() == Some(1);
            assert!(aborted, "{status}\n{}", tail(&log));
            continue;
        }
        let _ = child.kill();
        let _ = child.wait();
        let log = fs::read_to_string(bench.directory.path().join("produce.log"));
        assert!(
            left > 0,
            "not done within {limit:?}\n{}",
            tail(&log.unwrap_or_default())
        );
        left -= 1;
    }
}

fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(4_000);
    &text[text.ceil_char_boundary(from)..]
}

#[test]
fn a_storm_and_a_killed_producer_lose_and_double_nothing() {
    const COUNT: u64 = 40_000;
    for seed in [1, 2] {
        let (sender, receiver) = std::sync::mpsc::channel::<String>();
        let target = std::sync::OnceLock::new();
        let proxy = Proxy::start("127.0.0.1:0", move || {
            target
                .get_or_init(|| receiver.recv().expect("the broker's address"))
                .clone()
        });
        let mut cluster = embedded_as(Some(&proxy.address.to_string()));
        sender
            .send(cluster.address.clone())
            .expect("the proxy lives");
        cluster.address = proxy.address.to_string();
        let bench = Bench::new(&cluster);
        let input = bench.directory.path().join("events.ndjson");
        fs::write(&input, events(COUNT)).expect("a file");
        let mut random = StdRng::seed_from_u64(seed);
        proxy.storm(seed);
        let input = input.to_str().expect("UTF-8");
        // Each start behind a kill waits for a second before it publishes.
        produce(&bench, input, false, 4, &mut random, 3_000);
        proxy.calm();
        check(&on_topic(&bench), COUNT, seed);
    }
}
