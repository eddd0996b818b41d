//! One `State.Directory`, one topic, one producer: two that publish the same bars at once do not see each other's, and would
//! put each of them on the topic twice.
//!
//! ```text
//!  State.Directory/published/<topic, shortened>-<hash of cluster and topic>.producer
//! ```
//!
//! Its lock is the system's, so that a producer that was killed keeps no other from starting; in it stands whose it is.
//! With a `Kafka.TransactionalId` the brokers see to it: who starts later fences the one before.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use uuid::Uuid;

use super::super::error::PipelineError;

/// Bytes of a topic's name in that of the file: Kafka allows 249, which with the rest is more than file systems do.
const NAME_BYTES: usize = 100;

/// How often the file is looked at for the number of the process that has just locked it.
const LOOKS: u32 = 50;

/// The right to publish to a topic, as long as it is kept.
#[derive(Debug)]
pub(in crate::pipeline) struct SingleProducer(
    #[expect(dead_code, reason = "it is locked as long as it is open")] File,
);

impl SingleProducer {
    /// Takes it; `state` is `State.Directory`.
    ///
    /// # Errors
    /// When another process has it, which is named, or the directory cannot be used.
    pub(in crate::pipeline) fn claim(
        state: &Path,
        cluster: &str,
        topic: &str,
    ) -> Result<Self, PipelineError> {
        let path = path(state, cluster, topic);
        let failed = |source| PipelineError::Io {
            action: format!("lock {} (State.Directory)", path.display()),
            source,
        };
        match lock(&path).map_err(failed)? {
            Some(file) => Ok(Self(file)),
            None => Err(PipelineError::Setting(taken(&path, state, topic))),
        }
    }
}

fn path(state: &Path, cluster: &str, topic: &str) -> PathBuf {
    let hash = Uuid::new_v5(
        &Uuid::NAMESPACE_OID,
        format!("{cluster}/{topic}").as_bytes(),
    );
    let (short, _) = topic.split_at(topic.floor_char_boundary(NAME_BYTES));
    let name = format!("{short}-{}.producer", hash.simple());
    state.join("published").join(name)
}

/// The file, locked; `None` when another process has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    // What is no file may keep whoever opens it waiting.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())?;
            Ok(Some(file))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn taken(path: &Path, state: &Path, topic: &str) -> String {
    let who = match held_by(path) {
        Some(process) => format!("another stockflow process, {process},"),
        None => "another stockflow process".to_owned(),
    };
    format!(
        "{who} publishes to topic {topic} with this State.Directory ({}), and two of them would publish the same events twice; \
         stop it first, or let one process poll all of the symbols (--symbol A,B). To publish other symbols at the same time, \
         give each process its own State.Directory",
        state.display()
    )
}

/// The process that has the lock, which writes its number right behind locking it.
fn held_by(path: &Path) -> Option<u32> {
    (0..LOOKS).find_map(|_| {
        let mut text = String::new();
        let file = File::open(path).ok()?;
        file.take(16).read_to_string(&mut text).ok()?;
        let process = text.strip_suffix('\n').and_then(|text| text.parse().ok());
        if process.is_none() {
            thread::sleep(Duration::from_millis(10));
        }
        process
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_for_each_topic() {
        let state = tempfile::tempdir().unwrap();
        let claim = |topic: &str| SingleProducer::claim(state.path(), "cluster", topic);
        let first = claim("a").unwrap();
        let _other = claim("b").unwrap();
        let refused = claim("a").unwrap_err().to_string();
        let process = std::process::id().to_string();
        assert!(refused.contains(&process), "{refused}");
        assert!(refused.contains("topic a"), "{refused}");
        drop(first);
        claim("a").unwrap();
    }

    #[test]
    fn what_a_killed_one_left_keeps_nobody_out() {
        let state = tempfile::tempdir().unwrap();
        let file = path(state.path(), "cluster", "a");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "1\n").unwrap();
        let _sole = SingleProducer::claim(state.path(), "cluster", "a").unwrap();
        assert_eq!(held_by(&file), Some(std::process::id()));
    }

    #[test]
    fn the_longest_topic_fits() {
        let state = tempfile::tempdir().unwrap();
        SingleProducer::claim(state.path(), "cluster", &"t".repeat(249)).unwrap();
    }
}
