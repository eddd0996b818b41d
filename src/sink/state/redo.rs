//! Carries a recovery plan out, so that being stopped half-way does no harm.
//!
//! What is to be done to each file (where to cut it, which bytes to append again) and the checkpoint that is true
//! afterwards are one record. It is made durable before the first file is touched, and removed after the last one; who
//! finds it does all of it again, and every step may be done twice.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::error::SinkError;
use super::checkpoint::Checkpoint;
use crate::durable::{Fs, envelope};

pub(crate) const FILE: &str = "redo";

/// What is done to one file; names are relative to the output directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// The file goes.
    Remove { name: String },
    /// The file is made if it is missing and `cut` is 0, cut, and the next `append` bytes are appended.
    Write { name: String, cut: u64, append: u64 },
    /// The file `from`, which was made durable before, takes the name `to`; when it is not there, it has done so already.
    Replace { from: String, to: String },
}

/// All that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Redo {
    pub(crate) steps: Vec<Step>,
    pub(crate) checkpoint: Checkpoint,
    /// What the steps append, one after the other; it stands behind the record's JSON.
    #[serde(skip)]
    pub(crate) bytes: Vec<u8>,
}

impl Redo {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, SinkError> {
        let mut body = serde_json::to_vec(self)?;
        body.push(b'\n');
        body.extend_from_slice(&self.bytes);
        Ok(envelope::seal(FILE, &body))
    }

    pub(crate) fn decode(path: &Path, sealed: &[u8]) -> Result<Self, SinkError> {
        let body =
            envelope::unseal(FILE, sealed).map_err(|found| SinkError::damaged(path, found))?;
        let damaged = || SinkError::damaged(path, "its bytes are not all there");
        let (json, bytes) = body.split_at(memchr::memchr(b'\n', body).ok_or_else(damaged)?);
        let mut redo: Self = serde_json::from_slice(json)
            .map_err(|error| SinkError::damaged(path, error.to_string()))?;
        redo.bytes = bytes.get(1..).unwrap_or_default().to_vec();
        Ok(redo)
    }

    /// Makes the record durable.
    pub(crate) fn write(&self, fs: &dyn Fs, state_directory: &Path) -> Result<(), SinkError> {
        Ok(envelope::replace(
            fs,
            state_directory,
            FILE,
            &self.encode()?,
        )?)
    }

    /// Does all steps, durably, puts the new checkpoint in place, and removes the record.
    pub(crate) fn apply(
        &self,
        fs: &dyn Fs,
        directory: &Path,
        state_directory: &Path,
    ) -> Result<(), SinkError> {
        let mut bytes = &self.bytes[..];
        let mut touched = BTreeSet::new();
        for step in &self.steps {
            match step {
                Step::Remove { name } => {
                    let path = directory.join(name);
                    touched.extend(path.parent().map(Path::to_owned));
                    fs.remove(&path).map_err(SinkError::io("remove", &path))?;
                }
                Step::Replace { from, to } => {
                    let (from, to) = (directory.join(from), directory.join(to));
                    touched.extend(
                        [&from, &to]
                            .into_iter()
                            .filter_map(|path| path.parent().map(Path::to_owned)),
                    );
                    if fs
                        .len(&from)
                        .map_err(SinkError::io("read", &from))?
                        .is_some()
                    {
                        fs.rename(&from, &to)
                            .map_err(SinkError::io("replace", &to))?;
                    }
                }
                Step::Write { name, cut, append } => {
                    let path = directory.join(name);
                    touched.extend(path.parent().map(Path::to_owned));
                    let len = usize::try_from(*append).unwrap_or(usize::MAX);
                    let (now, rest) = bytes.split_at_checked(len).ok_or_else(|| {
                        SinkError::damaged(
                            &state_directory.join(FILE),
                            "its bytes are not all there",
                        )
                    })?;
                    bytes = rest;
                    write(fs, &path, *cut, now)?;
                }
            }
        }
        for path in &touched {
            fs.sync_dir(path).map_err(SinkError::io("sync", path))?;
        }
        self.checkpoint.write(fs, state_directory)?;
        let path = state_directory.join(FILE);
        fs.remove(&path)
            .and_then(|()| fs.sync_dir(state_directory))
            .map_err(SinkError::io("remove", &path))
    }
}

/// Cuts a file and appends to it.
fn write(fs: &dyn Fs, path: &Path, cut: u64, bytes: &[u8]) -> Result<(), SinkError> {
    let open = || match fs.len(path)? {
        None if cut == 0 => Ok((0, fs.create_new(path)?)),
        _ => {
            let mut file = fs.open(path)?;
            Ok((file.len()?, file))
        }
    };
    let (len, mut file) = open().map_err(SinkError::io("open", path))?;
    if len < cut {
        return Err(SinkError::edited(
            path,
            format!("it is {len} bytes long and was {cut} at least"),
        ));
    }
    let mut change = || {
        if len > cut {
            file.set_len(cut)?;
        }
        if !bytes.is_empty() {
            file.write_at(cut, bytes)?;
        }
        file.sync()
    };
    change().map_err(SinkError::io("cut", path))
}
