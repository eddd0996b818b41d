//! Something wrong with a file, for people and for programs.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::files::Flaw;

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
    const fn name(&self) -> &'static str {
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

    pub(super) fn json(&self) -> Value {
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
