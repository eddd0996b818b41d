//! A checksum of the end of a file that can be kept up to date with nothing but the bytes that are appended.
//!
//! It covers the last, possibly full, block of 4 KiB. It notices an editor that wrote the file again or a row that
//! somebody appended over the recorded length; what happens further up is found by the index's checksums.

use std::io;

use crate::durable::FsFile;

const BLOCK: u64 = 4096;

/// The checksum of a file's last block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sink) struct TailChecksum {
    pub(in crate::sink) crc: u32,
}

impl TailChecksum {
    /// Where the last block of a file of this length begins.
    fn start(len: u64) -> u64 {
        len.saturating_sub(1) / BLOCK * BLOCK
    }

    /// Takes in bytes that are appended to a file of length `len`.
    pub(in crate::sink) fn extend(&mut self, len: u64, bytes: &[u8]) {
        let Ok(added) = u64::try_from(bytes.len()) else {
            return;
        };
        let start = Self::start(len + added);
        // A block that begins within the new bytes starts afresh; the first byte of a file begins one as well.
        self.crc = match start
            .checked_sub(len)
            .and_then(|skip| bytes.get(usize::try_from(skip).ok()?..))
        {
            Some(fresh) if start != Self::start(len) || len == 0 => crc32c::crc32c(fresh),
            _ => crc32c::crc32c_append(self.crc, bytes),
        };
    }

    /// Reads the tail of a file as if it were `len` long.
    pub(in crate::sink) fn read(file: &mut dyn FsFile, len: u64) -> io::Result<Self> {
        let start = Self::start(len);
        let mut block = vec![0; usize::try_from(len - start).unwrap_or_default()];
        file.read_at(start, &mut block)?;
        Ok(Self {
            crc: crc32c::crc32c(&block),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(pieces in prop::collection::vec(prop_oneof![0..40_usize, 4090..4100_usize, Just(8192)], 0..8)) {
            let (mut tail, mut whole) = (TailChecksum::default(), Vec::<u8>::new());
            for (i, piece) in pieces.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..piece).map(|b| (b * 7 + i) as u8).collect();
                tail.extend(whole.len() as u64, &bytes);
                whole.extend(bytes);
                let start = TailChecksum::start(whole.len() as u64) as usize;
                prop_assert_eq!(tail.crc, crc32c::crc32c(&whole[start..]));
            }
        }
    }
}
