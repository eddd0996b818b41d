//! Files of every kind, replayed through the source itself.

use std::io::Write as _;

use super::*;
use crate::source::{BadReason, ErrorClass, MAX_BATCH_EVENTS};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/alphavantage/");

fn settings(inputs: &[&str]) -> Settings {
    Settings {
        inputs: inputs
            .iter()
            .map(|name| {
                if name.starts_with('/') {
                    (*name).to_owned()
                } else {
                    format!("{FIXTURES}{name}")
                }
            })
            .collect(),
        symbols: vec!["IBM".into()],
        interval: None,
        daily: false,
        adjusted: false,
        speed: None,
    }
}

async fn all(settings: Settings) -> (Vec<Batch>, Option<SourceError>) {
    let mut replay = Replay::new(settings).expect("files that are there");
    let mut batches = Vec::new();
    loop {
        match replay.poll().await {
            Ok(Some(batch)) => batches.push(batch),
            Ok(None) => return (batches, None),
            Err(error) => {
                assert!(matches!(replay.poll().await, Ok(None)), "an error ends it");
                return (batches, Some(error));
            }
        }
    }
}

#[tokio::test]
async fn json_and_csv_bodies_give_the_same_events_in_order() {
    let (batches, error) = all(settings(&[
        "intraday_full_day.json",
        "intraday_ibm_1min.json",
        "intraday.csv",
    ]))
    .await;
    assert!(error.is_none());
    let [day, json, csv] = batches.as_slice() else {
        panic!("{}", batches.len())
    };
    assert_eq!(day.events.len(), 960);
    assert_eq!(day.origin.as_ref(), "intraday/1min");
    assert_eq!(json, csv);
    assert!(day.events.is_sorted_by_key(|event| event.timestamp.instant));
}

#[tokio::test]
async fn events_that_were_written_come_back_as_they_were() {
    let (batches, _) = all(settings(&["intraday_full_day.json"])).await;
    let events: Vec<_> = batches.into_iter().flat_map(|batch| batch.events).collect();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let mut bytes = Vec::new();
    for event in std::iter::repeat_n(&events, 5).flatten() {
        event.write_json(&mut bytes);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\nnot json\n{\"Symbol\":\"A B\"}\n");
    bytes.extend_from_slice(b"{\"Symbol\":\"");
    bytes.extend(std::iter::repeat_n(b' ', values::MAX_OBJECT_BYTES + 1));
    file.write_all(&bytes).expect("written");
    let (batches, error) = all(settings(&[file.path().to_str().expect("UTF-8")])).await;
    let said = error.expect("lines that are none").to_string();
    assert!(
        said.contains("3 parts of it are not TradeEvents") && said.contains("line 4802"),
        "{said}"
    );
    assert!(
        batches.iter().all(
            |batch| batch.events.len() <= MAX_BATCH_EVENTS && batch.origin.as_ref() == "replay"
        )
    );
    let bad: Vec<_> = batches.iter().flat_map(|batch| batch.bad.iter()).collect();
    assert_eq!(
        bad.iter()
            .filter(|(reason, _)| *reason == BadReason::NotATrade)
            .map(|(_, count)| count)
            .sum::<u64>(),
        2
    );
    assert_eq!(
        bad.iter()
            .filter(|(reason, _)| *reason == BadReason::TooLong)
            .map(|(_, count)| count)
            .sum::<u64>(),
        1
    );
    let again: Vec<_> = batches.into_iter().flat_map(|batch| batch.events).collect();
    assert_eq!(
        again,
        std::iter::repeat_n(events, 5).flatten().collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn good_bars_of_bad_bodies_are_replayed() {
    let (batches, error) = all(settings(&[
        "bars_with_bad_values.json",
        "truncated.json",
        "intraday_empty.json",
    ]))
    .await;
    // One of them breaks off, and one has no bars.
    let lost = matches!(error, Some(SourceError::NotReplayed { lost: 2, of: 3 }));
    assert!(lost, "{error:?}");
    let counts: Vec<_> = batches
        .iter()
        .map(|batch| (batch.events.len(), batch.bad.total()))
        .collect();
    assert_eq!(counts, [(16, 4), (49, 0), (0, 0)]);
}

#[tokio::test]
async fn what_is_no_data_is_said_so() {
    for (name, words) in [
        ("information_daily_limit.json", "used up"),
        ("html_error.html", "HTML"),
        ("notice_as_csv_row.csv", "CSV"),
        ("error_invalid_apikey.json", "invalid"),
        ("empty_object.json", "no data"),
        ("README.md", "neither JSON"),
    ] {
        let (batches, error) = all(settings(&[name])).await;
        let error = error.expect("an error");
        assert!(batches.is_empty() && error.class() == ErrorClass::Stop);
        let text = error.to_string();
        assert!(
            text.contains(name) && text.contains(words) && !text.contains("EXAMPLEKEY000001"),
            "{text}"
        );
    }
    let (_, error) = all(Settings {
        symbols: Vec::new(),
        ..settings(&["intraday.csv"])
    })
    .await;
    assert!(error.expect("an error").to_string().contains("--symbol"));
}

#[tokio::test]
async fn a_file_that_is_not_there_keeps_no_other_from_being_replayed() {
    let (batches, error) = all(settings(&["intraday.csv", "missing.json"])).await;
    assert_eq!(
        batches
            .iter()
            .map(|batch| batch.events.len())
            .sum::<usize>(),
        100
    );
    let lost = matches!(error, Some(SourceError::NotReplayed { lost: 1, of: 2 }));
    assert!(lost, "{error:?}");
}

#[test]
fn nothing_to_replay_is_named_before_anything_is_read() {
    let error = |inputs: &[&str]| {
        Replay::new(settings(inputs))
            .expect_err("an error")
            .to_string()
    };
    assert!(error(&["missing.json"]).contains("missing.json"));
    assert!(error(&["missing.json", "gone.json"]).contains("2 of 2"));
    let empty = tempfile::tempdir().expect("a directory");
    let error_of = error(&[empty.path().to_str().expect("UTF-8")]);
    assert!(
        error_of.contains("directory") && error_of.contains("ndjson"),
        "{error_of}"
    );
    assert!(error(&[]).contains("--input"));
}

#[tokio::test]
async fn a_cancelled_poll_loses_nothing() {
    let mut replay = Replay::new(settings(&["intraday_full_day.json"])).expect("a file");
    let mut events = 0;
    loop {
        match tokio::time::timeout(std::time::Duration::from_micros(50), replay.poll()).await {
            Ok(Ok(Some(batch))) => events += batch.events.len(),
            Ok(end) => {
                assert!(matches!(end, Ok(None)));
                break;
            }
            Err(_) => {}
        }
    }
    assert_eq!(events, 960);
}

#[tokio::test]
async fn a_directory_is_replayed_in_the_order_of_names_packed_or_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let body = std::fs::read(format!("{FIXTURES}intraday.csv")).expect("a fixture");
    let quote = std::fs::read(format!("{FIXTURES}global_quote.json")).expect("a fixture");
    std::fs::create_dir(place("b")).expect("a directory");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&body).expect("memory");
    std::fs::write(place("b/1.csv.gz"), gzip.finish().expect("memory")).expect("a file");
    let zstd = ruzstd::encoding::compress_to_vec(
        body.as_slice(),
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    std::fs::write(place("c.csv.zst"), zstd).expect("a file");
    std::fs::write(place("a.json"), quote).expect("a file");
    std::fs::write(place("notes.md"), "no data").expect("a file");
    std::fs::write(place(".hidden.json"), "no data").expect("a file");
    let (batches, error) = all(settings(&[directory.path().to_str().expect("UTF-8")])).await;
    assert!(error.is_none(), "{error:?}");
    let seen: Vec<_> = batches
        .iter()
        .map(|batch| (batch.origin.as_ref(), batch.events.len()))
        .collect();
    assert_eq!(
        seen,
        [("quote", 1), ("intraday/1min", 100), ("intraday/1min", 100)]
    );
    assert_eq!(batches[1], batches[2]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_by_the_events_own_times_keeps_their_distances() {
    let paced = Settings {
        speed: Some(60.0),
        ..settings(&["intraday_ibm_1min.json", "intraday.csv"])
    };
    let began = tokio::time::Instant::now();
    let mut replay = Replay::new(paced).expect("files");
    let (mut events, mut waits) = (Vec::new(), 0);
    // The reading thread is not part of the paused time, so it may take its own.
    loop {
        match tokio::time::timeout(std::time::Duration::from_millis(300), replay.poll()).await {
            Ok(Ok(Some(batch))) => {
                for event in &batch.events {
                    // 100 bars of a minute, at 60 times: each is due its second after the first.
                    let due =
                        (event.timestamp.instant - batch.events[0].timestamp.instant).num_seconds();
                    assert!(due == 0 || events.len() >= 99, "one bar at a time");
                }
                events.extend(batch.events);
            }
            Ok(Ok(None)) => break,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => {
                waits += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
    assert_eq!(events.len(), 200);
    assert!(
        began.elapsed() >= std::time::Duration::from_secs(99),
        "{:?} {waits}",
        began.elapsed()
    );
}

fn event_line(symbol: &str, second: u32) -> String {
    format!(
        "{{\"TradeId\":\"{symbol}-{second}\",\"Symbol\":\"{symbol}\",\"Side\":\"Buy\",\"Quantity\":1,\"Price\":1,\"Timestamp\":\"2025-11-06T20:{:02}:{:02}Z\"}}\n",
        second / 60,
        second % 60
    )
}

/// As fast as possible, but in the order of a replay by the events' own times.
async fn merged(inputs: &[&str]) -> (Vec<Batch>, Option<SourceError>) {
    let fast = Settings {
        speed: Some(1e12),
        ..settings(inputs)
    };
    all(fast).await
}

fn ids(batches: &[Batch]) -> Vec<String> {
    let events = batches.iter().flat_map(|batch| &batch.events);
    events.map(|event| event.trade_id.to_string()).collect()
}

#[tokio::test]
async fn files_are_merged_by_the_times_of_their_events() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_string_lossy().into_owned()
    };
    let lines = |symbol, seconds: &[u32]| -> String {
        seconds.iter().map(|at| event_line(symbol, *at)).collect()
    };
    let files = [
        // The 2 counts as being of the time of the 5 before it.
        file("c.ndjson", lines("C", &[5, 2, 7])),
        file("a.ndjson", lines("A", &[1, 4, 5, 9])),
        file("b.ndjson", "no event\n".to_owned() + &lines("B", &[3, 4])),
        file("late.ndjson", lines("L", &[100])),
        file("empty.ndjson", String::new()),
    ];
    let paths: Vec<&str> = files.iter().map(String::as_str).collect();
    let (batches, error) = merged(&paths).await;
    let lost = matches!(error, Some(SourceError::NotReplayed { lost: 1, of: 5.. }));
    assert!(lost, "one has a line that is no event: {error:?}");
    assert_eq!(
        ids(&batches),
        [
            "A-1", "B-3", "A-4", "B-4", "C-5", "C-2", "A-5", "C-7", "A-9", "L-100"
        ]
    );
    let bad: u64 = batches.iter().map(|batch| batch.bad.total()).sum();
    assert_eq!(bad, 1, "counted once, though it was looked into twice");

    // A body's bars come newest first, and go oldest first; what they are made of stays with them.
    let body = format!("{FIXTURES}intraday_ibm_1min.json");
    let between = file("d.ndjson", event_line("D", 59 * 60 + 30 - 60));
    let (batches, _) = merged(&[&body, &between]).await;
    let times: Vec<_> = batches
        .iter()
        .flat_map(|batch| &batch.events)
        .map(|event| event.timestamp.instant)
        .collect();
    assert!(times.len() == 101 && times.is_sorted(), "{times:?}");
    for batch in &batches {
        let made = batch.events.iter().all(|event| event.symbol == "IBM");
        assert_eq!(made, batch.origin.as_ref() == "intraday/1min");
    }
}

#[tokio::test]
async fn a_file_that_is_no_data_is_passed_over_in_a_merge() {
    let (batches, error) = merged(&["intraday_ibm_1min.json", "information_premium.json"]).await;
    assert_eq!(ids(&batches).len(), 100);
    let lost = matches!(error, Some(SourceError::NotReplayed { lost: 1, of: 2 }));
    assert!(lost, "{error:?}");
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_merge_loses_nothing_before_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cut.ndjson.gz");
    let lines: String = (0..600).map(|second| event_line("A", second)).collect();
    let text = lines.repeat(40);
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(text.as_bytes()).expect("memory");
    let packed = out.finish().expect("memory");
    std::fs::write(&path, &packed[..packed.len() - 20]).expect("a file");
    let other = directory.path().join("b.ndjson");
    std::fs::write(&other, event_line("B", 1)).expect("a file");
    let paths = [path.to_string_lossy(), other.to_string_lossy()];
    let (batches, error) = merged(&[&paths[0], &paths[1]]).await;
    let lost = matches!(error, Some(SourceError::NotReplayed { lost: 1, of: 2 }));
    assert!(lost, "{error:?}");
    assert!(
        ids(&batches).len() > MAX_BATCH_EVENTS,
        "{}",
        ids(&batches).len()
    );
    assert!(ids(&batches).contains(&"B-1".to_owned()));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    #[test]
    fn a_merge_keeps_every_event_the_order_of_each_file_and_that_of_time(
        files in proptest::collection::vec(proptest::collection::vec(0_u32..600, 0..40), 2..6),
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut paths = Vec::new();
        let mut expected = Vec::new();
        for (place, seconds) in files.iter().enumerate() {
            let path = directory.path().join(format!("{place}.ndjson"));
            let text: String = seconds.iter().map(|at| event_line(&format!("S{place}"), *at)).collect();
            std::fs::write(&path, text).expect("a file");
            paths.push(path.to_string_lossy().into_owned());
            let mut latest = 0;
            for (number, at) in seconds.iter().enumerate() {
                latest = latest.max(*at);
                expected.push((latest, place, number, format!("S{place}-{at}")));
            }
        }
        expected.sort();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (batches, error) = runtime.block_on(merged(&paths));
        proptest::prop_assert!(error.is_none());
        let expected: Vec<String> = expected.into_iter().map(|(.., id)| id).collect();
        proptest::prop_assert_eq!(ids(&batches), expected);
    }
}
