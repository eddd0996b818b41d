//! `stockflow verify` never says more than it knows: what it did not see, what lies beside what it knows, and what only
//! brokers can tell.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::support::*;

fn produce(bench: &Bench<'_>, count: u32) {
    let count = count.to_string();
    let produce = ["produce", "--source", "simulated", "--seed", "7"];
    bench.json(&[&produce[..], &["--count", &count]].concat());
}

fn make(bench: &Bench<'_>, partitions: i32) {
    let address = &bench.cluster.address;
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(make_topic(address, &bench.topic, partitions, &[]));
}

/// The exit code and the report.
fn verify(bench: &Bench<'_>, more: &[&str]) -> (Option<i32>, Value) {
    let out = bench.out();
    let verify = ["verify", out.to_str().expect("UTF-8"), "--format", "json"];
    let output = bench.command(&[&verify[..], more].concat()).finish();
    let report = last_json(&output);
    assert_eq!(
        output.status.code() == Some(0),
        report["verdict"] == "proven",
        "{report}"
    );
    (output.status.code(), report)
}

fn doubts(report: &Value) -> String {
    report["doubts"].to_string()
}

/// The only CSV file.
fn file(bench: &Bench<'_>, extension: &str) -> PathBuf {
    let mut paths = fs::read_dir(bench.out())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|is| is == extension));
    paths.next().expect("a file")
}

#[test]
fn where_nothing_was_covered_nothing_is_proven() {
    for cluster in clusters() {
        let bench = Bench::new(&cluster);
        make(&bench, 2);
        bench.json(&["consume", "--until-end"]);
        for more in [&[][..], &["--offline"]] {
            let (code, report) = verify(&bench, more);
            assert_eq!(code, Some(3), "{}: {report}", cluster.name);
            assert!(
                doubts(&report).contains("no offset was covered"),
                "{report}"
            );
        }
    }
}

/// Ten of many: without brokers that is proven of these ten, and it is said of which; with them it is not enough.
#[test]
fn what_the_topic_has_beyond_is_not_proven() {
    for cluster in clusters() {
        let bench = Bench::new(&cluster);
        make(&bench, 1);
        produce(&bench, 2_000);
        bench.json(&["consume", "--count", "10"]);
        let (code, report) = verify(&bench, &["--offline"]);
        assert_eq!(code, Some(0), "{}: {report}", cluster.name);
        let partition = &report["partitions"][0];
        assert_eq!(
            (&partition["from"], &partition["to"]),
            (&0.into(), &10.into()),
            "{report}"
        );
        assert!(
            report["not_looked_at"].to_string().contains("beyond"),
            "{report}"
        );
        let (code, report) = verify(&bench, &[]);
        assert_eq!(code, Some(3), "{}: {report}", cluster.name);
        let partition = &report["partitions"][0];
        assert_eq!(partition["rows"], 10, "{report}");
        assert_eq!(partition["to"], 2_000, "{report}");
        assert_eq!(partition["absent"]["not_consumed"], 1_990, "{report}");
        let out = bench.out();
        let text = bench
            .command(&["verify", out.to_str().expect("UTF-8")])
            .finish();
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(
            text.contains("offsets [0, 2000): 10 rows, 1990 not consumed"),
            "{text}"
        );
        bench.json(&["consume", "--until-end"]);
        assert_eq!(verify(&bench, &[]).0, Some(0));
    }
}

/// Partitions of which the directories know nothing are part of the topic.
#[test]
fn a_partition_that_is_in_no_directory_is_told() {
    for cluster in clusters() {
        let bench = Bench::new(&cluster);
        make(&bench, 4);
        produce(&bench, 2_000);
        bench.json(&["consume", "--count", "1"]);
        let (code, report) = verify(&bench, &[]);
        assert_eq!(code, Some(3), "{}: {report}", cluster.name);
        assert_eq!(report["absent"]["not_consumed"], 1_999, "{report}");
    }
}

#[test]
fn brokers_that_were_named_anywhere_and_are_not_there_leave_a_doubt() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, 100);
    bench.json(&["consume", "--until-end"]);
    let nobody = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        socket.local_addr().expect("its address").to_string()
    };
    let file = bench.directory.path().join("settings.json");
    let settings = serde_json::json!({"Kafka": {"BootstrapServers": nobody}});
    fs::write(&file, settings.to_string()).expect("a file");
    let command = |arguments: &[&str], variable: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockflow"));
        command.current_dir(bench.directory.path()).env_clear();
        if variable {
            command.env("Kafka__BootstrapServers", &nobody);
        }
        let verify = ["verify", "ConsumedTrades", "--format", "json"];
        let output = command.args([&verify[..], arguments].concat()).finish();
        (output.status.code(), last_json(&output))
    };
    let settings = ["-c", "settings.json"];
    for (arguments, variable) in [
        (&["-b", &nobody][..], false),
        (&settings, false),
        (&[], true),
    ] {
        let (code, report) = command(arguments, variable);
        assert_eq!(code, Some(3), "{report}");
        assert!(doubts(&report).contains("cannot be asked"), "{report}");
        let (code, report) = command(&[arguments, &["--offline"]].concat(), variable);
        assert_eq!(code, Some(0), "{report}");
    }
    assert_eq!(command(&[], false).0, Some(0), "nobody named a broker");
}

/// Whoever reads the directory reads these, too.
#[test]
fn files_that_the_state_does_not_know_leave_a_doubt() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    produce(&bench, 300);
    bench.json(&["consume", "--until-end"]);
    assert_eq!(verify(&bench, &[]).0, Some(0));
    let path = file(&bench, "csv");
    for end in ["0001.csv", "0007.csv.gz", "eu-1.csv", "eu-1.0001.csv.zst"] {
        let copy = path.with_extension(end);
        fs::copy(&path, &copy).expect("copied");
        let (code, report) = verify(&bench, &["--offline"]);
        assert_eq!(code, Some(3), "{report}");
        let name = copy.file_name().expect("a name").to_str().expect("UTF-8");
        assert!(doubts(&report).contains(name), "{report}");
        fs::remove_file(copy).expect("removed");
    }
    for end in ["csv.bak", "csv~", "xlsx"] {
        fs::copy(&path, path.with_extension(end)).expect("copied");
    }
    assert_eq!(verify(&bench, &[]).0, Some(0), "not our pattern");
    // The state was lost, and all is read again beside the old files.
    fs::remove_dir_all(bench.out().join(".stockflow")).expect("removed");
    bench.json(&["group", "reset", "--to", "earliest", "--execute"]);
    let again = bench.command(&["consume", "--until-end"]).finish();
    let said = stderr(&again);
    assert!(
        again.status.success() && said.contains("names like ours"),
        "{said}"
    );
    let (code, report) = verify(&bench, &[]);
    assert_eq!((code, &report["rows"]), (Some(3), &300.into()), "{report}");
}

/// The plain file is what a kill leaves beside its compressed self.
#[test]
fn a_file_beside_its_compressed_self_is_rows_twice() {
    for (compression, extension) in [("gzip", "gz"), ("zstd", "zst")] {
        let cluster = embedded();
        let bench = Bench::new(&cluster);
        produce(&bench, 300);
        let set = format!("Output.Compression={compression}");
        bench.json(&["consume", "--until-end", "--set", &set]);
        assert_eq!(verify(&bench, &[]).0, Some(0));
        let packed = file(&bench, extension);
        let plain = packed.with_extension("");
        fs::write(&plain, "Symbol,Side,Quantity,Price,Timestamp\n").expect("written");
        let (code, report) = verify(&bench, &[]);
        assert_eq!(code, Some(1), "{report}");
        assert_eq!(report["findings"][0]["kind"], "beside", "{report}");
        fs::remove_file(&packed).expect("removed");
        let (code, report) = verify(&bench, &[]);
        assert_eq!((code, &report["rows"]), (Some(1), &0.into()), "{report}");
        assert_eq!(report["absent"]["in_files_that_are_gone"], 300, "{report}");
    }
}
