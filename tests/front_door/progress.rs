//! What a person sees: progress on a terminal, and nothing of it elsewhere; and the figures of a load test.

use std::{
    io::Read,
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::{raw::*, support::*};

#[test]
fn a_terminal_shows_speed_and_lag_and_a_pipe_does_not() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let events = (0..500).map(|number| Raw::new(b"IBM", Some(event(number).as_bytes())));
    block_on(publish(&cluster.address, &bench.topic, None, events));
    let piped = bench
        .command(&["consume", "--until-end", "--out", "piped"])
        .finish();
    assert!(!stderr(&piped).contains("rows/s"), "{}", stderr(&piped));

    if Command::new("script")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        say("left out: progress on a terminal, because there is no script (util-linux)");
        return;
    }
    let program = env!("CARGO_BIN_EXE_stockflow");
    let line = format!(
        "{program} consume -b {} -t {} -g terminal --out seen",
        cluster.address, bench.topic
    );
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(bench.directory.path())
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("script runs");
    let mut output = child.stdout.take().expect("its output");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            if sender.send(bytes[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    let mut seen = Vec::new();
    let end = Instant::now() + Duration::from_secs(60);
    let wanted = |seen: &[u8]| {
        let text = String::from_utf8_lossy(seen);
        text.contains("500 rows written, ") && text.contains(" rows/s, lag 0, caught up")
    };
    while !wanted(&seen) && Instant::now() < end {
        if let Ok(more) = receiver.recv_timeout(Duration::from_millis(200)) {
            seen.extend(more);
        }
    }
    // The terminal goes away, and the program with it.
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert!(wanted(&seen), "{}", String::from_utf8_lossy(&seen));
}

#[test]
fn a_load_test_reads_what_it_published_and_leaves_nothing() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let bare = |arguments: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_stockflow"))
                .current_dir(bench.directory.path())
                .env_clear()
                .env("TMPDIR", bench.directory.path())
                .args(["bench", "-b", &cluster.address, "--format", "json"])
                .args(arguments)
                .finish();
            assert!(
                output.status.success(),
                "{}: {}",
                cluster.name,
                stderr(&output)
            );
            last_json(&output)
        };
        let both = bare(&["--produce", "--consume", "--count", "3000"]);
        assert_eq!(
            (&both["published"], &both["rows_written"]),
            (&3000.into(), &3000.into())
        );
        assert!(both["rows_per_second"].as_f64() > Some(0.0), "{both}");
        let alone = bare(&["--consume", "--count", "2000"]);
        assert!(alone.get("published").is_none(), "{alone}");
        assert_eq!(
            (&alone["rows_written"], &alone["committed"]),
            (&2000.into(), &2000.into())
        );
        let events = (0..70).map(|number| Raw::new(b"IBM", Some(event(number).as_bytes())));
        block_on(publish(&cluster.address, &bench.topic, None, events));
        let there = bare(&["--consume", "-t", &bench.topic]);
        assert_eq!(there["rows_written"], 70, "{there}");
        let left = std::fs::read_dir(bench.directory.path()).expect("a directory");
        assert_eq!(left.count(), 0, "the files are gone");
    }
}
