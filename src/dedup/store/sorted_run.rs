//! A sorted file of ids, 16 bytes each, and beside it one of their places, 12 bytes each: written once, read a page at a time,
//! never changed. Which places do not count any more stands in the manifest.
//!
//! What stays in memory is the first id of each page, and a byte an id for a filter. A file is believed only if it has the
//! length and the CRC-32C that the manifest names. Places are looked at only when something was cut away, and their checksum
//! before that.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::bloom::BloomFilter;
use serde::{Deserialize, Serialize};

use super::paths::{only_a_file, run_path};
use super::record_position::{
    ALL_UNKNOWN, Cuts, Entry, PLACE, RecordPosition, UNKNOWN_PARTITION, cut_at,
};

/// Bytes of an id.
const ID: usize = size_of::<u128>();

/// Ids a page: 8 KiB, a read that costs hardly more than that of one id.
const PAGE: usize = 512;

/// Bytes that are read or written at a time.
const BUFFER: usize = 1 << 20;

/// A sorted file of ids.
#[derive(Debug)]
pub(in crate::dedup) struct SortedRun {
    entry: RunEntry,
    file: File,
    /// `None` where places were not kept, or cannot be used.
    places: Option<File>,
    /// The first id of each page.
    pages: Vec<u128>,
    filter: BloomFilter,
    /// Ids went when it was opened, of which nobody knows where they lay.
    blind: bool,
}

impl SortedRun {
    /// Writes entries, about so many as are `expected`, which ascend (of one id one place a partition is kept, the first), and
    /// makes them durable.
    pub(in crate::dedup) fn write(
        directory: &Path,
        number: u64,
        expected: u64,
        entries: impl Iterator<Item = io::Result<Entry>>,
    ) -> io::Result<Self> {
        let path = run_path(directory, number);
        let mut ids = BufWriter::with_capacity(BUFFER, File::create(&path)?);
        let mut places = BufWriter::with_capacity(BUFFER, File::create(places_path(&path))?);
        let mut pages = Vec::new();
        let mut filter = BloomFilter::new(expected);
        let (mut count, mut crc, mut places_crc, mut last) = (0_u64, 0, 0, None);
        let mut highest = BTreeMap::<i32, i64>::new();
        for entry in entries {
            let (id, place) = entry?;
            if last == Some((id, place.partition)) {
                continue;
            }
            last = Some((id, place.partition));
            if count.is_multiple_of(PAGE as u64) {
                pages.push(id);
            }
            let (bytes, at) = (id.to_be_bytes(), place.to_bytes());
            crc = crc32c::crc32c_append(crc, &bytes);
            ids.write_all(&bytes)?;
            places_crc = crc32c::crc32c_append(places_crc, &at);
            places.write_all(&at)?;
            let highest = highest.entry(place.partition).or_insert(place.offset);
            *highest = place.offset.max(*highest);
            filter.insert(id);
            count += 1;
        }
        ids.into_inner().map_err(io::Error::from)?.sync_all()?;
        places.into_inner().map_err(io::Error::from)?.sync_all()?;
        Ok(Self {
            entry: RunEntry {
                number,
                count,
                crc,
                places: Some(places_crc),
                highest,
                cuts: Cuts::new(),
            },
            file: File::open(&path)?,
            places: Some(File::open(places_path(&path))?),
            pages,
            filter,
            blind: false,
        })
    }

    /// Opens a file that must be as the manifest says.
    pub(in crate::dedup) fn open(directory: &Path, entry: &RunEntry) -> io::Result<Self> {
        let path = run_path(directory, entry.number);
        only_a_file(&path)?;
        let file = File::open(&path)?;
        let count = entry.count;
        if Some(file.metadata()?.len()) != count.checked_mul(ID as u64) {
            return Err(damaged());
        }
        let mut reader = BufReader::with_capacity(BUFFER, &file);
        let mut page = [0; PAGE * ID];
        let mut pages = Vec::new();
        let mut filter = BloomFilter::new(count);
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
        if found != entry.crc {
            return Err(damaged());
        }
        let mut run = Self {
            places: open_places(&path, entry),
            entry: entry.clone(),
            file,
            pages,
            filter,
            blind: false,
        };
        if !entry.cuts.is_empty() && run.checked_places()?.is_none() {
            // Without places from the start, they went when it was cut.
            run.blind = entry.places.is_some();
            run.cut_all();
        }
        Ok(run)
    }

    pub(in crate::dedup) fn count(&self) -> u64 {
        self.entry.count
    }

    /// What the manifest has to say of it.
    pub(in crate::dedup) fn entry(&self) -> &RunEntry {
        &self.entry
    }

    /// The places, if they are as they were written. Otherwise there are none from now on.
    fn checked_places(&mut self) -> io::Result<Option<&File>> {
        if let Some(file) = &self.places {
            let mut reader = BufReader::with_capacity(BUFFER, file);
            io::Seek::rewind(&mut reader)?;
            let mut crc = 0;
            let mut buffer = vec![0; BUFFER];
            loop {
                let read = reader.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                crc = crc32c::crc32c_append(crc, buffer.get(..read).unwrap_or_default());
            }
            if Some(crc) != self.entry.places {
                self.places = None;
            }
        }
        Ok(self.places.as_ref())
    }

    /// None of its ids counts any more.
    fn cut_all(&mut self) {
        self.places = None;
        self.entry.places = None;
        self.entry.cuts = Cuts::from([ALL_UNKNOWN]);
    }

    /// Whether ids went when it was opened, of which nobody knows where they lay: they may still be on the topic. Says so once.
    pub(in crate::dedup) fn was_opened_blind(&mut self) -> bool {
        std::mem::take(&mut self.blind)
    }

    /// Lets what lies behind `cuts` count no more. Says whether ids went of which nobody knows where they lay: they may still be
    /// on the topic.
    pub(in crate::dedup) fn cut(&mut self, cuts: &Cuts) -> io::Result<bool> {
        let mut blind = self.was_opened_blind();
        let had_places = self.entry.places.is_some();
        let is_cut = |partition: &i32| self.entry.cuts.get(partition);
        let reached = |&(partition, from): &(&i32, &i64)| match had_places {
            true => self.entry.highest.get(partition).is_some_and(|highest| {
                highest >= from && is_cut(partition).is_none_or(|before| from < before)
            }),
            false => *partition == UNKNOWN_PARTITION && is_cut(partition).is_none(),
        };
        let new: Vec<(i32, i64)> = cuts
            .iter()
            .filter(reached)
            .map(|(partition, from)| (*partition, *from))
            .collect();
        if new.is_empty() {
            return Ok(blind);
        }
        if had_places && self.checked_places()?.is_none() {
            self.cut_all();
            return Ok(true);
        }
        for (partition, from) in new {
            blind |= partition == UNKNOWN_PARTITION;
            cut_at(&mut self.entry.cuts, partition, from);
        }
        Ok(blind)
    }

    /// Whether `id` is in it, at a place that counts.
    pub(in crate::dedup) fn contains(&self, id: u128) -> io::Result<bool> {
        if !self.filter.may_hold(id) {
            return Ok(false);
        }
        let behind = self.pages.partition_point(|first| *first <= id);
        let Some(page) = behind.checked_sub(1) else {
            return Ok(false);
        };
        let from = page * PAGE;
        let ids = (self.entry.count as usize - from).min(PAGE);
        let mut bytes = [0; PAGE * ID];
        let bytes = &mut bytes[..ids * ID];
        self.file.read_exact_at(bytes, (from * ID) as u64)?;
        let (ids, _) = bytes.as_chunks::<ID>();
        // Big-endian bytes are ordered as the numbers are.
        match ids.binary_search(&id.to_be_bytes()) {
            Err(_) => Ok(false),
            Ok(_) if self.entry.cuts.is_empty() => Ok(true),
            Ok(place) => self.counts(id, from + place),
        }
    }

    /// Whether one of the places of `id` counts, of which one is at `index`.
    fn counts(&self, id: u128, index: usize) -> io::Result<bool> {
        let Some(places) = &self.places else {
            return Ok(RecordPosition::UNKNOWN.counts(&self.entry.cuts));
        };
        let is_at = |index: usize| {
            let mut bytes = [0; ID];
            self.file.read_exact_at(&mut bytes, (index * ID) as u64)?;
            Ok::<_, io::Error>(u128::from_be_bytes(bytes) == id)
        };
        let mut first = index;
        while let Some(before) = first.checked_sub(1)
            && is_at(before)?
        {
            first = before;
        }
        for index in first..self.entry.count as usize {
            if index > first && !is_at(index)? {
                break;
            }
            let mut bytes = [0; PLACE];
            places.read_exact_at(&mut bytes, (index * PLACE) as u64)?;
            if RecordPosition::from_bytes(bytes).counts(&self.entry.cuts) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All entries that count, ascending.
    pub(in crate::dedup) fn entries(
        &mut self,
    ) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<>> {
        let places = self.checked_places()?.map(File::try_clone).transpose()?;
        let mut places = places.map(|file| BufReader::with_capacity(BUFFER, file));
        if let Some(places) = &mut places {
            io::Seek::rewind(places)?;
        }
        let mut ids = BufReader::with_capacity(BUFFER, self.file.try_clone()?);
        io::Seek::rewind(&mut ids)?;
        let cuts = self.entry.cuts.clone();
        let read = move || {
            let mut bytes = [0; ID];
            ids.read_exact(&mut bytes)?;
            let place = match &mut places {
                Some(places) => {
                    let mut bytes = [0; PLACE];
                    places.read_exact(&mut bytes)?;
                    RecordPosition::from_bytes(bytes)
                }
                None => RecordPosition::UNKNOWN,
            };
            Ok((u128::from_be_bytes(bytes), place))
        };
        let all = std::iter::repeat_with(read).take(self.entry.count as usize);
        Ok(all.filter(move |entry| match entry {
            Ok((_, place)) => place.counts(&cuts),
            Err(_) => true,
        }))
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not as it was written")
}

/// Where the places of a run's ids lie.
pub(in crate::dedup) fn places_path(run: &Path) -> PathBuf {
    run.with_extension("places")
}

fn open_places(run: &Path, entry: &RunEntry) -> Option<File> {
    entry.places?;
    let path = places_path(run);
    only_a_file(&path).ok()?;
    let file = File::open(&path).ok()?;
    let length = fs::metadata(&path).ok()?.len();
    (Some(length) == entry.count.checked_mul(PLACE as u64)).then_some(file)
}

/// Two ascending sequences as one.
pub(in crate::dedup) fn merge(
    a: impl Iterator<Item = io::Result<Entry>>,
    b: impl Iterator<Item = io::Result<Entry>>,
) -> impl Iterator<Item = io::Result<Entry>> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(Ok(of_a)), Some(Ok(of_b))) if of_b < of_a => b.next(),
        (Some(_), _) => a.next(),
        (None, _) => b.next(),
    })
}

/// A file of ids, as it must be to be believed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::dedup) struct RunEntry {
    pub(in crate::dedup) number: u64,
    pub(in crate::dedup) count: u64,
    pub(in crate::dedup) crc: u32,
    /// The CRC-32C of the places; ids that were kept before places were have none.
    #[serde(default)]
    pub(in crate::dedup) places: Option<u32>,
    /// The highest offset of each partition among the places.
    #[serde(default)]
    pub(in crate::dedup) highest: BTreeMap<i32, i64>,
    /// What does not count any more.
    #[serde(default)]
    pub(in crate::dedup) cuts: Cuts,
}

#[cfg(test)]
mod tests;
