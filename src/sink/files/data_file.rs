//! One file that takes lines: its append buffer, checksums and runs.
//!
//! Invariants. A row is complete in the buffer before the next begins. The checksums of the tail and of the last run
//! cover exactly what was written and `absorbed` bytes of the buffer.

use std::path::{Path, PathBuf};

use super::super::error::SinkError;
use super::super::model::Form;
use super::super::state::{Extent, FileState, Left, Skip};
use super::naming::Purpose;
use super::tail_checksum::TailChecksum;
use crate::durable::{Fs, FsFile};

/// The most rows of a run: an edited row is found to within so many.
const RUN_ROWS: u64 = 1000;

/// One file.
pub(in crate::sink) struct Output {
    pub(in crate::sink) name: String,
    pub(in crate::sink) purpose: Purpose,
    /// Whether the file has been made.
    pub(in crate::sink) created: bool,
    /// Bytes in the file, the buffer not counted.
    pub(in crate::sink) len: u64,
    /// The checksum of the last block of those.
    left: TailChecksum,
    buffer: Vec<u8>,
    absorbed: usize,
    tail: TailChecksum,
    /// CRC-32C of all that was absorbed since the file began.
    crc: u32,
    header: u32,
    begun: i64,
    pub(in crate::sink) written: i64,
    /// It takes no more lines.
    pub(in crate::sink) closing: bool,
    form: Form,
    /// What was written since the last batch.
    pub(in crate::sink) runs: Vec<Extent>,
    pub(in crate::sink) handle: Option<Box<dyn FsFile>>,
    dirty: bool,
    pub(in crate::sink) used: u64,
    zones: Zones,
}

/// Which kinds of timestamps a file has been given.
#[derive(Clone, Copy, Default)]
struct Zones {
    zoned: bool,
    zoneless: bool,
}

impl Output {
    /// A file that is continued.
    pub(in crate::sink) fn continued(name: String, purpose: Purpose, state: &FileState) -> Self {
        let tail = TailChecksum { crc: state.tail };
        Self {
            name,
            purpose,
            created: true,
            len: state.len,
            left: tail,
            buffer: Vec::new(),
            absorbed: 0,
            tail,
            crc: state.crc,
            header: state.header,
            begun: state.begun,
            written: state.written,
            closing: false,
            form: state.form,
            runs: Vec::new(),
            handle: None,
            dirty: false,
            used: 0,
            zones: Zones::default(),
        }
    }

    /// A file that is yet to be made, with its header; `now` is in seconds since 1970.
    pub(in crate::sink) fn new(
        name: String,
        purpose: Purpose,
        header: &[u8],
        form: Form,
        now: i64,
    ) -> Self {
        let state = FileState {
            header: crc32c::crc32c(header),
            begun: now,
            written: now,
            form,
            ..FileState::default()
        };
        let mut output = Self::continued(name, purpose, &state);
        output.created = false;
        output.buffer.extend_from_slice(header);
        output.absorb();
        output
    }

    /// Where the file is.
    pub(in crate::sink) fn place(&self) -> String {
        self.form.place(&self.name)
    }

    pub(in crate::sink) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(self.place())
    }

    /// Notes that the record's line comes next, and gives the buffer to append it to.
    #[inline]
    pub(in crate::sink) fn line(&mut self, partition: i32, offset: i64) -> &mut Vec<u8> {
        match self.runs.last_mut() {
            Some(run) if run.partition == partition && run.rows < RUN_ROWS && offset > run.last => {
                if offset != run.last + 1 {
                    run.skips.push(Skip(run.rows, offset - run.last - 1));
                }
                run.last = offset;
                run.rows += 1;
            }
            _ => self.begin_run(partition, offset),
        }
        &mut self.buffer
    }

    fn begin_run(&mut self, partition: i32, offset: i64) {
        self.absorb();
        let start = self.size();
        self.runs.push(Extent {
            file: 0,
            start,
            len: 0,
            partition,
            first: offset,
            last: offset,
            rows: 1,
            crc: 0,
            skips: Vec::new(),
        });
    }

    /// Whether both kinds of timestamps have now met in this file for the first time.
    #[inline]
    pub(in crate::sink) fn zones_meet(&mut self, zoned: bool) -> bool {
        let met = self.zones.zoned && self.zones.zoneless;
        if zoned {
            self.zones.zoned = true;
        } else {
            self.zones.zoneless = true;
        }
        !met && self.zones.zoned && self.zones.zoneless
    }

    /// Bytes that wait in the buffer.
    #[inline]
    pub(in crate::sink) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// What waits to be written out.
    pub(in crate::sink) fn waiting(&self) -> &[u8] {
        &self.buffer
    }

    /// Bytes of the file, with those that wait in the buffer.
    #[inline]
    pub(in crate::sink) fn size(&self) -> u64 {
        self.len + self.buffer.len() as u64
    }

    /// Whether the file has a line behind its header.
    pub(in crate::sink) fn has_lines(&self) -> bool {
        self.len > 0 || !self.runs.is_empty()
    }

    /// Brings the checksums up to date with the buffer.
    fn absorb(&mut self) {
        let fresh = self.buffer.get(self.absorbed..).unwrap_or_default();
        self.tail.extend(self.len + self.absorbed as u64, fresh);
        if let Some(run) = self.runs.last_mut() {
            run.crc = crc32c::crc32c_append(run.crc, fresh);
            run.len += fresh.len() as u64;
        }
        // Going over the bytes once more costs a tenth of combining checksums, even for a run of a thousand rows.
        self.crc = crc32c::crc32c_append(self.crc, fresh);
        self.absorbed = self.buffer.len();
    }

    /// What the checkpoint says of the file, once its buffer is written out.
    pub(in crate::sink) fn state(&self) -> FileState {
        FileState {
            len: self.len,
            tail: self.tail.crc,
            crc: self.crc,
            header: self.header,
            gone: false,
            begun: self.begun,
            written: self.written,
            closing: self.closing,
            form: self.form,
        }
    }

    /// The clock was set back: see [`FileState::not_after`].
    pub(in crate::sink) fn not_after(&mut self, now: i64) {
        let mut state = self.state();
        state.not_after(now);
        (self.begun, self.written) = (state.begun, state.written);
    }

    /// How the file was left, when somebody else writes into it.
    pub(in crate::sink) fn left(&self) -> Left {
        Left {
            len: self.len,
            tail: self.left.crc,
        }
    }

    /// Keeps the handle of the file, which has just been made.
    pub(in crate::sink) fn created(&mut self, handle: Box<dyn FsFile>) {
        // Its name is in its directory, and nothing is in it yet that could be synced.
        self.created = true;
        self.handle = Some(handle);
    }

    /// Opens the file.
    pub(in crate::sink) fn open(&mut self, fs: &dyn Fs, path: &Path) -> Result<(), SinkError> {
        self.handle = Some(
            fs.open_to_append(path)
                .map_err(SinkError::io("open", path))?,
        );
        Ok(())
    }

    /// Writes the buffer out; how many bytes that were. The file must be open, and as long as it was left.
    pub(in crate::sink) fn spill(&mut self, path: &Path) -> Result<usize, SinkError> {
        self.absorb();
        let Some(handle) = &mut self.handle else {
            return Ok(0);
        };
        let len = handle.len().map_err(SinkError::io("read", path))?;
        if len != self.len {
            return Err(SinkError::edited_length(path, len, self.len));
        }
        self.dirty = true;
        handle
            .write_at(self.len, &self.buffer)
            .map_err(SinkError::io("write", path))?;
        let written = self.buffer.len();
        self.len += written as u64;
        self.left = self.tail;
        self.buffer.clear();
        self.absorbed = 0;
        Ok(written)
    }

    /// Makes what was written durable.
    pub(in crate::sink) fn sync(&mut self, path: &Path) -> Result<(), SinkError> {
        if let (true, Some(handle)) = (self.dirty, &mut self.handle) {
            handle.sync().map_err(SinkError::io("sync", path))?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Gives the handle back, and the room of an empty buffer.
    pub(in crate::sink) fn shut(&mut self) {
        self.handle = None;
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }
}
