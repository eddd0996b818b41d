//! What a proof found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::finding::Finding;
use super::ledger::Account;
use super::{Counts, Examination, Imbalance, ImbalanceKind, TopicKey};

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
    partitions: Vec<Partition>,
    /// What nobody looked at.
    unseen: Vec<String>,
    counts: Counts,
    offsets: u64,
    files: u64,
}

/// What is said of a partition.
#[derive(Clone, Debug)]
struct Partition {
    key: TopicKey,
    partition: i32,
    /// The first offset that is spoken of, and the one after the last.
    range: (i64, i64),
    counts: Counts,
    /// How many offsets have no row, by why.
    absent: BTreeMap<&'static str, u64>,
    /// Offsets that were jumped on purpose.
    skipped: Vec<(i64, i64)>,
}

/// How an absence is called: in JSON, and in the line of its partition.
const CLASSES: [(&str, &str); 12] = [
    ("missing", "missing"),
    ("double", "there twice"),
    ("lost", "on the topic and called empty by the index"),
    ("gone", "without a row and not on the topic any more"),
    ("retention", "lost to retention"),
    ("another_program", "read by another program"),
    ("elsewhere", "in directories that were not named"),
    ("undecided", "undecided"),
    ("untold", "passed over, nobody wrote down why"),
    ("not_consumed", "not consumed"),
    ("jumped", "jumped on purpose"),
    ("in_files_that_are_gone", "in files that are gone"),
];

impl ImbalanceKind {
    /// Its class, and whether that is wrong (`Some(true)`), a doubt, or as it was wanted.
    const fn class(self) -> (&'static str, Option<bool>) {
        match self {
            Self::Gap => ("missing", Some(true)),
            Self::Double => ("double", Some(true)),
            Self::Lost => ("lost", Some(true)),
            Self::Gone => ("gone", Some(false)),
            Self::Retention => ("retention", Some(false)),
            Self::Program => ("another_program", Some(false)),
            Self::Elsewhere(_) => ("elsewhere", Some(false)),
            Self::Undecided => ("undecided", Some(false)),
            Self::Untold => ("untold", Some(false)),
            Self::Unread => ("not_consumed", Some(false)),
            Self::Declared => ("jumped", None),
        }
    }

    /// What is the matter with offsets; `list` has the directories that say so.
    fn text(self, list: &str) -> String {
        match self {
            Self::Gap => "are in no directory".to_owned(),
            Self::Lost => format!(
                "have records on the topic, and no row: the index of {list} says that there are none"
            ),
            Self::Gone => {
                "have no row, and are not on the topic any more: whether they ever had records cannot be decided".to_owned()
            }
            Self::Double => format!("are there twice: {list}"),
            Self::Retention => "were deleted from the topic (retention) before they were read: lost".to_owned(),
            Self::Program => {
                "were passed over because another program moved the group's offset: whether it read them, and what became of \
                 them, nobody here knows"
                    .to_owned()
            }
            Self::Elsewhere(id) if list.is_empty() => format!(
                "were committed by a directory (id {id}) that was not named, or has written them since it was looked at; name \
                 the directories of all members together"
            ),
            Self::Elsewhere(id) => format!(
                "were read into {} that was not named, says {list}; name the directories of all members together",
                if id.is_nil() {
                    "a directory".to_owned()
                } else {
                    format!("a directory (id {id})")
                },
            ),
            Self::Undecided => format!(
                "are in no directory's files, only in .stockflow/undecided of {list}; the directory of whoever took the \
                 partition over decides: name it too"
            ),
            Self::Untold => format!(
                "were passed over by {list}, with a version of stockflow that did not write down why: retention, a reset or \
                 another program"
            ),
            Self::Unread => "are on the topic, and the group has not consumed them".to_owned(),
            Self::Declared => "were jumped on purpose: the group's offset was set forwards".to_owned(),
        }
    }
}

impl Report {
    /// Balances what was found.
    pub fn new(examination: &Examination) -> Self {
        let findings = &examination.findings;
        let mut report = Self {
            verdict: Verdict::Proven,
            lines: findings.iter().map(Finding::text).collect(),
            findings: findings.iter().map(Finding::json).collect(),
            doubts: examination.doubts.clone(),
            partitions: Vec::new(),
            unseen: examination.unseen.clone(),
            counts: Counts::default(),
            offsets: 0,
            files: examination.files,
        };
        for ((key, partition), account) in &examination.ledger.accounts {
            report.enter(examination, key, *partition, account);
        }
        if report.offsets == 0 && report.findings.is_empty() {
            let nothing = "no offset was covered: there is nothing here that could be proven";
            report.doubts.push(nothing.to_owned());
        }
        report.verdict = match (report.findings.is_empty(), report.doubts.is_empty()) {
            (false, _) => Verdict::Broken,
            (true, false) => Verdict::Undecided,
            (true, true) => Verdict::Proven,
        };
        report
    }

    fn enter(
        &mut self,
        examination: &Examination,
        key: &TopicKey,
        partition: i32,
        account: &Account,
    ) {
        let named = &examination.ledger.ids;
        let Some(range) = account.range(named) else {
            return;
        };
        let mut entry = Partition {
            key: key.clone(),
            partition,
            range,
            counts: account.counts,
            absent: BTreeMap::new(),
            skipped: Vec::new(),
        };
        for imbalance in account.imbalances(named) {
            let (class, wrong) = imbalance.kind.class();
            let count = imbalance.next.abs_diff(imbalance.from);
            *entry.absent.entry(class).or_default() += count;
            match wrong {
                None => entry.skipped.push((imbalance.from, imbalance.next)),
                Some(wrong) => self.accuse(examination, &entry, &imbalance, wrong),
            }
        }
        if account.counts.gone > 0 {
            entry
                .absent
                .insert("in_files_that_are_gone", account.counts.gone);
        }
        let gone = account.holes_gone();
        if gone > 0 {
            self.unseen.push(format!(
                "topic {}, partition {partition}: whether {gone} offsets without a record had none, as was seen when they were read: \
                 they are not on the topic any more",
                key.topic
            ));
        }
        self.offsets += account.covered();
        self.counts.add(&account.counts);
        self.partitions.push(entry);
    }

    fn accuse(
        &mut self,
        examination: &Examination,
        entry: &Partition,
        imbalance: &Imbalance,
        wrong: bool,
    ) {
        let places = imbalance.directories.iter();
        let places: Vec<&PathBuf> = places
            .filter_map(|place| examination.directories.get(*place))
            .collect();
        let list: Vec<_> = places
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let (first, last) = (imbalance.from, imbalance.next - 1);
        let text = format!(
            "topic {}, partition {}: offsets {first} to {last} ({}) {}",
            entry.key.topic,
            entry.partition,
            imbalance.next.abs_diff(imbalance.from),
            imbalance.kind.text(&list.join(", "))
        );
        if !wrong {
            self.doubts.push(text);
            return;
        }
        let kind = match imbalance.kind {
            ImbalanceKind::Gap => "gap",
            other => other.class().0,
        };
        self.findings.push(json!({
            "kind": kind,
            "topic": entry.key.topic,
            "group": entry.key.group,
            "partition": entry.partition,
            "first_offset": first,
            "last_offset": last,
            "directories": places,
            "message": text,
        }));
        self.lines.push(text);
    }

    /// How many offsets have no row, for this reason.
    fn absent(&self, class: &str) -> u64 {
        let counts = self.partitions.iter();
        counts.filter_map(|entry| entry.absent.get(class)).sum()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.lines.iter().chain(&self.doubts) {
            let _ = writeln!(text, "{line}");
        }
        for entry in &self.partitions {
            let (from, next) = entry.range;
            let mut parts = entry.counts.parts();
            for (class, what) in CLASSES {
                let count = entry.absent.get(class).copied().unwrap_or_default();
                if count > 0 {
                    parts.push(format!("{count} {what}"));
                }
            }
            let _ = writeln!(
                text,
                "topic {}, partition {}, offsets [{from}, {next}): {}",
                entry.key.topic,
                entry.partition,
                parts.join(", ")
            );
        }
        for unseen in &self.unseen {
            let _ = writeln!(text, "not looked at: {unseen}");
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
            self.counts.parts().join(", "),
            self.files
        );
        let skipped = self.absent("jumped");
        if skipped > 0 {
            let _ = writeln!(
                text,
                "{skipped} offsets were skipped: the group's offset was set forwards on purpose"
            );
        }
        text
    }

    /// For programs: one object.
    pub fn json(&self) -> Value {
        let absent = CLASSES.map(|(class, _)| (class.to_owned(), self.absent(class).into()));
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
            "offsets_skipped": self.absent("jumped"),
            "absent": Map::from_iter(absent),
            "files": self.files,
            "partitions": self.partitions.iter().map(Partition::json).collect::<Vec<_>>(),
            "findings": self.findings,
            "doubts": self.doubts,
            "not_looked_at": self.unseen,
        })
    }
}

impl Partition {
    fn json(&self) -> Value {
        let (from, next) = self.range;
        let absent = CLASSES.map(|(class, _)| {
            let count = self.absent.get(class).copied().unwrap_or_default();
            (class.to_owned(), count.into())
        });
        let skipped = self.skipped.iter();
        json!({
            "topic": self.key.topic,
            "topic_id": self.key.topic_id,
            "group": self.key.group,
            "partition": self.partition,
            "from": from,
            "to": next,
            "first_offset": from,
            "last_offset": next - 1,
            "rows": self.counts.rows,
            "counts": self.counts,
            "absent": Map::from_iter(absent),
            "skipped": skipped.map(|(from, next)| json!([from, next - 1])).collect::<Vec<_>>(),
        })
    }
}

impl Counts {
    /// For people.
    fn parts(&self) -> Vec<String> {
        let mut parts = vec![format!("{} rows", self.rows)];
        for (count, what) in [
            (self.replayed, "of them repaired dead letters"),
            (self.dead_letters, "dead letters"),
            (self.tombstones, "records without a value"),
            (self.skipped, "bad records passed over"),
            (self.holes, "offsets without a record"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts
    }
}
