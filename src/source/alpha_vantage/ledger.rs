//! What is known of a key between runs: requests used up, refusals learnt, months that were filled back. One small JSON
//! file a key in `State.Directory`.
//!
//! Invariants: a request is written down before it goes out, so that a crash cannot use it twice; the file is replaced
//! as a whole; processes that share a key and a directory share the count, because each reads the file under a lock
//! before it adds to it. The key is not in the file, nor in its name: both carry a part of its digest. Where the
//! directory cannot be written, that is said once, and the count lasts as long as the process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::budget::Spent;

/// The largest file that is taken as ours.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// For how long a refusal is believed: plans change.
const REFUSAL_HOLDS: TimeDelta = TimeDelta::days(30);

/// What is known of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Knowledge {
    /// Requests used up.
    pub(super) spent: Spent,
    /// The key has proved to be a paid one.
    pub(super) paid: bool,
    /// Functions and parameters that need a better plan, by name, and when that was learnt.
    pub(super) refused: BTreeMap<String, DateTime<Utc>>,
    /// When each symbol was asked for last.
    pub(super) asked: BTreeMap<String, DateTime<Utc>>,
    /// Months whose events are all on their topic: per destination and series, symbol and month.
    pub(super) filled: BTreeMap<String, BTreeSet<String>>,
}

/// How many symbols are remembered.
const MAX_ASKED: usize = 10_000;

impl Knowledge {
    /// Notes that the symbol is asked for.
    pub(super) fn ask(&mut self, symbol: &str, now: DateTime<Utc>) {
        if self.asked.len() >= MAX_ASKED {
            self.asked.clear();
        }
        self.asked.insert(symbol.to_owned(), now);
    }

    /// When it was learnt that the key may not use this, unless that is too long ago to be believed.
    pub(super) fn refused(&self, what: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.refused
            .get(what)
            .copied()
            // Not from a clock that was ahead by more than a day, or it would be believed for years.
            .filter(|at| (TimeDelta::days(-1)..REFUSAL_HOLDS).contains(&(now - *at)))
    }
}

/// The file of one key.
#[derive(Debug)]
pub(super) struct Ledger {
    path: Option<PathBuf>,
    known: Knowledge,
}

impl Ledger {
    /// Reads what is known of the key at the service; without a directory nothing is kept.
    pub(super) fn open(directory: Option<&Path>, service: &str, key: &str) -> Self {
        let path = directory.map(|directory| directory.join(file_name(service, key)));
        let mut ledger = Self {
            path,
            known: Knowledge::default(),
        };
        if let Some(path) = &ledger.path {
            match read(path) {
                Ok(known) => ledger.known = known.unwrap_or_default(),
                Err(error) => ledger.lose(&error),
            }
        }
        ledger
    }

    /// What was known when it was last looked at.
    pub(super) fn known(&self) -> &Knowledge {
        &self.known
    }

    /// Where it is kept.
    #[cfg(test)]
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Changes what is known, as it stands in the file now, and keeps it.
    pub(super) fn update<T>(&mut self, change: impl FnOnce(&mut Knowledge) -> T) -> T {
        let Some(path) = self.path.clone() else {
            return change(&mut self.known);
        };
        let lock = match lock(&path) {
            Ok(lock) => lock,
            Err(error) => {
                self.lose(&error);
                return change(&mut self.known);
            }
        };
        match read(&path) {
            Ok(Some(known)) => self.known = known,
            // Somebody removed it: what is known here is what is left.
            Ok(None) => {}
            Err(error) => self.lose(&error),
        }
        let before = self.known.clone();
        let outcome = change(&mut self.known);
        if self.known != before
            && let Err(error) = write(&path, &self.known)
        {
            self.lose(&error);
        }
        drop(lock);
        outcome
    }

    fn lose(&mut self, error: &io::Error) {
        if let Some(path) = self.path.take() {
            tracing::warn!(
                "{} cannot be used ({error}): the requests used up are forgotten when this process ends; State.Directory names another place",
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
            "{} is no regular file",
            path.display()
        ))),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> io::Result<Option<Knowledge>> {
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
                "{} is not readable ({error}) and is begun anew",
                path.display()
            );
            Ok(Some(Knowledge::default()))
        }
    }
}

fn lock(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let path = path.with_extension("lock");
    only_a_file(&path)?;
    let file = File::options().create(true).append(true).open(path)?;
    file.lock()?;
    Ok(file)
}

/// Replaces the file: whoever reads it, also after a loss of power, finds the old text or the new one.
fn write(path: &Path, known: &Knowledge) -> io::Result<()> {
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
mod tests {
    use super::super::budget::{Limit, Limits};
    use super::*;

    const KEY: &str = "EXAMPLEKEY000001";

    fn limits() -> Limits {
        Limits::new(
            1.0,
            Limit::Unlimited,
            Limit::Of(25),
            false,
            chrono_tz::America::New_York,
        )
    }

    #[test]
    fn processes_that_share_a_key_share_its_count() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("state");
        let now = Utc::now();
        let mut first = Ledger::open(Some(&place), "http://a", KEY);
        let mut second = Ledger::open(Some(&place), "http://a", KEY);
        for ledger in [&mut first, &mut second] {
            ledger.update(|known| known.spent.spend(&limits(), now));
        }
        assert_eq!(second.known().spent.left_today(&limits(), now), Some(23));
        let again = Ledger::open(Some(&place), "http://a", KEY);
        assert_eq!(again.known(), second.known());
        for (service, key) in [("http://b", KEY), ("http://a", "another")] {
            assert_eq!(
                Ledger::open(Some(&place), service, key).known(),
                &Knowledge::default()
            );
        }
        for entry in fs::read_dir(&place).expect("a directory") {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("UTF-8");
            assert!(
                !text.contains(KEY) && !path.to_string_lossy().contains(KEY),
                "{text}"
            );
        }
    }

    #[test]
    fn a_refusal_is_believed_for_a_month() {
        let mut known = Knowledge::default();
        let now = Utc::now();
        known.refused.insert("intraday".to_owned(), now);
        assert_eq!(
            known.refused("intraday", now + TimeDelta::days(29)),
            Some(now)
        );
        assert_eq!(known.refused("intraday", now + TimeDelta::days(31)), None);
        assert_eq!(known.refused("intraday", now - TimeDelta::days(9)), None);
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_in_place_of_a_file_is_not_waited_for() {
        for extension in ["json", "lock", "json.new"] {
            let directory = tempfile::tempdir().expect("a directory");
            let pipe = directory.path().join(file_name("http://a", KEY));
            let pipe = pipe.with_extension(extension);
            rustix::fs::mkfifoat(rustix::fs::CWD, pipe, 0o600.into()).expect("a pipe");
            let mut ledger = Ledger::open(Some(directory.path()), "http://a", KEY);
            ledger.update(|known| known.paid = true);
            assert!(
                ledger.known().paid && ledger.path().is_none(),
                "{extension}"
            );
        }
    }

    #[test]
    fn without_a_place_it_lasts_as_long_as_the_process() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        fs::write(&file, "x").expect("a file");
        let mut ledger = Ledger::open(Some(&file.join("below")), "http://a", KEY);
        ledger.update(|known| known.paid = true);
        assert!(ledger.known().paid && ledger.path().is_none());
        // A file that is none of ours is begun anew.
        let mut ledger = Ledger::open(Some(directory.path()), "http://a", KEY);
        fs::write(ledger.path().expect("a path"), "not JSON").expect("a file");
        ledger.update(|known| known.paid = true);
        assert!(
            Ledger::open(Some(directory.path()), "http://a", KEY)
                .known()
                .paid
        );
    }
}
