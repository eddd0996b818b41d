//! Opens a directory: lock, unfinished recovery, checkpoint, binding, and a look at every file before any is touched.

use crate::sink::{FormerMember, STATE_DIRECTORY};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::super::Sink;
use super::super::error::SinkError;
use super::super::files::{Limits, OpenFiles, Purpose, compress, naming};
use super::super::model::Form;
use super::super::rows::{Complaints, replay, row};
use super::super::settings::{Binding, Publish, Settings};
use super::super::state::{Checkpoint, Redo, State, checkpoint, index, redo};
use super::inspect;
use crate::durable::{Disk, Fs, envelope, held_by};

impl Sink {
    /// Opens the directory, and makes it when it is not there.
    ///
    /// # Errors
    /// [`SinkError::Locked`], [`SinkError::BoundElsewhere`], [`SinkError::Edited`], [`SinkError::Damaged`],
    /// [`SinkError::Settings`] and [`SinkError::Io`]; no file was changed then, unless to
    /// finish a recovery that was stopped half-way.
    pub fn open(settings: Settings, binding: Binding) -> Result<Self, SinkError> {
        Self::open_on(Arc::new(Disk), Limits::DEFAULT, settings, binding)
    }

    /// Opens a directory that is there, whatever it belongs to, and says what that is.
    ///
    /// # Errors
    /// [`SinkError::NotOurs`], and as for [`open`](Self::open).
    pub fn open_bound(settings: Settings) -> Result<(Self, Binding), SinkError> {
        let binding = replay::binding_on(&Disk, &settings.directory)?;
        let sink = Self::open(settings, binding.clone())?;
        Ok((sink, binding))
    }

    pub(in crate::sink) fn open_on(
        fs: Arc<dyn Fs>,
        limits: Limits,
        settings: Settings,
        binding: Binding,
    ) -> Result<Self, SinkError> {
        check(&settings)?;
        let directory = settings.directory.clone();
        let state_directory = directory.join(STATE_DIRECTORY);
        fs.create_dir_all(&state_directory)
            .map_err(SinkError::io("make", &state_directory))?;
        let lock_path = state_directory.join("lock");
        let lock = fs
            .lock(&lock_path)
            .map_err(SinkError::io("lock", &lock_path))?
            .ok_or_else(|| SinkError::Locked {
                path: directory.clone(),
                holder: held_by(&lock_path),
            })?;

        let path = state_directory.join(redo::FILE);
        if let Some(bytes) = envelope::read(&*fs, &path)? {
            let redo = Redo::decode(&path, &bytes)?;
            tracing::info!(directory = %directory.display(), "finishing a recovery that was stopped");
            redo.apply(&*fs, &directory, &state_directory)?;
        }

        let (mut checkpoint, mut unsaved) =
            (load(&*fs, &directory, &state_directory, &binding)?, false);
        let former = checkpoint.member.clone().map(|member_id| FormerMember {
            member_id,
            group: binding.group.clone(),
        });
        bind(&mut checkpoint, &mut unsaved, &directory, &binding)?;
        inspect::look(&*fs, &mut checkpoint, &mut unsaved, &directory)?;
        sweep(&*fs, &checkpoint, &directory)?;

        let sink = Self {
            header: row::header(&settings.columns),
            outputs: OpenFiles::new(settings.max_open_files, limits),
            parts: HashMap::new(),
            roll_bytes: settings.roll.bytes.unwrap_or(u64::MAX),
            rolled: false,
            now: 0,
            closed: None,
            fs,
            settings,
            directory,
            state_directory,
            checkpoint,
            unsaved,
            former,
            index: None,
            progress: BTreeMap::new(),
            tenancies: BTreeMap::new(),
            passed: Vec::new(),
            complaints: Complaints::default(),
            letters: None,
            recovered: false,
            failed: false,
            _lock: lock,
        };
        if sink.settings.publish == Publish::Atomic {
            sink.make_hidden()?;
        }
        Ok(sink)
    }

    /// The member to be fenced before anything else.
    pub fn former_member(&self) -> Option<&FormerMember> {
        self.former.as_ref()
    }

    /// Makes the id of this process's member durable; to be called before the id is first used.
    ///
    /// # Errors
    /// When the checkpoint cannot be written.
    pub fn remember_member(&mut self, member_id: &str) -> Result<(), SinkError> {
        if self.checkpoint.member.as_deref() == Some(member_id) {
            return Ok(());
        }
        self.checkpoint.member = Some(member_id.to_owned());
        let saved = self.save();
        self.guard(saved)
    }
}

fn check(settings: &Settings) -> Result<(), SinkError> {
    if settings.columns.is_empty() {
        return Err(SinkError::Settings(
            "Output.Columns names no column".to_owned(),
        ));
    }
    if let Some(twice) = settings
        .columns
        .iter()
        .enumerate()
        .find(|(i, c)| settings.columns.iter().take(*i).any(|d| d == *c))
    {
        return Err(SinkError::Settings(format!(
            "Output.Columns names {} twice",
            twice.1.as_str()
        )));
    }
    match &settings.instance {
        Some(instance) if !naming::is_instance(instance) => Err(SinkError::Settings(format!(
            "Output.Instance {instance:?} is not 1 to 64 letters, digits, _ and -, with one that is no digit"
        ))),
        _ => Ok(()),
    }
}

/// The checkpoint that is there, or the first one of a new directory, durable.
fn load(
    fs: &dyn Fs,
    directory: &Path,
    state_directory: &Path,
    binding: &Binding,
) -> Result<Checkpoint, SinkError> {
    let path = state_directory.join(checkpoint::FILE);
    if let Some(bytes) = envelope::read(fs, &path)? {
        // A process may have been killed before the name was durable: what is done from here on relies on it.
        fs.sync_dir(state_directory)
            .map_err(SinkError::io("sync", state_directory))?;
        return Checkpoint::decode(&path, &bytes);
    }
    let index = state_directory.join(index::FILE);
    if fs
        .len(&index)
        .map_err(SinkError::io("read", &index))?
        .is_some_and(|len| len > 0)
    {
        return Err(SinkError::damaged(
            &path,
            "it is gone, but the index beside it is not",
        ));
    }
    let fresh = Checkpoint {
        directory: Uuid::new_v4(),
        cluster_id: binding.cluster_id.clone(),
        topic: binding.topic.clone(),
        topic_id: binding.topic_id,
        group: binding.group.clone(),
        identity: 0,
        former_ids: BTreeMap::new(),
        born: 0,
        met: None,
        member: None,
        next_batch: 0,
        made: BTreeMap::new(),
        counting: State::default(),
        pending: None,
        begins: BTreeMap::new(),
        going_back: BTreeMap::new(),
        gaps: Vec::new(),
        loose: BTreeSet::new(),
        clean: false,
        disturbed: BTreeMap::new(),
    };
    say_what_is_there(fs, directory)?;
    fresh.write(fs, state_directory)?;
    // The names of the directories themselves.
    for path in [Some(directory), directory.parent()].into_iter().flatten() {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        fs.sync_dir(path).map_err(SinkError::io("sync", path))?;
    }
    Ok(fresh)
}

/// A directory without a state may have files of one that was lost, or of another program: whoever reads the directory may
/// find rows twice, and nobody can tell afterwards.
fn say_what_is_there(fs: &dyn Fs, directory: &Path) -> Result<(), SinkError> {
    let mut names = fs
        .list(directory)
        .map_err(SinkError::io("list", directory))?;
    names.retain(|name| Purpose::any(name).is_some());
    names.sort_unstable();
    if let (Some(first), Some(last)) = (names.first(), names.last()) {
        tracing::warn!(
            directory = %directory.display(), files = names.len(), %first, %last,
            "the directory has files with names like ours, and no state that knows them (.stockflow was lost, or they are another \
             program's): they stay as they are, and what is read now comes beside them, in parts of its own; rows may be there \
             twice. Where that is not wanted, stop, and take an empty directory (--out), or put .stockflow back"
        );
    }
    Ok(())
}

/// Holds the directory to its cluster, topic and group; takes note of a topic that was made anew.
fn bind(
    checkpoint: &mut Checkpoint,
    unsaved: &mut bool,
    directory: &Path,
    binding: &Binding,
) -> Result<(), SinkError> {
    let Binding {
        cluster_id,
        topic,
        group,
        ..
    } = binding;
    bound(checkpoint, directory, cluster_id, topic, group)?;
    match (checkpoint.topic_id, binding.topic_id) {
        (Some(old), Some(new)) if old != new => {
            tracing::warn!(
                topic = binding.topic, %old, %new,
                "the topic was deleted and made again; its rows stay, and the new one is read from its beginning"
            );
            // The old topic's records cannot be read again, so what was durable of it counts.
            if let Some(pending) = &mut checkpoint.pending {
                pending.counted.extend(pending.partitions.keys().copied());
            }
            checkpoint.settle();
            checkpoint.counting.partitions.clear();
            checkpoint.made.clear();
            checkpoint.begins.clear();
            checkpoint.going_back.clear();
            checkpoint.former_ids.insert(checkpoint.identity, old);
            checkpoint.identity = checkpoint.identity.saturating_add(1);
            checkpoint.born = checkpoint.next_batch;
            // All of its partitions appeared after the group had begun.
            checkpoint.met = Some(0);
            checkpoint.topic_id = Some(new);
            *unsaved = true;
        }
        (None, Some(new)) => {
            checkpoint.topic_id = Some(new);
            *unsaved = true;
        }
        _ => {}
    }
    Ok(())
}

/// Holds the directory to its cluster, topic and group.
pub(in crate::sink) fn bound(
    checkpoint: &Checkpoint,
    directory: &Path,
    cluster_id: &str,
    topic: &str,
    group: &str,
) -> Result<(), SinkError> {
    for (what, bound, wanted) in [
        ("cluster", checkpoint.cluster_id.as_str(), cluster_id),
        ("topic", checkpoint.topic.as_str(), topic),
        ("group", checkpoint.group.as_str(), group),
    ] {
        if bound != wanted {
            return Err(SinkError::BoundElsewhere {
                path: directory.to_owned(),
                what,
                bound: bound.to_owned(),
                wanted: wanted.to_owned(),
            });
        }
    }
    Ok(())
}

/// Removes what a process that was stopped had compressed in part.
fn sweep(fs: &dyn Fs, checkpoint: &Checkpoint, directory: &Path) -> Result<(), SinkError> {
    for (name, _) in checkpoint.files().filter(|(_, state)| state.closing) {
        for form in [Form::Gzip, Form::Zstd] {
            let path = directory.join(compress::staged(form, name));
            fs.remove(&path).map_err(SinkError::io("remove", &path))?;
        }
    }
    Ok(())
}
