//! Batches of little that come to much: a record that is too large becomes a dead letter without its value, everything else
//! is read, and memory stays small.

use std::{fs, process::Stdio, time::Duration};

use serde_json::Value;
use stockflow::wire::records::Codec;

use crate::{
    poison::memory,
    raw::*,
    support::*,
    unreadable::{numbers, obey},
};

/// What the program may take, in KiB.
const MOST_MEMORY: u64 = 200 << 10;

/// Runs a command to its end, and says how much memory it took at most, in KiB.
fn watched(bench: &Bench<'_>, arguments: &[&str]) -> (std::process::Output, u64) {
    let mut child = bench
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut most = 0;
    while child.try_wait().expect("a child").is_none() {
        most = memory(child.id()).map_or(most, |(highest, _)| most.max(highest));
        std::thread::sleep(Duration::from_millis(5));
    }
    (child.finish(), most)
}

fn letters(bench: &Bench<'_>) -> Vec<Value> {
    let entries = fs::read_dir(bench.out()).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let of_letters = paths.filter(|path| path.extension().is_some_and(|of| of == "ndjson"));
    let text: String = of_letters
        .map(|path| fs::read_to_string(path).expect("UTF-8"))
        .collect();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn a_bomb_of_each_codec_is_one_dead_letter_and_costs_little() {
    /// More than a batch could come to before.
    const SIZE: usize = 140 << 20;
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        block_on(make_topic(&cluster.address, &bench.topic, 1, &[]));
        let codecs = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        for (codec, number) in codecs.into_iter().zip(0..) {
            let (before, behind) = (event(2 * number), event(2 * number + 1));
            // As much as the codec lets come out of a megabyte.
            let size = if codec == Codec::Snappy {
                17 << 20
            } else {
                SIZE
            };
            let bomb = vec![b'0'; size];
            let made = batch(
                &[before.as_bytes(), &bomb, behind.as_bytes()],
                codec,
                |_| {},
            );
            let appended = block_on(append(&cluster.address, &bench.topic, 0, made));
            appended.unwrap_or_else(|code| panic!("{}, {codec}: {code}", cluster.name));
        }
        let (done, most) = watched(&bench, &["consume", "--until-end", "--format", "json"]);
        let said = stderr(&done);
        assert!(done.status.success(), "{}: {said}", cluster.name);
        let summary = last_json(&done);
        assert_eq!(
            (&summary["rows_written"], &summary["dead_letters"]),
            (&8.into(), &4.into()),
            "{}: {said}",
            cluster.name
        );
        assert_eq!(
            summary["dead_letters_by_reason"]["too_large"], 4,
            "{summary}"
        );
        assert!(most < MOST_MEMORY, "{}: {most} KiB", cluster.name);
        for letter in letters(&bench) {
            assert_eq!(
                (&letter["value"], &letter["key"]),
                (&Value::Null, &"SUJN".into())
            );
            let reason = letter["reason"].as_str().expect("a reason");
            assert!(reason.contains("at most 16777216 are read"), "{reason}");
        }
        let report = bench.json(&["verify", bench.out().to_str().expect("UTF-8")]);
        assert_eq!(report["dead_letters"], 4, "{report}");

        // Whoever looks at the topic, or learns from it what was published, passes them, too.
        let (shown, most) = watched(&bench, &["tail", "--from", "earliest", "-n", "20"]);
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.status.success(), "{}", stderr(&shown));
        assert_eq!(text.lines().count(), 12, "{text}");
        assert_eq!(text.matches("its value is left out").count(), 4, "{text}");
        assert!(most < MOST_MEMORY, "{}: {most} KiB", cluster.name);
        let produce = [
            "produce",
            "--source",
            "simulated",
            "--seed",
            "1",
            "--count",
            "5",
        ];
        let (produced, most) = watched(&bench, &produce);
        assert!(produced.status.success(), "{}", stderr(&produced));
        assert!(most < MOST_MEMORY, "{}: {most} KiB", cluster.name);

        // What was left out cannot be replayed, and does not keep others from it.
        let lines: String = letters(&bench)
            .iter()
            .map(|line| format!("{line}\n"))
            .collect();
        fs::write(bench.directory.path().join("letters.ndjson"), lines).expect("written");
        let done = bench.json(&["consume", "--replay-dead-letters", "letters.ndjson"]);
        assert_eq!(done["rows_written"], 0, "{done}");
    }
}

/// A Zstandard frame that claims a window of 64 MiB, the largest that is read.
fn with_a_large_window(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 16 << 3];
    let blocks = body.len().div_ceil(128 << 10);
    for (number, block) in body.chunks(128 << 10).enumerate() {
        let same = block.iter().all(|byte| *byte == block[0]);
        let header = block.len() << 3 | usize::from(same) << 1 | usize::from(number + 1 == blocks);
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(if same { &block[..1] } else { block });
    }
    frame
}

#[test]
fn what_is_kept_of_large_batches_costs_little_either() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        block_on(make_topic(&cluster.address, &bench.topic, 1, &[]));
        let send = |made: Vec<u8>| {
            let sent = block_on(append(&cluster.address, &bench.topic, 0, made));
            sent.unwrap_or_else(|code| panic!("{}: {code}", cluster.name))
        };
        // The largest records that are read, none of them a trade, many in a batch and many batches.
        let kept = vec![b'0'; (16 << 20) - 100];
        for _ in 0..3 {
            send(batch(&[&kept[..]; 4], Codec::Gzip, |_| {}));
        }
        // The largest window that is looked back at.
        let bomb = vec![b'0'; 140 << 20];
        let mut wide = batch(
            &[&bomb, &kept, event(1).as_bytes()],
            Codec::None,
            |records| {
                *records = with_a_large_window(records);
            },
        );
        wide[22] |= Codec::Zstd.code();
        seal(&mut wide);
        send(wide);
        let (done, most) = watched(&bench, &["consume", "--until-end", "--format", "json"]);
        assert!(done.status.success(), "{}: {}", cluster.name, stderr(&done));
        let summary = last_json(&done);
        assert_eq!(summary["rows_written"], 1, "{summary}");
        let reasons = &summary["dead_letters_by_reason"];
        assert_eq!(
            (&reasons["not_json"], &reasons["too_large"]),
            (&13.into(), &1.into()),
            "{summary}"
        );
        assert!(most < MOST_MEMORY, "{}: {most} KiB", cluster.name);
    }
}

#[test]
#[ignore = "takes minutes; scripts/poison runs it"]
fn ten_thousand_oversize_and_corrupt_records_among_a_million_events() {
    const GOOD: u64 = 1_000_000;
    const BAD: u64 = 10_000;
    /// Each that cannot be read stops its partition, so there are few.
    const CORRUPT: u64 = 20;
    let cluster = Cluster::kafka("left out: a real Kafka").unwrap_or_else(embedded);
    let bench = Bench::new(&cluster);
    let bomb = vec![b'0'; 17 << 20];
    let oversize = [Codec::Zstd, Codec::Gzip].map(|codec| batch(&[&bomb], codec, |_| {}));
    let corrupt = batch(&[b"1", b"2", b"3"], Codec::None, |records| {
        renumber(records, &[2, 1, 0])
    });
    let every = GOOD / BAD;
    let batches = (0..BAD).flat_map(|number| {
        let values: Vec<String> = (number * every..(number + 1) * every).map(event).collect();
        let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
        let bad = match number % (BAD / CORRUPT) {
            250 => corrupt.clone(),
            of => oversize[usize::from(of % 100 == 0)].clone(),
        };
        let partition = (number % 3) as i32;
        [
            (partition, batch(&values, Codec::Lz4, |_| {})),
            (partition, bad),
        ]
    });
    block_on(async {
        make_topic(&cluster.address, &bench.topic, 3, &[]).await;
        let appended = append_all(&cluster.address, &bench.topic, batches).await;
        appended.expect("taken");
    });
    let (mut most, mut resets) = (0, 0);
    loop {
        let (done, memory) = watched(&bench, &["consume", "--until-end"]);
        most = memory.max(most);
        let said = stderr(&done);
        if done.status.success() {
            break;
        }
        // One command for each partition that stands.
        let mut told = std::collections::BTreeSet::new();
        for line in said.lines().filter(|line| line.contains("group reset")) {
            if told.insert(line.split(" -p ").nth(1).map(str::to_owned)) {
                obey(&bench, line);
                resets += 1;
            }
        }
        assert!(!told.is_empty() && resets <= CORRUPT, "{said}");
    }
    assert_eq!(resets, CORRUPT);
    assert!(
        numbers(&bench).into_iter().eq(0..GOOD),
        "each good event once"
    );
    assert_eq!(letters(&bench).len() as u64, BAD - CORRUPT);
    assert!(most < MOST_MEMORY, "{most} KiB");
    let report = bench.json(&["verify", bench.out().to_str().expect("UTF-8")]);
    assert_eq!(report["rows"], GOOD, "{report}");
}
