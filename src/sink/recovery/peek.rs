//! A look at a directory from outside, before a run: is it in use, and whose is it? Nothing in it is changed.

use std::fs::OpenOptions;
use std::path::Path;

use super::super::error::SinkError;
use super::super::model::STATE_DIRECTORY;
use super::super::state::{Checkpoint, checkpoint};
use super::open::bound;
use crate::durable::{Disk, envelope, held_by, only_a_file};

/// Whether a run for this cluster (where it is known), topic and group could write into the directory, which need not
/// be there yet.
///
/// # Errors
/// [`SinkError::Locked`], [`SinkError::BoundElsewhere`], [`SinkError::Damaged`], or [`SinkError::Io`].
pub fn peek(
    directory: &Path,
    cluster_id: Option<&str>,
    topic: &str,
    group: &str,
) -> Result<(), SinkError> {
    let state_directory = directory.join(STATE_DIRECTORY);
    let lock = state_directory.join("lock");
    // Shared, so that two looks do not take each other for a run.
    if let Ok(file) = only_a_file(&lock, OpenOptions::new().read(true))
        && let Err(std::fs::TryLockError::WouldBlock) = file.try_lock_shared()
    {
        return Err(SinkError::Locked {
            path: directory.to_owned(),
            holder: held_by(&lock),
        });
    }
    let path = state_directory.join(checkpoint::FILE);
    let Some(bytes) = envelope::read(&Disk, &path)? else {
        return Ok(());
    };
    let checkpoint = Checkpoint::decode(&path, &bytes)?;
    let cluster_id = cluster_id.unwrap_or(&checkpoint.cluster_id);
    bound(&checkpoint, directory, cluster_id, topic, group)
}
