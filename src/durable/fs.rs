//! The few file operations that the sink is made of, behind a trait, so that its tests can stop the world between any
//! two of them and lose what was not yet made durable.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// A file system.
pub(crate) trait Fs: Send + Sync {
    /// Makes the directory and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes a file that must not be there yet, for reading and appending.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Makes a file, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Opens a file that is there, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Opens a file that is there, for reading and appending: whatever somebody else has written behind its end in the
    /// meantime stays, and what is written comes behind that.
    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Opens a file that is there, for reading alone.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// The length of the file, or `None` when nothing has that name. A directory counts as a file of no length.
    fn len(&self, path: &Path) -> io::Result<Option<u64>>;
    /// What has the name that is no regular file; `None` where it is one, or nothing is there.
    fn no_file(&self, _: &Path) -> Option<&'static str> {
        None
    }
    /// The names in a directory, in any order; those that are no text are left out, they cannot be ours.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Gives a file another name, in place of the file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name, which no file must have.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; one that is not there is fine.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the lock for as long as the answer lives, or says `None`: another process has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>>;
}

/// An open file.
pub(crate) trait FsFile: Send {
    /// Writes all bytes from `at` on; into a file that was opened to append, at its end.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Fills the buffer with the bytes from `at` on.
    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Cuts the file.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// The file's length.
    fn len(&mut self) -> io::Result<u64>;
    /// Makes the contents durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The operating system's files.
pub(crate) struct Disk;

impl Fs for Disk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .append(true)
            .create_new(true)
            .open(path)?;
        Ok(Box::new(file))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut options = OpenOptions::new();
        let file = only_a_file(path, options.read(true).write(true).create(true))?;
        file.set_len(0)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut options = OpenOptions::new();
        Ok(Box::new(only_a_file(path, options.read(true).write(true))?))
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut options = OpenOptions::new();
        Ok(Box::new(only_a_file(
            path,
            options.read(true).append(true),
        )?))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(only_a_file(path, OpenOptions::new().read(true))?))
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        // A dangling symbolic link has the name too.
        match std::fs::metadata(path).or_else(|_| std::fs::symlink_metadata(path)) {
            Ok(metadata) => Ok(Some(if metadata.is_file() {
                metadata.len()
            } else {
                0
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn no_file(&self, path: &Path) -> Option<&'static str> {
        let kind = std::fs::metadata(path).ok()?.file_type();
        match () {
            () if kind.is_file() => None,
            () if kind.is_dir() => Some("a directory"),
            () if kind.is_fifo() => Some("a named pipe"),
            () if kind.is_socket() => Some("a socket"),
            () => Some("a device"),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rename_exclusively(from, to) {
            // Not every file system can.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if self.len(to)?.is_some() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                std::fs::rename(from, to)
            }
            done => Ok(done?),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let mut options = OpenOptions::new();
        let file = only_a_file(path, options.write(true).create(true).truncate(false))?;
        match file.try_lock() {
            Ok(()) => {
                // For whoever finds the lock taken; it holds without that.
                let id = std::process::id();
                let _ = file.set_len(0).and_then(|()| writeln!(&file, "{id}"));
                Ok(Some(Box::new(file)))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Opens what is a file: a named pipe in its place would be waited for, a device would take everything and keep nothing.
pub(crate) fn only_a_file(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let refused = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file but a pipe, a socket or a device; take it away, or name another directory (--out)",
        )
    };
    let is_other = |kind: std::fs::FileType| !kind.is_file() && !kind.is_dir();
    // Changes nothing about a file.
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    match options.open(path) {
        Ok(file) if is_other(file.metadata()?.file_type()) => Err(refused()),
        // A pipe that nobody reads, and a socket, cannot be opened.
        Err(error) if error.kind() != io::ErrorKind::NotFound => match std::fs::metadata(path) {
            Ok(found) if is_other(found.file_type()) => Err(refused()),
            _ => Err(error),
        },
        opened => opened,
    }
}

/// The process that holds a lock, as it wrote it there.
pub(crate) fn held_by(lock: &Path) -> Option<u32> {
    let mut text = String::new();
    let file = only_a_file(lock, OpenOptions::new().read(true)).ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_exclusively(from: &Path, to: &Path) -> Result<(), Errno> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_exclusively(_: &Path, _: &Path) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

impl FsFile for File {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(at))?;
        self.write_all(bytes)
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(at))?;
        self.read_exact(buffer)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn len(&mut self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        // The length is part of what fdatasync makes durable.
        self.sync_data()
    }
}
