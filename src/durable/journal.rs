//! Append-only state files: a line an entry, with a CRC-32C in hexadecimal, a space, and JSON.
//!
//! A line is made durable before the checkpoint that names the new length; whatever stands behind that length is the
//! rest of a process that was stopped, and is cut away.

use std::io::{self, BufRead, BufReader};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::DurableError;
use super::fs::{Fs, FsFile};
use super::sequential::Sequential;

/// One line.
pub(crate) fn encode<T: Serialize>(entry: &T) -> serde_json::Result<Vec<u8>> {
    let json = serde_json::to_vec(entry)?;
    let mut line = format!("{:08x} ", crc32c::crc32c(&json)).into_bytes();
    line.extend_from_slice(&json);
    line.push(b'\n');
    Ok(line)
}

/// Reads one line.
pub(crate) fn decode<T: DeserializeOwned>(path: &Path, line: &[u8]) -> Result<T, DurableError> {
    let json = line
        .split_at_checked(9)
        .and_then(|(crc, rest)| {
            let crc =
                u32::from_str_radix(std::str::from_utf8(crc).ok()?.strip_suffix(' ')?, 16).ok()?;
            let json = rest.strip_suffix(b"\n")?;
            (crc32c::crc32c(json) == crc).then_some(json)
        })
        .ok_or_else(|| DurableError::damaged(path, "the checksum of a line differs"))?;
    serde_json::from_slice(json).map_err(|error| DurableError::damaged(path, error.to_string()))
}

/// Opens a state file for appending, and makes it when it is not there.
pub(crate) fn open_to_write(fs: &dyn Fs, path: &Path) -> io::Result<Box<dyn FsFile>> {
    let file = if fs.len(path)?.is_some() {
        fs.open(path)?
    } else {
        fs.create_new(path)?
    };
    // Its name must not become durable later than the checkpoint that relies on it.
    fs.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
    Ok(file)
}

/// The lines of a file, one after the other, each with the byte at which it begins.
pub(crate) struct Lines<T> {
    path: PathBuf,
    reader: BufReader<Sequential>,
    at: u64,
    end: u64,
    entry: PhantomData<T>,
}

impl<T> Lines<T> {
    /// Reads the first `end` bytes; a file of that length need not be there when `end` is 0.
    pub(crate) fn open(fs: &dyn Fs, path: &Path, end: u64) -> Result<Self, DurableError> {
        let open = || -> io::Result<_> {
            if end == 0 {
                return Ok((Sequential::nothing(), 0));
            }
            let mut file = fs.open_to_read(path)?;
            let len = file.len()?;
            Ok((Sequential::new(file, end), len))
        };
        let (reader, len) = open().map_err(DurableError::io("read", path))?;
        if len < end {
            return Err(DurableError::damaged(
                path,
                format!("it is {len} bytes long and was {end}"),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(64 * 1024, reader),
            at: 0,
            end,
            entry: PhantomData,
        })
    }
}

impl<T: DeserializeOwned> Iterator for Lines<T> {
    type Item = Result<(u64, T), DurableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let at = self.at;
        let mut line = Vec::new();
        let read = self.reader.read_until(b'\n', &mut line);
        self.at += line.len() as u64;
        let entry = match read {
            Err(error) => Err(DurableError::io("read", &self.path)(error)),
            Ok(_) => decode(&self.path, &line).map(|entry| (at, entry)),
        };
        Some(entry.inspect_err(|_| self.at = self.end))
    }
}
