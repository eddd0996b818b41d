//! `produce` against a server that answers as Alpha Vantage does.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::support::*;

/// What the server says: status and body.
pub(crate) type Answer = (u16, Vec<u8>);

pub(crate) fn body(name: &str) -> Vec<u8> {
    fs::read(fixture(name)).expect("a fixture")
}

/// Answers one request after the other, the last one for ever; counts them.
pub(crate) fn serve(answers: Vec<Answer>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
            let mut request = String::new();
            while reader.read_line(&mut request).is_ok_and(|read| read > 2) {}
            assert!(request.contains(&format!("apikey={KEY}")), "{request}");
            let place = counted
                .fetch_add(1, Ordering::SeqCst)
                .min(answers.len() - 1);
            let (status, body) = &answers[place];
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(body));
        }
    });
    (address, count)
}

fn produce(bench: &Bench, url: &str, more: &[&str]) -> Output {
    let output = bench
        .command(&["produce", "--symbol", "IBM", "--once", "--format", "json"])
        .args(["--set", &format!("AlphaVantage.BaseUrl={url}")])
        .args(["--set", "AlphaVantage.RetryBackoffMs=10"])
        .args(["--set", "AlphaVantage.RequestsPerSecond=1000"])
        .args(more)
        .finish();
    keep_secret(&output);
    output
}

#[test]
fn a_day_from_the_service_is_published_once() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        // An outage first: a page of HTML with 503.
        let (url, requests) = serve(vec![
            (503, body("html_error.html")),
            (200, body("intraday_full_day.json")),
        ]);
        let full = ["--set", "AlphaVantage.OutputSize=full"];
        let output = produce(&bench, &url, &full);
        assert!(
            output.status.success(),
            "{}: {}",
            cluster.name,
            stderr(&output)
        );
        assert_eq!(last_json(&output)["published"], 960, "{}", stderr(&output));
        assert_eq!(requests.load(Ordering::SeqCst), 2);

        let output = produce(&bench, &url, &full);
        let done = last_json(&output);
        assert_eq!(done["published"], 0, "{done}");
        assert_eq!(done["duplicates_skipped"], 960, "{done}");
    }
}

#[test]
fn bad_bars_and_a_truncated_body_cost_no_good_bar() {
    let cluster = embedded();
    for (name, good) in [
        ("bars_with_bad_values.json", Some(16)),
        ("truncated.json", None),
    ] {
        let bench = Bench::new(&cluster);
        let (url, _) = serve(vec![(200, body(name))]);
        let output = produce(&bench, &url, &["--set", "AlphaVantage.MaxRetries=0"]);
        let published = last_json(&output)["published"].as_u64().expect("a number");
        match good {
            Some(good) => assert_eq!(published, good, "{name}: {}", stderr(&output)),
            None => assert!(published > 40, "{name}: {published}; {}", stderr(&output)),
        }
    }
}

#[test]
fn a_key_that_is_refused_is_a_wrong_configuration() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, requests) = serve(vec![(200, body("error_invalid_apikey.json"))]);
    let output = produce(&bench, &url, &[]);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert_eq!(
        requests.load(Ordering::SeqCst),
        1,
        "a refusal is not asked for twice"
    );
}

#[test]
fn a_daily_limit_that_repeats_the_key_hides_it() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let text = String::from_utf8(body("information_daily_limit.json")).expect("UTF-8");
    let start = text.find("API key as ").map(|at| at + "API key as ".len());
    let repeated = match start {
        Some(start) => {
            let end = start + text[start..].find(' ').expect("an end of the key");
            format!("{}{KEY}{}", &text[..start], &text[end..])
        }
        None => format!("{text} {KEY}"),
    };
    let (url, _) = serve(vec![(200, repeated.into_bytes())]);
    let output = produce(&bench, &url, &[]);
    assert_ne!(
        output.status.code(),
        Some(0),
        "nothing was published: {}",
        stderr(&output)
    );
}

#[test]
fn a_free_key_needs_nothing_but_a_symbol() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, requests) = serve(vec![
        (200, body("information_premium.json")),
        (200, body("daily.json")),
    ]);
    let output = produce(&bench, &url, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(last_json(&output)["published"], 5, "{}", stderr(&output));
    let said = stderr(&output);
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.contains("no intraday data"))
        .collect();
    assert!(
        lines.len() == 1
            && lines[0].contains("25 requests a day")
            && lines[0].contains("daily bars"),
        "{said}"
    );
    // A second start does not ask for intraday bars again, and publishes nothing twice.
    let output = produce(&bench, &url, &[]);
    assert_eq!(
        last_json(&output)["duplicates_skipped"],
        5,
        "{}",
        stderr(&output)
    );
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    assert!(
        stderr(&output).contains("found out on"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn stale_bars_name_the_entitlement() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, _) = serve(vec![(200, body("intraday_ibm_1min.json"))]);
    let output = produce(&bench, &url, &[]);
    assert_eq!(last_json(&output)["published"], 100, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("AlphaVantage.Entitlement"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn check_says_what_is_there_and_what_is_not() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, requests) = serve(vec![(200, body("intraday_ibm_1min.json"))]);
    let check = |address: &str, more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_stockflow"))
            .current_dir(bench.directory.path())
            .env_clear()
            .args(["check", "--format", "json", "-b", address])
            .args(["-t", &bench.topic, "-g", &bench.group])
            .args(["--set", &format!("AlphaVantage.BaseUrl={url}")])
            .args(["--set", "AlphaVantage.Symbols=IBM"])
            .args(more)
            .env("AlphaVantage__ApiKey", KEY)
            .finish();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            stderr(&output)
        );
        assert!(!said.contains(KEY), "the key leaks: {said}");
        (output.status.code(), last_json(&output))
    };
    let outcome = |report: &serde_json::Value, name: &str| {
        let checks = report["checks"].as_array().expect("checks").clone();
        let found = checks.into_iter().find(|check| check["check"] == name);
        found.map(|check| check["outcome"].as_str().unwrap_or_default().to_owned())
    };
    let (code, report) = check(&cluster.address, &["--offline"]);
    assert_eq!((code, &report["ok"]), (Some(0), &true.into()), "{report}");
    assert_eq!(report["api_budget"]["left_today"], 25, "{report}");
    assert_eq!(requests.load(Ordering::SeqCst), 0, "offline asks nobody");

    let (code, report) = check(&cluster.address, &[]);
    assert_eq!(
        (code, outcome(&report, "topic").as_deref()),
        (Some(1), Some("failed")),
        "{report}"
    );
    assert_eq!(
        requests.load(Ordering::SeqCst),
        1,
        "one request, and it says so"
    );
    assert_eq!(
        outcome(&report, "API key").as_deref(),
        Some("ok"),
        "{report}"
    );
    assert!(
        report.to_string().contains("one request was used"),
        "{report}"
    );

    // Nothing listens there, and nothing answers there.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!(
        "AlphaVantage.BaseUrl=http://{}",
        silent.local_addr().expect("its address")
    );
    for base in ["AlphaVantage.BaseUrl=http://127.0.0.1:1", &silent] {
        let slow = ["--set", "AlphaVantage.TimeoutSeconds=1", "--set", base];
        let (code, report) = check(&cluster.address, &slow);
        assert_eq!(code, Some(1), "{report}");
        assert_eq!(
            outcome(&report, "API key").as_deref(),
            Some("failed"),
            "{report}"
        );
        assert!(report.to_string().contains("see AlphaVantage."), "{report}");
    }

    let (code, report) = check("127.0.0.1:1", &["--out", "/dev/null/x"]);
    assert_eq!(code, Some(1), "{report}");
    for (name, expected) in [
        ("brokers", "failed"),
        ("topic", "skipped"),
        ("output directory", "failed"),
        ("state directory", "ok"),
    ] {
        assert_eq!(
            outcome(&report, name).as_deref(),
            Some(expected),
            "{name}: {report}"
        );
    }
    bench.json(&["produce", "--source", "simulated", "--count", "1"]);
    let (code, report) = check(&cluster.address, &[]);
    assert_eq!((code, &report["ok"]), (Some(0), &true.into()), "{report}");
}

#[test]
fn a_proxy_of_the_environment_is_followed() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    // The proxy answers itself; nobody has the name.
    let (proxy, requests) = serve(vec![(200, body("intraday_ibm_1min.json"))]);
    let output = bench
        .command(&["produce", "--symbol", "IBM", "--once", "--format", "json"])
        .args(["--set", "AlphaVantage.BaseUrl=http://alpha-vantage.invalid"])
        .env("AlphaVantage__ApiKey", KEY)
        .env("HTTP_PROXY", proxy)
        .finish();
    assert_eq!(last_json(&output)["published"], 100, "{}", stderr(&output));
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    assert!(!stderr(&output).contains(KEY));
}

/// A month counts as filled when all its events are on the topic, not when they were fetched.
#[test]
fn a_backfill_that_was_cut_goes_on_where_it_was() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let (url, _) = serve(vec![(200, body("intraday_full_day.json"))]);
        let fill = |more: &[&str]| {
            let months = ["produce", "--symbol", "IBM", "--format", "json"];
            let output = bench
                .command(&months)
                .args(["--from-month", "2025-11", "--to-month", "2025-11"])
                .args(["--set", &format!("AlphaVantage.BaseUrl={url}")])
                .args(["--set", "AlphaVantage.Function=intraday"])
                .args(["--set", "AlphaVantage.RequestsPerSecond=1000"])
                .args(more)
                .finish();
            last_json(&output)
        };
        let part = fill(&["--count", "10"]);
        assert_eq!(part["published"], 10, "{}: {part}", cluster.name);
        let rest = fill(&[]);
        assert_eq!(rest["published"], 950, "{}: {rest}", cluster.name);
        assert_eq!(rest["duplicates_skipped"], 10, "{}: {rest}", cluster.name);
        let nothing = fill(&[]);
        assert_eq!(nothing["published"], 0, "{}: {nothing}", cluster.name);
    }
}
