//! Something wrong with a file, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

/// How many partitions of one file are named to people; programs are given all.
const NAMED: usize = 10;

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
    /// A file has the rows of this one, which is there in another form.
    Beside(String),
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
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Truncated => "truncated",
            Self::Edited => "edited",
            Self::Header => "header",
            Self::Longer(_) => "longer",
            Self::Unreadable(_) => "unreadable",
            Self::Beside(_) => "beside",
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
    /// The partitions of the rows, each with the first offset and the last.
    pub partitions: BTreeMap<i32, (i64, i64)>,
    /// Where they were written: the first byte, and the one after the last.
    pub bytes: Option<(u64, u64)>,
    /// How many there were.
    pub rows: u64,
}

impl Finding {
    /// Whether its rows end where those of `next` begin.
    pub(super) fn ends_at(&self, next: &Self) -> bool {
        matches!((self.bytes, next.bytes), (Some(here), Some(there)) if here.1 == there.0)
    }

    pub(super) fn join(&mut self, next: &Self) {
        if let (Some(bytes), Some(more)) = (&mut self.bytes, next.bytes) {
            *bytes = (bytes.0.min(more.0), bytes.1.max(more.1));
        }
        for (partition, more) in &next.partitions {
            let offsets = self.partitions.entry(*partition).or_insert(*more);
            *offsets = (offsets.0.min(more.0), offsets.1.max(more.1));
        }
        self.rows += next.rows;
    }

    pub(super) fn text(&self) -> String {
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
            FindingKind::Beside(other) => format!(
                "stands beside {other}: whoever reads the directory finds its rows twice (after a kill the next start of \
                 `stockflow consume` takes away the one that is too much)"
            ),
        };
        let mut text = format!("{} {what}", path.display());
        let mut between = ": ";
        for (partition, (first, last)) in self.partitions.iter().take(NAMED) {
            let _ = write!(
                text,
                "{between}partition {partition}, offsets {first} to {last}"
            );
            between = "; ";
        }
        if let Some(more @ 1..) = self.partitions.len().checked_sub(NAMED) {
            let _ = write!(text, "; {more} more partitions");
        }
        if let Some((from, to)) = self.bytes {
            let rows = self.rows;
            let _ = write!(text, " ({rows} rows, written to bytes {from} to {to})");
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let first = self.partitions.first_key_value();
        let partitions = self.partitions.iter().map(|(partition, (first, last))| {
            json!({"partition": partition, "first_offset": first, "last_offset": last})
        });
        json!({
            "kind": self.kind.name(),
            "directory": self.directory,
            "file": self.file,
            "partition": first.map(|(partition, _)| partition),
            "first_offset": first.map(|(_, offsets)| offsets.0),
            "last_offset": first.map(|(_, offsets)| offsets.1),
            "partitions": partitions.collect::<Vec<_>>(),
            "rows": self.rows,
            "first_byte": self.bytes.map(|bytes| bytes.0),
            "end_byte": self.bytes.map(|bytes| bytes.1),
            "message": self.text(),
        })
    }
}

/// What is wrong with a run of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The file is not there.
    Missing,
    /// The file ends before the run does.
    Short,
    /// The bytes are not those that were written.
    Differs,
    /// The file cannot be read there.
    Unreadable(String),
}
