//! The files that are being written: their append buffers, checksums, runs, and a bounded number of open handles.
//!
//! Invariants. A row is complete in its file's buffer before the next begins. The checksums of the tail and of the last
//! run cover exactly what was written and `absorbed` bytes of the buffer. A handle is closed only when what went through
//! it is durable, because an error of writing back is reported to open handles alone.

use std::collections::HashMap;
use std::path::Path;

use super::checkpoint::FileState;
use super::error::SinkError;
use super::fs::{Fs, FsFile};
use super::index::{Run, Skip};
use super::naming::Purpose;
use super::tail::Tail;

/// When buffers are written out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A file's buffer from this many bytes on.
    pub(super) file: usize,
    /// All buffers when together they have this many bytes.
    pub(super) all: usize,
}

impl Limits {
    /// Large enough that the calls do not count; small enough that rows of very many dates in turn do not fill memory.
    pub(super) const DEFAULT: Self = Self {
        file: 128 * 1024,
        all: 8 * 1024 * 1024,
    };
}

/// The most rows of a run: an edited row is found to within so many.
const RUN_ROWS: u64 = 1000;

/// One file.
pub(super) struct Output {
    pub(super) name: String,
    pub(super) purpose: Purpose,
    /// Whether the file has been made.
    pub(super) created: bool,
    /// Bytes in the file, the buffer not counted.
    pub(super) len: u64,
    buffer: Vec<u8>,
    absorbed: usize,
    pub(super) tail: Tail,
    /// CRC-32C of all that was absorbed since the file began.
    pub(super) crc: u32,
    pub(super) header: u32,
    /// What was written since the last batch.
    pub(super) runs: Vec<Run>,
    handle: Option<Box<dyn FsFile>>,
    dirty: bool,
    used: u64,
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
    pub(super) fn continued(name: String, purpose: Purpose, state: &FileState) -> Self {
        Self {
            name,
            purpose,
            created: true,
            len: state.len,
            buffer: Vec::new(),
            absorbed: 0,
            tail: Tail { crc: state.tail },
            crc: state.crc,
            header: state.header,
            runs: Vec::new(),
            handle: None,
            dirty: false,
            used: 0,
            zones: Zones::default(),
        }
    }

    /// A file that is yet to be made, with its header.
    pub(super) fn new(name: String, purpose: Purpose, header: &[u8]) -> Self {
        let state = FileState {
            header: crc32c::crc32c(header),
            ..FileState::default()
        };
        let mut output = Self::continued(name, purpose, &state);
        output.created = false;
        output.buffer.extend_from_slice(header);
        output.absorb();
        output
    }

    /// Notes that the record's line comes next, and gives the buffer to append it to.
    #[inline]
    pub(super) fn line(&mut self, partition: i32, offset: i64) -> &mut Vec<u8> {
        match self.runs.last_mut() {
            Some(run) if run.partition == partition && run.rows < RUN_ROWS => {
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
        let start = self.len + self.buffer.len() as u64;
        self.runs.push(Run {
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
    pub(super) fn zones_meet(&mut self, zoned: bool) -> bool {
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
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
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
    pub(super) fn state(&self) -> FileState {
        FileState {
            len: self.len,
            tail: self.tail.crc,
            crc: self.crc,
            header: self.header,
            gone: false,
        }
    }

    fn sync(&mut self, path: &Path) -> Result<(), SinkError> {
        if let (true, Some(handle)) = (self.dirty, &mut self.handle) {
            handle.sync().map_err(SinkError::io("sync", path))?;
            self.dirty = false;
        }
        Ok(())
    }
}

/// What is to be written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    One,
    All,
}

/// All files that rows went to since the directory was opened or recovered.
pub(super) struct Outputs {
    pub(super) list: Vec<Output>,
    by_purpose: HashMap<Purpose, usize>,
    /// Rows of one day mostly follow one another.
    current: Option<(Purpose, usize)>,
    max_open: usize,
    limits: Limits,
    open: usize,
    tick: u64,
    buffered: usize,
}

impl Outputs {
    pub(super) fn new(max_open: usize, limits: Limits) -> Self {
        Self {
            list: Vec::new(),
            by_purpose: HashMap::new(),
            current: None,
            max_open: max_open.max(1),
            limits,
            open: 0,
            tick: 0,
            buffered: 0,
        }
    }

    /// Forgets all files, and what was not written out.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max_open, self.limits);
    }

    /// The file that takes the lines of a purpose now.
    #[inline]
    pub(super) fn find(&mut self, purpose: Purpose) -> Option<usize> {
        match self.current {
            Some((current, at)) if current == purpose => Some(at),
            _ => {
                let at = *self.by_purpose.get(&purpose)?;
                self.current = Some((purpose, at));
                Some(at)
            }
        }
    }

    /// Takes in a file.
    pub(super) fn add(&mut self, output: Output) -> usize {
        let at = self.list.len();
        self.by_purpose.insert(output.purpose, at);
        self.current = Some((output.purpose, at));
        self.buffered += output.buffer.len();
        self.list.push(output);
        at
    }

    /// Counts bytes that were appended to a file's buffer, and says what is due to be written out.
    #[inline]
    pub(super) fn grew(&mut self, at: usize, bytes: usize) -> Due {
        self.buffered += bytes;
        if self.buffered >= self.limits.all {
            Due::All
        } else if self
            .list
            .get(at)
            .is_some_and(|output| output.buffer.len() >= self.limits.file)
        {
            Due::One
        } else {
            Due::Nothing
        }
    }

    /// Files that have a name but are not made yet.
    pub(super) fn uncreated(&self) -> Vec<usize> {
        self.list
            .iter()
            .enumerate()
            .filter(|(_, output)| !output.created)
            .map(|(at, _)| at)
            .collect()
    }

    /// Keeps the handle of a file that has just been made.
    pub(super) fn created(
        &mut self,
        directory: &Path,
        at: usize,
        handle: Box<dyn FsFile>,
    ) -> Result<(), SinkError> {
        self.make_room(directory)?;
        self.tick += 1;
        if let Some(output) = self.list.get_mut(at) {
            output.created = true;
            output.used = self.tick;
            output.handle = Some(handle);
            // An empty file's name is in its directory, and its contents are due with the first sync.
            output.dirty = true;
            self.open += 1;
        }
        Ok(())
    }

    /// Writes a file's buffer out. The file must have been made.
    pub(super) fn spill(
        &mut self,
        fs: &dyn Fs,
        directory: &Path,
        at: usize,
    ) -> Result<(), SinkError> {
        let Some(output) = self.list.get_mut(at) else {
            return Ok(());
        };
        if output.buffer.is_empty() {
            return Ok(());
        }
        self.tick += 1;
        output.used = self.tick;
        if output.handle.is_none() {
            self.make_room(directory)?;
        }
        let Some(output) = self.list.get_mut(at) else {
            return Ok(());
        };
        let path = directory.join(&output.name);
        if output.handle.is_none() {
            let mut handle = fs.open(&path).map_err(SinkError::io("open", &path))?;
            let len = handle.len().map_err(SinkError::io("read", &path))?;
            if len != output.len {
                return Err(SinkError::edited(
                    &path,
                    format!("it is {len} bytes long and was {}", output.len),
                ));
            }
            output.handle = Some(handle);
            self.open += 1;
        }
        output.absorb();
        if let Some(handle) = &mut output.handle {
            handle
                .write_at(output.len, &output.buffer)
                .map_err(SinkError::io("write", &path))?;
        }
        output.dirty = true;
        output.len += output.buffer.len() as u64;
        self.buffered = self.buffered.saturating_sub(output.buffer.len());
        output.buffer.clear();
        output.absorbed = 0;
        Ok(())
    }

    /// Makes a file durable, and looks whether it still has its name and length.
    pub(super) fn sync(
        &mut self,
        fs: &dyn Fs,
        directory: &Path,
        at: usize,
    ) -> Result<(), SinkError> {
        let Some(output) = self.list.get_mut(at) else {
            return Ok(());
        };
        let path = directory.join(&output.name);
        output.sync(&path)?;
        match fs.len(&path).map_err(SinkError::io("read", &path))? {
            Some(len) if len == output.len => Ok(()),
            Some(len) => Err(SinkError::edited(
                &path,
                format!("it is {len} bytes long and was {}", output.len),
            )),
            None => Err(SinkError::edited(&path, "it is gone")),
        }
    }

    /// Closes the files that were written to longest ago, until one more may be opened.
    fn make_room(&mut self, directory: &Path) -> Result<(), SinkError> {
        while self.open >= self.max_open {
            let oldest = self
                .list
                .iter_mut()
                .filter(|output| output.handle.is_some())
                .min_by_key(|output| output.used);
            let Some(oldest) = oldest else { break };
            oldest.sync(&directory.join(&oldest.name))?;
            oldest.handle = None;
            if oldest.buffer.is_empty() {
                oldest.buffer = Vec::new();
            }
            self.open -= 1;
        }
        Ok(())
    }
}
