//! The files that take lines, with a bounded number of open handles.
//!
//! Invariant: a handle is closed only when what went through it is durable, because an error of writing back is
//! reported to open handles alone.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::super::error::SinkError;
use super::data_file::Output;
use super::naming::Purpose;
use crate::durable::{Fs, FsFile};

/// When buffers are written out.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink) struct Limits {
    /// A file's buffer from this many bytes on.
    pub(in crate::sink) file: usize,
    /// All buffers when together they have this many bytes.
    pub(in crate::sink) all: usize,
}

impl Limits {
    /// Large enough that the calls do not count; small enough that rows of very many dates in turn do not fill memory.
    pub(in crate::sink) const DEFAULT: Self = Self {
        file: 128 * 1024,
        all: 8 * 1024 * 1024,
    };
}

/// What is to be written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink) enum Due {
    Nothing,
    One,
    All,
}

/// All files that lines went to since the directory was opened or recovered, but for those that are closed.
pub(in crate::sink) struct OpenFiles {
    pub(in crate::sink) list: Vec<Output>,
    by_purpose: HashMap<Purpose, usize>,
    /// Rows of one day mostly follow one another.
    current: Option<(Purpose, usize)>,
    max_open: usize,
    limits: Limits,
    /// Those with a handle, the one that was written to longest ago first.
    open: BTreeMap<u64, usize>,
    tick: u64,
    buffered: usize,
    /// Bytes of lines since the last batch.
    pub(in crate::sink) unflushed: u64,
    /// Those that are not made yet.
    uncreated: Vec<usize>,
}

impl OpenFiles {
    pub(in crate::sink) fn new(max_open: usize, limits: Limits) -> Self {
        Self {
            list: Vec::new(),
            by_purpose: HashMap::new(),
            current: None,
            max_open: max_open.max(1),
            limits,
            open: BTreeMap::new(),
            tick: 0,
            buffered: 0,
            unflushed: 0,
            uncreated: Vec::new(),
        }
    }

    /// Forgets all files, and what was not written out.
    pub(in crate::sink) fn clear(&mut self) {
        *self = Self::new(self.max_open, self.limits);
    }

    /// The file that takes the lines of a purpose now.
    #[inline]
    pub(in crate::sink) fn find(&mut self, purpose: Purpose) -> Option<usize> {
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
    pub(in crate::sink) fn add(&mut self, output: Output) -> usize {
        let at = self.list.len();
        self.by_purpose.insert(output.purpose, at);
        self.current = Some((output.purpose, at));
        self.buffered += output.buffered();
        if !output.created {
            self.uncreated.push(at);
        }
        self.list.push(output);
        at
    }

    /// Lets a file take no more lines.
    pub(in crate::sink) fn end(&mut self, at: usize) {
        if let Some(output) = self.list.get_mut(at) {
            output.closing = true;
            self.by_purpose.remove(&output.purpose);
            self.current = None;
        }
    }

    /// Drops files that take no more lines and of which nothing waits for a batch. Their handles have been synced.
    pub(in crate::sink) fn retire(&mut self) {
        let done = |output: &Output| output.closing && output.runs.is_empty();
        if !self.list.iter().any(done) {
            return;
        }
        self.list.retain(|output| !done(output));
        self.current = None;
        let places = || self.list.iter().enumerate();
        self.by_purpose = places()
            .filter(|(_, output)| !output.closing)
            .map(|(at, output)| (output.purpose, at))
            .collect();
        self.open = places()
            .filter(|(_, output)| output.handle.is_some())
            .map(|(at, output)| (output.used, at))
            .collect();
        self.uncreated = places()
            .filter(|(_, output)| !output.created)
            .map(|(at, _)| at)
            .collect();
    }

    /// Counts bytes that were appended to a file's buffer, and says what is due to be written out.
    #[inline]
    pub(in crate::sink) fn grew(&mut self, at: usize, bytes: usize) -> Due {
        self.buffered += bytes;
        self.unflushed += bytes as u64;
        if self.buffered >= self.limits.all {
            Due::All
        } else if self
            .list
            .get(at)
            .is_some_and(|output| output.buffered() >= self.limits.file)
        {
            Due::One
        } else {
            Due::Nothing
        }
    }

    /// Files that have a name but are not made yet.
    pub(in crate::sink) fn uncreated(&self) -> &[usize] {
        &self.uncreated
    }

    /// Keeps the handle of a file that has just been made.
    pub(in crate::sink) fn created(
        &mut self,
        directory: &Path,
        at: usize,
        handle: Box<dyn FsFile>,
    ) -> Result<(), SinkError> {
        self.make_room(directory)?;
        self.uncreated.retain(|other| *other != at);
        if let Some(output) = self.list.get_mut(at) {
            output.created(handle);
        }
        self.touch(at);
        Ok(())
    }

    /// Notes that a file with a handle is used now.
    fn touch(&mut self, at: usize) {
        self.tick += 1;
        if let Some(output) = self.list.get_mut(at) {
            self.open.remove(&output.used);
            output.used = self.tick;
            self.open.insert(self.tick, at);
        }
    }

    /// Writes a file's buffer out. The file must have been made.
    pub(in crate::sink) fn spill(
        &mut self,
        fs: &dyn Fs,
        directory: &Path,
        at: usize,
    ) -> Result<(), SinkError> {
        let waits = |output: &&mut Output| output.buffered() > 0;
        let Some(output) = self.list.get_mut(at).filter(waits) else {
            return Ok(());
        };
        let path = output.path(directory);
        if output.handle.is_none() {
            self.make_room(directory)?;
            if let Some(output) = self.list.get_mut(at) {
                output.open(fs, &path)?;
            }
        }
        self.touch(at);
        if let Some(output) = self.list.get_mut(at) {
            self.buffered = self.buffered.saturating_sub(output.spill(&path)?);
        }
        Ok(())
    }

    /// Makes a file durable, and looks whether it still has its name and length.
    pub(in crate::sink) fn sync(
        &mut self,
        fs: &dyn Fs,
        directory: &Path,
        at: usize,
    ) -> Result<(), SinkError> {
        let Some(output) = self.list.get_mut(at) else {
            return Ok(());
        };
        let path = output.path(directory);
        output.sync(&path)?;
        match fs.len(&path).map_err(SinkError::io("read", &path))? {
            Some(len) if len == output.len => Ok(()),
            Some(len) => Err(match fs.no_file(&path) {
                Some(what) => SinkError::Replaced { path, what },
                None => SinkError::edited_length(&path, len, output.len),
            }),
            None => Err(SinkError::edited(&path, "it is gone")),
        }
    }

    /// Closes the files that were written to longest ago, until one more may be opened.
    fn make_room(&mut self, directory: &Path) -> Result<(), SinkError> {
        while self.open.len() >= self.max_open {
            let Some((_, at)) = self.open.pop_first() else {
                break;
            };
            if let Some(oldest) = self.list.get_mut(at) {
                oldest.sync(&oldest.path(directory))?;
                oldest.shut();
            }
        }
        Ok(())
    }
}
