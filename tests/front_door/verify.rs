//! `stockflow verify`: what a consumer wrote is proven, also after it was killed again and again; what somebody changed
//! is found, and where.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use crate::support::*;

fn verify(bench: &Bench<'_>) -> (i32, serde_json::Value) {
    let out = bench.out();
    let output = bench
        .command(&["verify", out.to_str().expect("UTF-8"), "--format", "json"])
        .finish();
    (
        output.status.code().expect("an exit code"),
        last_json(&output),
    )
}

fn produce(bench: &Bench<'_>, count: &str) {
    let made = bench.json(&[
        "produce",
        "--source",
        "simulated",
        "--seed",
        "7",
        "--count",
        count,
    ]);
    assert_eq!(made["published"].to_string(), count);
}

/// A file with rows.
fn rows_file(bench: &Bench<'_>) -> PathBuf {
    let paths = fs::read_dir(bench.out()).expect("a directory");
    let mut paths = paths.map(|entry| entry.expect("an entry").path());
    let file = paths.find(|path| path.extension().is_some_and(|is| is == "csv"));
    file.expect("a file")
}

#[test]
fn changes_are_found_and_located() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, "5000");
    bench.json(&["consume", "--until-end"]);
    let (code, report) = verify(&bench);
    assert_eq!((code, &report["rows"]), (0, &5000.into()), "{report}");

    let path = rows_file(&bench);
    let good = fs::read(&path).expect("its bytes");
    let half = good.len() / 2;
    let row = half
        + good[half..]
            .iter()
            .position(|b| *b == b'\n')
            .expect("a row")
        + 1;
    let end = row + good[row..].iter().position(|b| *b == b'\n').expect("a row") + 1;
    let mut byte = good.clone();
    byte[half] ^= 1;
    let removed = [&good[..row], &good[end..]].concat();
    let added = [&good[..], b"IBM,Buy,1,1,2025-01-01T00:00:00Z\n"].concat();
    for (changed, kind) in [
        (byte, "edited"),
        (removed, "edited"),
        (good[..half].to_vec(), "truncated"),
        (added, "longer"),
    ] {
        fs::write(&path, changed).expect("written");
        let (code, report) = verify(&bench);
        assert_eq!(code, 1, "{report}");
        let finding = &report["findings"][0];
        assert_eq!(finding["kind"], kind, "{report}");
        assert_eq!(
            finding["file"],
            path.file_name().expect("a name").to_str().expect("UTF-8")
        );
        if kind != "longer" {
            let (first, last) = (&finding["first_byte"], &finding["end_byte"]);
            assert!(
                first.as_u64() <= Some(half as u64 + 200) && last.as_u64() >= Some(half as u64),
                "{finding}"
            );
            assert!(
                finding["partition"].is_i64() && finding["first_offset"].is_i64(),
                "{finding}"
            );
        }
    }
    fs::remove_file(&path).expect("removed");
    let (code, report) = verify(&bench);
    assert_eq!(
        (code, &report["findings"][0]["kind"]),
        (1, &"missing".into()),
        "{report}"
    );
    fs::write(&path, good).expect("put back");
    assert_eq!(verify(&bench).0, 0);
}

/// A name that was mistyped is no damage: nothing was looked at. What is found in the others decides.
#[test]
fn a_directory_that_is_none_of_ours_is_not_looked_at() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, "50");
    bench.json(&["consume", "--until-end"]);
    let out = bench.out();
    let out = out.to_str().expect("UTF-8");
    fs::create_dir(bench.directory.path().join("empty")).expect("a directory");
    fs::write(bench.directory.path().join("a-file"), "x").expect("a file");
    let check = |directories: &[&str], code: i32, named: &[&str]| {
        let verify = [&["verify", "--format", "json"], directories].concat();
        let output = bench.command(&verify).finish();
        let (said, report) = (stderr(&output), last_json(&output));
        assert_eq!(output.status.code(), Some(code), "{report} {said}");
        let doubts = report["doubts"].to_string();
        for named in named {
            assert!(doubts.contains(named), "{named}: {report}");
        }
        report
    };
    let gone = "mistyped: there is no such directory";
    let empty = "empty: no directory of stockflow";
    check(&["mistyped"], 3, &[gone]);
    check(&["empty", "a-file"], 3, &[empty, "a-file"]);
    let report = check(&[out, "mistyped", "empty"], 3, &[gone, empty]);
    assert_eq!(report["rows"], 50, "{report}");
    let csv = rows_file(&bench);
    let text = fs::read_to_string(&csv).expect("UTF-8");
    fs::write(&csv, &text[..text.len() - 20]).expect("written");
    check(&[out, "mistyped"], 1, &[gone]);
    let without = bench.command(&["verify"]).finish();
    assert_eq!(without.status.code(), Some(2), "{}", stderr(&without));
}

/// Kills a consumer so often while it works, then lets it finish.
fn killed(kills: u64, events: &str) {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, events);
    for kill in 0..kills {
        let mut child = bench
            .command(&[
                "consume",
                "--set",
                "Output.CommitIntervalMs=5",
                "--set",
                "Kafka.FetchMaxBytes=65536",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(10 + kill * 37 % 150));
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
    bench.json(&["consume", "--until-end"]);
    let (code, report) = verify(&bench);
    assert_eq!(
        (code, report["rows"].to_string().as_str()),
        (0, events),
        "{report}"
    );
    let written = rows(&bench.out()).len().to_string();
    assert_eq!(written, events);
}

#[test]
fn a_consumer_that_is_killed_holds_every_record_once() {
    killed(10, "20000");
}

#[test]
#[ignore = "takes minutes; scripts/kills runs it"]
fn a_consumer_that_is_killed_two_hundred_times_holds_every_record_once() {
    killed(200, "300000");
}
