//! The offset index: which bytes of which file are which records.
//!
//! Append-only, a line a batch: a CRC-32C in hexadecimal, a space, JSON. It is made durable before the checkpoint that
//! names its length, and cut like any other file when a batch is abandoned, so its lines tell the truth about the rows
//! that are there. Recovery reads the pending batch's line to take single partitions out of it; a proof that the
//! directory holds every record once reads all of them.

use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::SinkError;

pub(super) const FILE: &str = "index";

/// What one batch wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) batch: u64,
    /// Which topic of that name, see the checkpoint.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) identity: u32,
    /// Its id, in the identity's first batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) topic_id: Option<Uuid>,
    pub(super) partitions: Vec<Span>,
    /// Names that `runs` refer to by their place.
    pub(super) files: Vec<String>,
    pub(super) runs: Vec<Run>,
    /// Offsets that were passed over because the group's offset was set forwards by somebody else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gaps: Vec<Gap>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// partition, first offset, offset after the last, rows, dead letters, tombstones, bad records passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span(
    pub(super) i32,
    pub(super) i64,
    pub(super) i64,
    pub(super) [u64; 4],
);

/// partition, first offset passed over, offset after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gap(pub(super) i32, pub(super) i64, pub(super) i64);

/// Consecutive bytes of a file that are records of one partition, in the order of their offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RunFields", into = "RunFields")]
pub(super) struct Run {
    /// The file's place in [`Batch::files`].
    pub(super) file: usize,
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) partition: i32,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) rows: u64,
    /// CRC-32C of the bytes.
    pub(super) crc: u32,
}

/// A run as it stands in the file: without names, to keep the index short.
type RunFields = (usize, u64, u64, i32, i64, i64, u64, u32);

impl From<RunFields> for Run {
    fn from((file, start, len, partition, first, last, rows, crc): RunFields) -> Self {
        Self {
            file,
            start,
            len,
            partition,
            first,
            last,
            rows,
            crc,
        }
    }
}

impl From<Run> for RunFields {
    fn from(run: Run) -> Self {
        (
            run.file,
            run.start,
            run.len,
            run.partition,
            run.first,
            run.last,
            run.rows,
            run.crc,
        )
    }
}

impl Batch {
    /// The batch's line.
    pub(super) fn encode(&self) -> Result<Vec<u8>, SinkError> {
        let json =
            serde_json::to_vec(self).map_err(|error| SinkError::OutOfOrder(error.to_string()))?;
        let mut line = format!("{:08x} ", crc32c::crc32c(&json)).into_bytes();
        line.extend_from_slice(&json);
        line.push(b'\n');
        Ok(line)
    }

    /// Reads one line.
    pub(super) fn decode(path: &Path, line: &[u8]) -> Result<Self, SinkError> {
        let json = line
            .split_at_checked(9)
            .and_then(|(crc, rest)| {
                let crc =
                    u32::from_str_radix(std::str::from_utf8(crc).ok()?.strip_suffix(' ')?, 16)
                        .ok()?;
                let json = rest.strip_suffix(b"\n")?;
                (crc32c::crc32c(json) == crc).then_some(json)
            })
            .ok_or_else(|| SinkError::damaged(path, "the checksum of a line differs"))?;
        let batch: Self = serde_json::from_slice(json)
            .map_err(|error| SinkError::damaged(path, error.to_string()))?;
        if batch.runs.iter().any(|run| run.file >= batch.files.len()) {
            return Err(SinkError::damaged(path, "a run names no file"));
        }
        Ok(batch)
    }
}
