//! `stockflow verify`: what a consumer wrote is proven, also after it was killed again and again; what somebody changed
//! is found, and where.

use std::{fs, process::Stdio, time::Duration};

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

#[test]
fn changes_are_found_and_located() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, "5000");
    bench.json(&["consume", "--until-end"]);
    let (code, report) = verify(&bench);
    assert_eq!((code, &report["rows"]), (0, &5000.into()), "{report}");

    let path = fs::read_dir(bench.out())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .expect("a file");
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
    let nothing = bench.command(&["verify", "."]).finish();
    assert_eq!(nothing.status.code(), Some(1));
    assert!(
        stderr(&nothing).contains("no directory of stockflow"),
        "{}",
        stderr(&nothing)
    );
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
