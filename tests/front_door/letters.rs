//! Dead letters: in files and on a topic, each once; repaired, they become rows, each once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{raw::*, support::*};

fn letters_of(bench: &Bench<'_>) -> Vec<Value> {
    let mut paths: Vec<PathBuf> = fs::read_dir(bench.out())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|of| of == "ndjson"))
        .collect();
    paths.sort();
    let lines = paths.iter().flat_map(|path| {
        let text = fs::read_to_string(path).expect("UTF-8");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    lines
        .map(|line| serde_json::from_str(&line).expect("JSON"))
        .collect()
}

fn verified(bench: &Bench<'_>) -> Value {
    bench.json(&["verify", bench.out().to_str().expect("UTF-8")])
}

/// Good events and bad records in turn, so many of each, over all partitions.
fn mixed(count: u64) -> Vec<Raw> {
    (0..count)
        .flat_map(|number| {
            let key = format!("key-{number}");
            let mut bad = Raw::new(key.as_bytes(), Some(format!("bad {number}").as_bytes()));
            bad.headers = vec![("stockflow-source".to_owned(), b"a test".to_vec())];
            [
                Raw::new(key.as_bytes(), Some(event(number).as_bytes())),
                bad,
            ]
        })
        .collect()
}

/// The letters on a topic, by the place they came from.
fn on_topic(bench: &Bench<'_>, topic: &str) -> BTreeMap<(String, String), Vec<Raw>> {
    let mut letters: BTreeMap<(String, String), Vec<Raw>> = BTreeMap::new();
    for (_, raw) in block_on(read(&bench.cluster.address, topic)) {
        let header = |name: &str| raw.header(name).expect("a header");
        assert_eq!(header("stockflow-topic"), bench.topic);
        assert_eq!(header("stockflow-group"), bench.group);
        assert_eq!(header("stockflow-source"), "a test");
        assert_eq!(header("stockflow-reason"), "the value is not JSON");
        let place = (header("stockflow-partition"), header("stockflow-offset"));
        letters.entry(place).or_default().push(raw);
    }
    letters
}

#[test]
fn bad_records_go_to_a_topic_once_with_why_and_whence() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let dead = unique("dead");
        let address = &cluster.address;
        block_on(async {
            make_topic(address, &bench.topic, 3, &[]).await;
            make_topic(address, &dead, 2, &[]).await;
            publish(address, &bench.topic, None, mixed(50)).await;
        });
        let set = format!("Output.DeadLetterTopic={dead}");
        let done = bench.json(&["consume", "--until-end", "--set", &set]);
        assert_eq!(done["rows_written"], 50, "{}: {done}", cluster.name);
        assert_eq!(done["dead_letters"], 50, "{done}");
        assert_eq!(done["dead_letters_by_reason"]["not_json"], 50, "{done}");
        let letters = on_topic(&bench, &dead);
        assert_eq!(letters.len(), 50, "{}", cluster.name);
        let texts: BTreeSet<String> = letters
            .values()
            .map(|raws| {
                assert_eq!(raws.len(), 1);
                String::from_utf8(raws[0].value.clone().expect("a value")).expect("UTF-8")
            })
            .collect();
        assert_eq!(texts, (0..50).map(|n| format!("bad {n}")).collect());
        assert!(letters_of(&bench).is_empty(), "none in files");
        let report = verified(&bench);
        assert_eq!(
            (&report["rows"], &report["dead_letters"]),
            (&50.into(), &50.into())
        );

        // What a process that was killed before its commit has sent is found: the group reads all again, from nothing.
        bench.json(&["group", "reset", "--to", "earliest", "--execute"]);
        let again = bench.json(&["consume", "--until-end", "--out", "again", "--set", &set]);
        assert_eq!(again["dead_letters"], 50, "{again}");
        let letters = on_topic(&bench, &dead);
        assert!(
            letters.values().all(|raws| raws.len() == 1),
            "{}: none twice",
            cluster.name
        );
        assert_eq!(letters.len(), 50);

        let shown = bench
            .command(&[
                "tail",
                "--dead-letters",
                "--from",
                "earliest",
                "--count",
                "50",
            ])
            .args(["--set", &set])
            .finish();
        let text = String::from_utf8(shown.stdout.clone()).expect("UTF-8");
        assert_eq!(text.lines().count(), 50, "{}", stderr(&shown));
        let line = text.lines().find(|line| line.ends_with(": bad 7"));
        let wanted = format!("dead letter  topic {}, partition ", bench.topic);
        assert!(line.is_some_and(|line| line.starts_with(&wanted)), "{text}");
    }
}

#[test]
fn what_is_too_large_for_the_topic_goes_without_its_value() {
    /// More than a topic takes by default, when it is not compressed.
    const LARGE: usize = 1_500_000;
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let dead = unique("dead");
        let address = &cluster.address;
        let large = vec![b'x'; LARGE];
        let mut records = Vec::new();
        for (number, bad) in mixed(40).into_iter().enumerate() {
            records.push(bad);
            if number % 10 == 0 {
                records.push(Raw::new(b"large", Some(&large)));
            }
        }
        records.push(Raw::new(&large, Some(b"its key is large")));
        block_on(async {
            make_topic(address, &bench.topic, 3, &[]).await;
            make_topic(address, &dead, 2, &[]).await;
            publish(address, &bench.topic, None, records).await;
        });
        let set = format!("Output.DeadLetterTopic={dead}");
        let consume = ["consume", "--until-end", "--set", &set];
        let consume = [&consume[..], &["--set", "Kafka.CompressionType=none"]].concat();
        let done = bench.json(&consume);
        assert_eq!(
            (&done["rows_written"], &done["dead_letters"]),
            (&40.into(), &49.into()),
            "{}: {done}",
            cluster.name
        );
        let sent: Vec<Raw> = block_on(read(address, &dead))
            .into_iter()
            .map(|of| of.1)
            .collect();
        let places: BTreeSet<_> = sent
            .iter()
            .map(|raw| ["stockflow-partition", "stockflow-offset"].map(|name| raw.header(name)))
            .collect();
        assert_eq!(
            (sent.len(), places.len()),
            (49, 49),
            "{}: each once",
            cluster.name
        );
        let note = |raw: &Raw| raw.header("stockflow-note");
        let (short, whole): (Vec<Raw>, Vec<Raw>) =
            sent.into_iter().partition(|raw| note(raw).is_some());
        let texts: BTreeSet<String> = whole
            .into_iter()
            .map(|raw| String::from_utf8(raw.value.expect("a value")).expect("UTF-8"))
            .collect();
        assert_eq!(
            texts,
            (0..40).map(|number| format!("bad {number}")).collect()
        );
        assert_eq!(short.len(), 9);
        for raw in short {
            assert_eq!(raw.value, None);
            assert_eq!(
                raw.header("stockflow-reason").as_deref(),
                Some("the value is not JSON")
            );
            let note = note(&raw).expect("a note");
            match raw.key.as_deref() {
                Some(b"large") => assert!(
                    note.contains("the value of 1500000 bytes is left out"),
                    "{note}"
                ),
                key => {
                    assert_eq!(key, None);
                    assert!(
                        note.contains("key, value and headers are left out"),
                        "{note}"
                    );
                }
            }
        }
        let shown = [
            "tail",
            "--dead-letters",
            "--from",
            "earliest",
            "-n",
            "49",
            "--set",
            &set,
        ];
        let shown = bench.command(&shown).finish();
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert_eq!(text.matches("left out").count(), 9, "{text}");

        // What was shortened is known as well, when the group reads all again.
        bench.json(&["group", "reset", "--to", "earliest", "--execute"]);
        let again = bench.json(&[&consume[..], &["--out", "again"]].concat());
        assert_eq!(again["dead_letters"], 49, "{again}");
        assert_eq!(
            block_on(read(address, &dead)).len(),
            49,
            "{}: none twice",
            cluster.name
        );
    }
}

#[test]
fn letters_are_on_their_topic_once_after_kills() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let dead = unique("dead");
    let count = 3_000;
    block_on(async {
        make_topic(&cluster.address, &bench.topic, 3, &[]).await;
        make_topic(&cluster.address, &dead, 2, &[]).await;
        publish(&cluster.address, &bench.topic, None, mixed(count)).await;
    });
    let dead_letters = format!("Output.DeadLetterTopic={dead}");
    let settings = [
        "consume",
        "--set",
        "Output.CommitIntervalMs=5",
        "--set",
        "Kafka.FetchMaxBytes=16384",
        "--set",
        &dead_letters,
    ];
    for kill in 0..6 {
        let mut child = bench
            .command(&settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(60 + kill * 61 % 200));
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
    bench.json(&[&settings[..], &["--until-end"]].concat());
    let letters = on_topic(&bench, &dead);
    assert_eq!(letters.len() as u64, count, "none is missing");
    // A request that was on its way when its process was killed is the one way in which one can be there twice.
    let twice = letters.values().filter(|raws| raws.len() > 1).count();
    assert_eq!(twice, 0);
    assert_eq!(rows(&bench.out()).len() as u64, count);
    assert_eq!(verified(&bench)["dead_letters"], count);
}

#[test]
fn a_topic_that_cannot_take_letters_stops_before_the_commit() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    block_on(publish(&cluster.address, &bench.topic, None, mixed(3)));
    let same = format!("Output.DeadLetterTopic={}", bench.topic);
    for (set, code) in [
        (same.as_str(), 78),
        ("Output.DeadLetterTopic=no/such topic", 78),
    ] {
        let refused = bench
            .command(&["consume", "--until-end", "--set", set])
            .finish();
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(code), "{said}");
        assert!(said.contains("Output.DeadLetterTopic"), "{said}");
    }
    let done = bench.json(&["consume", "--until-end"]);
    assert_eq!(
        (&done["rows_written"], &done["dead_letters"]),
        (&3.into(), &3.into())
    );
}

#[test]
fn bad_records_are_counted_by_reason_and_told_once_a_kind() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let mut records = mixed(40);
    records.push(Raw::new(b"k", Some(b"7")));
    records.push(Raw::new(b"k", None));
    block_on(publish(&cluster.address, &bench.topic, None, records));
    let output = bench.command(&["consume", "--until-end"]).finish();
    let (said, text) = (
        stderr(&output),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    assert_eq!(said.matches("is no trade").count(), 2, "{said}");
    assert!(
        text.contains("41 dead letters (40 not_json, 1 not_an_object), 1 records without a value"),
        "{text}"
    );
    assert_eq!(letters_of(&bench).len(), 41);

    let other = |set: &str| {
        let other = Bench {
            topic: bench.topic.clone(),
            ..Bench::new(&cluster)
        };
        let consume = ["consume", "--until-end", "--format", "json", "--set", set];
        other.command(&consume).finish()
    };
    let done = last_json(&other("Output.BadRecords=skip"));
    assert_eq!(done["skipped_by_reason"]["not_json"], 40, "{done}");
    assert_eq!(done["dead_letters_by_reason"], serde_json::json!({}));
    let failed = other("Output.BadRecords=fail");
    assert_eq!(failed.status.code(), Some(1));
    let said = stderr(&failed);
    assert!(said.contains("Output.BadRecords is fail"), "{said}");
}

#[test]
fn repaired_letters_become_rows_once_and_the_proof_holds() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    block_on(publish(&cluster.address, &bench.topic, None, mixed(20)));
    bench.json(&["consume", "--until-end"]);
    assert_eq!(verified(&bench)["dead_letters"], 20);

    // In base64, and as text; one stays bad, one is of a place that is no letter, one stands there twice.
    let mut lines = letters_of(&bench);
    for (number, line) in lines.iter_mut().enumerate().take(19) {
        let good = event(1_000 + number as u64);
        if number % 2 == 0 {
            line["value"] = STANDARD.encode(good).into();
        } else {
            line["value_text"] = good.into();
        }
    }
    let mut strange = lines[0].clone();
    strange["offset"] = 1_000_000.into();
    lines.insert(0, strange);
    lines.push(lines[3].clone());
    let repaired = bench.directory.path().join("repaired.ndjson");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&repaired, &text).expect("written");
    let replay = ["consume", "--replay-dead-letters", "repaired.ndjson"];
    // Where no broker is.
    let alone = std::process::Command::new(env!("CARGO_BIN_EXE_stockflow"))
        .current_dir(bench.directory.path())
        .env_clear()
        .args(replay)
        .args(["-b", "127.0.0.1:1", "--format", "json"])
        .finish();
    assert!(alone.status.success(), "{}", stderr(&alone));
    let done = last_json(&alone);
    assert_eq!(done["rows_written"], 19, "{done}");
    assert_eq!(
        (&done["dead_letters"], &done["not_dead_letters"]),
        (&1.into(), &1.into())
    );
    assert_eq!(done["replayed_before"], 1, "{done}");
    assert_eq!(done["dead_letters_by_reason"]["not_json"], 1, "{done}");
    let again = bench.json(&replay);
    assert_eq!(
        (&again["rows_written"], &again["replayed_before"]),
        (&0.into(), &20.into())
    );
    assert_eq!(rows(&bench.out()).len(), 39);
    let report = verified(&bench);
    assert_eq!(
        (&report["rows"], &report["replayed"]),
        (&39.into(), &19.into()),
        "{report}"
    );
    assert_eq!(report["dead_letters"], 1);
    let text = bench.command(&replay).finish();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.starts_with("0 dead letters became rows, 20 had before, 1 are no"),
        "{text}"
    );

    // Reading goes on as if nothing had been.
    block_on(publish(&cluster.address, &bench.topic, None, mixed(1)));
    let done = bench.json(&["consume", "--until-end"]);
    assert_eq!(
        (&done["rows_written"], &done["dead_letters"]),
        (&1.into(), &1.into())
    );
    assert_eq!(verified(&bench)["rows"], 40);

    // What is no line of letters is named, and where.
    fs::write(&repaired, "{\"topic\":1}\n").expect("written");
    let refused = bench.command(&replay).finish();
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(
        said.contains("repaired.ndjson, line 1: not a dead letter"),
        "{said}"
    );
    let elsewhere = Bench::new(&cluster);
    let out = bench.out();
    let elsewhere = elsewhere
        .command(&["consume", "--replay-dead-letters", "-"])
        .args(["--out", out.to_str().expect("UTF-8")])
        .stdin(Stdio::null())
        .finish();
    assert_eq!(elsewhere.status.code(), Some(78), "{}", stderr(&elsewhere));
}

#[test]
fn replayed_rows_are_published_and_compressed_as_others_are() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    block_on(publish(&cluster.address, &bench.topic, None, mixed(5)));
    let closed = [
        "--set",
        "Output.Publish=atomic",
        "--set",
        "Output.Compression=gzip",
    ];
    let trades = || -> Vec<String> {
        let entries = fs::read_dir(bench.out()).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names
            .map(|name| name.into_string().expect("UTF-8"))
            .filter(|name| name.starts_with("consumed_trades_"))
            .collect();
        names.sort();
        names
    };
    bench.json(&[&["consume", "--until-end"][..], &closed].concat());
    let before = trades();
    let lines: String = (letters_of(&bench).into_iter().zip(0..))
        .map(|(mut line, number)| {
            line["value_text"] = event(1_000 + number).into();
            format!("{line}\n")
        })
        .collect();
    fs::write(bench.directory.path().join("repaired.ndjson"), lines).expect("written");
    let replay = ["consume", "--replay-dead-letters", "repaired.ndjson"];
    let done = bench.json(&[&replay[..], &closed].concat());
    assert_eq!(done["rows_written"], 5, "{done}");
    let report = verified(&bench);
    assert_eq!(
        (&report["rows"], &report["replayed"]),
        (&10.into(), &5.into()),
        "{report}"
    );
    let after = trades();
    assert!(after.len() > before.len(), "new parts: {after:?}");
    assert!(
        after.iter().all(|name| name.ends_with(".csv.gz")),
        "{after:?}"
    );
    let hidden = fs::read_dir(bench.out().join(".stockflow/open")).expect("a directory");
    assert_eq!(hidden.count(), 0, "nothing is left unseen");
}
