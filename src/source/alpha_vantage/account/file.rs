//! Where is kept what is known of a key between runs (see `key_state`): one small JSON file a key in `State.Directory`.
//!
//! Invariants: a request is written down before it goes out, so that a crash cannot use it twice; the file is replaced
//! as a whole; processes that share a key and a directory share the count, because each reads the file under a lock
//! before it adds to it. Whoever waits for that lock can be cancelled: a process that was stopped while it held it must not
//! make others deaf. The key is not in the file, nor in its name: both carry a part of its digest. Where the
//! directory cannot be written, that is said once, and the count lasts as long as the process.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::key_state::KeyState;

/// The largest file that is taken as ours.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// How often a lock that another process holds is tried.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// A wait for the lock is said when it is longer than this: who holds it writes a small file.
const SAID: Duration = Duration::from_secs(2);

/// The file of one key.
#[derive(Debug)]
pub(in crate::source::alpha_vantage) struct AccountFile {
    path: Option<PathBuf>,
    known: KeyState,
    /// The lock, from [`Self::acquire`] to [`Self::release`].
    held: Option<File>,
    /// Since when the lock is waited for, and whether that was said.
    waiting: Option<(Instant, bool)>,
}

impl AccountFile {
    /// Reads what is known of the key at the service; without a directory nothing is kept.
    pub(in crate::source::alpha_vantage) fn open(
        directory: Option<&Path>,
        service: &str,
        key: &str,
    ) -> Self {
        let path = directory.map(|directory| directory.join(file_name(service, key)));
        let mut ledger = Self {
            path,
            known: KeyState::default(),
            held: None,
            waiting: None,
        };
        if let Some(path) = &ledger.path {
            match read(path) {
                Ok(known) => ledger.known = known.unwrap_or_default(),
                Err(error) => ledger.lose(&error),
            }
        }
        ledger
    }

    /// Waits until no other process adds to the file, and reads what they have added. Safe to cancel. Follow it by changes and
    /// [`Self::release`], without waiting for anything in between.
    pub(in crate::source::alpha_vantage) async fn acquire(&mut self) {
        let Some(path) = self.path.clone() else {
            return;
        };
        let lock = match open_lock(&path) {
            Ok(lock) => lock,
            Err(error) => return self.lose(&error),
        };
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => self.say_wait(&path),
                Err(TryLockError::Error(error)) => return self.lose(&error),
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
        if let Some((since, true)) = self.waiting.take() {
            let seconds = since.elapsed().as_secs();
            tracing::info!(seconds, "{} is free again", lock_of(&path).display());
        }
        match read(&path) {
            Ok(Some(known)) => self.known = known,
            // Somebody removed it: what is known here is what is left.
            Ok(None) => {}
            Err(error) => self.lose(&error),
        }
        self.held = Some(lock);
    }

    /// Lets others add to the file.
    pub(in crate::source::alpha_vantage) fn release(&mut self) {
        self.held = None;
    }

    /// Goes on without the file, because its lock is not to be had.
    pub(in crate::source::alpha_vantage) fn give_up_the_lock(&mut self, after: Duration) {
        if let Some(path) = &self.path {
            let error = io::Error::other(is_held(path, after));
            self.lose(&error);
        }
    }

    /// Whose lock is not to be had, for an error.
    pub(in crate::source::alpha_vantage) fn is_held(&self, after: Duration) -> String {
        let path = self.path.as_deref();
        path.map_or_else(String::new, |path| is_held(path, after))
    }

    fn say_wait(&mut self, path: &Path) {
        let (since, said) = self.waiting.get_or_insert((Instant::now(), false));
        if !*said && since.elapsed() >= SAID {
            *said = true;
            tracing::warn!(
                "waiting, because {}; a process with its own State.Directory does not wait for others",
                is_held(path, SAID)
            );
        }
    }

    /// What was known when it was last looked at.
    pub(in crate::source::alpha_vantage) fn known(&self) -> &KeyState {
        &self.known
    }

    /// Where it is kept.
    #[cfg(test)]
    pub(in crate::source::alpha_vantage) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Changes what is known, and keeps it; between [`Self::acquire`] and [`Self::release`].
    pub(in crate::source::alpha_vantage) fn update<T>(
        &mut self,
        change: impl FnOnce(&mut KeyState) -> T,
    ) -> T {
        debug_assert!(self.held.is_some() || self.path.is_none(), "acquired");
        let before = self.known.clone();
        let outcome = change(&mut self.known);
        if let Some(path) = &self.path
            && self.known != before
            && let Err(error) = write(path, &self.known)
        {
            self.lose(&error);
        }
        outcome
    }

    fn lose(&mut self, error: &io::Error) {
        if let Some(path) = self.path.take() {
            tracing::warn!(
                "{} cannot be used ({error}): the number of requests used is lost when this process ends; set State.Directory to another directory",
                path.display()
            );
        }
    }
}

/// Tells keys and services apart, and gives no key away.
fn file_name(service: &str, key: &str) -> String {
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{service}\n{key}").as_bytes());
    let (part, ..) = digest.as_fields();
    format!("alpha-vantage-{part:08x}.json")
}

/// Refuses what would be waited for when it is opened: a pipe.
fn only_a_file(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(kind) if !kind.is_file() => Err(io::Error::other(format!(
            "{} is not a regular file",
            path.display()
        ))),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> io::Result<Option<KeyState>> {
    let mut text = Vec::new();
    only_a_file(path)?;
    match File::open(path) {
        Ok(file) => file.take(MAX_FILE_BYTES).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match serde_json::from_slice(&text) {
        Ok(known) => Ok(Some(known)),
        Err(error) => {
            // Ours are replaced as a whole, so this is not a crash's work. Going on without it could overspend, once.
            tracing::warn!(
                "{} cannot be read ({error}); it is started again from nothing",
                path.display()
            );
            Ok(Some(KeyState::default()))
        }
    }
}

/// The file whose lock keeps others out.
fn lock_of(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

fn is_held(path: &Path, after: Duration) -> String {
    format!(
        "another process has held the lock {} (State.Directory) for {} s: is that process suspended, or does its disk hang?",
        lock_of(path).display(),
        after.as_secs()
    )
}

fn open_lock(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let path = lock_of(path);
    only_a_file(&path)?;
    File::options().create(true).append(true).open(path)
}

/// Replaces the file: whoever reads it, also after a loss of power, finds the old text or the new one.
fn write(path: &Path, known: &KeyState) -> io::Result<()> {
    let temporary = path.with_extension("json.new");
    only_a_file(&temporary)?;
    let mut file = File::create(&temporary)?;
    let mut text = serde_json::to_vec(known)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.sync_data()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests;
