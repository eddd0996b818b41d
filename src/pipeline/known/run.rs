//! A sorted file of ids, 16 bytes each: written once, read a page at a time, never changed.
//!
//! What stays in memory is the first id of each page, and a byte an id for a filter. A file is believed only if it has the
//! length and the CRC-32C that the manifest names.

use super::filter::Filter;
use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

/// Bytes of an id.
const ID: usize = size_of::<u128>();

/// Ids a page: 8 KiB, a read that costs hardly more than that of one id.
const PAGE: usize = 512;

/// A sorted file of ids.
#[derive(Debug)]
pub(super) struct Run {
    file: File,
    count: u64,
    crc: u32,
    /// The first id of each page.
    pages: Vec<u128>,
    filter: Filter,
}

impl Run {
    /// Writes `ids`, about so many as are `expected`, which ascend (equal neighbours are written once), and makes them
    /// durable.
    pub(super) fn write(
        path: &Path,
        expected: u64,
        ids: impl Iterator<Item = io::Result<u128>>,
    ) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let mut pages = Vec::new();
        let mut filter = Filter::new(expected);
        let (mut count, mut crc, mut last) = (0_u64, 0, None);
        for id in ids {
            let id = id?;
            if last == Some(id) {
                continue;
            }
            last = Some(id);
            if count.is_multiple_of(PAGE as u64) {
                pages.push(id);
            }
            let bytes = id.to_be_bytes();
            crc = crc32c::crc32c_append(crc, &bytes);
            out.write_all(&bytes)?;
            filter.insert(id);
            count += 1;
        }
        out.into_inner().map_err(io::Error::from)?.sync_all()?;
        Ok(Self {
            file: File::open(path)?,
            count,
            crc,
            pages,
            filter,
        })
    }

    /// Opens a file that must be as the manifest says.
    pub(super) fn open(path: &Path, count: u64, crc: u32) -> io::Result<Self> {
        let file = File::open(path)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "not as it was written");
        if Some(file.metadata()?.len()) != count.checked_mul(ID as u64) {
            return Err(damaged());
        }
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut page = [0; PAGE * ID];
        let mut pages = Vec::new();
        let mut filter = Filter::new(count);
        let (mut left, mut found) = (count as usize, 0);
        while left > 0 {
            let bytes = page.get_mut(..left.min(PAGE) * ID).ok_or_else(damaged)?;
            reader.read_exact(bytes)?;
            found = crc32c::crc32c_append(found, bytes);
            pages.extend(bytes.first_chunk().map(|first| u128::from_be_bytes(*first)));
            for id in bytes.as_chunks::<ID>().0 {
                filter.insert(u128::from_be_bytes(*id));
            }
            left -= left.min(PAGE);
        }
        if found != crc {
            return Err(damaged());
        }
        Ok(Self {
            file,
            count,
            crc,
            pages,
            filter,
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn crc(&self) -> u32 {
        self.crc
    }

    /// Whether `id` is in it.
    pub(super) fn contains(&self, id: u128) -> io::Result<bool> {
        if !self.filter.may_hold(id) {
            return Ok(false);
        }
        let behind = self.pages.partition_point(|first| *first <= id);
        let Some(page) = behind.checked_sub(1) else {
            return Ok(false);
        };
        let from = page * PAGE;
        let ids = (self.count as usize - from).min(PAGE);
        let mut bytes = [0; PAGE * ID];
        let bytes = &mut bytes[..ids * ID];
        self.file.read_exact_at(bytes, (from * ID) as u64)?;
        let (ids, _) = bytes.as_chunks::<ID>();
        // Big-endian bytes are ordered as the numbers are.
        Ok(ids.binary_search(&id.to_be_bytes()).is_ok())
    }

    /// All ids, ascending.
    pub(super) fn ids(&self) -> io::Result<impl Iterator<Item = io::Result<u128>> + use<>> {
        let mut reader = BufReader::with_capacity(1 << 20, self.file.try_clone()?);
        io::Seek::rewind(&mut reader)?;
        let mut left = self.count;
        Ok(std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let mut bytes = [0; ID];
            Some(
                reader
                    .read_exact(&mut bytes)
                    .map(|()| u128::from_be_bytes(bytes)),
            )
        }))
    }
}

/// Two ascending sequences as one.
pub(super) fn merge(
    a: impl Iterator<Item = io::Result<u128>>,
    b: impl Iterator<Item = io::Result<u128>>,
) -> impl Iterator<Item = io::Result<u128>> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(Ok(of_a)), Some(Ok(of_b))) if of_b < of_a => b.next(),
        (Some(_), _) => a.next(),
        (None, _) => b.next(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn run(path: &Path, ids: &BTreeSet<u128>) -> Run {
        Run::write(path, ids.len() as u64, ids.iter().copied().map(Ok)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn holds_what_was_written(
            a in prop::collection::btree_set(0..5_000_u128, 0..2_000),
            b in prop::collection::btree_set(0..5_000_u128, 0..2_000),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = |name: &str| directory.path().join(name);
            let (of_a, of_b) = (run(&path("a"), &a), run(&path("b"), &b));
            let merged = merge(of_a.ids().unwrap(), of_b.ids().unwrap());
            let both = Run::write(&path("both"), 4_000, merged).unwrap();
            let both = Run::open(&path("both"), both.count(), both.crc()).unwrap();
            let all: BTreeSet<u128> = a.union(&b).copied().collect();
            prop_assert_eq!(both.count(), all.len() as u64);
            for id in 0..5_000 {
                prop_assert_eq!(both.contains(id).unwrap(), all.contains(&id));
            }
        }
    }

    #[test]
    fn a_damaged_file_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run");
        let written = run(&path, &(0..1_000).collect());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[8_000] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(Run::open(&path, written.count(), written.crc()).is_err());
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert!(Run::open(&path, written.count(), written.crc()).is_err());
    }
}
