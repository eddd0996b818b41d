//! Closes files that are ended: compresses and publishes them, and lists them as closed.
//!
//! ```text
//!  takes lines ──► takes no more (`closing`) ──► all its lines count ──► compressed ──► has its name ──► listed
//!                                                                      (packing)                          │
//!                                                        the plain file that was compressed goes ◄────────┘
//! ```
//!
//! Invariants. A file whose last lines do not count yet is not touched: recovery may have to take them out. That a file
//! is closing is durable before its name changes, so that who is stopped in between finds it under either. A compressed
//! file is nothing until the list says durably that it is there, and only then the plain one goes.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::super::Sink;
use super::super::error::SinkError;
use super::super::model::{Form, layout};
use super::super::settings::Settings;
use super::super::state::{Closed, FileState, closed_list};
use super::compress::{Candidate, Outcome, Packed, Packing};
use super::naming::{Purpose, is_letters};
use super::{compress, rolling};
use crate::durable::journal;

/// What [`Sink::tend`] leaves to be done.
pub struct Tended {
    /// When to tend next, though nothing comes.
    pub next: Option<DateTime<Utc>>,
    /// A file waits for its last lines to count: a flush is due.
    pub flush: bool,
    /// Files to be compressed, away from the sink; then [`Sink::packed`].
    pub packing: Option<Packing>,
}

/// A file that is closed now.
struct Sealing {
    name: String,
    form: Form,
    packed: Option<closed_list::Packed>,
    /// Where it is now, and whether it still has to get its name.
    from: String,
}

impl Sink {
    /// Ends files whose time has come, and closes those that are ended and of which all lines count. To be called when
    /// the last call said, and after each batch that counted.
    ///
    /// # Errors
    /// [`SinkError::Edited`] when somebody took the name of a file that is to be published; [`SinkError::Io`]. The sink
    /// accepts nothing more then.
    pub fn tend(&mut self, now: DateTime<Utc>) -> Result<Tended, SinkError> {
        self.ready()?;
        let now = now.timestamp();
        self.set_back(now);
        let due = |settings: &Settings, purpose: Purpose, state: &FileState| {
            rolling::closes_at(settings, purpose, state).is_some_and(|at| at <= now)
        };
        self.end_where(due);
        let packing = self.close_ended();
        let packing = self.guard(packing)?;
        Ok(Tended {
            next: self.closes_next(),
            flush: self.rolled,
            packing,
        })
    }

    /// Gives files that were compressed their names, and takes the plain ones away.
    ///
    /// # Errors
    /// As of [`tend`](Self::tend), and [`SinkError::Edited`] when a file is not as it was written.
    pub fn packed(&mut self, packed: Packed) -> Result<(), SinkError> {
        self.ready()?;
        let mut files = Vec::new();
        for (candidate, outcome) in packed.files {
            let Candidate { name, state, form } = candidate;
            // A reset may have changed it meanwhile; then it is compressed again.
            if self.checkpoint.counting.files.get(&name) != Some(&state) {
                continue;
            }
            let (form, packed, from) = match outcome {
                Outcome::Staged(packed) => (form, Some(packed), compress::staged(form, &name)),
                Outcome::Taken => {
                    tracing::warn!(
                        file = %self.directory.join(form.place(&name)).display(),
                        "there is a file of that name that is not ours; {name} stays as it is"
                    );
                    (Form::Plain, None, state.form.place(&name))
                }
                Outcome::Failed(error) => return self.guard(Err(error)),
            };
            files.push(Sealing {
                name,
                form,
                packed,
                from,
            });
        }
        let sealed = self.seal(&files);
        self.guard(sealed)
    }

    /// Closes what is ended and counts; what has to be compressed first.
    fn close_ended(&mut self) -> Result<Option<Packing>, SinkError> {
        let written = self.written();
        let pending = self.checkpoint.pending.as_ref();
        let ended = self.checkpoint.counting.files.iter();
        let ended = ended.filter(|(name, state)| {
            (state.closing || state.gone)
                && !pending.is_some_and(|pending| pending.files.contains_key(*name))
                && !written.contains(name.as_str())
        });
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for (name, state) in ended {
            let form = if state.gone || is_letters(name) {
                state.form
            } else {
                self.settings.compression.closed()
            };
            if matches!(form, Form::Gzip | Form::Zstd) {
                later.push(Candidate {
                    name: name.clone(),
                    state: *state,
                    form,
                });
            } else {
                now.push(Sealing {
                    name: name.clone(),
                    form,
                    packed: None,
                    from: state.form.place(name),
                });
            }
        }
        self.seal(&now)?;
        Ok((!later.is_empty()).then(|| Packing {
            fs: Arc::clone(&self.fs),
            directory: self.directory.clone(),
            files: later,
        }))
    }

    /// Gives files their names, lists them as closed, and takes away what they were made of.
    fn seal(&mut self, files: &[Sealing]) -> Result<(), SinkError> {
        if files.is_empty() {
            return Ok(());
        }
        // Until they are listed, compressed files are as good as not there.
        let packed = files.iter().filter(|sealing| sealing.packed.is_some());
        let packed: Vec<String> = packed.map(|s| s.form.place(&s.name)).collect();
        if self.unsaved || !packed.is_empty() {
            self.checkpoint.loose.extend(packed.iter().cloned());
            self.save()?;
        }
        let mut named = BTreeSet::new();
        for Sealing {
            name, form, from, ..
        } in files
        {
            let to = form.place(name);
            if *from == to {
                continue;
            }
            let (from, path) = (self.directory.join(from), self.directory.join(&to));
            named.extend([&from, &path].map(|path| path.parent().map(PathBuf::from)));
            match self.fs.rename_new(&from, &path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if self.checkpoint.loose.remove(&to) {
                        self.save()?;
                    }
                    return Err(SinkError::NameTaken { path });
                }
                Err(error) => return Err(SinkError::io("publish", &path)(error)),
            }
        }
        self.sync_dirs(named.into_iter().flatten())?;
        self.list(files)?;
        let mut bare = Vec::new();
        for sealing in files {
            let Some(state) = self.checkpoint.counting.files.remove(&sealing.name) else {
                continue;
            };
            if sealing.packed.is_some() {
                bare.push(state.form.place(&sealing.name));
            }
        }
        let loose = &mut self.checkpoint.loose;
        loose.retain(|place| !packed.contains(place));
        loose.extend(bare.iter().cloned());
        self.save()?;
        if bare.is_empty() {
            return Ok(());
        }
        for place in &bare {
            let path = self.directory.join(place);
            self.fs
                .remove(&path)
                .map_err(SinkError::io("remove", &path))?;
        }
        let above = bare.iter().map(|place| self.directory.join(place));
        let above: BTreeSet<_> = above
            .filter_map(|path| path.parent().map(PathBuf::from))
            .collect();
        self.sync_dirs(above.into_iter())?;
        for place in &bare {
            self.checkpoint.loose.remove(place);
        }
        // From now on a file of that name is somebody else's.
        self.save()
    }

    fn sync_dirs(&self, directories: impl Iterator<Item = PathBuf>) -> Result<(), SinkError> {
        for path in directories {
            self.fs
                .sync_dir(&path)
                .map_err(SinkError::io("sync", &path))?;
        }
        Ok(())
    }

    /// Appends to the list of closed files, durably.
    fn list(&mut self, files: &[Sealing]) -> Result<(), SinkError> {
        let mut bytes = Vec::new();
        for sealing in files {
            let Some(state) = self.checkpoint.counting.files.get(&sealing.name) else {
                continue;
            };
            bytes.extend(journal::encode(&Closed {
                name: sealing.name.clone(),
                state: FileState {
                    form: sealing.form,
                    ..*state
                },
                packed: sealing.packed,
                emptied: false,
            })?);
        }
        let path = self.state_directory.join(closed_list::FILE);
        let at = self.checkpoint.counting.closed;
        let mut write = || {
            let file = match &mut self.closed {
                Some(file) => file,
                None => self
                    .closed
                    .insert(journal::open_to_write(&*self.fs, &path)?),
            };
            file.write_at(at, &bytes)?;
            file.sync()
        };
        write().map_err(SinkError::io("write", &path))?;
        self.checkpoint.counting.closed = at + bytes.len() as u64;
        Ok(())
    }

    /// Makes the directory of files that nobody is to see yet.
    pub(in crate::sink) fn make_hidden(&self) -> Result<(), SinkError> {
        let path = self.state_directory.join(layout::HIDDEN);
        self.fs
            .create_dir_all(&path)
            .and_then(|()| self.fs.sync_dir(&self.state_directory))
            .map_err(SinkError::io("make", &path))
    }
}
