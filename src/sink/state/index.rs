//! The offset index: which bytes of which file are which records.
//!
//! Append-only, a line a batch. It is made durable before the checkpoint that
//! names its length, and cut like any other file when a batch is abandoned, so its lines tell the truth about the rows
//! that are there. Recovery reads the pending batch's line to take single partitions out of it; a proof that the
//! directory holds every record once reads all of them.

use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::error::SinkError;
use crate::durable::{Fs, Lines, journal};

pub(crate) const FILE: &str = "index";

/// What one batch wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(crate) batch: u64,
    /// Which topic of that name, see the checkpoint.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) identity: u32,
    /// Its id, in the identity's first batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) topic_id: Option<Uuid>,
    pub(crate) partitions: Vec<OffsetRange>,
    /// Names that `runs` refer to by their place.
    pub(crate) files: Vec<String>,
    pub(crate) runs: Vec<Extent>,
    /// Offsets of the spans that have no line in a file, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) passed: Vec<Passed>,
    /// Offsets that are not in this directory because the partition went on behind them: the group's offset was set
    /// forwards by somebody else, or the records were not on the topic any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gaps: Vec<Gap>,
    /// Dead letters of former batches that were repaired: the runs of this batch are their rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) replayed: Vec<Replayed>,
    /// Offsets whose rows lie in `undecided/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) undecided: Vec<Gap>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// partition, first offset, offset after the last, rows, dead letters, tombstones, bad records passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OffsetRange(
    pub(crate) i32,
    pub(crate) i64,
    pub(crate) i64,
    pub(crate) [u64; 4],
);

/// partition, first offset passed over, offset after the last, the directories that may hold them, where commits named any
/// (the nil id is one that they did not name), and why this one does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap(
    pub(crate) i32,
    pub(crate) i64,
    pub(crate) i64,
    pub(crate) Vec<Uuid>,
    #[serde(default, skip_serializing_if = "Reason::is_untold")] pub(crate) Reason,
);

/// Why a directory does not hold offsets that it went past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reason {
    /// The directories that the gap names have them. Where it names none, an earlier version wrote it, which did not say.
    #[default]
    #[serde(rename = "")]
    Untold,
    /// As before, but where the group began is not known: it may have been behind the first of them.
    #[serde(rename = "b")]
    Before,
    /// They were not on the topic any more.
    #[serde(rename = "r")]
    Retention,
    /// The group's offset was set forwards on purpose (`stockflow group reset`).
    #[serde(rename = "j")]
    Declared,
    /// Another program has moved the group's offset.
    #[serde(rename = "p")]
    Program,
}

impl Reason {
    fn is_untold(&self) -> bool {
        *self == Self::Untold
    }
}

/// partition, first offset, offset after the last of dead letters that are rows now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replayed(pub(crate) i32, pub(crate) i64, pub(crate) i64);

/// partition, first offset, offset after the last, why there is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passed(
    pub(crate) i32,
    pub(crate) i64,
    pub(crate) i64,
    pub(crate) Why,
);

/// Why offsets have no line in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Why {
    /// The topic has no record there: a marker, an aborted transaction, or compaction.
    #[serde(rename = "h")]
    Hole,
    /// A record without a value.
    #[serde(rename = "t")]
    Tombstone,
    /// A record that is no trade, passed over because the settings say so.
    #[serde(rename = "s")]
    Skipped,
    /// A dead letter that is kept somewhere else than in a file.
    #[serde(rename = "d")]
    DeadLetter,
}

/// Consecutive bytes of a file that are records of one partition, in the order of their offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RunFields", into = "RunFields")]
pub(crate) struct Extent {
    /// The file's place in [`Batch::files`].
    pub(crate) file: usize,
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) partition: i32,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) rows: u64,
    /// CRC-32C of the bytes.
    pub(crate) crc: u32,
    /// Where offsets are left out; so the offset of each row is known.
    pub(crate) skips: Vec<Skip>,
}

/// Before this row of the run, counted from 0, so many offsets are not in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Skip(pub(crate) u64, pub(crate) i64);

impl Extent {
    /// The offsets of its rows, as ranges `first..=last` that do not touch.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (i64, i64)> {
        let ends = self.skips.iter().map(|skip| (skip.0, Some(skip.1)));
        let mut row = 0_u64;
        let mut first = self.first;
        ends.chain([(self.rows, None)])
            .map(move |(before, missing)| {
                let count = i64::try_from(before.saturating_sub(row)).unwrap_or(i64::MAX);
                let range = (first, first.saturating_add(count).saturating_sub(1));
                row = before;
                first = range
                    .1
                    .saturating_add(1)
                    .saturating_add(missing.unwrap_or_default());
                range
            })
    }
}

/// A run as it stands in the file: without names, to keep the index short.
type RunFields = (usize, u64, u64, i32, i64, i64, u64, u32, Vec<Skip>);

impl From<RunFields> for Extent {
    fn from((file, start, len, partition, first, last, rows, crc, skips): RunFields) -> Self {
        Self {
            file,
            start,
            len,
            partition,
            first,
            last,
            rows,
            crc,
            skips,
        }
    }
}

impl From<Extent> for RunFields {
    fn from(run: Extent) -> Self {
        (
            run.file,
            run.start,
            run.len,
            run.partition,
            run.first,
            run.last,
            run.rows,
            run.crc,
            run.skips,
        )
    }
}

/// The runs of a batch's files, in the order of [`Batch::files`].
pub(crate) fn runs<'r>(files: impl Iterator<Item = &'r [Extent]>) -> Vec<Extent> {
    let of_file = |(file, runs): (usize, &'r [Extent])| {
        runs.iter().map(move |run| Extent {
            file,
            ..run.clone()
        })
    };
    files.enumerate().flat_map(of_file).collect()
}

impl Batch {
    /// Whether nothing is left of it.
    pub(crate) fn says_nothing(&self) -> bool {
        self.partitions.is_empty()
            && self.runs.is_empty()
            && self.gaps.is_empty()
            && self.replayed.is_empty()
            && self.undecided.is_empty()
    }

    /// The batch's line.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, SinkError> {
        Ok(journal::encode(self)?)
    }

    /// Reads one line.
    pub(crate) fn decode(path: &Path, line: &[u8]) -> Result<Self, SinkError> {
        let batch: Self = journal::decode(path, line)?;
        batch.whole(path)
    }

    /// The batch, when each of its runs names a file.
    fn whole(self, path: &Path) -> Result<Self, SinkError> {
        if self.runs.iter().any(|run| run.file >= self.files.len()) {
            return Err(SinkError::damaged(path, "a run names no file"));
        }
        Ok(self)
    }
}

/// The first `end` bytes of an index, line by line, each with the byte at which it begins.
pub(crate) fn read(
    fs: &dyn Fs,
    path: &Path,
    end: u64,
) -> Result<impl Iterator<Item = Result<(u64, Batch), SinkError>>, SinkError> {
    let lines = Lines::<Batch>::open(fs, path, end)?;
    let path = path.to_owned();
    Ok(lines.map(move |line| {
        let (at, batch) = line?;
        Ok((at, batch.whole(&path)?))
    }))
}
