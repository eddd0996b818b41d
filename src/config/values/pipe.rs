//! Files that would keep the start waiting for whoever writes into them.

use std::path::Path;

/// Whether opening it would wait for another process. What a shell passes (`<(command)`) is open already.
pub(in crate::config) fn is_named_pipe(path: &Path) -> bool {
    is_pipe(path) && !path.starts_with("/dev/fd") && !path.starts_with("/proc")
}

/// Whether it is a pipe: it can be read once, and waits for whoever writes.
#[cfg(unix)]
pub(in crate::config) fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|kind| kind.file_type().is_fifo())
}

/// Whether it is a pipe: it can be read once, and waits for whoever writes.
#[cfg(not(unix))]
pub(in crate::config) fn is_pipe(_: &Path) -> bool {
    false
}
