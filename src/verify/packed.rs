//! Reads compressed files, each as a whole: a look at every run by itself would unpack it again and again.
//!
//! The checksum of what a file holds is that of its runs put together, so one that agrees speaks for all of them. Only
//! when it does not agree is the file read along its runs, to say where.

use std::io::{self, Read};
use std::path::Path;

use super::finding::Flaw;
use crate::durable::Fs;
use crate::sink::files::compression;
use crate::sink::{Extent, FileState};

/// Reads a file to its end; how many lines it holds when it holds what was written, and `None` when it is not there. How it is
/// compressed does not matter: somebody may have packed it again, and every row is as it was written.
pub(super) fn whole(
    fs: &dyn Fs,
    path: &Path,
    state: &FileState,
    buffer: &mut [u8],
) -> io::Result<Option<u64>> {
    if fs.len(path)?.is_none() {
        return Ok(None);
    }
    let differs = || io::Error::from(io::ErrorKind::InvalidData);
    let mut content = compression::open(fs, path, state.form)?;
    let (mut found, mut size, mut lines) = (0, 0, 0);
    loop {
        let read = compression::fill(&mut content, buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        found = crc32c::crc32c_append(found, bytes);
        size += read as u64;
        lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        if size > state.len {
            return Err(differs());
        }
    }
    if (size, found) == (state.len, state.crc) {
        Ok(Some(lines))
    } else {
        Err(differs())
    }
}

/// A file that is read along its runs.
pub(super) struct Along {
    content: Box<dyn Read + Send>,
    at: u64,
    ended: bool,
}

impl Along {
    pub(super) fn open(fs: &dyn Fs, path: &Path, state: &FileState) -> io::Result<Self> {
        Ok(Self {
            content: compression::open(fs, path, state.form)?,
            at: 0,
            ended: false,
        })
    }

    /// Compares the next run; `None` when it is right, or nothing can be read any more and that was said.
    pub(super) fn check(&mut self, run: &Extent, buffer: &mut [u8]) -> Option<Flaw> {
        if self.ended {
            return Some(Flaw::Short);
        }
        let ahead = run.start.saturating_sub(self.at);
        let read = self
            .take(ahead, buffer)
            .and_then(|_| self.take(run.len, buffer));
        match read {
            Ok((crc, rows)) if (crc, rows) == (run.crc, run.rows) => None,
            Ok(_) => Some(Flaw::Differs),
            Err(error) => {
                self.ended = true;
                Some(match error.kind() {
                    io::ErrorKind::UnexpectedEof => Flaw::Short,
                    _ => Flaw::Unreadable(error.to_string()),
                })
            }
        }
    }

    /// CRC-32C and line ends of the next so many bytes.
    fn take(&mut self, len: u64, buffer: &mut [u8]) -> io::Result<(u32, u64)> {
        let (mut crc, mut rows, mut left) = (0, 0, len);
        while left > 0 {
            let size = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let bytes = buffer.get_mut(..size).unwrap_or_default();
            self.content.read_exact(bytes)?;
            crc = crc32c::crc32c_append(crc, bytes);
            rows += memchr::memchr_iter(b'\n', bytes).count() as u64;
            left -= size as u64;
        }
        self.at += len;
        Ok((crc, rows))
    }
}
