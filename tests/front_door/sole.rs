//! One `State.Directory`, one topic, one producer; and one symbol, however it is written.

use std::{
    fs,
    io::Write as _,
    process::{Child, Stdio},
};

use crate::alpha_vantage::serve;
use crate::support::*;

const REPLAY: [&str; 7] = [
    "produce", "--source", "replay", "--input", "-", "--format", "json",
];

fn line(number: u32) -> String {
    format!(
        "{{\"TradeId\":\"s-{number}\",\"Symbol\":\"IBM\",\"Side\":\"Buy\",\"Quantity\":1,\"Price\":1.5,\"Timestamp\":\"2025-11-06T21:00:00Z\"}}\n"
    )
}

/// One that has published an event, and waits for more.
fn waiting(bench: &Bench<'_>, number: u32, more: &[&str]) -> Child {
    let mut child = bench
        .command(&REPLAY)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let input = child.stdin.as_mut().expect("its input");
    input.write_all(line(number).as_bytes()).expect("a reader");
    let id = format!("s-{number}");
    until("the event is on the topic", || {
        let tail = [
            "tail", "--from", "earliest", "-n", "100", "--format", "json",
        ];
        let output = bench.command(&tail).finish();
        String::from_utf8_lossy(&output.stdout).contains(&id)
    });
    child
}

#[test]
fn a_second_producer_of_a_topic_is_refused_and_told_of_the_first() {
    for cluster in clusters() {
        let bench = Bench::new(&cluster);
        fs::write(bench.directory.path().join("more.ndjson"), line(2)).expect("a file");
        let more = || {
            let replay = [
                "produce",
                "--source",
                "replay",
                "--input",
                "more.ndjson",
                "--format",
                "json",
            ];
            bench.command(&replay)
        };
        let mut first = waiting(&bench, 1, &[]);
        let second = more().finish();
        let said = stderr(&second);
        assert_eq!(second.status.code(), Some(78), "{said}");
        for part in [
            &first.id().to_string(),
            &bench.topic,
            "State.Directory",
            ".stockflow",
        ] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        // Another topic, and another directory, are nobody's.
        let other = Bench::new(&cluster);
        let elsewhere = more().args(["--set", "State.Directory=elsewhere"]).finish();
        assert!(elsewhere.status.success(), "{}", stderr(&elsewhere));
        fs::write(other.directory.path().join("more.ndjson"), line(2)).expect("a file");
        let state = bench.directory.path().join(".stockflow");
        let beside = other
            .command(&["produce", "--source", "replay", "--input", "more.ndjson"])
            .args(["--set", &format!("State.Directory={}", state.display())])
            .finish();
        assert!(beside.status.success(), "{}", stderr(&beside));
        // One that was killed keeps nobody out.
        first.kill().expect("it runs");
        first.wait().expect("it ended");
        let third = more().finish();
        let said = stderr(&third);
        assert!(third.status.success(), "{said}");
        assert_eq!(last_json(&third)["duplicates_skipped"], 1, "{said}");
    }
}

/// Also where none of its events can ever be there twice, such as those of a market of its own.
#[test]
fn a_second_producer_is_refused_whatever_it_publishes() {
    const MARKET: [&str; 3] = ["produce", "--source", "simulated"];
    for cluster in clusters() {
        let bench = Bench::new(&cluster);
        let mut command = bench.command(&MARKET);
        command.args(["--rate", "20"]);
        let first = Running::start(command, bench.directory.path().join("log"));
        until("the market is open", || {
            let tail = ["tail", "--from", "earliest", "-n", "1", "--format", "json"];
            !bench.command(&tail).finish().stdout.is_empty()
        });
        let one_more = [&MARKET[..], &["--count", "1", "--format", "json"]].concat();
        fs::write(bench.directory.path().join("more.ndjson"), line(2)).expect("a file");
        let replay = ["produce", "--source", "replay", "--input", "more.ndjson"];
        for second in [&one_more[..], &replay] {
            let second = bench.command(second).finish();
            let said = stderr(&second);
            assert_eq!(second.status.code(), Some(78), "{said}");
            for part in [&*first.process.id().to_string(), &bench.topic] {
                assert!(said.contains(part), "{part} is not in: {said}");
            }
        }
        // Where nothing can be kept it goes on, and says what is not noticed then.
        fs::write(bench.directory.path().join("taken"), "").expect("a file");
        let nowhere = ["--set", "State.Directory=taken/state"];
        let unkept = bench.command(&one_more).args(nowhere).finish();
        let said = stderr(&unkept);
        assert!(unkept.status.success(), "{said}");
        assert_eq!(last_json(&unkept)["published"], 1, "{said}");
        for part in ["WARN", "State.Directory", "taken/state", "is not noticed"] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        let (code, said) = first.stop();
        assert_eq!(code, Some(0), "{said}");
        let after = bench.command(&one_more).finish();
        assert!(after.status.success(), "{}", stderr(&after));
    }
}

/// With one the brokers see to it.
#[test]
fn producers_with_transactional_ids_may_share_a_directory() {
    let Some(cluster) = Cluster::kafka("left out: transactions, which need a real Kafka") else {
        return;
    };
    let bench = Bench::new(&cluster);
    fs::write(bench.directory.path().join("more.ndjson"), line(2)).expect("a file");
    let id = |name: &str| format!("Kafka.TransactionalId={}-{name}", bench.topic);
    let first = waiting(&bench, 1, &["--set", &id("a")]);
    let second = bench
        .command(&["produce", "--source", "replay", "--input", "more.ndjson"])
        .args(["--set", &id("b")])
        .finish();
    assert!(second.status.success(), "{}", stderr(&second));
    let output = first.finish();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_symbol_is_one_in_whatever_case() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let body = fs::read(fixture("intraday_ibm_1min.json")).expect("a fixture");
    let (url, asked) = serve(vec![(200, body)]);
    let done = bench.json(&[
        "produce",
        "--once",
        "--symbol",
        "ibm,IBM",
        "--set",
        &format!("AlphaVantage.BaseUrl={url}"),
    ]);
    assert_eq!(done["published"], 100, "{done}");
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
    let csv = fixture("intraday.csv");
    let again = [
        "produce", "--source", "replay", "--input", &csv, "--symbol", "Ibm,ibM",
    ];
    let again = bench.json(&again);
    assert_eq!(
        (&again["published"], &again["duplicates_skipped"]),
        (&0.into(), &100.into()),
        "{again}"
    );
}

#[test]
fn a_symbol_with_an_ampersand_comes_through() {
    for cluster in clusters() {
        let bench = Bench::new(&cluster);
        let csv = fixture("intraday.csv");
        let made = bench.json(&[
            "produce", "--source", "replay", "--input", &csv, "--symbol", "M&M.BSE",
        ]);
        assert_eq!(made["published"], 100, "{made}");
        let done = bench.json(&["consume", "--until-end"]);
        assert_eq!(
            (&done["rows_written"], &done["dead_letters"]),
            (&100.into(), &0.into()),
            "{done}"
        );
    }
}

/// What surely is not meant is left out of a key, and what cannot be one is refused.
#[test]
fn a_key_file_as_people_make_them() {
    let cluster = embedded();
    let body = fs::read(fixture("intraday_ibm_1min.json")).expect("a fixture");
    for (text, code, words) in [
        (format!("\u{feff}{KEY}\r\n"), 0, ""),
        (format!("  \"{KEY}\" \n\n"), 0, ""),
        (format!("'{KEY}'"), 0, ""),
        (format!("{KEY}\nof the free plan\n"), 78, "second line"),
        (format!("{KEY} free"), 78, "blanks"),
        (format!("\"{KEY}"), 78, "quotes"),
        ("\u{feff}\n".to_owned(), 78, "empty"),
    ] {
        let bench = Bench::new(&cluster);
        fs::write(bench.directory.path().join(KEY_FILE), &text).expect("a file");
        let (url, _) = serve(vec![(200, body.clone())]);
        let output = bench
            .command(&["produce", "--once", "--symbol", "IBM"])
            .env_remove("AlphaVantage__ApiKey")
            .env("AlphaVantage__ApiKeyFile", KEY_FILE)
            .args(["--set", &format!("AlphaVantage.BaseUrl={url}")])
            .args(["--set", "AlphaVantage.MaxRetries=0"])
            .finish();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{words:?} is not in: {said}");
        assert!(code == 0 || said.contains("ApiKeyFile"), "{said}");
    }
}
