//! Compresses closed files, beside the sink: it needs no lock of it, and stops when it is told to.
//!
//! A file is compressed into `.stockflow/staged/` and made durable there. The sink then gives it its name and takes the
//! plain one away ([`seal`](super::close)). Whoever is stopped in between begins again: the plain file is there until the
//! list of closed files says that the compressed one is.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::error::SinkError;
use super::super::model::{Form, STATE_DIRECTORY};
use super::super::state::{FileState, closed_list};
use super::compression::{self, Compressor};
use crate::durable::{Fs, Sequential};

/// Where files are written before they get their names, in the sidecar.
pub(in crate::sink) const STAGED: &str = "staged";

/// How much is compressed at once, and between two looks at whether to stop.
const CHUNK: usize = 1 << 20;

/// How much one piece of work compresses before what is done gets its names.
const ENOUGH: u64 = 256 << 20;

/// Files that are to be compressed.
pub struct Packing {
    pub(in crate::sink) fs: Arc<dyn Fs>,
    pub(in crate::sink) directory: PathBuf,
    pub(in crate::sink) files: Vec<Candidate>,
}

/// A file that is to be compressed, or was.
#[derive(Clone, Debug)]
pub(in crate::sink) struct Candidate {
    pub(in crate::sink) name: String,
    /// As it was when that was decided.
    pub(in crate::sink) state: FileState,
    /// What it is to become.
    pub(in crate::sink) form: Form,
}

/// Files that were compressed, for [`Sink::packed`](crate::sink::Sink::packed).
pub struct Packed {
    pub(in crate::sink) files: Vec<(Candidate, Outcome)>,
}

impl Packed {
    /// Whether there was no time for a single file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// What became of a file.
#[derive(Debug)]
pub(in crate::sink) enum Outcome {
    /// It is compressed, in the sidecar.
    Staged(closed_list::Packed),
    /// Somebody else's file has the name.
    Taken,
    /// It cannot be read or written, or is not what was written.
    Failed(SinkError),
}

impl Packing {
    /// Compresses until all is done, or enough, or `stop` says so, or something is wrong, which
    /// [`Sink::packed`](crate::sink::Sink::packed) says then. Blocks; may take minutes.
    pub fn run(self, stop: impl Fn() -> bool) -> Packed {
        let mut packed = Packed { files: Vec::new() };
        let mut done = 0;
        for candidate in &self.files {
            if done >= ENOUGH {
                break;
            }
            let outcome = match self.pack(candidate, &stop) {
                Ok(Some(outcome)) => outcome,
                other => {
                    // A part of a file is of no use, and may be what the disk lacks room for.
                    let staged = staged(candidate.form, &candidate.name);
                    let _ = self.fs.remove(&self.directory.join(staged));
                    match other {
                        Err(error) => Outcome::Failed(error),
                        Ok(_) => break,
                    }
                }
            };
            let failed = matches!(outcome, Outcome::Failed(_));
            packed.files.push((candidate.clone(), outcome));
            if failed {
                break;
            }
            done += candidate.state.len;
        }
        packed
    }

    /// One file; `None` when it was stopped.
    fn pack(
        &self,
        candidate: &Candidate,
        stop: &impl Fn() -> bool,
    ) -> Result<Option<Outcome>, SinkError> {
        let Candidate { name, state, form } = candidate;
        let there = self.directory.join(form.place(name));
        if self
            .fs
            .len(&there)
            .map_err(SinkError::io("read", &there))?
            .is_some()
        {
            return Ok(Some(Outcome::Taken));
        }
        let path = self.directory.join(state.form.place(name));
        let io = |error| SinkError::io("compress", &path)(error);
        let mut file = self.fs.open_to_read(&path).map_err(io)?;
        let len = file.len().map_err(io)?;
        if len != state.len {
            return Err(SinkError::edited_length(&path, len, state.len));
        }
        let mut source = Sequential::new(file, len);
        let staged = self.directory.join(staged(*form, name));
        let create = || -> io::Result<_> {
            let above = staged.parent().unwrap_or(Path::new("."));
            self.fs.create_dir_all(above)?;
            Sequential::create(&*self.fs, &staged)
        };
        let to_staged = |error| SinkError::io("write", &staged)(error);
        let drain = Measured::new(create().map_err(to_staged)?);
        let mut compressor = Compressor::new(*form, drain);
        let (mut chunk, mut crc) = (vec![0; CHUNK], 0);
        loop {
            let size = compression::fill(&mut source, &mut chunk).map_err(io)?;
            let bytes = chunk.get(..size).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            if stop() {
                return Ok(None);
            }
            crc = crc32c::crc32c_append(crc, bytes);
            compressor.write_all(bytes).map_err(to_staged)?;
        }
        if crc != state.crc {
            return Err(SinkError::edited(
                &path,
                "it has other bytes than were written (`stockflow verify` says where)",
            ));
        }
        let drain = compressor.finish().map_err(to_staged)?;
        let packed = drain.packed();
        drain.into.finish().map_err(to_staged)?;
        Ok(Some(Outcome::Staged(packed)))
    }
}

/// Where a file is compressed, relative to the output directory.
pub(in crate::sink) fn staged(form: Form, name: &str) -> String {
    format!("{STATE_DIRECTORY}/{STAGED}/{}", form.place(name))
}

/// Counts and checks what goes through.
struct Measured<W> {
    into: W,
    len: u64,
    crc: u32,
}

impl<W: Write> Measured<W> {
    fn new(into: W) -> Self {
        Self {
            into,
            len: 0,
            crc: 0,
        }
    }

    /// How much went through, and its CRC-32C.
    fn packed(&self) -> closed_list::Packed {
        closed_list::Packed {
            len: self.len,
            crc: self.crc,
        }
    }
}

impl<W: Write> Write for Measured<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.into.write(bytes)?;
        self.len += size as u64;
        self.crc = crc32c::crc32c_append(self.crc, bytes.get(..size).unwrap_or_default());
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}
