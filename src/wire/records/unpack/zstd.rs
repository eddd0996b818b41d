//! Zstandard frames ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)), one after the other; skippable ones are passed over.
//!
//! A frame keeps as much of its content in memory as its window says, whether it refers back to it or not. So the window is
//! limited; but where the content cannot be that long, it does no harm: encoders at their highest levels claim 128 MiB
//! for a few bytes. How long the content can be, the sizes of its blocks tell, without a byte being decompressed.

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::{Window, read};

/// The largest window, in bytes: eight times what RFC 8878 asks of every decoder (3.1.1.1.2).
pub(in crate::wire::records) const MAX_WINDOW: u64 = 64 << 20;

const MAGIC: u32 = 0xFD2F_B528;
/// Sixteen magics of frames that are there to be passed over.
const SKIPPABLE: u32 = 0x184D_2A50;

/// The most that a block comes to.
const MAX_BLOCK: u64 = 128 << 10;

const CUT_SHORT: &str = "it is cut short";

/// What is left of the frames.
pub(in crate::wire::records) struct Frames<'a> {
    rest: &'a [u8],
    frame: Option<Box<StreamingDecoder<&'a [u8], FrameDecoder>>>,
}

impl<'a> Frames<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            rest: input,
            frame: None,
        }
    }

    pub(super) fn more(&mut self, out: &mut Window<'_>) -> Result<bool, String> {
        loop {
            if let Some(frame) = &mut self.frame {
                if read(frame, out)? {
                    return Ok(true);
                }
                self.rest = frame.get_ref();
                self.frame = None;
            }
            if self.rest.is_empty() {
                return Ok(false);
            }
            let (magic, behind) = take_u32(self.rest).ok_or(CUT_SHORT)?;
            if magic & !0xf == SKIPPABLE {
                let (size, behind) = take_u32(behind).ok_or(CUT_SHORT)?;
                self.rest = behind.get(size as usize..).ok_or(CUT_SHORT)?;
                continue;
            }
            if magic != MAGIC {
                return Err("it does not begin as a Zstandard frame does".to_owned());
            }
            let (window, blocks) = header(behind).ok_or("its header is malformed")?;
            let needed = match window {
                0..=MAX_WINDOW => window,
                window => window.min(most(blocks)),
            };
            if needed > MAX_WINDOW {
                return Err(format!(
                    "its window is {window} bytes long, and at most {MAX_WINDOW} are supported; let its producer compress less \
                     (compression.zstd.level)"
                ));
            }
            let frame = StreamingDecoder::new_with_max_window_size(self.rest, u64::MAX);
            self.frame = Some(Box::new(frame.map_err(|error| error.to_string())?));
        }
    }
}

fn take_u32(input: &[u8]) -> Option<(u32, &[u8])> {
    let (bytes, behind) = input.split_first_chunk()?;
    Some((u32::from_le_bytes(*bytes), behind))
}

/// A little-endian number of so many bytes, and what follows.
fn number(input: &[u8], bytes: usize) -> Option<(u64, &[u8])> {
    let (number, behind) = input.split_at_checked(bytes)?;
    let value = number
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some((value, behind))
}

/// The window of a frame, and its blocks, from what stands behind its magic (3.1.1.1).
fn header(input: &[u8]) -> Option<(u64, &[u8])> {
    let (&descriptor, mut rest) = input.split_first()?;
    let single_segment = descriptor & 0b10_0000 != 0;
    let mut window = None;
    if !single_segment {
        let (exponent_and_mantissa, behind) = number(rest, 1)?;
        let base = 1 << (10 + (exponent_and_mantissa >> 3));
        window = Some(base + base / 8 * (exponent_and_mantissa & 7));
        rest = behind;
    }
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
    (_, rest) = number(rest, dictionary)?;
    let size = match descriptor >> 6 {
        0 => usize::from(single_segment),
        flag => 1 << flag,
    };
    let (content, blocks) = number(rest, size)?;
    // Sizes of two bytes begin where those of one byte end.
    let content = content + if size == 2 { 256 } else { 0 };
    Some((window.unwrap_or(content), blocks))
}

/// The most that blocks come to (3.1.1.2); of malformed ones, those before.
fn most(mut blocks: &[u8]) -> u64 {
    let mut most = 0_u64;
    while let Some((block, behind)) = number(blocks, 3) {
        let size = block >> 3;
        let (length, content) = match block >> 1 & 0b11 {
            0 => (size, size),
            1 => (1, size),
            _ => (size, MAX_BLOCK),
        };
        most += content.min(MAX_BLOCK);
        let Some(rest) = behind.get(length as usize..) else {
            break;
        };
        blocks = rest;
        if block & 1 != 0 {
            break;
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame whose header claims this window, with blocks of zeros, a byte each, that come to `size`.
    pub(in crate::wire::records) fn zeros(window_descriptor: u8, size: u64) -> Vec<u8> {
        let mut frame = MAGIC.to_le_bytes().to_vec();
        frame.extend([0, window_descriptor]);
        let mut left = size;
        loop {
            let block = left.min(MAX_BLOCK);
            left -= block;
            let header = block << 3 | 0b10 | u64::from(left == 0);
            frame.extend(&header.to_le_bytes()[..3]);
            frame.push(0);
            if left == 0 {
                return frame;
            }
        }
    }

    fn unpacked(input: &[u8]) -> Result<u64, String> {
        let mut frames = Frames::new(input);
        let mut buffer = Vec::new();
        let mut out = Window::new(&mut buffer);
        while frames.more(&mut out)? {
            out.take(usize::MAX);
            out.compact(0);
        }
        Ok(out.position())
    }

    #[test]
    fn a_window_is_limited_where_the_content_is_that_long() {
        // 2 to the power of 26, 27 and 41.
        for (descriptor, size, is_read) in [
            (16 << 3, 100 << 20, true),
            (17 << 3, 100 << 20, false),
            (17 << 3, 64 << 20, true),
            (31 << 3, 1_000, true),
            (31 << 3, 100 << 20, false),
        ] {
            let read = unpacked(&zeros(descriptor, size));
            match is_read {
                true => assert_eq!(read, Ok(size), "{descriptor}"),
                false => assert!(read.is_err_and(|error| error.contains("window"))),
            }
        }
    }

    #[test]
    fn skippable_frames_are_passed_over_wherever_they_stand() {
        let skippable = |last: u32, content: &[u8]| {
            let magic = (SKIPPABLE | last).to_le_bytes();
            let size = (content.len() as u32).to_le_bytes();
            [&magic[..], &size, content].concat()
        };
        let frame = zeros(0, 1_000);
        let all = [
            skippable(0, b""),
            frame.clone(),
            skippable(7, b"between"),
            skippable(15, &[0; 300]),
            frame.clone(),
            skippable(1, b"behind"),
        ]
        .concat();
        assert_eq!(unpacked(&all), Ok(2_000));
        assert_eq!(unpacked(&skippable(3, b"alone")), Ok(0));
        for cut in [1, 3, 7] {
            let cut = &all[..all.len() - cut];
            assert!(unpacked(cut).is_err_and(|error| error == CUT_SHORT));
        }
        assert!(unpacked(b"noise").is_err());
        assert!(unpacked(&[frame, b"noise".to_vec()].concat()).is_err());
    }
}
