//! The list of closed files: what the checkpoint need not carry any more, because it does not change.
//!
//! Append-only, a line a file. So a checkpoint is as long as there are open files, however many there have been. The
//! last line of a name is the one that holds: a reset backwards opens a file again, and closes it another time.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::error::SinkError;
use super::checkpoint::FileState;
use crate::durable::{Fs, Lines};

pub(crate) const FILE: &str = "closed";

/// A file that takes no more lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) name: String,
    /// What was written into it, and its form.
    pub(crate) state: FileState,
    /// The file as it is on disk, when that is compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) packed: Option<Packed>,
    /// Nothing is left of it: a reset moved all its rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) emptied: bool,
}

/// Compressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Packed {
    pub(crate) len: u64,
    /// CRC-32C of them.
    pub(crate) crc: u32,
}

/// The first `end` bytes of the list, by name.
pub(crate) fn read(
    fs: &dyn Fs,
    state_directory: &Path,
    end: u64,
) -> Result<BTreeMap<String, Closed>, SinkError> {
    let lines = Lines::<Closed>::open(fs, &state_directory.join(FILE), end)?;
    lines
        .map(|line| {
            let (_, closed) = line?;
            Ok((closed.name.clone(), closed))
        })
        .collect()
}
