//! Compares files with what the index says was written into them.
//!
//! The runs of a file follow one another without a hole, and the index names them in that order, so each file is read
//! once, from its beginning on. Memory is one entry a file; few files are open at once. A compressed file is read when
//! all of its runs are known, as a whole ([`packed`](super::packed)).

use crate::verify::finding::Flaw;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::packed;
use crate::durable::{Fs, FsFile};
use crate::sink::state::closed_list;
use crate::sink::{Extent, FileState};

/// How many files are open at once: few, so that it works where `consume` does (`ulimit -n 64`).
const OPEN: usize = 16;
/// How much is read at once.
const CHUNK: usize = 256 * 1024;

/// How a file ought to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// What was written into it.
    pub(super) state: FileState,
    /// The file as it is on disk, when that is compressed.
    pub(crate) packed: Option<closed_list::Packed>,
}

/// What is wrong with a file beside its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// As it ought to be.
    Right,
    /// The header was changed, though every row is right.
    Header,
    /// So many bytes stand behind its last row.
    Longer(u64),
    /// It cannot be read.
    Unreadable(String),
    /// It is not there.
    Missing,
    /// Runs were wrong; that was said already.
    Flawed,
    /// It is compressed, and somewhere in it something is wrong.
    Packed,
}

struct Checked {
    due: Due,
    source: Option<Box<dyn FsFile>>,
    /// Up to where the runs have come, and the checksum of all before.
    end: u64,
    crc: u32,
    /// Lines of a compressed file, with its header.
    rows: u64,
    /// By how much rows stand elsewhere than they were written, since one was found to differ.
    shift: i64,
    /// It ended before a run did.
    short: bool,
    /// Why nothing of it can be read: it is not tried again.
    lost: Option<Flaw>,
    flawed: bool,
}

/// The files of a directory.
pub(super) struct Files<'f> {
    fs: &'f dyn Fs,
    directory: &'f Path,
    files: BTreeMap<String, Checked>,
    /// Those that are open, each with when it was last used: few, whatever there are of the others.
    open: Vec<(u64, String)>,
    tick: u64,
    buffer: Vec<u8>,
}

impl<'f> Files<'f> {
    pub(super) fn new(fs: &'f dyn Fs, directory: &'f Path, due: BTreeMap<String, Due>) -> Self {
        let checked = |due| Checked {
            due,
            source: None,
            end: 0,
            crc: 0,
            rows: 0,
            shift: 0,
            short: false,
            lost: None,
            flawed: false,
        };
        Self {
            fs,
            directory,
            files: due
                .into_iter()
                .map(|(name, due)| (name, checked(due)))
                .collect(),
            open: Vec::new(),
            tick: 0,
            buffer: vec![0; CHUNK],
        }
    }

    /// Compares the next run of a file.
    pub(super) fn check(&mut self, name: &str, run: &Extent) -> Option<Flaw> {
        let lost = self.files.get(name).and_then(|file| file.lost.as_ref());
        if lost.is_some() {
            return lost.cloned();
        }
        self.tick += 1;
        self.make_room(name);
        let Self {
            fs,
            directory,
            files,
            buffer,
            ..
        } = self;
        let Some(file) = files.get_mut(name) else {
            return Some(Flaw::Missing);
        };
        if file.due.packed.is_some() {
            file.note(run);
            return None;
        }
        let path = directory.join(file.due.state.form.place(name));
        if file.source.is_none() {
            let lost = match open(*fs, &path) {
                Ok(Some(source)) => {
                    file.source = Some(source);
                    self.open.push((self.tick, name.to_owned()));
                    None
                }
                Ok(None) => Some(Flaw::Missing),
                Err(error) => Some(Flaw::Unreadable(error.to_string())),
            };
            if lost.is_some() {
                file.flawed = true;
                file.lost.clone_from(&lost);
                return lost;
            }
        }
        let flaw = file.check(run, buffer);
        file.flawed |= flaw.is_some();
        flaw
    }

    /// What is left to be said of a file when all its runs were compared.
    pub(super) fn finish(&mut self) -> Vec<(String, Whole)> {
        let Self {
            fs,
            directory,
            files,
            buffer,
            ..
        } = self;
        let mut whole = |name: &str, file: &mut Checked| {
            let state = file.due.state;
            let path = directory.join(state.form.place(name));
            if file.flawed {
                return Whole::Flawed;
            }
            if file.due.packed.is_some() {
                return match packed::whole(*fs, &path, &state, buffer) {
                    Ok(None) => Whole::Missing,
                    Ok(Some(rows)) if file.holds(rows) => Whole::Right,
                    Ok(Some(_)) | Err(_) => Whole::Packed,
                };
            }
            let source = match file
                .source
                .take()
                .map_or_else(|| open(*fs, &path), |source| Ok(Some(source)))
            {
                Ok(Some(source)) => source,
                Ok(None) => return Whole::Missing,
                Err(error) => return Whole::Unreadable(error.to_string()),
            };
            file.source = Some(source);
            match file.rest(buffer) {
                Err(error) => Whole::Unreadable(error.to_string()),
                Ok(0) if file.crc == file.due.state.crc => Whole::Right,
                Ok(0) => Whole::Header,
                Ok(more) => Whole::Longer(more),
            }
        };
        let done = files.iter_mut().map(|(name, file)| {
            let whole = whole(name, file);
            file.source = None;
            (name.clone(), whole)
        });
        done.collect()
    }

    /// Notes that a file is used; closes the one that was not for the longest time, when this one is to be opened.
    fn make_room(&mut self, name: &str) {
        if let Some(open) = self.open.iter_mut().find(|open| open.1 == name) {
            open.0 = self.tick;
            return;
        }
        if self.open.len() < OPEN {
            return;
        }
        let open = self.open.iter().enumerate();
        let oldest = open.min_by_key(|(_, (used, _))| *used);
        if let Some((place, _)) = oldest {
            let (_, oldest) = self.open.swap_remove(place);
            if let Some(file) = self.files.get_mut(&oldest) {
                file.source = None;
            }
        }
    }
}

fn open(fs: &dyn Fs, path: &Path) -> io::Result<Option<Box<dyn FsFile>>> {
    if fs.len(path)?.is_none() {
        return Ok(None);
    }
    fs.open_to_read(path).map(Some)
}

impl Checked {
    /// Takes a run in without looking into the file.
    fn note(&mut self, run: &Extent) {
        if self.end == 0 {
            self.crc = self.due.state.header;
            self.rows = 1;
        }
        let size = usize::try_from(run.len).unwrap_or(usize::MAX);
        self.crc = crc32c::crc32c_combine(self.crc, run.crc, size);
        self.rows += run.rows;
        self.end = run.start + run.len;
    }

    /// Whether a file of so many lines that is as its state says is what the runs say, too.
    fn holds(&self, rows: u64) -> bool {
        self.end == 0 || (self.crc, self.rows) == (self.due.state.crc, rows)
    }

    fn check(&mut self, run: &Extent, buffer: &mut [u8]) -> Option<Flaw> {
        if self.end == 0 {
            // What stands before the first run is the header.
            match self.crc_of(0, run.start, buffer) {
                Ok(Some((crc, _))) => self.crc = crc,
                Ok(None) => return Some(Flaw::Short),
                Err(error) => return Some(Flaw::Unreadable(error.to_string())),
            }
        }
        self.end = run.start + run.len;
        let start = run.start.saturating_add_signed(self.shift);
        match self.crc_of(start, run.len, buffer) {
            Ok(Some((crc, rows))) if crc == run.crc && rows == run.rows => {
                let size = usize::try_from(run.len).unwrap_or(usize::MAX);
                self.crc = crc32c::crc32c_combine(self.crc, crc, size);
                None
            }
            Ok(found) => {
                // When the file became longer or shorter here, what follows stands elsewhere.
                if let (0, Some(file)) = (self.shift, &mut self.source) {
                    let len = file.len().unwrap_or_default();
                    self.shift = len
                        .cast_signed()
                        .saturating_sub(self.due.state.len.cast_signed());
                }
                // Where a file was cut off, nothing that follows was edited.
                self.short |= found.is_none();
                Some(if self.short {
                    Flaw::Short
                } else {
                    Flaw::Differs
                })
            }
            Err(error) => Some(Flaw::Unreadable(error.to_string())),
        }
    }

    /// CRC-32C and line ends of so many bytes; `None` when the file ends before.
    fn crc_of(
        &mut self,
        start: u64,
        len: u64,
        buffer: &mut [u8],
    ) -> io::Result<Option<(u32, u64)>> {
        let (mut crc, mut rows, mut left) = (0, 0, len);
        let mut at = start;
        while left > 0 {
            let size = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let bytes = buffer.get_mut(..size).unwrap_or_default();
            match self.read(at, bytes) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read?,
            }
            crc = crc32c::crc32c_append(crc, bytes);
            rows += memchr::memchr_iter(b'\n', bytes).count() as u64;
            at += size as u64;
            left -= size as u64;
        }
        Ok(Some((crc, rows)))
    }

    fn read(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        match &mut self.source {
            None => Err(io::ErrorKind::NotFound.into()),
            Some(file) => file.read_at(at, bytes),
        }
    }

    /// How many bytes stand behind the last run. A file without runs is its header.
    fn rest(&mut self, buffer: &mut [u8]) -> io::Result<u64> {
        if self.end == 0 {
            if let Some((crc, _)) = self.crc_of(0, self.due.state.len, buffer)? {
                self.crc = crc;
            }
            self.end = self.due.state.len;
        }
        match &mut self.source {
            Some(file) => Ok(file.len()?.saturating_sub(self.end)),
            None => Ok(0),
        }
    }
}
