//! A file that is written anew, beside the one whose place it is to take.

use std::io::{self, Read, Write};

use super::super::Sink;
use super::super::files::{STAGED, TailChecksum};
use super::super::model::STATE_DIRECTORY;
use crate::durable::FsFile;

/// A file that is written anew in the sidecar.
pub(in crate::sink) struct Anew {
    /// Its name, relative to the output directory.
    name: String,
    file: Box<dyn FsFile>,
    pub(in crate::sink) len: u64,
    pub(in crate::sink) crc: u32,
    pub(in crate::sink) tail: TailChecksum,
}

impl Anew {
    pub(in crate::sink) fn create(sink: &Sink, name: &str) -> io::Result<Self> {
        let name = format!("{STATE_DIRECTORY}/{STAGED}/{name}");
        Ok(Self {
            file: sink.fs.create(&sink.directory.join(&name))?,
            name,
            len: 0,
            crc: 0,
            tail: TailChecksum::default(),
        })
    }

    /// Copies so many bytes; the first line of them.
    pub(in crate::sink) fn copy(
        &mut self,
        source: &mut dyn Read,
        size: usize,
    ) -> io::Result<Vec<u8>> {
        let mut left = size;
        let mut line = Vec::new();
        let mut chunk = vec![0; size.min(1 << 20)];
        while left > 0 {
            let chunk = chunk.get_mut(..left.min(1 << 20)).unwrap_or_default();
            source.read_exact(chunk)?;
            if line.last() != Some(&b'\n') {
                let end = memchr::memchr(b'\n', chunk).map_or(chunk.len(), |end| end + 1);
                line.extend_from_slice(chunk.get(..end).unwrap_or_default());
            }
            self.write_all(chunk)?;
            left -= chunk.len();
        }
        Ok(line)
    }

    /// Makes it durable; its name.
    pub(in crate::sink) fn finish(mut self) -> io::Result<String> {
        self.file.sync()?;
        Ok(self.name)
    }
}

impl Write for Anew {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.len, bytes)?;
        self.tail.extend(self.len, bytes);
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.len += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
