//! What is secret stays so: in the list of processes, in errors, and where it was written by mistake.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::{
    alpha_vantage::{body, serve},
    support::*,
};

fn run(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    Command::new(env!("CARGO_BIN_EXE_stockflow"))
        .current_dir(directory.path())
        .env_clear()
        .args(arguments)
        .finish()
}

#[test]
fn the_key_is_not_in_the_list_of_processes() {
    if !Path::new("/proc/self/cmdline").exists() {
        return say("left out: the list of processes, which this system has not in /proc");
    }
    let cluster = embedded();
    for from_file in [false, true] {
        let bench = Bench::new(&cluster);
        // Takes a request and never answers it.
        let service = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", service.local_addr().expect("an address"));
        let mut command = bench.command(&["produce", "--symbol", "IBM"]);
        command.args(["--set", &format!("AlphaVantage.BaseUrl={url}")]);
        if from_file {
            fs::write(bench.directory.path().join(KEY_FILE), KEY).expect("a file");
            command
                .env_remove("AlphaVantage__ApiKey")
                .env("AlphaVantage__ApiKeyFile", "key");
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (_request, _) = service.accept().expect("a request");
        let process = format!("/proc/{}", child.id());
        for name in ["cmdline", "comm"] {
            let shown = fs::read(format!("{process}/{name}")).expect("a process");
            let shown = String::from_utf8_lossy(&shown).into_owned();
            assert!(!shown.is_empty() && !shown.contains(KEY), "{name}: {shown}");
        }
        for thread in fs::read_dir(format!("{process}/task")).expect("its threads") {
            let name = thread.expect("a thread").path().join("comm");
            let shown = fs::read_to_string(name).unwrap_or_default();
            assert!(!shown.contains(KEY), "{shown}");
        }
        child.kill().expect("it runs");
        keep_secret(&child.finish());
    }
}

#[test]
fn the_key_is_in_no_log_however_much_is_logged() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let (url, requests) = serve(vec![
        (503, body("html_error.html")),
        (200, format!("{{\"Note\":\"what is {KEY}\"}}").into_bytes()),
        (200, body("intraday_ibm_1min.json")),
    ]);
    let output = bench
        .command(&[
            "produce",
            "--symbol",
            "IBM",
            "--once",
            "-vv",
            "--log-format",
            "json",
        ])
        .args(["--set", &format!("AlphaVantage.BaseUrl={url}")])
        .args(["--set", "AlphaVantage.RetryBackoffMs=10"])
        .finish();
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("\"TRACE\"") && said.contains("[API key]"),
        "{said}"
    );
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[test]
fn a_secret_on_the_command_line_is_warned_of() {
    let output = run(&[
        "config",
        "show",
        "--set",
        &format!("AlphaVantage.ApiKey={KEY}"),
    ]);
    let said = stderr(&output);
    assert!(
        said.contains("AlphaVantage__ApiKey") && said.contains("AlphaVantage.ApiKeyFile"),
        "{said}"
    );
    let output = run(&["config", "show", "--set", "Kafka.Topic=trades"]);
    assert_eq!(stderr(&output), "");
}

#[test]
fn what_may_be_a_password_is_not_repeated() {
    for address in [
        "user:hunter2@host:9092",
        "hunter2@host",
        "SSL://user:hunter2@host:1",
    ] {
        let output = run(&["check", "--offline", "-b", address]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(
            !said.contains("hunter2") && said.contains("Kafka.BootstrapServers"),
            "{said}"
        );
    }
    let output = run(&[
        "config",
        "show",
        "--set",
        "AlphaVantage.BaseUrl=http://user:hunter2@host",
    ]);
    assert!(!stderr(&output).contains("hunter2"));
}

#[test]
fn a_file_that_holds_no_key_is_named_with_its_setting() {
    let output = run(&[
        "config",
        "show",
        "--set",
        "AlphaVantage.ApiKeyFile=nowhere/key",
    ]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains("AlphaVantage.ApiKeyFile (--set)") && said.contains("nowhere/key"),
        "{said}"
    );
}

#[test]
fn a_named_pipe_is_no_configuration_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("pipe");
    if !Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .is_ok_and(|made| made.success())
    {
        return say("left out: named pipes, which mkfifo would make");
    }
    let begin = Instant::now();
    let output = run(&["config", "show", "-c", pipe.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(stderr(&output).contains("named pipe"));
    let key = format!("AlphaVantage.ApiKeyFile={}", pipe.display());
    let output = run(&["config", "show", "--set", &key]);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(stderr(&output).contains("it is a pipe"));
    assert!(begin.elapsed() < Duration::from_secs(60));
}

/// What every test of this directory relies on to search all that is said.
#[test]
fn every_program_is_run_to_its_end_where_its_outputs_are_searched() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/front_door");
    let ways = [".output", ".wait_with_output"].map(|way| format!("{way}()"));
    let mut seen = 0;
    for entry in fs::read_dir(tests).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.ends_with("support.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("UTF-8");
        seen += 1;
        for way in &ways {
            assert!(
                !text.contains(way),
                "{}: `{way}` of a program is for support.rs, `.finish()` searches what it says",
                path.display()
            );
        }
    }
    assert!(seen > 30, "{seen}");
}

/// `scripts/test` lets no line of any test pass that has a key in it.
#[test]
fn the_search_of_all_output_finds_a_key() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/leaks");
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let search = |text: &str| {
        fs::write(&log, text).expect("a file");
        let found = Command::new(script).arg(&log).finish();
        (
            found.status.code(),
            String::from_utf8_lossy(&found.stdout).into_owned(),
        )
    };
    assert_eq!(search("all is well\n").0, Some(0));
    let of_the_service = "EXAMPLEKEY000001";
    let body = String::from_utf8(body("information_daily_limit.json")).expect("UTF-8");
    assert!(
        body.contains(of_the_service),
        "the key that a service's texts have"
    );
    for key in [KEY, of_the_service] {
        for key in [key.to_owned(), key.to_ascii_lowercase()] {
            let (code, said) = search(&format!("first\nasked ?apikey={key}&x\nlast\n"));
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("2:asked ?apikey="), "{said}");
        }
    }
    assert_eq!(
        Command::new(script)
            .arg(directory.path().join("none"))
            .finish()
            .status
            .code(),
        Some(2)
    );
    let steps = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/test"));
    assert!(
        steps
            .expect("a script")
            .contains("scripts/leaks \"$scratch/cargo-test.log\"")
    );
}
