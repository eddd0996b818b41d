//! What a proof found, for people and for programs.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::files::Flaw;
use super::{Counts, Examination, ImbalanceKind};

/// How a proof ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Each offset once, and no byte changed.
    Proven,
    /// Something is missing, doubled or changed.
    Broken,
    /// Neither can be said.
    Undecided,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// A file is not there.
    Missing,
    /// A file ends before its rows do.
    Truncated,
    /// Rows are not those that were written.
    Edited,
    /// The header is not the one that was written.
    Header,
    /// So many bytes stand behind the last row.
    Longer(u64),
    /// A file cannot be read.
    Unreadable(String),
}

impl From<Flaw> for FindingKind {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Missing => Self::Missing,
            Flaw::Short => Self::Truncated,
            Flaw::Differs => Self::Edited,
            Flaw::Unreadable(error) => Self::Unreadable(error),
        }
    }
}

impl FindingKind {
    const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Truncated => "truncated",
            Self::Edited => "edited",
            Self::Header => "header",
            Self::Longer(_) => "longer",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// Something wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// The output directory.
    pub directory: PathBuf,
    /// The file, relative to it.
    pub file: Option<String>,
    /// The partition of the rows.
    pub partition: Option<i32>,
    /// Their first offset and their last.
    pub offsets: Option<(i64, i64)>,
    /// Where they were written: the first byte, and the one after the last.
    pub bytes: Option<(u64, u64)>,
    /// How many there were.
    pub rows: u64,
}

impl Finding {
    pub(super) fn goes_on_in(&self, next: &Self) -> bool {
        self.kind == next.kind
            && self.directory == next.directory
            && self.file == next.file
            && self.partition == next.partition
            && matches!((self.bytes, next.bytes), (Some(here), Some(there)) if here.1 == there.0)
    }

    pub(super) fn join(&mut self, next: &Self) {
        if let (Some(bytes), Some(more)) = (&mut self.bytes, next.bytes) {
            bytes.1 = more.1;
        }
        if let (Some(offsets), Some(more)) = (&mut self.offsets, next.offsets) {
            offsets.1 = more.1;
        }
        self.rows += next.rows;
    }

    fn text(&self) -> String {
        let path = match &self.file {
            Some(file) => self.directory.join(file),
            None => self.directory.clone(),
        };
        let what = match &self.kind {
            FindingKind::Missing => "is missing".to_owned(),
            FindingKind::Truncated => "was cut off".to_owned(),
            FindingKind::Edited => "was edited".to_owned(),
            FindingKind::Header => "has another header than was written".to_owned(),
            FindingKind::Longer(more) => {
                format!("has {more} bytes that were not written by stockflow behind its last row")
            }
            FindingKind::Unreadable(error) => format!("cannot be read: {error}"),
        };
        let mut text = format!("{} {what}", path.display());
        if let (Some(partition), Some((first, last)), Some((from, to))) =
            (self.partition, self.offsets, self.bytes)
        {
            let _ = write!(
                text,
                ": partition {partition}, offsets {first} to {last} ({} rows, written to bytes {from} to {to})",
                self.rows
            );
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "kind": self.kind.name(),
            "directory": self.directory,
            "file": self.file,
            "partition": self.partition,
            "first_offset": self.offsets.map(|offsets| offsets.0),
            "last_offset": self.offsets.map(|offsets| offsets.1),
            "first_byte": self.bytes.map(|bytes| bytes.0),
            "end_byte": self.bytes.map(|bytes| bytes.1),
            "message": self.text(),
        })
    }
}

/// The result of a proof.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub verdict: Verdict,
    lines: Vec<String>,
    findings: Vec<Value>,
    doubts: Vec<String>,
    partitions: Vec<Value>,
    counts: Counts,
    offsets: u64,
    files: u64,
    skipped: u64,
}

impl Report {
    /// Balances what was found.
    pub fn new(examination: &Examination) -> Self {
        let mut report = Self {
            verdict: Verdict::Proven,
            lines: Vec::new(),
            findings: examination.findings.iter().map(Finding::json).collect(),
            doubts: examination.doubts.clone(),
            partitions: Vec::new(),
            counts: Counts::default(),
            offsets: 0,
            files: examination.files,
            skipped: 0,
        };
        report
            .lines
            .extend(examination.findings.iter().map(Finding::text));
        for ((key, partition), account) in &examination.ledger.accounts {
            for imbalance in account.imbalances(&examination.ledger.ids) {
                let places: Vec<_> = imbalance
                    .directories
                    .iter()
                    .filter_map(|place| examination.directories.get(*place))
                    .collect();
                let list: Vec<_> = places
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                let (kind, what) = match imbalance.kind {
                    ImbalanceKind::Gap => ("gap", "are in no directory".to_owned()),
                    ImbalanceKind::Double => {
                        ("double", format!("are there twice: {}", list.join(", ")))
                    }
                    ImbalanceKind::Elsewhere(id) => (
                        "elsewhere",
                        format!(
                            "were read into {} that was not named, says {}; name the directories of all members together",
                            if id.is_nil() {
                                "a directory".to_owned()
                            } else {
                                format!("a directory (id {id})")
                            },
                            list.join(", ")
                        ),
                    ),
                    ImbalanceKind::Undecided => (
                        "undecided",
                        format!(
                            "are in no directory's files, only in .stockflow/undecided of {}; the directory of whoever took the \
                             partition over decides: name it too",
                            list.join(", ")
                        ),
                    ),
                };
                let (first, last) = (imbalance.from, imbalance.next - 1);
                let text = format!(
                    "topic {}, partition {partition}: offsets {first} to {last} {what}",
                    key.topic
                );
                if matches!(
                    imbalance.kind,
                    ImbalanceKind::Undecided | ImbalanceKind::Elsewhere(_)
                ) {
                    report.doubts.push(text);
                    continue;
                }
                report.findings.push(json!({
                    "kind": kind,
                    "topic": key.topic,
                    "group": key.group,
                    "partition": partition,
                    "first_offset": first,
                    "last_offset": last,
                    "directories": places,
                    "message": text,
                }));
                report.lines.push(text);
            }
            let skipped: Vec<_> = account.skipped();
            report.skipped += skipped
                .iter()
                .map(|(from, next)| next.abs_diff(*from))
                .sum::<u64>();
            let Some((from, next)) = account.range() else {
                continue;
            };
            report.offsets += next.abs_diff(from);
            report.counts.add(&account.counts);
            report.partitions.push(json!({
                "topic": key.topic,
                "topic_id": key.topic_id,
                "group": key.group,
                "partition": partition,
                "first_offset": from,
                "last_offset": next - 1,
                "counts": account.counts,
                "skipped": skipped.iter().map(|(from, next)| json!([from, next - 1])).collect::<Vec<_>>(),
            }));
        }
        report.verdict = match (report.findings.is_empty(), report.doubts.is_empty()) {
            (false, _) => Verdict::Broken,
            (true, false) => Verdict::Undecided,
            (true, true) => Verdict::Proven,
        };
        report
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.lines.iter().chain(&self.doubts) {
            let _ = writeln!(text, "{line}");
        }
        let Counts {
            rows,
            dead_letters,
            tombstones,
            skipped,
            holes,
        } = self.counts;
        let mut parts = vec![format!("{rows} rows")];
        for (count, what) in [
            (dead_letters, "dead letters"),
            (tombstones, "records without a value"),
            (skipped, "bad records passed over"),
            (holes, "offsets without a record"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let verdict = match self.verdict {
            Verdict::Proven => "proven, every offset once",
            Verdict::Broken => "NOT PROVEN",
            Verdict::Undecided => "cannot be decided",
        };
        let _ = writeln!(
            text,
            "{verdict}: {} offsets of {} partitions, {} in {} files",
            self.offsets,
            self.partitions.len(),
            parts.join(", "),
            self.files
        );
        if self.skipped > 0 {
            let _ = writeln!(
                text,
                "{} offsets were skipped: the group's offset was set forwards, or they were not on the topic any more",
                self.skipped
            );
        }
        text
    }

    /// For programs: one object.
    pub fn json(&self) -> Value {
        json!({
            "verdict": match self.verdict {
                Verdict::Proven => "proven",
                Verdict::Broken => "broken",
                Verdict::Undecided => "undecided",
            },
            "offsets": self.offsets,
            "rows": self.counts.rows,
            "dead_letters": self.counts.dead_letters,
            "tombstones": self.counts.tombstones,
            "bad_records_skipped": self.counts.skipped,
            "holes": self.counts.holes,
            "offsets_skipped": self.skipped,
            "files": self.files,
            "partitions": self.partitions,
            "findings": self.findings,
            "doubts": self.doubts,
        })
    }
}
