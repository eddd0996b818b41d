//! What goes wrong with the disk: it is full, read-only, taken away, written to by somebody else. Each time the consumer
//! stops before it commits, says why, has lost nothing, and goes on once that is mended.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::support::*;

const LONG: Duration = Duration::from_secs(120);

fn produce(bench: &Bench<'_>, seed: &str, count: &str) {
    let source = ["produce", "--source", "simulated", "--seed", seed];
    let made = bench.json(&[&source[..], &["--count", count]].concat());
    assert_eq!(made["published"].to_string(), count);
}

/// A consumer that runs until something happens.
fn service(bench: &Bench<'_>) -> Child {
    bench
        .command(&["consume", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

fn until_rows(bench: &Bench<'_>, rows: usize) {
    let end = Instant::now() + LONG;
    while rows_so_far(&bench.out()) < rows {
        assert!(Instant::now() < end, "waited for {rows} rows");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Written is not committed yet; a checkpoint that says so is not far.
    std::thread::sleep(Duration::from_millis(300));
}

/// Waits until a consumer has ended by itself, with an error that says `parts`.
fn failed(mut child: Child, parts: &[&str]) -> serde_json::Value {
    wait(&mut child, LONG).expect("it ends by itself");
    said(&child.finish(), parts)
}

fn said(output: &Output, parts: &[&str]) -> serde_json::Value {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
    last_json(output)
}

/// Tries to go on, which must fail saying `parts`.
fn refused(bench: &Bench<'_>, parts: &[&str]) {
    let output = bench
        .command(&["consume", "--until-end", "--format", "json"])
        .finish();
    said(&output, parts);
}

/// After the repair it goes on: each of so many records is there once. How many rows this took.
fn goes_on(bench: &Bench<'_>, rows: usize) -> u64 {
    let done = bench.json(&["consume", "--until-end"]);
    let out = bench.out();
    let report = bench.json(&["verify", out.to_str().expect("UTF-8")]);
    assert_eq!(report["verdict"], "proven", "{report}");
    assert_eq!(report["rows"], rows, "{report}");
    assert_eq!(crate::support::rows(&out).len(), rows);
    done["rows_written"].as_u64().expect("a number")
}

/// The file of the first rows.
fn file(bench: &Bench<'_>) -> PathBuf {
    let entries = fs::read_dir(bench.out()).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .expect("a file")
}

/// Runs a command that only root may; whether it did.
fn as_root(command: &str, arguments: &[&str]) -> bool {
    let run = Command::new(command)
        .args(arguments)
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}

/// Something is mounted here, for as long as this lives.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        as_root("umount", &["-l", self.0.to_str().expect("UTF-8")]);
    }
}

#[test]
fn a_full_disk_stops_it_until_there_is_room() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let out = bench.out();
    fs::create_dir(&out).expect("a directory");
    let path = out.to_str().expect("UTF-8");
    if !as_root("mount", &["-t", "tmpfs", "-o", "size=700k", "tmpfs", path]) {
        say("left out: a full disk, because nothing can be mounted here");
        return;
    }
    let _mount = Mount(out.clone());
    produce(&bench, "7", "30000");
    let first = failed(
        service(&bench),
        &["No space left on device", "ConsumedTrades"],
    );
    refused(&bench, &["No space left on device"]);
    assert!(as_root("mount", &["-o", "remount,size=64m", path]));
    let output = bench
        .command(&["consume", "--until-end", "--format", "json"])
        .finish();
    let second = last_json(&output)["rows_written"].as_u64();
    let second = second.expect("a number");
    // Nobody was killed, and nothing had to be cut.
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    for word in ["killed", "cut away", "removed", "WARN"] {
        assert!(!said.contains(word), "{said}");
    }
    assert_eq!(goes_on(&bench, 30_000), 0);
    // What the summary after the failure called written was so.
    assert_eq!(first["rows_written"], first["committed"], "{first}");
    assert!(
        first["rows_written"].as_u64() <= Some(30_000 - second),
        "{first}"
    );
}

#[test]
fn a_file_that_may_not_grow_stops_it_until_it_may() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, "7", "30000");
    let inner = bench.command(&["consume", "--until-end", "--format", "json"]);
    let limited = Command::new("sh")
        .args(["-c", "ulimit -f 600 && exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(bench.directory.path())
        .finish();
    let first = said(&limited, &["File too large", "consumed_trades_"]);
    assert_eq!(first["rows_written"], first["committed"], "{first}");
    goes_on(&bench, 30_000);
}

#[test]
fn a_directory_that_may_not_be_written_stops_it_until_it_may() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, "7", "1000");
    let child = service(&bench);
    until_rows(&bench, 1000);
    let sidecar = bench.out().join(".stockflow");
    let path = sidecar.to_str().expect("UTF-8");
    if !as_root("chattr", &["+i", path]) {
        say(
            "left out: a directory that becomes read-only, because nothing can be made immutable here",
        );
        let mut child = child;
        child.kill().expect("killed");
        child.wait().expect("gone");
        return;
    }
    produce(&bench, "8", "1000");
    let first = failed(
        child,
        &["Operation not permitted", "ConsumedTrades/.stockflow"],
    );
    refused(&bench, &["Operation not permitted"]);
    assert!(as_root("chattr", &["-i", path]));
    assert_eq!(first["rows_written"], 1000, "{first}");
    assert_eq!(goes_on(&bench, 2000), 1000);
}

#[test]
fn a_read_only_file_system_is_refused_until_it_is_writable() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, "7", "1000");
    goes_on(&bench, 1000);
    let out = bench.out();
    let path = out.to_str().expect("UTF-8");
    if !as_root("mount", &["--bind", path, path]) {
        say("left out: a read-only file system, because nothing can be mounted here");
        return;
    }
    let mount = Mount(out.clone());
    assert!(as_root("mount", &["-o", "remount,ro,bind", path]));
    produce(&bench, "8", "1000");
    refused(&bench, &["Read-only file system", "ConsumedTrades"]);
    drop(mount);
    assert_eq!(goes_on(&bench, 2000), 1000);
}

#[test]
fn a_directory_that_is_taken_away_stops_it_until_it_is_back() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, "7", "1000");
    let child = service(&bench);
    until_rows(&bench, 1000);
    let elsewhere = bench.directory.path().join("elsewhere");
    fs::rename(bench.out(), &elsewhere).expect("moved");
    produce(&bench, "8", "1000");
    let first = failed(child, &["ConsumedTrades"]);
    assert_eq!(first["rows_written"], 1000, "{first}");
    fs::rename(elsewhere, bench.out()).expect("moved back");
    assert_eq!(goes_on(&bench, 2000), 1000);
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).expect("a file");
    file.write_all(bytes).expect("written");
}

#[test]
fn what_somebody_else_appends_meanwhile_is_neither_overwritten_nor_cut() {
    let cluster = embedded();
    // Shorter than what comes next, and longer.
    for foreign in [&b"mine\n"[..], &[b'x'; 300_000]] {
        let bench = Bench::new(&cluster);
        produce(&bench, "7", "1000");
        let child = service(&bench);
        until_rows(&bench, 1000);
        let path = file(&bench);
        append(&path, foreign);
        let edited = fs::read(&path).expect("a file");
        produce(&bench, "8", "1000");
        let first = failed(child, &["was edited by someone else", "bytes long and was"]);
        assert_eq!(first["rows_written"], 1000, "{first}");
        // Also not by the next starts.
        for _ in 0..2 {
            refused(
                &bench,
                &["was edited by someone else", "bytes long and was"],
            );
            assert!(fs::read(&path).expect("a file") == edited);
        }
        let left = edited.len() - foreign.len();
        fs::write(&path, &edited[..left]).expect("repaired");
        assert_eq!(goes_on(&bench, 2000), 1000);
    }
}

#[test]
fn what_somebody_else_edits_in_between_is_noticed() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, "7", "30000");
    goes_on(&bench, 30_000);
    let path = file(&bench);
    let good = fs::read_to_string(&path).expect("a file");
    produce(&bench, "8", "1000");
    for (edited, what) in [
        (
            good.replacen("Symbol", "Ticker", 1),
            "its header is different",
        ),
        (good[..good.len() - 1].to_owned(), "bytes long and was"),
        (format!("{good}\n"), "bytes long and was"),
        (good[..good.len() - 2].to_owned() + "Y\n", "is different"),
    ] {
        fs::write(&path, &edited).expect("written");
        refused(&bench, &["was edited by someone else", what]);
        assert_eq!(fs::read_to_string(&path).expect("a file"), edited);
    }
    fs::write(&path, good).expect("put back");
    assert_eq!(goes_on(&bench, 31_000), 1000);
}

/// What somebody appends to a file of a process that was killed cannot be told from its own last rows: it goes, and that
/// is said.
#[test]
fn what_is_appended_behind_a_killed_consumer_is_cut_away_aloud() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        produce(&bench, "1", "50");
        let mut consumer = service(&bench);
        until("all is committed", || {
            rows_so_far(&bench.out()) == 50
                && bench.json(&["group", "describe"])["lag"] == serde_json::json!(0)
        });
        consumer.kill().expect("it runs");
        consumer.finish();
        let files = fs::read_dir(bench.out()).expect("a directory");
        let mut files = files.map(|entry| entry.expect("an entry").path());
        let is_csv = |path: &PathBuf| path.extension().is_some_and(|of| of == "csv");
        let file = files.find(is_csv).expect("a file of rows");
        let opened = OpenOptions::new().append(true).open(&file);
        let mut opened = opened.expect("a file");
        opened.write_all(b"a note of mine\n").expect("a write");
        let output = bench.command(&["consume", "--until-end"]).finish();
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.expect("UTF-8");
        let told = said.lines().find(|line| line.contains("cut away"));
        let told = told.unwrap_or_else(|| panic!("not a word: {said}"));
        assert!(told.contains(name) && told.contains("bytes=15"), "{told}");
        assert_eq!(goes_on(&bench, 50), 0);
    }
}
