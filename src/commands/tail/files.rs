//! The dead letters files of an output directory, read from wherever they were read to before.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::NaiveDate;
use serde::Deserialize;

use super::show::{Letter, Shown};

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 2 << 30;

/// The files of a directory.
pub(super) struct LetterFiles {
    directory: PathBuf,
    /// How far each was read, by its name without what compression adds.
    read: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Line {
    topic: String,
    partition: i32,
    offset: i64,
    key: Option<String>,
    value: Option<String>,
    reason: String,
}

fn letter(line: &[u8]) -> Option<Shown> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let bytes = |text: Option<String>| text.map(|text| STANDARD.decode(text)).transpose().ok();
    Some(Shown {
        timestamp_ms: 0,
        partition: line.partition,
        offset: line.offset,
        key: bytes(line.key)?,
        value: bytes(line.value)?,
        too_large: None,
        letter: Some(Letter {
            topic: line.topic,
            reason: line.reason,
        }),
    })
}

/// The date in a file's name.
fn date(name: &str) -> Option<NaiveDate> {
    name.strip_prefix("dead_letters_")?.get(..10)?.parse().ok()
}

impl LetterFiles {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            read: BTreeMap::new(),
        }
    }

    /// The files, oldest first: by their names without the ending, so that the first part comes before the second.
    fn names(&self) -> io::Result<BTreeMap<String, String>> {
        let mut names = BTreeMap::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let Ok(name) = entry?.file_name().into_string() else {
                continue;
            };
            let plain = name.trim_end_matches(".gz").trim_end_matches(".zst");
            if let (Some(_), Some(stem)) = (date(&name), plain.strip_suffix(".ndjson")) {
                names.insert(stem.to_owned(), name);
            }
        }
        Ok(names)
    }

    /// Reads what came since the last time, of files of `since` and later; false when `take` wants no more.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn poll(
        &mut self,
        since: Option<NaiveDate>,
        mut take: impl FnMut(Shown) -> bool,
    ) -> io::Result<bool> {
        for (stem, name) in self.names()? {
            if since.is_some_and(|since| date(&name).is_some_and(|date| date < since)) {
                continue;
            }
            let at = self.read.entry(stem).or_default();
            let compressed = !name.ends_with(".ndjson");
            if compressed && *at > 0 {
                // It was read while it was written.
                continue;
            }
            let mut file = match File::open(self.directory.join(&name)) {
                // Compressed, or taken away, since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            file.seek(SeekFrom::Start(*at))?;
            let source: Box<dyn Read> = if name.ends_with(".gz") {
                Box::new(flate2::read::MultiGzDecoder::new(file))
            } else if name.ends_with(".zst") {
                let decoder = ruzstd::decoding::StreamingDecoder::new(file);
                Box::new(decoder.map_err(io::Error::other)?)
            } else {
                Box::new(file)
            };
            let mut reader = BufReader::new(source);
            let mut line = Vec::new();
            loop {
                line.clear();
                (&mut reader)
                    .take(LONGEST_LINE)
                    .read_until(b'\n', &mut line)?;
                // A line that is being written is read when it is whole.
                if line.last() != Some(&b'\n') {
                    break;
                }
                *at += line.len() as u64;
                let Some(letter) = letter(&line) else {
                    tracing::warn!(file = name, "a line is not a dead letter; it is skipped");
                    continue;
                };
                if !take(letter) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(offset: i64) -> String {
        format!(
            "{{\"topic\":\"t\",\"partition\":0,\"offset\":{offset},\"key\":null,\"value\":\"e30=\",\"reason\":\"why\"}}\n"
        )
    }

    fn offsets(files: &mut LetterFiles, since: Option<NaiveDate>) -> Vec<i64> {
        let mut offsets = Vec::new();
        files
            .poll(since, |shown| {
                offsets.push(shown.offset);
                true
            })
            .unwrap();
        offsets
    }

    #[test]
    fn files_are_read_in_order_as_they_grow_and_compressed_ones_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("dead_letters_2025-01-02.0001.ndjson"), line(3)).unwrap();
        std::fs::write(path("dead_letters_2025-01-02.ndjson"), line(2)).unwrap();
        std::fs::write(path("notes.ndjson"), "mine\n").unwrap();
        let gz = File::create(path("dead_letters_2025-01-01.ndjson.gz")).unwrap();
        let mut gz = flate2::write::GzEncoder::new(gz, flate2::Compression::default());
        gz.write_all(line(1).as_bytes()).unwrap();
        gz.finish().unwrap();
        let mut files = LetterFiles::new(directory.path());
        let since = NaiveDate::from_ymd_opt(2025, 1, 2);
        assert_eq!(offsets(&mut files, since), [2, 3]);
        let mut files = LetterFiles::new(directory.path());
        assert_eq!(offsets(&mut files, None), [1, 2, 3]);
        assert_eq!(offsets(&mut files, None), [0; 0]);
        let mut file = File::options()
            .append(true)
            .open(path("dead_letters_2025-01-02.0001.ndjson"))
            .unwrap();
        let more = line(4);
        let (half, rest) = more.split_at(20);
        file.write_all(half.as_bytes()).unwrap();
        assert_eq!(offsets(&mut files, None), [0; 0]);
        file.write_all(rest.as_bytes()).unwrap();
        assert_eq!(offsets(&mut files, None), [4]);
    }
}
