//! A look at every file when a directory is opened, before any is touched: is it as it was left?

use std::io;
use std::path::Path;

use super::super::error::SinkError;
use super::super::files::TailChecksum;
use super::super::model::{Form, STATE_DIRECTORY, layout};
use super::super::state::{Checkpoint, FileState, Left};
use crate::durable::Fs;

/// So many bytes of a file hold its header.
const HEAD: u64 = 4096;

/// Looks whether every file is as it was left. One that its owner took away stays away; its name is not used again.
pub(in crate::sink) fn look(
    fs: &dyn Fs,
    checkpoint: &mut Checkpoint,
    unsaved: &mut bool,
    directory: &Path,
) -> Result<(), SinkError> {
    let (mut gone, mut published) = (Vec::new(), Vec::new());
    let mut disturbed = checkpoint.disturbed.clone();
    for (name, state) in checkpoint.files().filter(|(_, state)| !state.gone) {
        let place = state.form.place(name);
        let mut path = directory.join(&place);
        let mut len = fs.len(&path).map_err(SinkError::io("read", &path))?;
        if len.is_none() && state.closing && state.form == Form::Hidden {
            // It got its name, and the process was stopped before that was noted.
            path = directory.join(name);
            len = fs.len(&path).map_err(SinkError::io("read", &path))?;
            if len.is_some() {
                published.push(name.clone());
            }
        }
        if let Some(what) = fs.no_file(&path) {
            return Err(SinkError::Replaced { path, what });
        }
        let Some(len) = len else {
            let pending = checkpoint.pending.as_ref();
            if pending.is_some_and(|pending| pending.files.contains_key(name)) {
                return Err(SinkError::edited(
                    &path,
                    "it is gone, and the outcome of its last batch is not known yet",
                ));
            }
            tracing::debug!(file = %path.display(), "the file was taken away");
            gone.push(name.clone());
            continue;
        };
        if let Some(left) = disturbed.remove(&place).filter(|_| len != state.len) {
            look_at_disturbed(fs, &path, left)?;
        } else if len < state.len || (checkpoint.clean && len > state.len) {
            return Err(SinkError::edited_length(&path, len, state.len));
        }
        look_into(fs, &path, state)?;
    }
    // Files that are in no batch yet.
    for (place, left) in disturbed {
        let path = directory.join(place);
        if (fs.len(&path).map_err(SinkError::io("read", &path))?).is_some() {
            look_at_disturbed(fs, &path, left)?;
        }
    }
    if !published.is_empty() {
        // Who was stopped may not have come to this; and the checkpoint that says where they are must not outlive it.
        let hidden = directory.join(STATE_DIRECTORY).join(layout::HIDDEN);
        for path in [directory, &hidden] {
            fs.sync_dir(path).map_err(SinkError::io("sync", path))?;
        }
    }
    if let [first, ..] = gone.as_slice() {
        tracing::warn!(
            files = gone.len(),
            "files were taken away from {} ({}): they stay away, and later rows of their dates go to new parts",
            directory.display(),
            first_of(first, gone.len())
        );
    }
    *unsaved |= !gone.is_empty() || !published.is_empty();
    for name in gone {
        if let Some(state) = checkpoint.counting.files.get_mut(&name) {
            state.gone = true;
        }
    }
    for name in published {
        if let Some(state) = checkpoint.file_mut(&name) {
            state.form = Form::Plain;
        }
    }
    Ok(())
}

/// The first of so many files, to stand for all.
pub(in crate::sink) fn first_of(first: &str, all: usize) -> String {
    match all {
        0 | 1 => first.to_owned(),
        all => format!("{first} and {} more; -v names them", all - 1),
    }
}

/// Looks whether a file's beginning and its end are as they were left.
fn look_into(fs: &dyn Fs, path: &Path, state: &FileState) -> Result<(), SinkError> {
    let read = || -> io::Result<_> {
        let mut file = fs.open_to_read(path)?;
        let tail = TailChecksum::read(&mut *file, state.len)?;
        let mut head = vec![0; usize::try_from(state.len.min(HEAD)).unwrap_or_default()];
        file.read_at(0, &mut head)?;
        Ok((tail, head))
    };
    let (tail, head) = read().map_err(SinkError::io("read", path))?;
    if tail.crc != state.tail {
        return Err(SinkError::edited(
            path,
            format!("what stands before byte {} is different", state.len),
        ));
    }
    let header = head.split_inclusive(|b| *b == b'\n').next();
    let has_one = state.header != crc32c::crc32c(&[]);
    if has_one && header.is_none_or(|header| crc32c::crc32c(header) != state.header) {
        return Err(SinkError::edited(path, "its header is different"));
    }
    Ok(())
}

/// Looks whether a file into which somebody else had written is as the process had left it.
fn look_at_disturbed(fs: &dyn Fs, path: &Path, left: Left) -> Result<(), SinkError> {
    let read = || -> io::Result<_> {
        let mut file = fs.open_to_read(path)?;
        let len = file.len()?;
        let same = len == left.len && TailChecksum::read(&mut *file, len)?.crc == left.tail;
        Ok((len, same))
    };
    match read().map_err(SinkError::io("read", path))? {
        (_, true) => Ok(()),
        (len, _) if len == left.len => Err(SinkError::edited(
            path,
            format!("what stands before byte {len} is different"),
        )),
        (len, _) => Err(SinkError::edited_length(path, len, left.len)),
    }
}
