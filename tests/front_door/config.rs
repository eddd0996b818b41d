//! Configuration and usage through the front door: the real binary, in a directory of its own.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::Finish as _;

/// The binary in that directory, with nothing in its environment.
fn stockflow(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stockflow"));
    command.current_dir(dir).env_clear().args(arguments);
    command
}

fn run(dir: &TempDir, arguments: &[&str]) -> Output {
    stockflow(dir.path(), arguments).finish()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn fresh() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

const ORIGINAL: &str = r#"{ "Kafka": { "BootstrapServers": "localhost:9092", "GroupId": "stock-trade-consumers", "Topic": "stock-trades" },
  "AlphaVantage": { "ApiKey": "YOUR_API_KEY_HERE", "Symbol": "AAPL" },
  "Logging": { "LogLevel": "Information" } }"#;

#[test]
fn the_original_file_works_as_it_is() {
    let dir = fresh();
    fs::write(dir.path().join("appsettings.json"), ORIGINAL).expect("a file");
    let output = run(&dir, &["config", "show"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let shown = stdout(&output);
    assert!(
        shown.contains("Kafka.Topic = stock-trades  # appsettings.json:1\n"),
        "{shown}"
    );
    assert!(
        shown.contains("AlphaVantage.Symbols = AAPL  # appsettings.json:2\n"),
        "{shown}"
    );
    assert!(
        shown.contains("Kafka.ClientId = stockflow  # default\n"),
        "{shown}"
    );

    let output = run(&dir, &["produce"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        stderr(&output).contains("YOUR_API_KEY_HERE is a placeholder"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn later_layers_win_and_are_named() {
    let dir = fresh();
    fs::write(
        dir.path().join("a.json"),
        r#"{"Kafka":{"Topic":"a","GroupId":"a","ClientId":"a","BootstrapServers":"a"}}"#,
    )
    .expect("a file");
    fs::write(
        dir.path().join("b.json"),
        "{\n// later\n\"kafka\": {\"groupid\": \"b\",},}",
    )
    .expect("a file");
    let output = stockflow(
        dir.path(),
        &[
            "-c",
            "a.json",
            "-c",
            "b.json",
            "config",
            "show",
            "--set",
            "Kafka.Topic=s",
        ],
    )
    .args(["--format", "json"])
    .env("KAFKA__TOPIC", "e")
    .env("Kafka__ClientId", "e")
    .finish();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    for (key, value, origin) in [
        ("Topic", "s", "--set"),
        ("ClientId", "e", "variable Kafka__ClientId"),
        ("GroupId", "b", "b.json:3"),
        ("BootstrapServers", "a:9092", "a.json:1"),
    ] {
        assert_eq!(shown["Kafka"][key]["value"], value);
        assert_eq!(shown["Kafka"][key]["origin"], origin);
    }
    assert_eq!(shown["ShutdownTimeoutMs"]["value"], 8000);
    assert_eq!(
        shown["Source"]["Simulated"]["Seed"]["value"],
        serde_json::Value::Null
    );
}

#[test]
fn wrong_configuration_is_78_and_told_all_at_once() {
    let dir = fresh();
    let text = "{\n\"Kafka\": { \"BootstrapServer\": \"x:1\", \"Topic\": \"a/b\" }, \"Server\": { \"Address\": \":80\" } }";
    fs::write(dir.path().join("appsettings.json"), text).expect("a file");
    let output = stockflow(dir.path(), &["config", "show"])
        .env("Output__Dir", "x")
        .finish();
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(stdout(&output), "");
    let said = stderr(&output);
    for part in [
        "Kafka.BootstrapServer (appsettings.json:2): there is no such key; the nearest is Kafka.BootstrapServers",
        "Kafka.Topic (appsettings.json:2)",
        "Server.Address (appsettings.json:2): this version does not have",
        "variable Output__Dir",
        "Output.Directory",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let output = run(&fresh(), &["config", "show", "-c", "missing.json"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("missing.json"));
}

#[test]
fn flags_that_the_source_would_pass_over_are_refused() {
    for (flags, part) in [
        ("--source simulated --once", "--count N"),
        ("--source simulated --from-month 2025-01", "Alpha Vantage"),
        ("--source simulated --input x", "--source replay"),
        ("--source simulated --speed 2", "--source replay"),
        ("--source replay --input x --rate 5", "--source simulated"),
        ("--source replay --input x --seed 5", "--source simulated"),
        ("--symbol IBM --seed 5", "--source simulated"),
        ("--symbol IBM --input x", "--source replay"),
    ] {
        let line = format!("produce -b 127.0.0.1:1 --set AlphaVantage.ApiKey=EXAMPLE {flags}");
        let arguments: Vec<&str> = line.split(' ').collect();
        let output = run(&fresh(), &arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{flags}: {said}");
        assert!(said.contains(part), "{flags}: {said}");
    }
    let both = ["produce", "--once", "--from-month", "2025-01"];
    let output = run(&fresh(), &both);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn secrets_are_masked_and_seen_to_be_set() {
    let dir = fresh();
    fs::write(dir.path().join("key"), "TOPSECRET2\n").expect("a file");
    for (variable, value) in [
        ("AlphaVantage__ApiKey", "TOPSECRET1"),
        ("AlphaVantage__ApiKeyFile", "key"),
    ] {
        for format in ["text", "json"] {
            let output = stockflow(dir.path(), &["config", "show", "-vv", "--format", format])
                .env(variable, value)
                .finish();
            let said = format!("{}{}", stdout(&output), stderr(&output));
            assert_eq!(output.status.code(), Some(0), "{said}");
            assert!(
                !said.contains("TOPSECRET") && said.contains("********") && said.contains(variable),
                "{said}"
            );
        }
    }
    assert!(
        stdout(&run(&dir, &["config", "show"]))
            .contains("AlphaVantage.ApiKey = (unset)  # default")
    );
}

#[test]
fn foreign_settings_are_warned_of() {
    let dir = fresh();
    let text = r#"{"AllowedHosts":"*","Serilog":{"x":1},"Kafka":{"EnableAutoCommit":true}}"#;
    fs::write(dir.path().join("appsettings.json"), text).expect("a file");
    let output = run(&dir, &["config", "show", "--log-format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let said = stderr(&output);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
        "{said}"
    );
    assert!(
        said.contains("AllowedHosts, Serilog") && said.contains("Kafka.EnableAutoCommit"),
        "{said}"
    );
    assert_eq!(stderr(&run(&dir, &["config", "show", "-qq"])), "");
}

#[test]
fn wrong_usage_is_2() {
    let dir = fresh();
    for arguments in [
        &["nonsense"][..],
        &[],
        &["consume", "--nonsense"],
        &["produce", "--count", "x"],
        &["config", "show", "--set", "Kafka.Topic"],
    ] {
        let output = run(&dir, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "");
        assert!(!stderr(&output).is_empty());
    }
}

#[test]
fn help_and_version_are_results() {
    let dir = fresh();
    let output = run(&dir, &["--version"]);
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (
            Some(0),
            format!("stockflow {}\n", env!("CARGO_PKG_VERSION"))
        )
    );
    for command in [
        "produce", "consume", "run", "demo", "broker", "check", "config",
    ] {
        let output = run(&dir, &[command, "--help"]);
        assert_eq!(output.status.code(), Some(0));
        let help = stdout(&output);
        let (_, examples) = help.rsplit_once("Examples:").expect("examples");
        assert!(
            examples
                .trim_end()
                .lines()
                .skip(1)
                .all(|line| line.contains("stockflow")),
            "{help}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let dir = fresh();
    let mut child = stockflow(dir.path(), &["config", "show"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let mut said = String::new();
    let mut errors = child.stderr.take().expect("a pipe");
    errors.read_to_string(&mut said).expect("UTF-8");
    assert_eq!(
        (child.wait().expect("it ends").code(), said.as_str()),
        (Some(0), "")
    );
}
