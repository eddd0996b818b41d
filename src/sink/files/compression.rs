//! A data file's bytes from its beginning to its end, compressed or not.
//!
//! Gzip (RFC 1952) is one member. Zstandard (RFC 8878) is one frame for each MiB, so that neither side holds more than
//! that; `zstd -d` and every other reader takes the frames one after the other. A frame is compressed in memory and then
//! written, because the encoder knows no errors of writing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::Compression as Level;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::super::model::Form;
use crate::durable::{Fs, Sequential};

/// How many bytes a frame of Zstandard holds.
const FRAME: usize = 1 << 20;

/// Opens a data file for reading what was written into it before it was compressed.
pub(crate) fn open(fs: &dyn Fs, path: &Path, form: Form) -> io::Result<Box<dyn Read + Send>> {
    let mut file = fs.open_to_read(path)?;
    let len = file.len()?;
    Ok(plain(Sequential::new(file, len), form))
}

/// What a file of that form holds.
pub(crate) fn plain(file: impl Read + Send + 'static, form: Form) -> Box<dyn Read + Send> {
    let reader = BufReader::with_capacity(64 * 1024, file);
    match form {
        Form::Plain | Form::Hidden => Box::new(reader),
        Form::Gzip => Box::new(MultiGzDecoder::new(reader)),
        Form::Zstd => Box::new(Frames {
            frame: None,
            rest: Some(reader),
        }),
    }
}

/// How long the skippable frame is that begins here, with its header; `None` for any other.
fn skippable(bytes: &[u8]) -> Option<u64> {
    let (header, _) = bytes.split_first_chunk::<8>()?;
    let [a, b, c, d, length @ ..] = *header;
    let magic = u32::from_le_bytes([a, b, c, d]);
    (magic & 0xFFFF_FFF0 == 0x184D_2A50).then(|| 8 + u64::from(u32::from_le_bytes(length)))
}

/// Zstandard frames, one after the other.
struct Frames<R: BufRead> {
    frame: Option<StreamingDecoder<R, FrameDecoder>>,
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
            // pzstd and seekable zstd put frames without content between those of data (RFC 8878, 3.1.2).
            if let Some(length) = skippable(rest.fill_buf()?) {
                io::copy(&mut rest.by_ref().take(length), &mut io::sink())?;
                self.rest = Some(rest);
                continue;
            }
            let frame = StreamingDecoder::new(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            self.frame = Some(frame);
        }
    }
}

/// Compresses what is written into it.
pub(crate) enum Compressor<W: Write> {
    Plain(W),
    Gzip(Box<GzEncoder<W>>),
    Zstd(W, Vec<u8>),
}

impl<W: Write> Compressor<W> {
    pub(crate) fn new(form: Form, into: W) -> Self {
        match form {
            Form::Plain | Form::Hidden => Self::Plain(into),
            Form::Gzip => Self::Gzip(Box::new(GzEncoder::new(into, Level::default()))),
            Form::Zstd => Self::Zstd(into, Vec::new()),
        }
    }

    /// Writes what is left, and gives back where it went.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(into) => Ok(into),
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(mut into, rest) => {
                if !rest.is_empty() {
                    into.write_all(&frame(&rest))?;
                }
                Ok(into)
            }
        }
    }
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(into) => into.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
            Self::Zstd(into, waiting) => {
                let size = bytes.len().min(FRAME.saturating_sub(waiting.len()));
                waiting.extend_from_slice(bytes.get(..size).unwrap_or_default());
                if waiting.len() >= FRAME {
                    into.write_all(&frame(waiting))?;
                    waiting.clear();
                }
                Ok(size)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads until the buffer is full or there is no more; how much there is.
pub(crate) fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
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
    use super::*;
    use crate::durable::sim::SimFs;

    #[test]
    fn skippable_frames_are_skipped_wherever_they_stand() {
        let skipped = |content: &[u8]| {
            let mut frame = 0x184D_2A5E_u32.to_le_bytes().to_vec();
            frame.extend((content.len() as u32).to_le_bytes());
            frame.extend(content);
            frame
        };
        let packed = [
            skipped(b""),
            frame(b"one,"),
            skipped(b"seek table"),
            frame(b"two"),
            skipped(b"end"),
        ]
        .concat();
        let mut read = Vec::new();
        let mut whole = plain(std::io::Cursor::new(packed), Form::Zstd);
        whole.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"one,two");
    }

    #[test]
    fn what_is_compressed_is_read_again() {
        let bytes: Vec<u8> = (0..2_500_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .take(2_600_000)
            .collect();
        for form in [Form::Plain, Form::Gzip, Form::Zstd] {
            let mut compressor = Compressor::new(form, Vec::new());
            for piece in bytes.chunks(300_000) {
                compressor.write_all(piece).unwrap();
            }
            let out = compressor.finish().unwrap();
            assert!(form == Form::Plain || out.len() < bytes.len() / 2);
            let (fs, path) = (SimFs::new(0), Path::new("/a"));
            fs.put(path, &out);
            let mut again = Vec::new();
            open(&fs, path, form)
                .unwrap()
                .read_to_end(&mut again)
                .unwrap();
            assert!(again == bytes, "{form:?}");
            fs.put(path, &out[..out.len() / 2]);
            let cut = open(&fs, path, form).unwrap().read_to_end(&mut Vec::new());
            assert!(cut.is_err() || form == Form::Plain, "{form:?}");
        }
    }
}
