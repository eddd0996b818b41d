//! What is said of market data that is not there, of what a key may do, and of addresses that would take it elsewhere.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Command, Output, Stdio},
    sync::atomic::Ordering,
    time::Duration,
};

use crate::{
    alpha_vantage::{body, serve},
    limits::says,
    support::*,
};

/// `produce` of IBM from what the service answers.
fn produce(bench: &Bench<'_>, url: &str, more: &[&str]) -> Command {
    let mut command = bench.command(&["produce", "--symbol", "IBM"]);
    command
        .args(["--set", &format!("AlphaVantage.BaseUrl={url}")])
        .args(["--set", "AlphaVantage.RequestsPerSecond=1000"])
        .args(["--set", "AlphaVantage.RetryBackoffMs=10"])
        .args(more);
    command
}

/// Answers everything with this.
fn serve_with(status: &str, headers: &str, body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {}
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body));
        }
    });
    url
}

fn gzip(parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for part in parts {
        out.write_all(&part).expect("memory");
    }
    out.finish().expect("memory")
}

/// `check`, of a host that has this.
fn check(bench: &Bench<'_>, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stockflow"))
        .current_dir(bench.directory.path())
        .env_clear()
        .args(["check", "-b", &bench.cluster.address])
        .args(["-t", &bench.topic, "-g", &bench.group])
        .args(more)
        .env("AlphaVantage__ApiKey", KEY)
        .finish()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_month_without_bars_is_named_with_what_came_instead() {
    let cluster = embedded();
    for (name, words) in [
        (
            "intraday_full_day.json",
            "no bars for IBM in 2024-01: the service answered with bars from 2025-11-06 to 2025-11-07 instead",
        ),
        (
            "intraday_empty.json",
            "no bars for IBM in 2024-01: the answer of TIME_SERIES_INTRADAY has none",
        ),
        (
            "empty_object.json",
            "no bars for IBM in 2024-01: the service has no data for this symbol",
        ),
    ] {
        let bench = Bench::new(&cluster);
        let (url, _) = serve(vec![(200, body(name))]);
        let months = ["--from-month", "2024-01", "--to-month", "2024-01"];
        let output = produce(&bench, &url, &months).finish();
        let said = stderr(&output);
        assert!(said.contains(words), "{name}: {said}");
        assert!(
            said.contains(
                "months without bars are not recorded as filled: the same command asks for them again"
            ),
            "{name}: {said}"
        );
    }
}

#[test]
fn an_answer_of_nothing_but_meta_data_is_said() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, _) = serve(vec![(200, body("intraday_empty.json"))]);
    let said = stderr(&produce(&bench, &url, &["--once"]).finish());
    let words = "no bars: the answer of TIME_SERIES_INTRADAY has none symbol=IBM";
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_redirect_is_named_without_what_it_would_give_away() {
    let to = format!("http://user:{KEY}@{KEY}.example:81/{KEY}?apikey={KEY}#{KEY}");
    let url = serve_with("302 X", &format!("Location: {to}\r\n"), Vec::new());
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let output = produce(&bench, &url, &["--once", "-vv"]).finish();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains("http://[API key].example:81/[API key]")
            && said.contains("AlphaVantage.BaseUrl"),
        "{said}"
    );
}

#[test]
fn check_says_once_what_a_free_key_may_and_that_a_used_up_one_is_not_tried() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "1"]);
    let (url, requests) = serve(vec![
        (200, body("information_premium.json")),
        (200, body("information_daily_limit.json")),
    ]);
    let base = format!("AlphaVantage.BaseUrl={url}");
    let more = ["--set", &base, "--set", "AlphaVantage.Symbols=IBM"];
    let free = "this API key has no intraday data (they need a paid plan) and 25 requests a day, 5 requests a minute";
    let output = check(&bench, &more);
    let said = text(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("one request was used to try it: this API key"),
        "{said}"
    );
    assert!(
        said.contains("24 of 25 requests are left today") && said.contains("all is well"),
        "{said}"
    );
    assert!(said.contains("the key has no intraday data"), "{said}");
    let lines = said.lines().filter(|line| line.contains(free)).count();
    assert!(lines >= 1, "{said}");

    // The day's limit, as the service says it.
    let output = check(&bench, &more);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the day's requests are used up"), "{said}");
    let output = check(&bench, &more);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains(
            "skipped    API key           not tried, and nothing was sent: no request can be sent before 20"
        ),
        "{said}"
    );
    assert!(
        said.contains("skipped    API budget        the service said that it will not answer this key before 20")
            && said.contains("(2 requests were counted here today)"),
        "{said}"
    );
    assert!(said.ends_with("0 failed, 2 not tried\n"), "{said}");
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[test]
fn check_advises_whoever_has_no_kafka() {
    let cluster = Cluster::at("127.0.0.1:1".to_owned());
    let bench = Bench::new(&cluster);
    let output = check(&bench, &["--set", "Source.Kind=simulated"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in [
        "Kafka.BootstrapServers says where the brokers are; without a Kafka, `stockflow demo` shows how all works",
        "skipped    topic             no broker can be asked",
        "1 failed, 2 not tried",
    ] {
        assert!(said.contains(words), "{words:?}: {said}");
    }
}

#[test]
fn a_host_that_only_reads_needs_no_source() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    bench.json(&["produce", "--source", "simulated", "--count", "1"]);
    let reads = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_stockflow"))
            .current_dir(bench.directory.path())
            .env_clear()
            .args(["check", "-b", &cluster.address, "-t", &bench.topic])
            .args(["-g", &bench.group])
            .args(more)
            .finish()
    };
    for offline in [&[][..], &["--offline"][..]] {
        let output = reads(offline);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(
            said.contains("not set up source            neither Source.Kind nor"),
            "{said}"
        );
        assert!(said.ends_with("all is well\n"), "{said}");
    }
    let output = reads(&["--format", "json"]);
    let report = last_json(&output);
    let checks = report["checks"].as_array().expect("checks");
    let of_source: Vec<_> = checks
        .iter()
        .filter(|check| check["check"] == "source")
        .collect();
    assert!(report["ok"] == true && of_source.len() == 1, "{report}");
    assert_eq!(of_source[0]["outcome"], "not set up", "{report}");
    // What is half set up, or asked for, is a mistake.
    for half in [
        "AlphaVantage.Symbols=IBM",
        "Source.Kind=alpha-vantage",
        "Source.Kind=replay",
    ] {
        let output = reads(&["--offline", "--set", half]);
        assert_eq!(output.status.code(), Some(1), "{half}: {}", text(&output));
    }
}

#[test]
fn a_count_that_a_free_key_does_not_reach_today_says_what_it_waits_for() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, _) = serve(vec![
        (200, body("information_premium.json")),
        (200, body("daily.json")),
    ]);
    let command = produce(&bench, &url, &["--count", "100"]);
    let lines = says(command, "no request is sent before ");
    let line = lines.last().expect("a line");
    assert!(
        line.contains("a new day's data come after its close")
            && line.contains("--count waits for as many events, --once does not"),
        "{line}"
    );
}

#[test]
fn a_symbol_that_bulk_quotes_say_nothing_of_is_named() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, _) = serve(vec![(200, body("bulk_quotes.json"))]);
    let bulk = ["--set", "AlphaVantage.Function=bulk-quotes", "--once"];
    let ask = |symbols: &str| {
        let mut command = produce(&bench, &url, &bulk);
        command.args(["--symbol", symbols]);
        stderr(&command.finish())
    };
    let said = ask("MSFT,IBM,BRK.B,NOSUCH,TYPO");
    assert!(said.contains("no good quote of NOSUCH, TYPO:"), "{said}");
    let said = ask("MSFT,IBM");
    assert!(!said.contains("no good quote"), "{said}");
}

#[test]
fn certificates_that_are_not_there_are_named() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let mut command = produce(&bench, "https://127.0.0.1:1", &["--once"]);
    command.env("SSL_CERT_FILE", "/nowhere/ca.pem");
    let lines = says(command, "/nowhere/ca.pem");
    let line = lines.last().expect("a line");
    assert!(line.contains("SSL_CERT_FILE"), "{line}");
}

#[test]
fn months_of_the_same_cluster_are_not_filled_twice_and_those_of_a_topic_made_anew_are() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let (url, requests) = serve(vec![(200, body("intraday_full_day.json"))]);
        let fill = |address: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_stockflow"))
                .current_dir(bench.directory.path())
                .env_clear()
                .env("AlphaVantage__ApiKey", KEY)
                .args(["produce", "--symbol", "IBM", "--format", "json"])
                .args(["-b", address, "-t", &bench.topic])
                .args(["--from-month", "2025-11", "--to-month", "2025-11"])
                .args(["--set", &format!("AlphaVantage.BaseUrl={url}")])
                .args(["--set", "AlphaVantage.Function=intraday"])
                .finish();
            last_json(&output)["published"].as_u64()
        };
        let sent = || requests.load(Ordering::SeqCst);
        assert_eq!(
            (fill(&cluster.address), sent()),
            (Some(960), 1),
            "{}",
            cluster.name
        );
        let twice = format!("{0},{0}", cluster.address);
        assert_eq!((fill(&twice), sent()), (Some(0), 1), "{}", cluster.name);
        if cluster.process().is_some() {
            continue;
        }
        cluster.tool("topics", &["--delete", "--topic", &bench.topic]);
        // It is gone for a moment before it can be made anew.
        std::thread::sleep(Duration::from_secs(3));
        cluster.tool(
            "topics",
            &["--create", "--topic", &bench.topic, "--partitions", "1"],
        );
        assert_eq!(
            (fill(&cluster.address), sent()),
            (Some(960), 2),
            "{}",
            cluster.name
        );
    }
}

/// What a line of a pipe says is published before the next line comes.
#[test]
fn a_pipe_is_replayed_line_by_line() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let pipe = bench.directory.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|made| made.success()) {
        return say("left out: named pipes, which mkfifo would make");
    }
    let arguments = [
        "produce", "--source", "replay", "--input", "pipe", "--format", "json",
    ];
    let child = bench
        .command(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut writer = fs::File::options()
        .write(true)
        .open(&pipe)
        .expect("a reader");
    for number in 1..=3 {
        let line = format!(
            "{{\"TradeId\":\"{number}\",\"Symbol\":\"IBM\",\"Side\":\"Buy\",\"Quantity\":1,\"Price\":1,\"Timestamp\":\"2025-11-06T20:59:00Z\"}}\n"
        );
        writer.write_all(line.as_bytes()).expect("a reader");
        let count = number.to_string();
        until("the line is published", || {
            let tail = bench
                .command(&[
                    "tail", "--from", "earliest", "--count", &count, "--format", "json",
                ])
                .finish();
            text(&tail).lines().count() == number
        });
    }
    drop(writer);
    let output = child.finish();
    assert_eq!(last_json(&output)["published"], 3, "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("it is a pipe: waiting for whoever writes into it"),
        "{said}"
    );
}

/// The highest memory of a process that runs, in KiB.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Polls once; the highest memory that it took, in KiB, and what it said.
fn run_once(bench: &Bench<'_>, url: &str) -> (u64, Output) {
    let once = ["--once", "--set", "AlphaVantage.MaxRetries=0"];
    let mut child = produce(bench, url, &once)
        .args(["--set", "AlphaVantage.TimeoutSeconds=300"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut highest = 0;
    while child.try_wait().expect("a child").is_none() {
        highest = highest.max(peak(child.id()).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(5));
    }
    (highest, child.finish())
}

#[test]
fn a_body_that_is_no_text_takes_little_more_than_its_size() {
    if peak(std::process::id()).is_none() {
        return say("left out: the memory of processes, which this system has not in /proc");
    }
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    const BODY: usize = 60 << 20;
    let mut answer = br#"{"x":""#.to_vec();
    answer.resize(BODY, 0xff);
    let (url, _) = serve(vec![(200, answer)]);
    let (highest, output) = run_once(&bench, &url);
    let said = stderr(&output);
    assert!(
        said.contains("broken before \"Meta Data\" was read"),
        "{said}"
    );
    println!("VmHWM {highest} KiB for a body of {} KiB", BODY >> 10);
    // The buffer that it is read into may be twice as large while it grows.
    assert!(2 * highest < 5 * (BODY as u64 >> 10), "{highest} KiB");
}

#[test]
fn a_packed_body_is_unpacked_and_one_that_is_endless_unpacked_is_cut_off() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let day = gzip(std::iter::once(body("intraday_full_day.json")));
    let headers = "Content-Encoding: gzip\r\n";
    let url = serve_with("200 OK", headers, day);
    let output = produce(&bench, &url, &["--once", "--format", "json"]).finish();
    assert_eq!(last_json(&output)["published"], 960, "{}", stderr(&output));

    // Some 300 KB that become 300 MB.
    let blanks = std::iter::repeat_n(vec![b' '; 1 << 20], 300);
    let bomb = gzip(std::iter::once(b"{".to_vec()).chain(blanks));
    assert!(bomb.len() < 3 << 20);
    let url = serve_with("200 OK", headers, bomb);
    let (highest, output) = run_once(&bench, &url);
    let said = stderr(&output);
    assert!(said.contains("larger than 67108864 bytes"), "{said}");
    if highest > 0 {
        println!("VmHWM {highest} KiB for 300 MiB out of a small body");
        assert!(highest < 200 << 10, "{highest} KiB");
    }
}

#[test]
fn one_problem_is_one_line_however_often_it_comes() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, requests) = serve(vec![
        (503, body("html_error.html")),
        (503, body("html_error.html")),
        (503, body("html_error.html")),
        (500, b"{}".to_vec()),
        (200, body("bars_with_bad_values.json")),
    ]);
    let output = produce(&bench, &url, &["--once", "--format", "json"]).finish();
    let said = stderr(&output);
    assert_eq!(last_json(&output)["published"], 16, "{said}");
    assert_eq!(requests.load(Ordering::SeqCst), 5);
    for status in ["503", "500"] {
        // The number alone may stand in a time of the log, too.
        let lines = said.matches(&format!("HTTP status {status}")).count();
        assert_eq!(lines, 1, "{status}: {said}");
    }
    let bad = last_json(&output)["bad_bars"].as_u64().expect("a number");
    let lines = said.matches("a bad bar is skipped").count();
    assert_eq!(lines as u64, bad, "{said}");
    assert!(said.contains("everything works again"), "{said}");
}

#[test]
fn months_that_a_free_key_lacks_are_had_once_its_plan_has_them() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, asked) = serve(vec![
        (200, body("information_premium.json")),
        (200, body("information_premium_outputsize.json")),
        (200, body("daily.json")),
    ]);
    // The clock is the machine's: these months are long out of reach of the latest 100 days.
    let months = ["--from-month", "2025-10", "--to-month", "2025-11"];
    let said = stderr(&produce(&bench, &url, &months).finish());
    for words in [
        "nothing is asked for: this API key gets the latest 100 days only",
        "the same command asks again, when the key has one",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let said = stderr(&produce(&bench, &url, &months).finish());
    assert!(!said.contains("nothing is asked for"), "{said}");
    let said = stderr(&produce(&bench, &url, &months).finish());
    assert!(said.contains("was filled already"), "{said}");
    assert_eq!(
        asked.load(Ordering::SeqCst),
        3,
        "filled: nothing is asked for"
    );
}
