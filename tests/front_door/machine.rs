//! What a machine may lack, and what may stand in a file's place: few open files, named pipes.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::*;

/// Far longer than a refusal takes on a slow machine; a pipe that nobody writes into would be waited for for ever.
const LIMIT: Duration = Duration::from_secs(120);

/// So many trades, each of a day of its own.
fn days(bench: &Bench<'_>, count: usize) {
    let first = chrono::NaiveDate::from_ymd_opt(2024, 1, 1).expect("a day");
    let line = |(day, number): (chrono::NaiveDate, usize)| {
        format!(
            r#"{{"TradeId":"{number}","Symbol":"IBM","Side":"Buy","Quantity":{number},"Price":1.5,"Timestamp":"{day}T12:00:00Z"}}"#
        )
    };
    let lines: Vec<String> = first.iter_days().zip(0..count).map(line).collect();
    let path = bench.directory.path().join("days.ndjson");
    fs::write(&path, lines.join("\n") + "\n").expect("written");
    let path = path.to_str().expect("UTF-8");
    let made = bench.json(&["produce", "--source", "replay", "--input", path]);
    assert_eq!(made["published"], count, "{made}");
}

#[test]
fn a_small_limit_of_open_files_is_named_and_lived_with() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        days(&bench, 300);
        let limited = |arguments: &[&str]| {
            let inner = bench.command(arguments);
            Command::new("sh")
                .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
                .arg(inner.get_program())
                .args(inner.get_args())
                .current_dir(bench.directory.path())
                .finish()
        };
        let output = limited(&["consume", "--until-end", "--format", "json"]);
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        assert_eq!(last_json(&output)["rows_written"], 300, "{said}");
        let told = said
            .lines()
            .filter(|line| line.contains("Output.MaxOpenFiles"));
        let told: Vec<&str> = told.collect();
        assert_eq!(told.len(), 1, "{said}");
        assert!(told[0].contains("ulimit -n"), "{told:?}");
        let out = bench.out();
        let path = out.to_str().expect("UTF-8");
        let report = last_json(&limited(&["verify", path, "--format", "json"]));
        assert_eq!(report["verdict"], "proven", "{report}");
        assert_eq!(rows(&out).len(), 300);
    }
}

#[test]
fn a_named_pipe_in_a_files_place_is_refused_and_not_waited_for() {
    let cluster = embedded();
    for (place, begun) in [
        (".stockflow/lock", false),
        (".stockflow/lock", true),
        (".stockflow/index", true),
        (".stockflow/checkpoint", true),
        ("consumed_trades_2024-01-01.csv", true),
    ] {
        let bench = Bench::new(&cluster);
        days(&bench, 3);
        if begun {
            bench.json(&["consume", "--until-end"]);
            days_later(&bench);
        }
        let path = bench.out().join(place);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        let _ = fs::remove_file(&path);
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "a pipe");
        let mut child = bench
            .command(&["consume", "--until-end"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let ended = wait(&mut child, LIMIT);
        // It may wait for ever.
        let _ = child.kill();
        let output = child.finish();
        let said = stderr(&output);
        let ended = ended.unwrap_or_else(|| panic!("{place}: it waits: {said}"));
        assert_eq!(ended.code(), Some(1), "{place}: {said}");
        let name = place.rsplit('/').next().expect("a name");
        assert!(
            said.contains(name) && said.contains("no regular file"),
            "{place}: {said}"
        );
    }
}

/// It runs, and somebody puts something else in place of a file of rows: it says what that is, and writes nothing to it.
#[test]
fn what_takes_a_files_place_meanwhile_is_called_what_it_is() {
    let cluster = embedded();
    for (make, what) in [("mkfifo", "a named pipe"), ("mkdir", "a directory")] {
        let bench = Bench::new(&cluster);
        days(&bench, 1);
        let log = bench.directory.path().join("log");
        let mut consume = Running::start(bench.command(&["consume"]), log);
        until("the row is there", || rows_so_far(&bench.out()) == 1);
        until("it is committed", || {
            bench.json(&["group", "describe"])["lag"] == 0
        });
        let path = bench.out().join("consumed_trades_2024-01-01.csv");
        let away = bench.directory.path().join("away.csv");
        fs::rename(&path, &away).expect("moved");
        let made = Command::new(make).arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "{make}");
        let again = [
            "--source",
            "replay",
            "--input",
            "days.ndjson",
            "--republish",
        ];
        bench.json(&[&["produce"], &again[..]].concat());
        let ended = wait(&mut consume.process, LIMIT);
        let said = consume.said();
        assert_eq!(ended.and_then(|it| it.code()), Some(1), "{said}");
        let words = format!("consumed_trades_2024-01-01.csv is {what} now, no regular file");
        assert!(said.contains(&words), "{said}");
        // So does the next start.
        let next = bench.command(&["consume", "--until-end"]).finish();
        let said = stderr(&next);
        assert!(!next.status.success() && said.contains(&words), "{said}");
        assert!(fs::remove_file(&path).is_ok() || fs::remove_dir(&path).is_ok());
        fs::rename(&away, &path).expect("put back");
        bench.json(&["consume", "--until-end"]);
        let proven = bench.json(&["verify", "ConsumedTrades"]);
        assert_eq!(proven["verdict"], "proven", "{proven}");
    }
}

/// Too few threads are said at the start, or are enough; nothing in between.
#[test]
fn a_small_limit_of_threads_is_named_and_never_panicked_about() {
    const NOBODY: u32 = 54_321;
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    days(&bench, 3);
    let path = bench.directory.path();
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(path, open).expect("its directory");
    let (mut refused, mut done) = (0, 0);
    for threads in 1..=14 {
        let out = format!("out-{threads}");
        let inner = bench.command(&["consume", "--until-end", "--out", &out]);
        let own_group = |argument| match argument == bench.group.as_str() {
            true => out.as_ref(),
            false => argument,
        };
        let mut command = Command::new("bash");
        let limit = format!("ulimit -u {threads} && exec \"$0\" \"$@\"");
        command
            .args(["-c", &limit])
            .arg(inner.get_program())
            .args(inner.get_args().map(own_group))
            .current_dir(path);
        if rustix::process::geteuid().is_root() {
            // The limit does not bind root.
            command.uid(NOBODY);
        }
        let output = command.finish();
        let said = stderr(&output);
        assert!(!said.contains("panicked"), "{threads}: {said}");
        if output.status.success() {
            assert_eq!(rows(&path.join(&out)).len(), 3, "{threads}: {said}");
            done += 1;
            continue;
        }
        assert_eq!(output.status.code(), Some(1), "{threads}: {said}");
        assert!(said.contains("ulimit -u"), "{threads}: {said}");
        assert_eq!(said.lines().count(), 1, "{threads}: {said}");
        refused += 1;
    }
    assert!(refused > 0);
    if done == 0 {
        say(
            "left out: a limit of threads that is just enough, because this user has many processes",
        );
    }
}

/// Something for the next start to write.
fn days_later(bench: &Bench<'_>) {
    let source = ["produce", "--source", "simulated", "--seed", "1"];
    bench.json(&[&source[..], &["--count", "3"]].concat());
}
