//! Takes a data file apart into the rows that stay and those that go, each written anew beside it.
//!
//! The runs of the file come one after the other, as the index has them. What stands before the first row that goes is
//! copied as it is; from there on every run is checked before it is taken over.

use std::io::{self, Read, Write};
use std::path::Path;

use super::super::Sink;
use super::super::error::SinkError;
use super::super::files::{compression, is_letters};
use super::super::state::{Extent, FileState};
use super::rewrite;
use super::staged_file::Anew;

/// A file that is being taken apart.
pub(in crate::sink) struct Split<'f> {
    path: &'f Path,
    is_letters: bool,
    source: Box<dyn Read + Send>,
    kept: Anew,
    moved: Anew,
    /// How far the file is read; `None` until the first row that goes.
    at: Option<u64>,
    /// How many rows go.
    rows: u64,
    /// Whether a row stays.
    any_left: bool,
    buffer: Vec<u8>,
}

/// A file that was taken apart; both halves are durable.
pub(in crate::sink) struct Halves {
    /// Where the half is that stays, relative to the output directory; `None` when no row does.
    pub(in crate::sink) kept: Option<String>,
    /// Where the half is that goes.
    pub(in crate::sink) moved: String,
    /// How many rows go.
    pub(in crate::sink) rows: u64,
    /// What the checkpoint says of a file with the bytes that stay.
    pub(in crate::sink) state: FileState,
}

impl<'f> Split<'f> {
    /// Begins with the file at `path`, which has that name; `number` tells its halves from those of others.
    pub(in crate::sink) fn begin(
        sink: &Sink,
        number: usize,
        name: &str,
        path: &'f Path,
        state: &FileState,
    ) -> Result<Self, SinkError> {
        let open = || {
            Ok(Self {
                path,
                is_letters: is_letters(name),
                source: compression::open(&*sink.fs, path, state.form)?,
                kept: Anew::create(sink, &format!("{number}.kept"))?,
                moved: Anew::create(sink, &format!("{number}.moved"))?,
                at: None,
                rows: 0,
                any_left: false,
                buffer: Vec::new(),
            })
        };
        open().map_err(trouble(path))
    }

    /// Takes the next run, of which the first `stay` rows stay (`None`: all), and makes it what is left of it; a run of
    /// no rows when nothing is.
    pub(in crate::sink) fn run(
        &mut self,
        run: &mut Extent,
        stay: Option<u64>,
    ) -> Result<(), SinkError> {
        let at = match self.at {
            Some(at) => at,
            None if stay.is_none() => {
                self.any_left = true;
                return Ok(());
            }
            None => {
                self.copy_before(run.start).map_err(trouble(self.path))?;
                run.start
            }
        };
        if run.start != at {
            return Err(SinkError::damaged(
                self.path,
                format!("its runs do not meet at byte {at}"),
            ));
        }
        self.read(run)?;
        self.at = Some(at + run.len);
        let rows = stay.unwrap_or(run.rows);
        let (stays, goes) = self
            .buffer
            .split_at_checked(line_end(&self.buffer, rows))
            .unwrap_or((&self.buffer, &[]));
        let start = self.kept.len;
        let mut write = || {
            self.moved.write_all(goes)?;
            self.kept.write_all(stays)
        };
        write().map_err(trouble(self.path))?;
        self.rows += run.rows - rows;
        if rows == 0 {
            run.rows = 0;
        } else {
            self.any_left = true;
            *run = Extent {
                start,
                ..rewrite::head(run, rows, stays.len() as u64, crc32c::crc32c(stays))
            };
        }
        Ok(())
    }

    /// Header and rows before the first that goes: as they are.
    fn copy_before(&mut self, start: u64) -> io::Result<()> {
        let ahead = usize::try_from(start).unwrap_or(usize::MAX);
        let header = self.kept.copy(&mut self.source, ahead)?;
        if self.is_letters {
            self.any_left |= ahead > 0;
            return Ok(());
        }
        self.any_left |= ahead > header.len();
        self.moved.write_all(&header)
    }

    /// Reads a run's rows, and looks whether they are as they were written.
    fn read(&mut self, run: &Extent) -> Result<(), SinkError> {
        self.buffer
            .resize(usize::try_from(run.len).unwrap_or(usize::MAX), 0);
        self.source
            .read_exact(&mut self.buffer)
            .map_err(trouble(self.path))?;
        if crc32c::crc32c(&self.buffer) == run.crc {
            return Ok(());
        }
        Err(SinkError::edited(
            self.path,
            format!(
                "the rows of partition {}, offsets {} to {}, differ",
                run.partition, run.first, run.last
            ),
        ))
    }

    /// Makes both halves durable, but for their names. `state` is what the checkpoint said of the file.
    pub(in crate::sink) fn finish(self, state: &FileState) -> Result<Halves, SinkError> {
        let state = FileState {
            len: self.kept.len,
            crc: self.kept.crc,
            tail: self.kept.tail.crc,
            ..*state
        };
        let kept = self.kept.finish().map_err(trouble(self.path))?;
        let moved = self.moved.finish().map_err(trouble(self.path))?;
        Ok(Halves {
            kept: self.any_left.then_some(kept),
            moved,
            rows: self.rows,
            state,
        })
    }
}

fn trouble(path: &Path) -> impl FnOnce(io::Error) -> SinkError {
    SinkError::io("write anew", path)
}

/// Where the line `rows` ends, counted from 1.
fn line_end(bytes: &[u8], rows: u64) -> usize {
    let Some(before) = rows.checked_sub(1) else {
        return 0;
    };
    let nth = usize::try_from(before).unwrap_or(usize::MAX);
    memchr::memchr_iter(b'\n', bytes)
        .nth(nth)
        .map_or(bytes.len(), |end| end + 1)
}
