//! Which files an input means: itself, or those of a directory and of the directories in it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::ReplayFault;

/// What is taken from a directory; a file that is named itself may be called anything.
pub(super) const EXTENSIONS: [&str; 4] = ["json", "csv", "ndjson", "jsonl"];

/// How deep directories are looked through.
const MAX_DEPTH: usize = 16;

/// How a compressed file ends.
pub(super) const PACKED: [&str; 3] = ["gz", "zst", "lz4"];

/// Names that are shown of those that are passed over.
const MAX_SHOWN: usize = 5;

/// What cannot be replayed, and why.
pub(super) type Missing = Vec<(String, ReplayFault)>;

/// Adds the files of an input, in the order of their names, each seen to be readable, and what is missing.
pub(super) fn find(path: &str, files: &mut Vec<String>, missing: &mut Missing) {
    let kind = match fs::metadata(path) {
        Ok(kind) => kind,
        Err(error) => return missing.push((path.to_owned(), error.into())),
    };
    if !kind.is_dir() {
        // A named pipe waits for its writer when it is opened, so only what is a file is tried.
        return match kind.is_file().then(|| File::open(path)) {
            Some(Err(error)) => missing.push((path.to_owned(), error.into())),
            _ => files.push(path.to_owned()),
        };
    }
    let mut walk = Walk::default();
    walk.through(Path::new(path), MAX_DEPTH);
    if !walk.others.is_empty() {
        let more = walk.others.len().saturating_sub(MAX_SHOWN);
        walk.others.truncate(MAX_SHOWN);
        let and = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        tracing::info!(
            "passed over in {path}, because they are not called {} (plain, .gz, .zst, .lz4): {}{and}; name them by themselves to replay them",
            EXTENSIONS.join(", "),
            walk.others.join(", ")
        );
    }
    if walk.files.is_empty() && walk.missing.is_empty() {
        walk.missing
            .push((path.to_owned(), ReplayFault::NothingInIt));
    }
    files.append(&mut walk.files);
    missing.append(&mut walk.missing);
}

#[derive(Default)]
struct Walk {
    files: Vec<String>,
    missing: Missing,
    /// Named in another way than what is taken.
    others: Vec<String>,
    /// Directories that were looked through, free of links: these may go in circles.
    visited: HashSet<PathBuf>,
}

impl Walk {
    fn through(&mut self, directory: &Path, depth: usize) {
        let entries = fs::canonicalize(directory).and_then(|real| {
            if !self.visited.insert(real) {
                return Ok(Vec::new());
            }
            fs::read_dir(directory)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        });
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.miss(directory, error.into()),
        };
        // The first part of a day has no number, and comes before the others.
        entries.sort_by_cached_key(|path| {
            let name = path.to_string_lossy().into_owned();
            let stem = name.rsplit_once(".csv").map(|(stem, _)| stem.to_owned());
            (stem.unwrap_or_else(|| name.clone()), name)
        });
        for path in entries {
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if hidden {
                continue;
            }
            if path.is_dir() {
                match depth {
                    0 => self.others.push(path.to_string_lossy().into_owned()),
                    _ => self.through(&path, depth - 1),
                }
            } else if is_replayable(&path) {
                // A pipe waits for its writer, maybe for ever; who wants that names it.
                match fs::metadata(&path) {
                    Ok(kind) if !kind.is_file() => self.miss(&path, ReplayFault::NotRegular),
                    Ok(_) => match File::open(&path) {
                        Ok(_) => self.files.push(path.to_string_lossy().into_owned()),
                        Err(error) => self.miss(&path, error.into()),
                    },
                    Err(error) => self.miss(&path, error.into()),
                }
            } else {
                self.others.push(path.to_string_lossy().into_owned());
            }
        }
    }

    fn miss(&mut self, path: &Path, fault: ReplayFault) {
        self.missing
            .push((path.to_string_lossy().into_owned(), fault));
    }
}

fn is_replayable(path: &Path) -> bool {
    let is = |path: &Path, extensions: &[&str]| {
        path.extension().is_some_and(|extension| {
            extensions
                .iter()
                .any(|each| extension.eq_ignore_ascii_case(each))
        })
    };
    is(path, &EXTENSIONS)
        || (is(path, &PACKED)
            && path
                .file_stem()
                .is_some_and(|stem| is(Path::new(stem), &EXTENSIONS)))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn pipes_circles_and_dangling_links_in_a_directory_hold_nothing_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = directory.path();
        fs::write(base.join("a.json"), "{}").expect("a file");
        for link in ["l1", "l2", "l3", "l4"] {
            std::os::unix::fs::symlink(base, base.join(link)).expect("a link");
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, base.join("b.json"), 0o600.into()).expect("a pipe");
        std::os::unix::fs::symlink(base.join("gone"), base.join("c.csv")).expect("a link");
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        find(&base.to_string_lossy(), &mut files, &mut missing);
        assert_eq!(files, [base.join("a.json").to_string_lossy()]);
        let named: Vec<_> = missing.iter().map(|(path, _)| path.clone()).collect();
        let at = |name: &str| base.join(name).to_string_lossy().into_owned();
        assert_eq!(named, [at("b.json"), at("c.csv")]);
    }
}
