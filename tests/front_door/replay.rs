//! Replays as a user sees them: the progress bar on a terminal, and what is said of files that are not as expected.

use std::{fs, process::Command};

use crate::support::*;

#[test]
fn a_terminal_shows_bytes_and_the_time_left() {
    let works = Command::new("script")
        .args(["-qec", "true", "/dev/null"])
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        return say(
            "left out: the progress bar, because there is no script (util-linux) to make a terminal",
        );
    }
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    // By the events' own times, so that the file is read for seconds: the reader is at most a few batches ahead.
    let mut lines = String::new();
    for number in 0..40_000 {
        let (minute, second) = (number / 60 % 60, number % 60);
        let hour = number / 3_600;
        lines.push_str(&format!(
            "{{\"TradeId\":\"{number}\",\"Symbol\":\"IBM\",\"Side\":\"Buy\",\"Quantity\":1,\"Price\":1.5,\"Timestamp\":\"2025-11-06T{hour:02}:{minute:02}:{second:02}Z\"}}\n"
        ));
    }
    fs::write(bench.directory.path().join("day.ndjson"), lines).expect("a file");
    let replay = format!(
        "'{}' produce --source replay --input day.ndjson --speed 10000 -b {} -t {}",
        env!("CARGO_BIN_EXE_stockflow"),
        cluster.address,
        bench.topic
    );
    let output = Command::new("script")
        .current_dir(bench.directory.path())
        .args(["-qec", &replay, "/dev/null"])
        .env("TERM", "xterm")
        .env("COLUMNS", "120")
        .finish();
    keep_secret(&output);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("40000 published"), "{shown}");
    let bar = shown
        .split(['\r', '\n'])
        .find(|line| line.contains(" left"))
        .unwrap_or_else(|| panic!("a bar in {shown:?}"));
    // "… 1.20 MiB of 4.30 MiB, 2.1 MiB/s, 2s left"
    assert!(bar.contains("iB of 4.") && bar.contains("iB/s"), "{bar}");

    // Elsewhere there is none.
    let output = bench
        .command(&["produce", "--source", "replay", "--input", "day.ndjson"])
        .finish();
    assert!(!stderr(&output).contains(" left"), "{}", stderr(&output));
}

#[test]
fn a_body_of_another_symbol_is_published_as_what_it_says_and_told() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let file = fixture("intraday_ibm_1min.json");
    let run = |symbols: &str| {
        let output = bench
            .command(&["produce", "--source", "replay", "--input", &file])
            .args(["--symbol", symbols, "--format", "json"])
            .finish();
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let said = run("MSFT,AAPL");
    assert!(
        said.contains("its symbol is IBM") && said.contains("MSFT, AAPL"),
        "{said}"
    );
    assert!(!run("MSFT,IBM").contains("its symbol is"));

    let csv = fixture("intraday.csv");
    let output = bench
        .command(&["produce", "--source", "replay", "--input", &csv])
        .args(["--symbol", "MSFT,IBM"])
        .finish();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("2 are given") && said.contains("--symbol"),
        "{said}"
    );
    let summary = String::from_utf8_lossy(&output.stdout);
    assert!(summary.starts_with("0 published, "), "{summary}");
}

/// Of events with one TradeId the first is published: that the others are in the input too is said, and louder where they
/// say something else.
#[test]
fn what_is_in_the_input_twice_is_told_from_what_was_published_before() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let bar = |id: u32, price: &str| {
        format!(
            "{{\"TradeId\":\"{id}\",\"Symbol\":\"IBM\",\"Side\":\"Buy\",\"Quantity\":1,\"Price\":{price},\"Timestamp\":\"2025-11-06T21:00:00Z\"}}\n"
        )
    };
    let file = |name: &str, bars: &[(u32, &str)]| {
        let text: String = bars.iter().map(|(id, price)| bar(*id, price)).collect();
        fs::write(bench.directory.path().join(name), text).expect("a file");
    };
    file("a.ndjson", &[(1, "1.5"), (2, "1.5"), (1, "1.50")]);
    file("b.ndjson", &[(2, "1.6"), (3, "1.5"), (2, "1.7")]);
    let run = |more: &[&str]| {
        let output = bench
            .command(&["produce", "--source", "replay"])
            .args(["--input", "a.ndjson", "b.ndjson"])
            .args(more)
            .finish();
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    let (summary, said) = run(&[]);
    assert!(
        summary.starts_with(
            "3 published, 0 skipped as already published, 3 skipped as repeated in the input in "
        ),
        "{summary}"
    );
    let told: Vec<&str> = said.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(told.len(), 1, "{said}");
    for part in ["2 events of the input", "TradeId 2", "1.6", "--republish"] {
        assert!(told[0].contains(part), "{part} is not in: {said}");
    }
    let (summary, _) = run(&["--format", "json"]);
    let summary: serde_json::Value = serde_json::from_str(summary.trim()).expect("JSON");
    assert_eq!(summary["duplicates_skipped"], 6, "{summary}");
    assert_eq!(summary["repeated_in_input"], 3, "{summary}");
    let (summary, _) = run(&["--republish", "--format", "json"]);
    let summary: serde_json::Value = serde_json::from_str(summary.trim()).expect("JSON");
    assert_eq!(summary["published"], 6, "{summary}");
    assert_eq!(summary["repeated_in_input"], 0, "{summary}");
}

/// What cannot be replayed does not stand in the way of the rest, and nobody takes the run for a whole one.
#[test]
fn a_file_that_cannot_be_replayed_is_passed_over_and_told() {
    let cluster = embedded();
    let bar = |number: u32| {
        format!(
            "{{\"TradeId\":\"{number}\",\"Symbol\":\"IBM\",\"Side\":\"Buy\",\"Quantity\":1,\"Price\":1.5,\"Timestamp\":\"2025-11-06T21:00:0{number}Z\"}}\n"
        )
    };
    let body = fs::read_to_string(fixture("intraday_ibm_1min.json")).expect("a fixture");
    let notice = fs::read_to_string(fixture("information_daily_limit.json")).expect("a fixture");
    for speed in [&[][..], &["--speed", "1000000"]] {
        let bench = Bench::new(&cluster);
        let days = bench.directory.path().join("days");
        fs::create_dir(&days).expect("a directory");
        // Two bodies in one file: the second is no part of the first.
        for (name, text) in [
            ("a.json", bar(1)),
            ("b.json", notice.clone()),
            ("c.json", format!("{body}{body}")),
            ("d.json", bar(2)),
        ] {
            fs::write(days.join(name), text).expect("a file");
        }
        let run = |input: &str| {
            bench
                .command(&["produce", "--source", "replay", "--input", input])
                .args(["--format", "json"])
                .args(speed)
                .finish()
        };
        let output = run("days");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(last_json(&output)["published"], 102, "{said}");
        for part in ["b.json", "c.json", "2 of 4 files"] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        let output = run("days/c.json");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("the body is broken"), "{said}");
    }
}
