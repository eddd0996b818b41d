//! A data file's bytes from its beginning to its end, compressed or not; and how closed files are compressed.
//!
//! Gzip (RFC 1952) is one member. Zstandard (RFC 8878) is one frame for each MiB, so that neither side holds more than
//! that; `zstd -d` and every other reader takes the frames one after the other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::Compression as Level;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::fs::{Fs, FsFile};
use super::settings::Compression;

/// How much is read, compressed or copied at once.
const CHUNK: usize = 1 << 20;

impl Compression {
    /// What it adds to a file's name.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// How a file of that name is compressed.
    pub(super) fn of(name: &str) -> Self {
        [Self::Gzip, Self::Zstd]
            .into_iter()
            .find(|codec| name.ends_with(codec.suffix()))
            .unwrap_or(Self::None)
    }
}

/// A file, read or written from its beginning on.
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

    pub(super) fn sync(&mut self) -> io::Result<()> {
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

/// Opens a data file for reading what was written into it before it was compressed.
pub(super) fn open(fs: &dyn Fs, path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut file = fs.open_to_read(path)?;
    let len = file.len()?;
    let reader = BufReader::with_capacity(64 * 1024, Sequential::new(file, len));
    Ok(match Compression::of(&path.to_string_lossy()) {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(MultiGzDecoder::new(reader)),
        Compression::Zstd => Box::new(Frames {
            frame: None,
            rest: Some(reader),
        }),
    })
}

/// Zstandard frames, one after the other.
struct Frames<R: BufRead> {
    frame: Option<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>,
    /// Where the next frame begins.
    rest: Option<R>,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(frame) = &mut self.frame {
                let size = frame.read(buffer)?;
                if size > 0 {
                    return Ok(size);
                }
                self.rest = self.frame.take().map(StreamingDecoder::into_inner);
            }
            let Some(mut rest) = self.rest.take() else {
                return Ok(0);
            };
            if rest.fill_buf()?.is_empty() {
                self.rest = Some(rest);
                return Ok(0);
            }
            let frame = StreamingDecoder::new(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            self.frame = Some(frame);
        }
    }
}

/// Where compressed bytes go.
enum Drain<'d> {
    Plain(&'d mut dyn Write),
    Gzip(Box<GzEncoder<&'d mut dyn Write>>),
    Zstd(&'d mut dyn Write),
}

/// Copies and compresses; the length and CRC-32C of what was read.
pub(super) fn compress(
    source: &mut dyn Read,
    drain: &mut dyn Write,
    codec: Compression,
) -> io::Result<(u64, u32)> {
    let mut drain = match codec {
        Compression::None => Drain::Plain(drain),
        Compression::Gzip => Drain::Gzip(Box::new(GzEncoder::new(drain, Level::default()))),
        Compression::Zstd => Drain::Zstd(drain),
    };
    let mut chunk = vec![0; CHUNK];
    let (mut len, mut crc) = (0, 0);
    loop {
        let size = fill(source, &mut chunk)?;
        let bytes = chunk.get(..size).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        len += size as u64;
        crc = crc32c::crc32c_append(crc, bytes);
        match &mut drain {
            Drain::Plain(drain) => drain.write_all(bytes)?,
            Drain::Gzip(gzip) => gzip.write_all(bytes)?,
            Drain::Zstd(drain) => {
                drain.write_all(&compress_to_vec(bytes, CompressionLevel::Fastest))?
            }
        }
    }
    if let Drain::Gzip(gzip) = drain {
        gzip.finish()?;
    }
    Ok((len, crc))
}

/// Reads until the buffer is full or there is no more; how much there is.
pub(super) fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut size = 0;
    while let Some(free) = buffer.get_mut(size..).filter(|free| !free.is_empty()) {
        match source.read(free) {
            Ok(0) => break,
            Ok(more) => size += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::super::sim::SimFs;
    use super::*;

    #[test]
    fn what_is_compressed_is_read_again() {
        let bytes: Vec<u8> = (0..2_500_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .take(2_600_000)
            .collect();
        for (codec, name) in [
            (Compression::None, "/a.csv"),
            (Compression::Gzip, "/a.csv.gz"),
            (Compression::Zstd, "/a.csv.zst"),
        ] {
            let mut out = Vec::new();
            let (len, crc) = compress(&mut &bytes[..], &mut out, codec).unwrap();
            assert_eq!((len, crc), (bytes.len() as u64, crc32c::crc32c(&bytes)));
            assert!(codec == Compression::None || out.len() < bytes.len());
            let fs = SimFs::new(0);
            fs.put(Path::new(name), &out);
            let mut again = Vec::new();
            open(&fs, Path::new(name))
                .unwrap()
                .read_to_end(&mut again)
                .unwrap();
            assert!(again == bytes, "{codec:?}");
            fs.put(Path::new(name), &out[..out.len() / 2]);
            let cut = open(&fs, Path::new(name))
                .unwrap()
                .read_to_end(&mut Vec::new());
            assert!(cut.is_err() || codec == Compression::None, "{codec:?}");
        }
    }
}
