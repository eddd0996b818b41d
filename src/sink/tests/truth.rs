//! What the topic of the model holds, and whether a directory holds exactly that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::super::files::compression;
use super::super::model::layout::Form;
use super::super::state::index::Batch;
use super::super::{Compression, Settings};
use crate::durable::sim::SimFs;
use crate::verify::{self, ImbalanceKind};

pub(super) const PARTITIONS: i32 = 3;
pub(super) const DIRECTORY: &str = "/out";
/// A file that was there before, under a name that the sink would have liked.
pub(super) const FOREIGN: &str = "/out/consumed_trades_2025-03-02.csv";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hole,
    Tombstone,
    Bad,
    Trade,
}

pub(super) fn kind(partition: i32, offset: i64) -> Kind {
    let n = offset + i64::from(partition);
    match (n % 7, n % 11, n % 13) {
        (3, ..) => Kind::Hole,
        (_, 5, _) => Kind::Tombstone,
        (_, _, 6) => Kind::Bad,
        _ => Kind::Trade,
    }
}

pub(super) fn value(partition: i32, offset: i64) -> Option<String> {
    match kind(partition, offset) {
        Kind::Hole | Kind::Tombstone => None,
        Kind::Bad => Some(format!("no trade {offset}")),
        Kind::Trade => {
            let day = 1 + (offset / 5 + i64::from(partition) + offset % 2) % 4;
            Some(format!(
                r#"{{"TradeId":"t","Symbol":"P{partition}","Side":"Buy","Quantity":{offset},"Price":1.50,"Timestamp":"2025-03-0{day}T10:00:00Z"}}"#
            ))
        }
    }
}

/// Each record that belongs here is here once, none of another member's, and the files are whole.
pub(super) fn judge(
    files: &BTreeMap<PathBuf, Vec<u8>>,
    elsewhere: &BTreeSet<(i32, i64)>,
    behind: i64,
) {
    let (mut here, mut aside) = (BTreeMap::<(i32, i64), u32>::new(), BTreeSet::new());
    for (path, bytes) in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let plain = content(path, bytes);
        let text = || std::str::from_utf8(&plain).unwrap();
        if path == Path::new(FOREIGN) {
            assert_eq!(text(), "mine\n");
        } else if path.starts_with("/out/.stockflow/undecided") {
            aside.extend(text().lines().map(|line| {
                if line.starts_with('{') {
                    letter(line)
                } else {
                    row(line)
                }
            }));
        } else if path.starts_with("/out/.stockflow/superseded") {
            for line in text().lines().filter(|line| !line.starts_with("Symbol,")) {
                if line.starts_with('{') {
                    letter(line)
                } else {
                    row(line)
                };
            }
        } else if path.starts_with("/out/.stockflow/staged") {
            // What a reset or a compression that was stopped left behind is written anew by the next.
        } else if path.starts_with("/out/.stockflow") && !path.starts_with("/out/.stockflow/open") {
            assert!(
                [
                    "index",
                    "closed",
                    "checkpoint",
                    "checkpoint.new",
                    "redo.new"
                ]
                .contains(&name),
                "{name}"
            );
        } else if name.starts_with("consumed_trades_") {
            let body = text()
                .strip_prefix("Symbol,Side,Quantity,Price,Timestamp,Partition,Offset\n")
                .unwrap();
            assert!(body.ends_with('\n'), "{name} is empty or torn");
            body.lines()
                .for_each(|line| *here.entry(row(line)).or_default() += 1);
        } else {
            assert!(name.starts_with("dead_letters_2026-0"), "{name}");
            text()
                .lines()
                .for_each(|line| *here.entry(letter(line)).or_default() += 1);
        }
    }
    for partition in 0..PARTITIONS {
        for offset in 0..behind {
            let at = (partition, offset);
            let due = u32::from(matches!(kind(partition, offset), Kind::Bad | Kind::Trade));
            let found = here.remove(&at).unwrap_or(0);
            if elsewhere.contains(&at) {
                assert_eq!(found, 0, "{at:?} is another member's");
            } else if !(aside.contains(&at) && found == 0) {
                assert_eq!(found, due, "{at:?}");
            }
        }
    }
    assert!(here.is_empty(), "rows of records that never were: {here:?}");
    tile(files);
}

/// `verify` comes to the same result: proven, aside from offsets that are another member's.
pub(super) fn prove(fs: &SimFs, elsewhere: &BTreeSet<(i32, i64)>, behind: i64) {
    let examination = verify::examine_on(fs, &[PathBuf::from(DIRECTORY)]).unwrap();
    assert_eq!(examination.findings, vec![]);
    // Somebody else's file lies there all the time.
    let mine = Path::new(FOREIGN).file_name().unwrap().to_str().unwrap();
    for doubt in &examination.doubts {
        assert!(doubt.contains(&format!("{mine}: named like")), "{doubt}");
    }
    assert!(examination.pending.is_empty());
    for ((_, partition), account) in &examination.ledger.accounts {
        let (from, next) = account.range(&BTreeSet::new()).unwrap();
        assert_eq!(next, behind);
        for imbalance in account.imbalances(&BTreeSet::new()) {
            for offset in imbalance.from..imbalance.next {
                match imbalance.kind {
                    ImbalanceKind::Undecided => {}
                    ImbalanceKind::Program if elsewhere.contains(&(*partition, offset)) => {}
                    _ => panic!("partition {partition}: {imbalance:?}"),
                }
            }
        }
        assert!(from <= next);
    }
}

/// The record that a row is of; its values are the record's.
fn row(line: &str) -> (i32, i64) {
    let fields: Vec<_> = line.split(',').collect();
    let (partition, offset) = (fields[5].parse().unwrap(), fields[6].parse().unwrap());
    let event: serde_json::Value =
        serde_json::from_str(&value(partition, offset).unwrap()).unwrap();
    assert_eq!(
        fields[..5].join(","),
        format!(
            "P{partition},Buy,{offset},1.50,{}",
            event["Timestamp"].as_str().unwrap()
        )
    );
    (partition, offset)
}

fn letter(line: &str) -> (i32, i64) {
    let letter: serde_json::Value = serde_json::from_str(line).unwrap();
    (
        letter["partition"].as_i64().unwrap() as i32,
        letter["offset"].as_i64().unwrap(),
    )
}

/// What a file holds that is compressed or not.
fn content(path: &Path, bytes: &[u8]) -> Vec<u8> {
    let form = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Form::Gzip,
        Some("zst") => Form::Zstd,
        _ => Form::Plain,
    };
    if path.starts_with("/out/.stockflow/staged") {
        return Vec::new();
    }
    let mut plain = Vec::new();
    compression::plain(io::Cursor::new(bytes.to_vec()), form)
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

/// What the file of that name holds, which has one form only.
fn only(files: &BTreeMap<PathBuf, Vec<u8>>, name: &str) -> Vec<u8> {
    let paths = Form::ALL.map(|form| Path::new(DIRECTORY).join(form.place(name)));
    let found: Vec<_> = paths
        .iter()
        .filter_map(|path| Some((path, files.get(path)?)))
        .collect();
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    content(found[0].0, found[0].1)
}

/// After a stop in peace every file is seen, in the form that was asked for, and none is longer than it may be.
pub(super) fn are_closed(settings: &Settings, files: &BTreeMap<PathBuf, Vec<u8>>) {
    let suffix = match settings.compression {
        Compression::None => "csv",
        Compression::Gzip => "gz",
        Compression::Zstd => "zst",
    };
    for (path, bytes) in files {
        assert!(!path.starts_with("/out/.stockflow/open"), "{path:?}");
        let is_trades = path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("consumed_");
        if is_trades && path.parent() == Some(Path::new(DIRECTORY)) && path != Path::new(FOREIGN) {
            assert_eq!(path.extension().unwrap(), suffix, "{path:?}");
            let plain = content(path, bytes);
            if let Some(most) = settings.roll.bytes {
                let lines = plain.iter().filter(|b| **b == b'\n').count();
                assert!(plain.len() as u64 <= most || lines == 2, "{path:?}");
            }
        }
    }
}

/// The index's runs cover each file behind its header, without a hole, and their checksums hold.
fn tile(files: &BTreeMap<PathBuf, Vec<u8>>) {
    let path = Path::new("/out/.stockflow/index");
    let Some(index) = files.get(path) else { return };
    let mut ends = BTreeMap::<String, u64>::new();
    for line in index.split_inclusive(|b| *b == b'\n') {
        let batch = Batch::decode(path, line).unwrap();
        for run in &batch.runs {
            let name = &batch.files[run.file];
            let bytes = &only(files, name);
            let header = if name.ends_with(".csv") {
                bytes.iter().position(|b| *b == b'\n').unwrap() as u64 + 1
            } else {
                0
            };
            let end = ends.entry(name.clone()).or_insert(header);
            assert_eq!(run.start, *end, "{name}");
            *end += run.len;
            let bytes = &bytes[run.start as usize..*end as usize];
            assert_eq!(crc32c::crc32c(bytes), run.crc);
            assert_eq!(
                bytes.iter().filter(|b| **b == b'\n').count() as u64,
                run.rows
            );
        }
    }
    for (name, end) in ends {
        assert_eq!(only(files, &name).len() as u64, end, "{name}");
    }
}
