//! What a proof found, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::finding::Finding;
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
                    ImbalanceKind::Lost => (
                        "lost",
                        format!(
                            "have records on the topic, and no row: the index of {} says that there are none",
                            list.join(", ")
                        ),
                    ),
                    ImbalanceKind::Gone => (
                        "gone",
                        "have no row, and are not on the topic any more: whether they ever had records cannot be decided"
                            .to_owned(),
                    ),
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
                    ImbalanceKind::Undecided | ImbalanceKind::Elsewhere(_) | ImbalanceKind::Gone
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
            replayed,
        } = self.counts;
        let mut parts = vec![format!("{rows} rows")];
        for (count, what) in [
            (replayed, "of them repaired dead letters"),
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
            "replayed": self.counts.replayed,
            "offsets_skipped": self.skipped,
            "files": self.files,
            "partitions": self.partitions,
            "findings": self.findings,
            "doubts": self.doubts,
        })
    }
}
