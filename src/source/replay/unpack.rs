//! Compressed files, told by their first bytes: gzip (RFC 1952), Zstandard (RFC 8878) and LZ4 frames, several members or
//! frames in a row included. Skippable frames, as pzstd and the seekable format write them, are passed over.
//!
//! What is cut off is an error, at the end of a block as well.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder as Lz4Decoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// Read at a time.
const BUFFER_BYTES: usize = 64 * 1024;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: u32 = 0xFD2F_B528;
const LZ4: u32 = 0x184D_2204;
/// Sixteen magics of frames that are there to be passed over, in both formats.
const SKIPPABLE: u32 = 0x184D_2A50;

/// What the input holds, decompressed where it is compressed; whether it is.
pub(super) fn unpack<'a>(input: impl Read + 'a) -> io::Result<(Box<dyn Read + 'a>, bool)> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    // A pipe may bring the first bytes one by one.
    let mut start = Vec::new();
    while start.len() < 4 {
        let bytes = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        let Some(byte) = bytes.first() else {
            break;
        };
        start.push(*byte);
        input.consume(1);
        if !may_be_packed(&start) {
            break;
        }
    }
    let (gzip, frames) = (start.starts_with(&GZIP), is_frame(&start));
    let whole = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(start).chain(input));
    Ok(if gzip {
        (Box::new(Gzip(MultiGzDecoder::new(whole))), true)
    } else if frames {
        let input = Some(whole);
        (Box::new(Frames { input, frame: None }), true)
    } else {
        (Box::new(whole), false)
    })
}

/// Member after member.
struct Gzip<R>(MultiGzDecoder<R>);

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => damaged(&error),
            _ => error,
        })
    }
}

/// Whether these may be the first of the four bytes.
fn may_be_packed(start: &[u8]) -> bool {
    let of = |magic: u32| magic.to_le_bytes().starts_with(start);
    GZIP.starts_with(start)
        || start.starts_with(&GZIP)
        || of(ZSTD)
        || of(LZ4)
        || (0..16).any(|low| of(SKIPPABLE | low))
}

fn is_frame(start: &[u8]) -> bool {
    start.first_chunk().is_some_and(|magic| {
        let magic = u32::from_le_bytes(*magic);
        magic == ZSTD || magic == LZ4 || magic & !0xf == SKIPPABLE
    })
}

/// Frame after frame.
struct Frames<R: BufRead> {
    input: Option<R>,
    frame: Option<Frame<R>>,
}

enum Frame<R: BufRead> {
    Zstd(Box<StreamingDecoder<Begun<R>, FrameDecoder>>),
    Lz4(Box<Lz4Decoder<Begun<R>>>),
}

impl<R: BufRead> Frame<R> {
    fn begin(magic: [u8; 4], input: R) -> io::Result<Self> {
        let input = Begun {
            magic,
            at: 0,
            input,
            ended: false,
        };
        match u32::from_le_bytes(magic) {
            LZ4 => Ok(Self::Lz4(Box::new(Lz4Decoder::new(input)))),
            ZSTD => StreamingDecoder::new(input)
                .map(|frame| Self::Zstd(Box::new(frame)))
                .map_err(|error| damaged(&error)),
            _ => Err(invalid("there is something else after the compressed data")),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Zstd(frame) => frame.read(buffer),
            Self::Lz4(frame) => frame.read(buffer),
        };
        let begun = match self {
            Self::Zstd(frame) => frame.get_ref(),
            Self::Lz4(frame) => frame.get_ref(),
        };
        read.map_err(|error| match error.kind() {
            _ if begun.ended => cut(),
            io::ErrorKind::Interrupted => error,
            _ => damaged(&error),
        })
    }

    /// The input behind a frame that was read to its end.
    fn finish(self) -> io::Result<R> {
        let begun = match self {
            Self::Zstd(frame) => {
                let (input, decoder) = frame.into_parts();
                let said = decoder.get_checksum_from_data();
                if said.is_some() && said != decoder.get_calculated_checksum() {
                    return Err(invalid("a checksum of the compressed data is wrong"));
                }
                return Ok(input.input);
            }
            Self::Lz4(frame) => frame.into_inner(),
        };
        match begun.ended {
            true => Err(cut()),
            false => Ok(begun.input),
        }
    }
}

/// A frame's input, its magic once more before it.
struct Begun<R> {
    magic: [u8; 4],
    at: usize,
    input: R,
    /// More was asked for than there is: the decoder of LZ4 takes that for the frame's end.
    ended: bool,
}

impl<R: Read> Read for Begun<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut magic = self.magic.get(self.at..).unwrap_or_default();
        if !magic.is_empty() {
            let read = magic.read(buffer)?;
            self.at += read;
            return Ok(read);
        }
        let read = self.input.read(buffer)?;
        self.ended |= read == 0 && !buffer.is_empty();
        Ok(read)
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn damaged(why: &dyn std::fmt::Display) -> io::Error {
    invalid(format!("the compressed data are damaged: {why}"))
}

fn cut() -> io::Error {
    let what = "the compressed data end too early; the file was cut off or is still being written";
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
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
                self.input = Some(frame.finish()?);
            }
            let Some(mut input) = self.input.take() else {
                return Ok(0);
            };
            if input.fill_buf()?.is_empty() {
                self.input = Some(input);
                return Ok(0);
            }
            let mut magic = [0; 4];
            input.read_exact(&mut magic).map_err(|_| cut())?;
            if u32::from_le_bytes(magic) & !0xf != SKIPPABLE {
                self.frame = Some(Frame::begin(magic, input)?);
                continue;
            }
            let mut size = [0; 4];
            input.read_exact(&mut size).map_err(|_| cut())?;
            let size = u64::from(u32::from_le_bytes(size));
            if io::copy(&mut input.by_ref().take(size), &mut io::sink())? < size {
                return Err(cut());
            }
            self.input = Some(input);
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
        unpack(Slow(bytes))?.0.read_to_end(&mut out)?;
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

    fn lz4(text: &[u8]) -> Vec<u8> {
        let info = lz4_flex::frame::FrameInfo::new()
            .block_size(lz4_flex::frame::BlockSize::Max64KB)
            .content_checksum(true);
        let mut out = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
        out.write_all(text).expect("memory");
        out.finish().expect("memory")
    }

    fn skippable(content: &[u8]) -> Vec<u8> {
        let size = (content.len() as u32).to_le_bytes();
        [&(SKIPPABLE | 7).to_le_bytes()[..], &size, content].concat()
    }

    type Packer = fn(&[u8]) -> Vec<u8>;

    const PACKERS: [Packer; 3] = [gzip, zstd, lz4];

    #[test]
    fn all_forms_hold_the_same() {
        let text = b"{\"TradeId\":1}\n".repeat(10_000);
        assert_eq!(read(&text).expect("plain"), text);
        let (half, rest) = text.split_at(700);
        for pack in PACKERS {
            assert_eq!(read(&pack(&text)).expect("packed"), text);
            assert_eq!(
                read(&[pack(half), pack(rest)].concat()).expect("packed"),
                text
            );
        }
        for pack in [zstd, lz4] {
            let parts = [
                skippable(b"first"),
                pack(half),
                skippable(b""),
                pack(rest),
                skippable(b"{}"),
            ];
            assert_eq!(read(&parts.concat()).expect("packed"), text);
        }
        assert_eq!(read(&skippable(b"alone")).expect("packed"), b"");
        for short in [
            &b""[..],
            b"{",
            b"(",
            b"\x1f",
            b"\x28\xb5",
            b"\x04\x22\x4d",
            b"\x51\x2a",
        ] {
            assert_eq!(read(short).expect("plain"), short);
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error_wherever() {
        let mut text = Vec::new();
        for number in 0..20_000_u32 {
            text.extend_from_slice(&number.wrapping_mul(2_654_435_761).to_le_bytes());
        }
        for pack in PACKERS {
            let packed = pack(&text);
            let near_the_end = packed.len() - 12..packed.len();
            for cut in (5..packed.len()).step_by(19_997).chain(near_the_end) {
                assert!(read(&packed[..cut]).is_err(), "{cut} of {}", packed.len());
            }
            // At the end of each block of an LZ4 frame.
            if packed.starts_with(&LZ4.to_le_bytes()) {
                let mut at = 7;
                while at < packed.len() {
                    assert!(read(&packed[..at]).is_err(), "{at}");
                    let size = packed[at..]
                        .first_chunk()
                        .map(|size| u32::from_le_bytes(*size));
                    at += 4 + (size.expect("a size") & !(1 << 31)) as usize;
                    if size == Some(0) {
                        break;
                    }
                }
            }
        }
        let all = [zstd(b"text"), skippable(b"behind")].concat();
        for cut in 1..14 {
            assert!(read(&all[..all.len() - cut]).is_err(), "{cut}");
        }
        assert!(read(&[zstd(b"text"), b"noise".to_vec()].concat()).is_err());
    }

    #[test]
    fn what_was_changed_is_an_error() {
        let text = b"{\"TradeId\":1}\n".repeat(100);
        for pack in PACKERS {
            let mut packed = pack(&text);
            let last = packed.len() - 1;
            packed[last] ^= 1;
            let read = read(&packed);
            assert!(read.is_err(), "{read:?}");
        }
    }
}
