//! Which files the store has, and that nothing but regular files stands in their places.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Refuses what is there but no file: a pipe would be waited for when it is opened.
pub(in crate::dedup) fn only_a_file(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(kind) if !kind.is_file() => Err(io::Error::other(format!(
            "{} is no regular file",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// Where a run lies.
pub(in crate::dedup) fn run_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("run-{number}"))
}
