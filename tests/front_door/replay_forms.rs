//! Files that people have: other layouts, separators, encodings, compressions, spreadsheets, other functions. Each is read
//! rightly, or named with exit code 1; none is silently short.

use std::{fs, io::Write as _};

use crate::support::*;

/// How many events the files of events have.
const EVENTS: usize = 100;

/// What a file has to come to.
enum Comes {
    /// So many events, and exit code 0.
    To(usize),
    /// So many events, exit code 1, and these words.
    Named(usize, &'static str),
    /// Not all of the events, exit code 1, and these words.
    Short(&'static str),
}

struct File {
    name: &'static str,
    bytes: Vec<u8>,
    comes: Comes,
}

fn file(name: &'static str, bytes: impl Into<Vec<u8>>, comes: Comes) -> File {
    File {
        name,
        bytes: bytes.into(),
        comes,
    }
}

fn event(number: usize) -> serde_json::Value {
    let (minute, second) = (number / 60, number % 60);
    serde_json::json!({
        "TradeId": format!("e-{number}"),
        "Symbol": "IBM",
        "Side": "Buy",
        "Quantity": number,
        "Price": 2.5,
        "Timestamp": format!("2025-11-06T20:{minute:02}:{second:02}Z"),
    })
}

fn events() -> Vec<serde_json::Value> {
    (0..EVENTS).map(event).collect()
}

/// Each as a text, one behind the other.
fn joined(between: &str, pretty: bool) -> String {
    let texts: Vec<String> = events()
        .iter()
        .map(|event| match pretty {
            true => format!("{event:#}"),
            false => event.to_string(),
        })
        .collect();
    texts.join(between)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}

fn utf_16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

fn cut(mut bytes: Vec<u8>, by: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - by);
    bytes
}

fn half_of(bytes: Vec<u8>) -> Vec<u8> {
    let half = bytes.len() / 2;
    cut(bytes, half)
}

fn field(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/field/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read(path).expect("a fixture")
}

fn alpha_vantage(name: &str) -> String {
    fs::read_to_string(fixture(name)).expect("a fixture")
}

/// Rows as `consume` writes them, each line ended by this.
fn rows(separator: &str, end: &str, with_id: bool) -> String {
    let row = |fields: &[&str]| fields.join(separator) + end;
    let mut header = vec!["Symbol", "Side", "Quantity", "Price", "Timestamp"];
    if with_id {
        header.extend(["TradeId", "Partition", "Offset"]);
    }
    let mut text = row(&header);
    for number in 0..EVENTS {
        let (quantity, id) = (
            (number % 7).to_string(),
            format!("\"e{separator}{number}\""),
        );
        let time = format!("2025-11-06T20:59:{:02}", number % 60);
        let mut fields = vec!["IBM", "Sell", &quantity, "314.0901", &time];
        if with_id {
            fields.extend([id.as_str(), "0", "17"]);
        }
        text.push_str(&row(&fields));
    }
    text
}

fn layouts() -> Vec<File> {
    let all = || Comes::To(EVENTS);
    let (lines, list) = (joined("\n", false), joined(",\n", true));
    let blanks = |text: &str| format!("{}{text}", " \r\n".repeat(100_000));
    vec![
        file("arr1000.json", field("arr1000.json"), Comes::To(1000)),
        file("lines.ndjson", lines.clone(), all()),
        file("crlf.ndjson", joined("\r\n", false) + "\r\n", all()),
        file("marked.ndjson", format!("\u{feff}{lines}"), all()),
        file("pretty.json", format!("[\n{list}\n]\n"), all()),
        file("trailing-comma.json", format!("[\n{list},\n]"), all()),
        file("one-line.json", format!("[{}]", joined(",", false)), all()),
        file("pretty-behind.json", joined("\n", true), all()),
        file("behind.json", joined("", false), all()),
        file("commas.json", joined(",\n", false), all()),
        file(
            "sequence.json",
            format!("\u{1e}{}", joined("\n\u{1e}", false)),
            all(),
        ),
        file("blanks.ndjson", blanks(&lines), all()),
        file("empty-list.json", "[]\n", Comes::To(0)),
        file("empty.ndjson", "", Comes::To(0)),
        file(
            "open-list.json",
            format!("[{}", joined(",", false)),
            Comes::Named(EVENTS, "cut off"),
        ),
        file(
            "cut-list.json",
            cut(format!("[{list}").into(), 30),
            Comes::Named(EVENTS - 1, "not TradeEvents"),
        ),
        file(
            "cut-line.ndjson",
            cut(lines.clone().into(), 30),
            Comes::Named(EVENTS - 1, "line 100"),
        ),
        file(
            "wrapped.json",
            format!("{{\"trades\":[{}]}}", joined(",", false)),
            Comes::Named(0, "not TradeEvents"),
        ),
        file(
            "camel.ndjson",
            lines
                .replace("\"TradeId\"", "\"tradeId\"")
                .replace("\"Symbol\"", "\"symbol\"")
                .replace("\"Timestamp\"", "\"timestamp\""),
            Comes::Named(0, "TradeEvents"),
        ),
        file("own.csv", rows(",", "\n", false), all()),
        file("own-all.csv", rows(",", "\n", true), all()),
        file(
            "dotnet.csv",
            format!("\u{feff}{}", rows(",", "\r\n", false)),
            all(),
        ),
        file("own-semicolons.csv", rows(";", "\r\n", true), all()),
        file(
            "own-cut.csv",
            cut(rows(",", "\n", false).into(), 12),
            Comes::Named(EVENTS - 1, "line 101"),
        ),
        file(
            "own-twice.csv",
            rows(",", "\n", true).replacen("Offset", "price", 1),
            Comes::Named(0, "its header has the column Price twice"),
        ),
        file(
            "body-twice.csv",
            alpha_vantage("intraday.csv").replacen("high", "open", 1),
            Comes::Named(0, "two columns \"open\""),
        ),
        file(
            "own-commas.csv",
            rows(";", "\n", false).replace("314.0901", "314,0901"),
            Comes::Named(0, "Price"),
        ),
    ]
}

fn packed() -> Vec<File> {
    let all = || Comes::To(EVENTS);
    let lines = joined("\n", false) + "\n";
    let lines = lines.as_bytes();
    let (half, rest) = lines.split_at(lines.len() / 2);
    let mut tar = Vec::new();
    let archive = field("a.tar.gz");
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&archive[..]), &mut tar)
        .expect("gzip");
    let text = std::str::from_utf8(lines).expect("UTF-8");
    let wide = utf_16(text, u16::to_le_bytes);
    let mut zip = b"PK\x03\x04\x14\0\0\0\x08\0".to_vec();
    zip.extend_from_slice(lines);
    let noise: Vec<u8> = (0..4000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    vec![
        file("lines.ndjson.gz", gzip(lines), all()),
        file(
            "members.ndjson.gz",
            [gzip(half), gzip(rest)].concat(),
            all(),
        ),
        file("lines.ndjson.zst", zstd(lines), all()),
        file(
            "pzstd.ndjson.zst",
            field("pzstd.ndjson.zst"),
            Comes::To(2000),
        ),
        file("lines.ndjson.lz4", lz4(lines), all()),
        file("frames.ndjson.lz4", [lz4(half), lz4(rest)].concat(), all()),
        file("misnamed.csv", lz4(lines), all()),
        file(
            "cut.ndjson.gz",
            half_of(gzip(lines)),
            Comes::Short("end too early"),
        ),
        file(
            "cut.ndjson.zst",
            half_of(zstd(lines)),
            Comes::Short("end too early"),
        ),
        file(
            "cut.ndjson.lz4",
            half_of(lz4(lines)),
            Comes::Short("end too early"),
        ),
        file(
            "no-end.ndjson.lz4",
            cut(lz4(lines), 4),
            Comes::Named(EVENTS, "end too early"),
        ),
        file("empty.ndjson.gz", "", Comes::Named(0, "empty")),
        file(
            "twice.ndjson.gz",
            gzip(&gzip(lines)),
            Comes::Named(0, "twice"),
        ),
        file("a.tar.gz", archive, Comes::Named(0, "tar")),
        file("a.tar", tar, Comes::Named(0, "tar")),
        file("sheet.xlsx", zip, Comes::Named(0, "spreadsheet")),
        file(
            "a.ndjson.xz",
            [b"\xfd7zXZ\0", lines].concat(),
            Comes::Named(0, "xz"),
        ),
        file(
            "a.ndjson.bz2",
            [b"BZh9", lines].concat(),
            Comes::Named(0, "bzip2"),
        ),
        file(
            "wide-marked.ndjson",
            [b"\xff\xfe", &wide[..]].concat(),
            Comes::Named(0, "UTF-16"),
        ),
        file("wide.ndjson", wide, Comes::Named(0, "UTF-16")),
        file(
            "wide.csv",
            utf_16(&alpha_vantage("intraday.csv"), u16::to_be_bytes),
            Comes::Named(0, "UTF-16"),
        ),
        file("noise.json", noise, Comes::Named(0, "binary")),
    ]
}

fn bodies() -> Vec<File> {
    let body = alpha_vantage("intraday_ibm_1min.json");
    let csv = alpha_vantage("intraday.csv");
    let parsed: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let daily = alpha_vantage("daily.json");
    let weekly = String::from_utf8(field("weekly.json")).expect("UTF-8");
    let excel: String = csv.replace("2025-11-06 ", "11/6/2025 ");
    let german: String = csv.replace(',', ";").replace('.', ",");
    let many = |from: &str| csv.lines().filter(|line| line.contains(from)).count();
    let header = "timestamp,open,high,low,close,adjusted close,volume,dividend amount\n";
    let weeks = format!(
        "{header}2025-11-05,1,1,1,1,1,9,0\n2025-10-31,1,1,1,1,1,9,0\n2025-10-24,1,1,1,1,1,9,0\n"
    );
    let adjusted = daily.replace("5. volume", "6. volume").replace(
        "\"6. volume\"",
        "\"5. adjusted close\": \"1.0\", \"7. dividend amount\": \"0\", \"6. volume\"",
    );
    let meta = serde_json::json!({ "Meta Data": parsed["Meta Data"] }).to_string();
    let lower = body.replace("\"IBM\"", "\"ibm\"");
    vec![
        file("day.json", body.clone(), Comes::To(100)),
        file("small.json", parsed.to_string(), Comes::To(100)),
        file("lower.json", lower, Comes::To(100)),
        file(
            "blanks.json",
            format!("{}{body}", "\n".repeat(200_000)),
            Comes::To(100),
        ),
        file("day.json.lz4", lz4(body.as_bytes()), Comes::To(100)),
        file(
            "two.json",
            format!("{body}{body}"),
            Comes::Named(100, "broken"),
        ),
        file(
            "cut.json",
            cut(body.clone().into(), 2000),
            Comes::Short("broken"),
        ),
        file(
            "list.json",
            format!("[{body},{body}]"),
            Comes::Named(0, "list.json"),
        ),
        file("meta.json", meta, Comes::Named(0, "but no bars")),
        file("weekly.json", weekly.clone(), Comes::Named(0, "Weekly")),
        file(
            "monthly.json",
            weekly.replace("Weekly", "Monthly Adjusted"),
            Comes::Named(0, "Monthly"),
        ),
        file("adjusted.json", adjusted, Comes::To(5)),
        file(
            "page.html",
            alpha_vantage("html_error.html"),
            Comes::Named(0, "HTML"),
        ),
        file(
            "notice.json",
            alpha_vantage("information_premium.json"),
            Comes::Named(0, "premium"),
        ),
        file("day.csv", csv.clone(), Comes::To(many("2025-"))),
        file("h.csv", field("h.csv"), Comes::To(6)),
        file("m.csv", field("m.csv"), Comes::To(360)),
        file(
            "mixed.csv",
            [field("h.csv"), field("m.csv")].concat(),
            Comes::Named(0, "several series"),
        ),
        file("weeks.csv", weeks, Comes::Named(0, "weeks or months")),
        file(
            "one-day.csv",
            "timestamp,open,high,low,close,volume\n2025-11-06,1,1,1,1,9\n",
            Comes::Named(0, "Function=daily"),
        ),
        file(
            "semicolons.csv",
            csv.replace(',', ";"),
            Comes::To(many("2025-")),
        ),
        file("tabs.csv", csv.replace(',', "\t"), Comes::To(many("2025-"))),
        file(
            "quoted.csv",
            csv.lines()
                .map(|line| format!("\"{}\"\r\n", line.replace(',', "\",\"")))
                .collect::<String>(),
            Comes::To(many("2025-")),
        ),
        file("german.csv", german, Comes::Named(0, "others are bad")),
        file("excel.csv", excel, Comes::Named(0, "spreadsheet")),
    ]
}

fn check(cluster: &Cluster, files: Vec<File>) {
    for File { name, bytes, comes } in files {
        let bench = Bench::new(cluster);
        fs::write(bench.directory.path().join(name), bytes).expect("a file");
        let output = bench
            .command(&["produce", "--source", "replay", "--input", name])
            .args(["--symbol", "IBM", "--format", "json"])
            .finish();
        let said = stderr(&output);
        let (code, published, words) = match comes {
            Comes::To(events) => (0, Some(events), ""),
            Comes::Named(events, words) => (1, Some(events), words),
            Comes::Short(words) => (1, None, words),
        };
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        assert!(said.contains(words), "{name}: {words:?} is not in: {said}");
        assert!(
            code == 0 || said.contains(name),
            "{name} is not named: {said}"
        );
        // Where nothing was published nothing is summed up.
        let summed = output.stdout.contains(&b'{');
        let count = if summed {
            last_json(&output)["published"].as_u64().expect("a number")
        } else {
            0
        };
        match published {
            Some(events) => assert_eq!(count, events as u64, "{name}: {said}"),
            None => assert!(count < EVENTS as u64, "{name}: {said}"),
        }
    }
}

#[test]
fn events_in_every_layout() {
    check(&embedded(), layouts());
}

#[test]
fn files_in_every_packing_and_encoding() {
    check(&embedded(), packed());
}

#[test]
fn bodies_of_every_function_and_spreadsheet() {
    check(&embedded(), bodies());
}

/// The interval is part of what a bar is: bars of an hour are none of a minute, whatever the configuration says.
#[test]
fn hours_and_minutes_of_one_day_are_all_published() {
    for cluster in clusters() {
        let bench = Bench::new(&cluster);
        for name in ["h.csv", "m.csv"] {
            fs::write(bench.directory.path().join(name), field(name)).expect("a file");
        }
        let both = [
            "produce", "--source", "replay", "--input", "h.csv", "m.csv", "--symbol", "ibm",
        ];
        let done = bench.json(&both);
        assert_eq!(
            (&done["published"], &done["duplicates_skipped"]),
            (&366.into(), &0.into()),
            "{done}"
        );
        let again = bench.json(&both);
        assert_eq!(
            (&again["published"], &again["duplicates_skipped"]),
            (&0.into(), &366.into()),
            "{again}"
        );
        // What is said against the rows is not believed, and neither are they taken for it.
        let output = bench
            .command(&[
                "produce", "--source", "replay", "--input", "h.csv", "--symbol", "IBM",
            ])
            .args(["--set", "AlphaVantage.Interval=1min"])
            .finish();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("60min") && said.contains("AlphaVantage.Interval"),
            "{said}"
        );
    }
}

/// What is not there, or nothing to read from, stands in nobody's way.
#[cfg(unix)]
#[test]
fn missing_files_dangling_links_and_pipes_hold_nothing_up() {
    let cluster = embedded();
    for speed in [&[][..], &["--speed", "1000000"]] {
        let bench = Bench::new(&cluster);
        let days = bench.directory.path().join("days");
        fs::create_dir(&days).expect("a directory");
        fs::write(days.join("a.ndjson"), joined("\n", false)).expect("a file");
        fs::write(days.join("notes.md"), "no data").expect("a file");
        std::os::unix::fs::symlink("gone.ndjson", days.join("b.ndjson")).expect("a link");
        let mut parts = vec!["b.ndjson", "missing.ndjson", "notes.md"];
        let pipe = days.join("c.json");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        if made.is_ok_and(|made| made.success()) {
            parts.push("c.json");
        } else {
            say("left out: named pipes, which mkfifo would make");
        }
        let output = bench
            .command(&[
                "produce",
                "--source",
                "replay",
                "--input",
                "missing.ndjson",
                "days",
            ])
            .args(["--format", "json"])
            .args(speed)
            .finish();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(last_json(&output)["published"], EVENTS, "{said}");
        for part in parts {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
    }
}

/// The parts of a day are read in their order, and equal trades on the same line of two of them are two.
#[test]
fn what_consume_wrote_in_parts_is_republished_whole_and_in_order() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    // Three by three the same, but for the TradeId that the files do not have.
    let events: String = (0..12)
        .map(|number| {
            let mut event = event(number);
            for (key, value) in self::event(number / 3).as_object().expect("an object") {
                if key != "TradeId" {
                    event[key] = value.clone();
                }
            }
            format!("{event}\n")
        })
        .collect();
    fs::write(bench.directory.path().join("events.ndjson"), events).expect("a file");
    let done = bench.json(&["produce", "--source", "replay", "--input", "events.ndjson"]);
    assert_eq!(done["published"], 12, "{done}");
    for _ in 0..4 {
        bench.json(&["consume", "--count", "3", "--set", "Output.RollSeconds=1"]);
        // By then the part is full.
        std::thread::sleep(std::time::Duration::from_millis(1_200));
    }
    let parts = fs::read_dir(bench.out()).expect("a directory").flatten();
    let parts = parts.filter(|entry| entry.path().extension().is_some_and(|of| of == "csv"));
    assert_eq!(parts.count(), 4);
    let again = Bench::new(&cluster);
    let out = bench.out().display().to_string();
    let replay = ["produce", "--source", "replay", "--input", &out];
    let done = again.json(&replay);
    assert_eq!(done["published"], 12, "{done}");
    again.json(&["consume", "--until-end"]);
    let times = |rows: Vec<String>| -> Vec<String> {
        let time = |row: &String| row.rsplit(',').next().unwrap_or_default().to_owned();
        rows.iter().map(time).collect()
    };
    let order = times(crate::support::rows(&again.out()));
    assert!(order.is_sorted(), "{order:?}");
    let done = again.json(&replay);
    assert_eq!(done["duplicates_skipped"], 12, "{done}");
}
