//! What becomes of the files: they roll by size and by age, are published and compressed when they are closed, and hold
//! every row once all the while.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::*;

const LONG: Duration = Duration::from_secs(120);

/// The rows of all closed and plain files, from names to lines.
fn all_rows(directory: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    for name in names(directory) {
        let bytes = fs::read(directory.join(&name)).expect("a file");
        let text = String::from_utf8(unpacked(&name, &bytes)).expect("UTF-8");
        assert!(text.ends_with('\n'), "{name}");
        let mut lines = text.lines();
        let header = lines.next().expect("a header");
        assert_eq!(header, "Symbol,Side,Quantity,Price,Timestamp", "{name}");
        rows.extend(lines.map(str::to_owned));
        assert!(!rows.iter().any(|row| row == header), "one header a file");
    }
    rows.sort();
    rows
}

fn unpacked(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    if name.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(bytes)
            .read_to_end(&mut plain)
            .expect("gzip");
    } else if name.ends_with(".zst") {
        let mut rest = bytes;
        while !rest.is_empty() {
            ruzstd::decoding::StreamingDecoder::new(&mut rest)
                .expect("a frame")
                .read_to_end(&mut plain)
                .expect("zstd");
        }
    } else {
        plain.extend_from_slice(bytes);
    }
    plain
}

/// The names of the files of trades that everybody sees.
fn names(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return BTreeSet::new();
    };
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter(|name| name.starts_with("consumed_trades_"))
        .collect()
}

fn until(what: &str, mut met: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !met() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn set<'s>(settings: &[&'s str]) -> Vec<&'s str> {
    settings.iter().flat_map(|set| ["--set", *set]).collect()
}

/// A consumer that runs until it is told to stop.
fn service(bench: &Bench<'_>, settings: &[&str]) -> Child {
    bench
        .command(&[&["consume"][..], &set(settings)].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

fn stop(mut child: Child) {
    signal(&child, "TERM");
    let status = wait(&mut child, LONG).expect("it ends");
    assert!(status.success(), "{status}");
}

fn produce(bench: &Bench<'_>, seed: &str, count: &str) {
    let source = ["produce", "--source", "simulated", "--seed", seed];
    let made = bench.json(&[&source[..], &["--count", count]].concat());
    assert_eq!(made["published"].to_string(), count);
}

fn verify(bench: &Bench<'_>) -> (i32, serde_json::Value) {
    let out = bench.out();
    let output = bench
        .command(&["verify", out.to_str().expect("UTF-8"), "--format", "json"])
        .finish();
    let code = output.status.code().expect("an exit code");
    (code, last_json(&output))
}

/// The same topic, for another group and directory.
fn beside<'c>(bench: &Bench<'c>) -> Bench<'c> {
    Bench {
        topic: bench.topic.clone(),
        ..Bench::new(bench.cluster)
    }
}

#[test]
fn closed_files_hold_the_same_rows_in_every_form() {
    let cluster = embedded();
    let plain = Bench::new(&cluster);
    produce(&plain, "7", "40000");
    plain.json(&["consume", "--until-end"]);
    let rows = all_rows(&plain.out());
    assert_eq!(rows.len(), 40_000);
    for (compression, suffix) in [("none", ".csv"), ("gzip", ".csv.gz"), ("zstd", ".csv.zst")] {
        for publish in ["append", "atomic"] {
            let bench = beside(&plain);
            let compressed = format!("Output.Compression={compression}");
            let published = format!("Output.Publish={publish}");
            let settings = [
                "Output.RollMegabytes=1",
                "Output.Instance=eu-1",
                &compressed,
                &published,
            ];
            let done = bench.json(&[&["consume", "--until-end"][..], &set(&settings)].concat());
            assert_eq!(done["rows_written"], 40_000, "{done}");
            let names = names(&bench.out());
            assert!(names.iter().all(|name| name.ends_with(suffix)), "{names:?}");
            assert!(
                names.iter().any(|name| name.contains(".eu-1.0001.csv")),
                "{names:?}"
            );
            for name in &names {
                let bytes = fs::read(bench.out().join(name)).expect("a file");
                assert!(unpacked(name, &bytes).len() <= 1_000_000, "{name}");
            }
            assert_eq!(all_rows(&bench.out()), rows);
            let (code, report) = verify(&bench);
            assert_eq!((code, &report["rows"]), (0, &40_000.into()), "{report}");
            // What comes later for a closed day goes to a new part, and nothing that was closed changes.
            let before = contents(&bench.out());
            let more = bench.json(&[&["consume", "--until-end"][..], &set(&settings)].concat());
            assert_eq!(more["rows_written"], 0);
            assert_eq!(contents(&bench.out()), before);
            if compression != "none" {
                a_changed_byte_is_found(&bench, names.first().expect("a file"));
            }
        }
    }
}

fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let names = names(directory).into_iter();
    let read = |name: &String| fs::read(directory.join(name)).expect("a file");
    names.map(|name| (name.clone(), read(&name))).collect()
}

fn a_changed_byte_is_found(bench: &Bench<'_>, name: &str) {
    let path = bench.out().join(name);
    let good = fs::read(&path).expect("its bytes");
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    let longer = [&good[..], b"x"].concat();
    for bytes in [changed, good[..good.len() - 9].to_vec(), longer] {
        fs::write(&path, bytes).expect("written");
        let (code, report) = verify(bench);
        assert_eq!(
            (code, &report["findings"][0]["file"]),
            (1, &name.into()),
            "{report}"
        );
    }
    // A row of another content, compressed well.
    let text = String::from_utf8(unpacked(name, &good)).expect("UTF-8");
    let edited = text.replacen(",Buy,", ",Sell,", 1);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(edited.as_bytes()).expect("compressed");
    if name.ends_with(".gz") {
        fs::write(&path, packed.finish().expect("compressed")).expect("written");
        let (code, report) = verify(bench);
        let finding = &report["findings"][0];
        assert_eq!((code, &finding["kind"]), (1, &"edited".into()), "{report}");
        assert!(finding["first_offset"].is_i64(), "{report}");
    }
    // The same rows, packed again by somebody: each of them is as it was written.
    let again = if name.ends_with(".gz") {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).expect("compressed");
        packed.finish().expect("compressed")
    } else {
        use ruzstd::encoding::{CompressionLevel, compress_to_vec};
        compress_to_vec(text.as_bytes(), CompressionLevel::Uncompressed)
    };
    assert_ne!(again, good);
    fs::write(&path, &again).expect("written");
    let (code, report) = verify(bench);
    assert_eq!(
        (code, &report["verdict"]),
        (0, &"proven".into()),
        "{report}"
    );
    // What is behind them is read, too.
    let more = [&again[..], &again].concat();
    fs::write(&path, more).expect("written");
    let (code, report) = verify(bench);
    assert_eq!(
        (code, &report["findings"][0]["kind"]),
        (1, &"edited".into()),
        "{report}"
    );
    fs::write(&path, good).expect("put back");
    assert_eq!(verify(bench).0, 0);
}

#[test]
fn files_roll_by_age_though_nothing_comes() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        produce(&bench, "7", "100");
        let settings = [
            "Output.RollSeconds=1",
            "Output.Compression=gzip",
            "Output.Publish=atomic",
        ];
        let child = service(&bench, &settings);
        until("the first part", || names(&bench.out()).len() == 1);
        produce(&bench, "8", "100");
        until("the second part", || all_rows(&bench.out()).len() == 200);
        let names = names(&bench.out());
        assert!(names.iter().all(|name| name.ends_with(".gz")), "{names:?}");
        assert!(
            names.iter().any(|name| name.ends_with(".0001.csv.gz")),
            "{names:?}"
        );
        stop(child);
        let (code, report) = verify(&bench);
        assert_eq!((code, &report["rows"]), (0, &200.into()), "{report}");
    }
}

#[test]
fn an_atomic_file_is_seen_when_it_is_closed() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, "7", "100");
    let child = service(&bench, &["Output.Publish=atomic"]);
    let hidden = bench.out().join(".stockflow/open");
    until("hidden rows", || rows_so_far(&hidden) == 100);
    assert_eq!(names(&bench.out()), BTreeSet::new());
    stop(child);
    assert_eq!(all_rows(&bench.out()).len(), 100);
    assert_eq!(names(&hidden), BTreeSet::new());
    // Killed, its rows stay out of sight until a later process closes their file.
    produce(&bench, "8", "100");
    let mut child = service(&bench, &["Output.Publish=atomic"]);
    until("hidden rows", || rows_so_far(&hidden) == 100);
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert_eq!(all_rows(&bench.out()).len(), 100);
    bench.json(&["consume", "--until-end", "--set", "Output.Publish=atomic"]);
    assert_eq!(all_rows(&bench.out()).len(), 200);
    assert_eq!(verify(&bench).0, 0);
}

/// Kills a consumer that rolls, publishes and compresses, so often while it works, then lets it finish.
fn killed(kills: u64, events: &str, compression: &str) {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, "7", events);
    let compression = format!("Output.Compression={compression}");
    let settings = set(&[
        "Output.RollMegabytes=1",
        "Output.RollSeconds=1",
        "Output.Publish=atomic",
        &compression,
        "Output.CommitIntervalMs=5",
        "Kafka.FetchMaxBytes=65536",
    ]);
    for kill in 0..kills {
        let mut child = bench
            .command(&[&["consume"][..], &settings].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(10 + kill * 37 % 400));
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
    bench.json(&[&["consume", "--until-end"][..], &settings].concat());
    let (code, report) = verify(&bench);
    let rows = report["rows"].to_string();
    assert_eq!((code, rows.as_str()), (0, events), "{report}");
    assert_eq!(all_rows(&bench.out()).len().to_string(), events);
}

#[test]
fn a_consumer_that_closes_files_and_is_killed_holds_every_record_once() {
    killed(12, "60000", "gzip");
    killed(6, "60000", "zstd");
}

#[test]
#[ignore = "takes minutes; scripts/kills runs it"]
fn a_consumer_that_closes_files_and_is_killed_a_hundred_times_holds_every_record_once() {
    killed(100, "300000", "gzip");
    killed(100, "300000", "zstd");
}

/// Publishes trades as they are given, and says how many.
fn publish(bench: &Bench<'_>, lines: &[String]) {
    let path = bench.directory.path().join("events.ndjson");
    fs::write(&path, lines.concat()).expect("written");
    let input = path.to_str().expect("UTF-8");
    let made = bench.json(&["produce", "--source", "replay", "--input", input]);
    assert_eq!(made["published"], lines.len(), "{made}");
}

fn event(number: usize, timestamp: &str) -> String {
    format!(
        "{{\"TradeId\":\"{number}\",\"Symbol\":\"IBM\",\"Side\":\"Buy\",\"Quantity\":{number},\"Price\":1.5,\"Timestamp\":\"{timestamp}\"}}\n"
    )
}

/// What a process holds: kilobytes of memory, open files.
fn held(child: &Child) -> Option<(u64, usize)> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let memory = line.split_whitespace().nth(1)?.parse().ok()?;
    let files = fs::read_dir(format!("/proc/{}/fd", child.id()))
        .ok()?
        .count();
    Some((memory, files))
}

#[test]
fn three_thousand_days_need_few_descriptors() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let first = chrono::NaiveDate::from_ymd_opt(2015, 1, 1).expect("a date");
    let lines: Vec<String> = (0..12_000)
        .map(|number| {
            let day = first + chrono::Days::new(number as u64 % 3_000);
            event(number, &format!("{day}T10:00:00Z"))
        })
        .collect();
    publish(&bench, &lines);
    // Twice the files that it may keep open, and nothing near the days.
    let inner = bench.command(&["consume", "--until-end", "--format", "json"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 128 && exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(bench.directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let (mut memory, mut files) = (0, 0);
    while child.try_wait().expect("a child").is_none() {
        if let Some(held) = held(&child) {
            memory = memory.max(held.0);
            files = files.max(held.1);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.finish();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(files <= 128, "{files} descriptors");
    assert!(memory < 200_000, "{memory} kB");
    assert_eq!(names(&bench.out()).len(), 3_000);
    assert_eq!(all_rows(&bench.out()).len(), 12_000);
    let (code, report) = verify(&bench);
    assert_eq!((code, &report["rows"]), (0, &12_000.into()), "{report}");
}

/// A day of one event a second, in so many seconds; memory and descriptors must not grow.
fn a_day(events: usize, seconds: u64) {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let midnight = chrono::DateTime::from_timestamp(1_762_387_200, 0).expect("a time");
    let event = |number: usize| {
        let at = midnight + chrono::TimeDelta::seconds(number as i64);
        event(number, &at.format("%Y-%m-%dT%H:%M:%SZ").to_string())
    };
    // The first makes the topic.
    publish(&bench, &[event(0)]);
    let consumer = service(
        &bench,
        &[
            "Output.RollSeconds=1",
            "Output.Compression=gzip",
            "Output.Publish=atomic",
            "Output.CommitIntervalMs=1",
        ],
    );
    let mut producer = bench
        .command(&[
            "produce",
            "--source",
            "replay",
            "--input",
            "-",
            "--republish",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut input = producer.stdin.take().expect("its input");
    let (began, mut samples) = (Instant::now(), Vec::new());
    let step = Duration::from_secs(seconds) / u32::try_from(events).expect("few events");
    for number in 1..events {
        input.write_all(event(number).as_bytes()).expect("it reads");
        let due = step * u32::try_from(number).expect("few events");
        if let Some(left) = due.checked_sub(began.elapsed()) {
            std::thread::sleep(left);
        }
        if number % (events / 24) == 0 {
            samples.extend(held(&consumer));
        }
    }
    drop(input);
    assert!(wait(&mut producer, LONG).expect("it ends").success());
    until("all rows", || all_rows(&bench.out()).len() == events);
    samples.extend(held(&consumer));
    stop(consumer);
    let parts = names(&bench.out()).len();
    let (code, report) = verify(&bench);
    assert_eq!((code, &report["rows"]), (0, &events.into()), "{report}");
    let sixth = samples.len() / 6;
    let most = |samples: &[(u64, usize)]| {
        let memory = samples.iter().map(|held| held.0).max().unwrap_or(0);
        let files = samples.iter().map(|held| held.1).max().unwrap_or(0);
        (memory, files)
    };
    let (early, late) = (
        most(&samples[sixth..3 * sixth]),
        most(&samples[4 * sixth..]),
    );
    say_figure(&format!(
        "a day of {events} events in {seconds} s: {parts} parts; memory {} kB then {} kB, descriptors {} then {}",
        early.0, late.0, early.1, late.1
    ));
    assert!(late.0 < early.0 + 16_000, "{samples:?}");
    assert!(late.1 <= early.1 + 4, "{samples:?}");
}

fn say_figure(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[test]
fn an_hour_of_events_leaves_nothing_behind() {
    a_day(3_600, 6);
}

#[test]
#[ignore = "takes minutes; scripts/consumer-day runs it"]
fn a_day_of_events_leaves_nothing_behind() {
    a_day(86_400, 150);
}
