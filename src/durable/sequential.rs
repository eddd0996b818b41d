//! A file as a stream of bytes: read from its beginning up to an end, or written from its beginning on.

use std::io::{self, Read, Write};
use std::path::Path;

use super::fs::{Fs, FsFile};

/// A file, read or written from its beginning on.
pub(crate) struct Sequential {
    file: Option<Box<dyn FsFile>>,
    at: u64,
    end: u64,
}

impl Sequential {
    /// Reads no further than `end`.
    pub(crate) fn new(file: Box<dyn FsFile>, end: u64) -> Self {
        Self {
            file: Some(file),
            at: 0,
            end,
        }
    }

    /// No file, of which nothing is read.
    pub(crate) fn nothing() -> Self {
        Self {
            file: None,
            at: 0,
            end: 0,
        }
    }

    /// A file that is made, or emptied, and written.
    pub(crate) fn create(fs: &dyn Fs, path: &Path) -> io::Result<Self> {
        Ok(Self::new(fs.create(path)?, 0))
    }

    /// Makes what was written durable.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.sync())
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

impl Write for Sequential {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            file.write_at(self.at, bytes)?;
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
