//! Which files an input means: itself, or those of a directory and of the directories in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::ReplayFault;

/// What is taken from a directory; a file that is named itself may be called anything.
pub(super) const EXTENSIONS: [&str; 4] = ["json", "csv", "ndjson", "jsonl"];

/// How deep directories are looked through; links may go in circles.
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
    walk(Path::new(path), MAX_DEPTH, &mut files)?;
    if files.is_empty() {
        return Err(ReplayFault::NothingInIt);
    }
    for file in &files {
        File::open(file)?;
    }
    Ok(files)
}

fn walk(directory: &Path, depth: usize, files: &mut Vec<String>) -> Result<(), ReplayFault> {
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
                walk(&path, depth - 1, files)?;
            }
        } else if is_replayable(&path) {
            files.push(path.to_string_lossy().into_owned());
        } else {
            tracing::debug!(path = %path.display(), "passed over: neither {}", EXTENSIONS.join(", "));
        }
    }
    Ok(())
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
