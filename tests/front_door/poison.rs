//! Poison among good events: every good one becomes a row, every bad one a dead letter with the right reason, and memory
//! stays flat.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{raw::*, support::*};

/// A value that is no trade, and the beginning of the reason why; without a value it is a tombstone.
type Poison = (Option<Vec<u8>>, &'static str);

const GOOD: &str = r#"{"TradeId":"t","Symbol":"IBM","Side":"Buy","Quantity":7,"Price":314.1,"Timestamp":"2025-11-06T20:59:00Z"}"#;

/// The kinds of poison; `number` makes values that differ.
fn kinds(number: usize) -> Vec<Poison> {
    let with = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        Some(GOOD.replace(from, to).into_bytes())
    };
    let text = |text: String| Some(text.into_bytes());
    let symbol = "Symbol is not";
    let id = "TradeId is not";
    let quantity = "Quantity is not";
    let price = "Price is not";
    let time = "Timestamp is not";
    let json = "the value is not JSON";
    let long = "x".repeat(65);
    vec![
        (
            Some(vec![0xff, 0xfe, number as u8]),
            "the value is not UTF-8",
        ),
        (
            with("IBM", "\u{fffd}").map(|value| [&value[..], b"\xc3"].concat()),
            "the value is not UTF-8",
        ),
        (Some(Vec::new()), json),
        (text(format!("garbage {number}")), json),
        (text(GOOD[..1 + number % (GOOD.len() - 1)].to_owned()), json),
        (text(format!("\u{feff}{GOOD}")), json),
        (text(format!("{GOOD}{GOOD}")), json),
        (Some(vec![0; 1 + number % 50]), json),
        (with("314.1", "NaN"), json),
        (with("314.1", "Infinity"), json),
        (with("314.1", "0x10"), json),
        (with("IBM", "I\u{7}M"), json),
        (
            text(number.to_string()),
            "the value is JSON but not an object",
        ),
        (
            text("null".to_owned()),
            "the value is JSON but not an object",
        ),
        (
            text(format!("[{GOOD}]")),
            "the value is JSON but not an object",
        ),
        (
            text(format!("{}{}", "[".repeat(20_000), "]".repeat(20_000))),
            "the value is JSON but not an object",
        ),
        (text("[".repeat(20_000)), json),
        (text(r#"{"a":"#.repeat(20_000)), json),
        (text("{}".to_owned()), "the field Symbol is missing"),
        (
            with("\"Symbol\"", "\"symbol\""),
            "the field Symbol is missing",
        ),
        (with("\"Side\"", "\"side\""), "the field Side is missing"),
        (
            with("\"Quantity\"", "\"Quantitys\""),
            "the field Quantity is missing",
        ),
        (with("\"Price\"", "\"Preis\""), "the field Price is missing"),
        (
            with("\"Timestamp\"", "\"\""),
            "the field Timestamp is missing",
        ),
        (
            with("\"Quantity\":7", "\"Quantity\":7,\"Quantity\":8"),
            "the field Quantity is there twice",
        ),
        (with("\"IBM\"", "\"\""), symbol),
        (with("\"IBM\"", "\"I M\""), symbol),
        (with("\"IBM\"", "\".IBM\""), symbol),
        (with("\"IBM\"", "\"I\\u0000M\""), symbol),
        (with("\"IBM\"", "null"), symbol),
        (with("\"IBM\"", &format!("\"{}\"", &long[..33])), symbol),
        (with("\"IBM\"", "\"=IBM\""), symbol),
        (with("\"Buy\"", "\"buy\""), "Side is neither"),
        (with("\"Buy\"", "\"Hold\""), "Side is neither"),
        (with("\"Buy\"", "1"), "Side is neither"),
        (with(":7", ":-7"), quantity),
        (with(":7", ":7.5"), quantity),
        (with(":7", ":7e2"), quantity),
        (with(":7", ":\"7\""), quantity),
        (with(":7", ":null"), quantity),
        (with("314.1", "\"314.1\""), price),
        (with("314.1", "null"), price),
        (with("314.1", "{}"), price),
        (with("2025-11-06T20:59:00Z", "yesterday"), time),
        (with("2025-11-06T20:59:00Z", "2025-11-06"), time),
        (with("2025-11-06T20:59:00Z", "2025-02-30T20:59:00Z"), time),
        (with("2025-11-06T20:59:00Z", "2025-11-06T25:59:00Z"), time),
        (with("\"2025-11-06T20:59:00Z\"", "1762462740"), time),
        (with("\"t\"", "7"), id),
        (with("\"t\"", "\"a\\nb\""), id),
        (with("\"t\"", &format!("\"{long}\"")), id),
        (None, ""),
    ]
}

/// What is only made now and then, because it is large.
fn huge(number: usize) -> Poison {
    let long = "y".repeat(900_000 + number % 1_000);
    match number / 500 % 2 {
        0 => (Some(long.into_bytes()), "the value is not JSON"),
        _ => (
            Some(GOOD.replace("IBM", &long).into_bytes()),
            "Symbol is not",
        ),
    }
}

/// The poison of a run, in order.
fn poison(count: usize) -> impl Iterator<Item = Poison> {
    let kinds_count = kinds(0).len();
    (0..count).map(move |number| match number % 500 {
        499 => huge(number),
        _ => kinds(number).swap_remove(number % kinds_count),
    })
}

/// The highest and the present memory of a process, in KiB.
pub(crate) fn memory(pid: u32) -> Option<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some((field("VmHWM:")?, field("VmRSS:")?))
}

/// Reads `good` events with `bad` bad records among them; VmHWM in KiB after a tenth, a quarter, and all of the time.
fn swallow(cluster: &Cluster, good: u64, bad: usize) -> Option<[u64; 3]> {
    let bench = Bench::new(cluster);
    let every = good / bad as u64;
    let mut tombstones = 0u64;
    let mut wanted: HashMap<Vec<u8>, &str> = HashMap::new();
    let mut letters = 0;
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (value, reason) in poison(bad) {
        let Some(value) = value else {
            tombstones += 1;
            continue;
        };
        letters += 1;
        *reasons.entry(reason).or_default() += 1;
        wanted.insert(value, reason);
    }
    let records = poison(bad).enumerate().flat_map(|(number, (value, _))| {
        let first = number as u64 * every;
        let last = if number + 1 == bad {
            good
        } else {
            first + every
        };
        // Keys of any kind: none, not UTF-8, long.
        let key = match number % 4 {
            0 => None,
            1 => Some(vec![0xfe, number as u8]),
            2 => Some(vec![b'k'; 300]),
            _ => Some(number.to_string().into_bytes()),
        };
        let bad = Raw {
            key,
            value,
            headers: Vec::new(),
        };
        let goods = (first..last)
            .map(|number| Raw::new(&(number % 16).to_le_bytes(), Some(event(number).as_bytes())));
        goods.chain([bad])
    });
    block_on(async {
        make_topic(&cluster.address, &bench.topic, 3, &[]).await;
        publish(&cluster.address, &bench.topic, None, records).await;
    });

    let started = Instant::now();
    let mut child = bench
        .command(&["consume", "--until-end", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut samples = Vec::new();
    while child.try_wait().expect("a child").is_none() {
        samples.extend(memory(child.id()).map(|(highest, _)| (started.elapsed(), highest)));
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.finish();
    assert!(output.status.success(), "{}", output.status);
    let done = last_json(&output);
    assert_eq!(done["rows_written"], good, "{done}");
    assert_eq!(done["dead_letters"], letters, "{done}");
    assert_eq!(done["tombstones"], tombstones, "{done}");
    assert_eq!(done["committed"], good + bad as u64, "{done}");

    let mut found = 0;
    for entry in fs::read_dir(bench.out()).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|of| of != "ndjson") {
            continue;
        }
        for line in BufReader::new(fs::File::open(&path).expect("a file")).lines() {
            let line: Value = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
            let value = STANDARD.decode(line["value"].as_str().expect("a value"));
            let value = value.expect("base64");
            let reason = line["reason"].as_str().expect("a reason");
            let expected = wanted
                .get(&value)
                .copied()
                .unwrap_or("a value that was never sent");
            assert!(
                reason.starts_with(expected),
                "{}: {reason}, not {expected}",
                value.escape_ascii()
            );
            found += 1;
        }
    }
    assert_eq!(found, letters);
    assert!(reasons.len() == 15, "{reasons:?}");
    let mut quantities: Vec<u64> = rows(&bench.out())
        .iter()
        .map(|row| {
            row.split(',')
                .nth(2)
                .expect("a quantity")
                .parse()
                .expect("a number")
        })
        .collect();
    quantities.sort_unstable();
    assert!(quantities.into_iter().eq(0..good), "each good event once");
    let report = bench.json(&["verify", bench.out().to_str().expect("UTF-8")]);
    assert_eq!(report["dead_letters"], letters, "{report}");
    let whole = samples.last()?.0;
    let at = |part: u32| {
        samples
            .iter()
            .find(|of| of.0 >= whole / part)
            .map(|of| of.1)
    };
    Some([at(10)?, at(4)?, at(1)?])
}

#[test]
fn poison_harms_no_good_event() {
    for cluster in &clusters() {
        swallow(cluster, 20_000, 1_000);
    }
}

#[test]
#[ignore = "takes minutes; scripts/poison runs it"]
fn ten_thousand_poison_records_among_a_million_events() {
    let cluster = embedded();
    let memory = swallow(&cluster, 1_000_000, 10_000);
    let [tenth, quarter, end] = memory.expect("samples of its memory");
    say_memory(tenth, quarter, end);
    assert!(
        end < quarter + quarter / 2 + (32 << 10),
        "memory grew: {tenth}, {quarter}, {end} KiB"
    );
}

fn say_memory(tenth: u64, quarter: u64, end: u64) {
    use std::io::Write as _;
    let _ = writeln!(
        std::io::stderr(),
        "VmHWM after a tenth {tenth} KiB, a quarter {quarter} KiB, at the end {end} KiB"
    );
}
