//! A file, read from its beginning on.

use std::io::{self, Read};

use super::fs::FsFile;

/// A file, read from its beginning on.
pub(super) struct Sequential {
    file: Option<Box<dyn FsFile>>,
    at: u64,
    end: u64,
}

impl Sequential {
    /// Reads no further than `end`.
    pub(super) fn new(file: Box<dyn FsFile>, end: u64) -> Self {
        Self {
            file: Some(file),
            at: 0,
            end,
        }
    }

    /// No file, of which nothing is read.
    pub(super) fn nothing() -> Self {
        Self {
            file: None,
            at: 0,
            end: 0,
        }
    }
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let size = buffer.len().min(left);
        let Some(file) = self.file.as_mut().filter(|_| size > 0) else {
            return Ok(0);
        };
        file.read_at(self.at, buffer.get_mut(..size).unwrap_or_default())?;
        self.at += size as u64;
        Ok(size)
    }
}
