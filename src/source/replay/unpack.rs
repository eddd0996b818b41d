//! Compressed files, told by their first bytes: gzip (RFC 1952) and Zstandard (RFC 8878), several members or frames in
//! a row included.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

/// Read at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// What the input holds, decompressed where it is compressed.
pub(super) fn unpack<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    // A pipe may bring the first bytes one by one.
    let mut start = Vec::new();
    while start.len() < 4 {
        let bytes = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        let part = bytes
            .get(..bytes.len().min(4 - start.len()))
            .unwrap_or_default();
        if part.is_empty() {
            break;
        }
        start.extend_from_slice(part);
        let used = part.len();
        input.consume(used);
        let more = |magic: &[u8]| magic.starts_with(&start);
        if !more(&GZIP) && !more(&ZSTD) {
            break;
        }
    }
    let (gzip, zstd) = (start.starts_with(&GZIP), start.starts_with(&ZSTD));
    let whole = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(start).chain(input));
    Ok(if gzip {
        Box::new(MultiGzDecoder::new(whole))
    } else if zstd {
        Box::new(Frames {
            input: Some(whole),
            frame: None,
        })
    } else {
        Box::new(whole)
    })
}

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Frame after frame.
struct Frames<R: BufRead> {
    input: Option<R>,
    frame: Option<Box<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>>,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
            }
            if let Some(frame) = self.frame.take() {
                self.input = Some(frame.into_inner());
            }
            let Some(mut input) = self.input.take() else {
                return Ok(0);
            };
            if input.fill_buf()?.is_empty() {
                self.input = Some(input);
                return Ok(0);
            }
            let frame = StreamingDecoder::new(input)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            self.frame = Some(Box::new(frame));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Gives one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        unpack(Slow(bytes))?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(text).expect("memory");
        out.finish().expect("memory")
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn all_forms_hold_the_same() {
        let text = b"{\"TradeId\":1}\n".repeat(1000);
        assert_eq!(read(&text).expect("plain"), text);
        assert_eq!(read(&gzip(&text)).expect("gzip"), text);
        assert_eq!(read(&zstd(&text)).expect("zstd"), text);
        let (half, rest) = text.split_at(700);
        assert_eq!(
            read(&[gzip(half), gzip(rest)].concat()).expect("gzip"),
            text
        );
        assert_eq!(
            read(&[zstd(half), zstd(rest)].concat()).expect("zstd"),
            text
        );
        for short in [&b""[..], b"{", b"(", b"\x1f", b"\x28\xb5"] {
            assert_eq!(read(short).expect("plain"), short);
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let text = b"{\"TradeId\":1}\n".repeat(1000);
        for packed in [gzip(&text), zstd(&text)] {
            assert!(read(&packed[..packed.len() - 9]).is_err());
        }
    }
}
