//! The main job through the front door: market data in, Kafka between, CSV files out.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::support::*;

/// Symbol, open, volume and start of every bar of the full-day fixture, as rows: prices digit for digit without their
/// trailing zeros, times in UTC. US/Eastern is UTC-5 on 2025-11-06.
fn full_day_rows() -> Vec<String> {
    let text = fs::read_to_string(fixture("intraday_full_day.json")).expect("the fixture");
    let body: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let series = body["Time Series (1min)"].as_object().expect("a series");
    let mut rows: Vec<String> = series
        .iter()
        .map(|(start, bar)| {
            let number = |name: &str| bar[name].as_str().expect("a number").to_owned();
            let trim = |price: &str| price.trim_end_matches('0').trim_end_matches('.').to_owned();
            let open = number("1. open");
            let close: f64 = number("4. close").parse().expect("a close");
            let side = if close >= open.parse().expect("an open") {
                "Buy"
            } else {
                "Sell"
            };
            let start = chrono::NaiveDateTime::parse_from_str(start, "%Y-%m-%d %H:%M:%S")
                .expect("a time")
                + chrono::TimeDelta::hours(5);
            format!(
                "IBM,{side},{},{},{}Z",
                number("5. volume"),
                trim(&open),
                start.format("%Y-%m-%dT%H:%M:%S")
            )
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn a_replayed_day_is_published_once_and_written_once() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let input = fixture("intraday_full_day.json");
        let produce = [
            "produce", "--source", "replay", "--input", &input, "--symbol", "IBM",
        ];
        let first = bench.json(&produce);
        assert_eq!(first["published"], 960, "{}: {first}", cluster.name);
        assert_eq!(first["duplicates_skipped"], 0);
        let again = bench.json(&produce);
        assert_eq!(again["published"], 0, "{}: {again}", cluster.name);
        assert_eq!(again["duplicates_skipped"], 960);

        let consumed = bench.json(&["consume", "--until-end"]);
        assert_eq!(
            consumed["rows_written"], 960,
            "{}: {consumed}",
            cluster.name
        );
        assert_eq!(consumed["dead_letters"], 0);
        assert_eq!(consumed["committed"], 960);
        let mut written = rows(&bench.out());
        written.sort();
        assert_eq!(written, full_day_rows(), "{}", cluster.name);

        let nothing = bench.json(&["consume", "--until-end"]);
        assert_eq!(nothing["rows_written"], 0, "{}: {nothing}", cluster.name);
        assert_eq!(rows(&bench.out()).len(), 960);
    }
}

#[test]
fn republish_publishes_again() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let input = fixture("intraday_ibm_1min.json");
    let produce = ["produce", "--source", "replay", "--input", &input];
    assert_eq!(bench.json(&produce)["published"], 100);
    assert_eq!(
        bench.json(&[&produce[..], &["--republish"]].concat())["published"],
        100
    );
}

#[test]
fn csv_bodies_and_json_bodies_are_the_same_events() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let json = fixture("intraday_ibm_1min.json");
    let csv = fixture("intraday.csv");
    let first = bench.json(&["produce", "--source", "replay", "--input", &json]);
    assert_eq!(first["published"], 100, "{first}");
    let second = bench.json(&[
        "produce", "--source", "replay", "--input", &csv, "--symbol", "IBM",
    ]);
    assert_eq!(second["published"], 0, "{second}");
    assert_eq!(second["duplicates_skipped"], 100);
}

#[test]
fn a_bad_bar_costs_no_good_one() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let bad = fixture("bars_with_bad_values.json");
    let done = bench.json(&["produce", "--source", "replay", "--input", &bad]);
    assert_eq!(done["published"], 16, "{done}");
    assert_eq!(done["bad_bars"], 4, "{done}");
}

#[test]
fn count_stops_after_exactly_so_many_records_and_commits_them() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let made = bench.json(&[
            "produce",
            "--source",
            "simulated",
            "--seed",
            "3",
            "--count",
            "1000",
        ]);
        assert_eq!(made["published"], 1000, "{}: {made}", cluster.name);
        let part = bench.json(&["consume", "--count", "123"]);
        assert_eq!(part["rows_written"], 123, "{}: {part}", cluster.name);
        assert_eq!(part["committed"], 123);
        let rest = bench.json(&["consume", "--until-end"]);
        assert_eq!(rest["rows_written"], 877, "{}: {rest}", cluster.name);
        assert_eq!(rows(&bench.out()).len(), 1000);
    }
}

#[test]
fn from_latest_skips_what_was_there() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "50"]);
    let none = bench.json(&["consume", "--until-end", "--from", "latest"]);
    assert_eq!(none["rows_written"], 0, "{none}");
}

#[test]
fn dead_letters_keep_what_is_no_trade() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "10"]);
    // Columns beyond the default ones, too.
    let done = bench.json(&[
        "consume",
        "--until-end",
        "--set",
        "Output.Columns=Symbol,Side,Quantity,Price,Timestamp,TradeId,Partition,Offset",
    ]);
    assert_eq!(done["rows_written"], 10, "{done}");
    let places: BTreeSet<_> = rows(&bench.out())
        .iter()
        .map(|row| {
            row.split(',')
                .skip(6)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(places.len(), 10, "each row names another place");
}

#[test]
fn demo_needs_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_stockflow"))
        .current_dir(directory.path())
        .env_clear()
        .args([
            "demo", "--events", "2000", "--out", "trades", "--format", "json",
        ])
        .finish();
    assert!(output.status.success(), "{}", stderr(&output));
    let done = last_json(&output);
    assert_eq!(done["published"], 2000, "{done}");
    assert_eq!(done["rows_written"], 2000, "{done}");
    assert_eq!(rows(&directory.path().join("trades")).len(), 2000);
    let state = directory.path().join(".stockflow");
    assert!(!state.exists(), "it keeps nothing from publishing");
}

#[test]
fn demo_names_its_files_and_what_to_try_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_stockflow"))
        .current_dir(directory.path())
        .env_clear()
        .args(["demo", "--seconds", "2"])
        .finish();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("consumed_trades_"), "{text}");
    assert!(text.contains("stockflow consume"), "{text}");
}

#[test]
fn run_does_both_and_ends_by_itself() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let done = bench.json(&["run", "--source", "simulated", "--count", "500"]);
    assert_eq!(done["published"], 500, "{done}");
    assert_eq!(done["rows_written"], 500, "{done}");
    assert_eq!(rows(&bench.out()).len(), 500);
}

#[test]
fn a_stop_drains_and_commits() {
    for name in ["TERM", "INT"] {
        for cluster in &clusters() {
            let bench = Bench::new(cluster);
            let mut child = bench
                .command(&[
                    "run",
                    "--source",
                    "simulated",
                    "--rate",
                    "500",
                    "--format",
                    "json",
                ])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .stdin(Stdio::null())
                .spawn()
                .expect("the binary runs");
            std::thread::sleep(Duration::from_secs(3));
            signal(&child, name);
            let asked = Instant::now();
            let status = wait(&mut child, Duration::from_secs(20));
            let output = child.finish();
            assert_eq!(
                status.and_then(|status| status.code()),
                Some(0),
                "{} {name}: {}",
                cluster.name,
                stderr(&output)
            );
            println!("{} {name}: stopped in {:?}", cluster.name, asked.elapsed());
            let done = last_json(&output);
            assert!(done["published"].as_u64() > Some(0), "{done}");
            assert_eq!(done["committed"], done["rows_written"], "{done}");
            assert_eq!(done["rows_written"], rows(&bench.out()).len() as u64);
            // The rest is read by whoever comes next, once.
            let rest = bench.json(&["consume", "--until-end"]);
            let all = done["rows_written"].as_u64().unwrap_or(0)
                + rest["rows_written"].as_u64().unwrap_or(0);
            assert_eq!(
                Some(all),
                done["published"].as_u64(),
                "{} {name}: {done} {rest}",
                cluster.name
            );
        }
    }
}

#[test]
fn two_members_share_a_topic() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        bench.json(&["produce", "--source", "simulated", "--count", "3000"]);
        let spawn = |out: &str| {
            bench
                .command(&[
                    "consume",
                    "--out",
                    out,
                    "--set",
                    "Output.CommitIntervalMs=100",
                ])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the binary runs")
        };
        let mut members = [spawn("a"), spawn("b")];
        bench.json(&["produce", "--source", "simulated", "--count", "3000"]);
        let members_of = |count: fn(&Path) -> usize| -> usize {
            let paths = ["a", "b"].map(|name| bench.directory.path().join(name));
            paths.iter().map(|path| count(path)).sum()
        };
        let so_far = || members_of(rows_so_far);
        let end = Instant::now() + Duration::from_secs(90);
        while so_far() < 6000 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(200));
        }
        for member in &mut members {
            signal(member, "TERM");
            assert_eq!(
                wait(member, Duration::from_secs(20)).and_then(|status| status.code()),
                Some(0)
            );
        }
        let whole = members_of(|path| if path.exists() { rows(path).len() } else { 0 });
        assert_eq!(whole, 6000, "{}", cluster.name);
    }
}

/// Twenty times killed at random moments, and at the end every event is there exactly once.
#[test]
fn a_killed_consumer_neither_loses_nor_doubles_a_row() {
    const EVENTS: usize = 200_000;
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let count = EVENTS.to_string();
        let made = bench.json(&[
            "produce",
            "--source",
            "simulated",
            "--count",
            &count,
            "--republish",
        ]);
        assert_eq!(made["published"], EVENTS as u64, "{}: {made}", cluster.name);
        let columns = "Output.Columns=Symbol,Side,Quantity,Price,Timestamp,Partition,Offset";
        // Small fetches and frequent commits, so that there is much to be in the middle of.
        let consume = [
            "consume",
            "--set",
            columns,
            "--set",
            "Output.CommitIntervalMs=20",
            "--set",
            "Kafka.MaxPartitionFetchBytes=65536",
        ];
        let mut random = std::process::id();
        for _ in 0..20 {
            let mut child = bench
                .command(&consume)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the binary runs");
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            std::thread::sleep(Duration::from_millis(u64::from(random >> 16) % 700));
            let _ = child.kill();
            let _ = child.wait();
        }
        let rest = bench.json(&[&consume[..], &["--until-end"]].concat());
        let mut places: HashMap<String, u32> = HashMap::new();
        for row in rows(&bench.out()) {
            let place = row.splitn(6, ',').nth(5).expect("a place").to_owned();
            *places.entry(place).or_default() += 1;
        }
        let doubled: Vec<_> = places
            .iter()
            .filter(|(_, times)| **times > 1)
            .take(5)
            .collect();
        assert!(doubled.is_empty(), "{}: {doubled:?} {rest}", cluster.name);
        assert_eq!(places.len(), EVENTS, "{}: {rest}", cluster.name);
    }
}
