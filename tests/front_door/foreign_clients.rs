//! The embedded broker serves clients that are not ours: kcat, where it is on the PATH (or `$STOCKFLOW_TEST_KCAT` names
//! it), and Kafka's own tools, where there is a real Kafka and so their jars. What is missing is said.

use std::{
    env,
    ffi::OsStr,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::support::{Finish as _, embedded, say};

/// Runs a command with something on its stdin; returns its stdout, and panics with its stderr when it fails.
pub(crate) fn run(program: impl AsRef<OsStr>, arguments: &[&str], input: &str) -> String {
    let mut process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut stdin = process.stdin.take().expect("stdin is a pipe");
    stdin
        .write_all(input.as_bytes())
        .expect("it reads its input");
    drop(stdin);
    let output = process.finish();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn kcat() -> Option<PathBuf> {
    if let Some(named) = env::var_os("STOCKFLOW_TEST_KCAT") {
        return Some(named.into());
    }
    let path = env::var_os("PATH")?;
    let mut candidates = env::split_paths(&path).map(|folder| folder.join("kcat"));
    candidates.find(|candidate| candidate.is_file())
}

/// Lines `key|value`, enough of them for several batches.
fn lines(prefix: &str) -> Vec<String> {
    let line = |number| format!("{prefix}{number}|{{\"Symbol\":\"IBM\",\"Number\":{number}}}");
    (0..500).map(line).collect()
}

pub(crate) fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn kcat_produces_and_consumes_with_every_codec() {
    let Some(kcat) = kcat() else {
        say("left out: kcat, which is neither on the PATH nor named by STOCKFLOW_TEST_KCAT");
        return;
    };
    let broker = embedded();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let mut sent = lines(codec);
        let topic = format!("kcat-{codec}");
        let address = ["-b", &broker.address, "-t", &topic, "-K", "|"];
        let produce = [&["-P", "-z", codec, "-X", "acks=all"], &address[..]].concat();
        run(&kcat, &produce, &(sent.join("\n") + "\n"));
        let consume = [&["-C", "-e", "-q", "-o", "beginning"], &address[..]].concat();
        sent.sort_unstable();
        assert_eq!(sorted(&run(&kcat, &consume, "")), sent, "{codec}");
    }
}

#[test]
fn kcat_is_idempotent_and_a_group_member() {
    let Some(kcat) = kcat() else {
        say("left out: kcat, which is neither on the PATH nor named by STOCKFLOW_TEST_KCAT");
        return;
    };
    let broker = embedded();
    let mut sent = lines("key");
    let address = ["-b", &broker.address, "-K", "|"];
    let idempotent = ["-P", "-t", "grouped", "-X", "enable.idempotence=true"];
    let input = sent.join("\n") + "\n";
    run(&kcat, &[&idempotent[..], &address[..]].concat(), &input);
    let member = ["-e", "-q", "-X", "auto.offset.reset=earliest"];
    let group = ["-G", "readers", "grouped"];
    let consume = [&member[..], &address[..], &group[..]].concat();
    sent.sort_unstable();
    assert_eq!(sorted(&run(&kcat, &consume, "")), sent);
    assert_eq!(run(&kcat, &consume, ""), "", "everything was committed");
}

#[test]
fn kafkas_own_tools_produce_consume_and_describe() {
    if env::var_os("STOCKFLOW_TEST_KAFKA").is_none() {
        say("left out: Kafka's own tools, because STOCKFLOW_TEST_KAFKA names no broker");
        return;
    }
    let broker = embedded();
    let java = |class: &str, arguments: &[&str], input: &str| {
        let start = ["tool", class, "--bootstrap-server", &broker.address];
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka");
        run(script, &[&start[..], arguments].concat(), input)
    };
    let mut sent = lines("key");
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        java(
            "org.apache.kafka.tools.ConsoleProducer",
            &[
                "--topic",
                "console",
                "--compression-codec",
                codec,
                "--reader-property",
                "parse.key=true",
                "--reader-property",
                "key.separator=|",
            ],
            &(sent.join("\n") + "\n"),
        );
    }
    sent = sent.iter().flat_map(|line| vec![line.clone(); 5]).collect();
    let total = sent.len().to_string();
    let consumed = java(
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        &[
            "--topic",
            "console",
            "--group",
            "console-readers",
            "--from-beginning",
            "--max-messages",
            &total,
            "--timeout-ms",
            "60000",
            "--formatter-property",
            "print.key=true",
            "--formatter-property",
            "key.separator=|",
        ],
        "",
    );
    sent.sort_unstable();
    assert_eq!(sorted(&consumed), sent);
    let described = java(
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        &["--describe", "--group", "console-readers"],
        "",
    );
    let lags: Vec<_> = described
        .lines()
        .filter(|line| line.starts_with("console-readers"))
        .filter_map(|line| line.split_whitespace().nth(5))
        .collect();
    assert_eq!(lags, ["0", "0", "0"], "{described}");
}
