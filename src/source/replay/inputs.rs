//! Which files an input means: itself, or those of a directory and of the directories in it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::ReplayFault;

/// What is taken from a directory; a file that is named itself may be called anything.
pub(super) const EXTENSIONS: [&str; 4] = ["json", "csv", "ndjson", "jsonl"];

/// How deep directories are looked through.
const MAX_DEPTH: usize = 16;

/// The files, in the order of their names, each seen to be readable.
pub(super) fn find(path: &str) -> Result<Vec<String>, ReplayFault> {
    let kind = fs::metadata(path)?;
    if !kind.is_dir() {
        // A named pipe waits for its writer when it is opened, so only what is a file is tried.
        if kind.is_file() {
            File::open(path)?;
        }
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut walk = Walk::default();
    walk.through(Path::new(path), MAX_DEPTH)?;
    if !walk.others.is_empty() {
        // A pipe waits for its writer, maybe for ever; who wants that names it.
        tracing::warn!(
            "passed over, because they are no regular files: {}",
            walk.others.join(", ")
        );
    }
    files.append(&mut walk.files);
    if files.is_empty() {
        return Err(ReplayFault::NothingInIt);
    }
    for file in &files {
        File::open(file)?;
    }
    Ok(files)
}

#[derive(Default)]
struct Walk {
    files: Vec<String>,
    /// Neither files nor directories, though named like what is taken.
    others: Vec<String>,
    /// Directories that were looked through, free of links: these may go in circles.
    visited: HashSet<PathBuf>,
}

impl Walk {
    fn through(&mut self, directory: &Path, depth: usize) -> Result<(), ReplayFault> {
        if !self.visited.insert(fs::canonicalize(directory)?) {
            return Ok(());
        }
        let mut entries: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(directory)? {
            entries.push(entry?.path());
        }
        entries.sort();
        for path in entries {
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if hidden {
                continue;
            }
            if path.is_dir() {
                if depth > 0 {
                    self.through(&path, depth - 1)?;
                }
            } else if is_replayable(&path) {
                let name = path.to_string_lossy().into_owned();
                // What cannot be looked at is said when it is opened.
                if fs::metadata(&path).is_ok_and(|kind| !kind.is_file()) {
                    self.others.push(name);
                } else {
                    self.files.push(name);
                }
            } else {
                tracing::debug!(path = %path.display(), "passed over: neither {}", EXTENSIONS.join(", "));
            }
        }
        Ok(())
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
        || (is(path, &["gz", "zst"])
            && path
                .file_stem()
                .is_some_and(|stem| is(Path::new(stem), &EXTENSIONS)))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn pipes_and_circles_in_a_directory_hold_nothing_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = directory.path();
        fs::write(base.join("a.json"), "{}").expect("a file");
        for link in ["l1", "l2", "l3", "l4"] {
            std::os::unix::fs::symlink(base, base.join(link)).expect("a link");
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, base.join("b.json"), 0o600.into()).expect("a pipe");
        let found = find(&base.to_string_lossy()).expect("files");
        assert_eq!(found, [base.join("a.json").to_string_lossy()]);
    }
}
