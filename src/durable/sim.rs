//! A file system in memory that stops the world at any step, tears writes, is full from some step on, fails to sync once, and
//! forgets at a loss of power what was not made durable.
//!
//! Two kinds of ends: `kill -9` keeps everything that was written; a loss of power keeps what was synced, and of the
//! rest any part. A changed name that was not made durable with its directory may be the old or the new one.

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::fs::{Fs, FsFile};
use world::{Contents, Fate, World};

#[derive(Clone, Default)]
pub(crate) struct SimFs(Arc<Mutex<World>>);

impl SimFs {
    pub(crate) fn new(seed: u64) -> Self {
        let fs = Self::default();
        fs.world().random = seed;
        fs
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Lets the world end at the change after `changes` more.
    pub(crate) fn arm(&self, changes: Option<u32>) {
        self.world().fuse = changes;
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.world().dead
    }

    /// Lets the disk be full after so many writes more, or have room for ever.
    pub(crate) fn fill(&self, writes: Option<u32>) {
        self.world().room = writes;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.world().room == Some(0)
    }

    /// Lets the sync of a file after so many more fail, or none.
    pub(crate) fn fail_sync(&self, syncs: Option<u32>) {
        let mut world = self.world();
        (world.syncs, world.sync_failed) = (syncs, false);
    }

    pub(crate) fn sync_failed(&self) -> bool {
        self.world().sync_failed
    }

    /// A new process, after a kill or a loss of power.
    pub(crate) fn restart(&self, power_lost: bool) {
        let mut world = self.world();
        world.life += 1;
        world.dead = false;
        world.fuse = None;
        if power_lost {
            world.lose_power();
        }
    }

    /// All files, by name.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let world = self.world();
        world
            .names
            .iter()
            .map(|(path, file)| (path.clone(), world.files[*file].now.clone()))
            .collect()
    }

    /// Puts a file there, durably.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) {
        let mut world = self.world();
        let file = world.files.len();
        world.files.push(Contents::durable(bytes));
        world.names.insert(path.to_owned(), file);
        world.durable_names.insert(path.to_owned(), file);
    }

    fn handle(&self, file: usize, append: bool) -> Box<dyn FsFile> {
        Box::new(SimFile {
            fs: self.clone(),
            file,
            append,
            life: self.world().life,
        })
    }
}

impl Fs for SimFs {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        self.world().alive()
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        if self.world().names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.create(path)?;
        self.open_to_append(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut world = self.world();
        let fate = world.change()?;
        if !world.has_room() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = match world.names.get(path).copied() {
            Some(file) => file,
            None => {
                world.files.push(Contents::default());
                world.files.len() - 1
            }
        };
        if matches!(fate, Fate::Happens) || matches!(fate, Fate::Ends(random) if random % 2 == 0) {
            world.files[file].now.clear();
            world.files[file].touch(0..usize::MAX);
            world.names.insert(path.to_owned(), file);
        }
        world.alive()?;
        drop(world);
        Ok(self.handle(file, false))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.world().alive()?;
        let file = self.world().find(path)?;
        Ok(self.handle(file, false))
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.world().alive()?;
        let file = self.world().find(path)?;
        Ok(self.handle(file, true))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.open(path)
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        let world = self.world();
        world.alive()?;
        Ok(world
            .names
            .get(path)
            .map(|file| world.files[*file].now.len() as u64))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        world.alive()?;
        let within = world
            .names
            .keys()
            .filter(|name| name.parent() == Some(path));
        let names = within.filter_map(|name| name.file_name()?.to_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        let fate = world.change()?;
        let file = world.find(from)?;
        if matches!(fate, Fate::Happens) || matches!(fate, Fate::Ends(random) if random % 2 == 0) {
            world.names.remove(from);
            world.names.insert(to.to_owned(), file);
            world.renamed.push((from.to_owned(), to.to_owned()));
        }
        world.alive()
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.world().names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        let fate = world.change()?;
        if matches!(fate, Fate::Happens) || matches!(fate, Fate::Ends(random) if random % 2 == 0) {
            world.names.remove(path);
        }
        world.alive()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        if let Fate::Ends(_) = world.change()? {
            return world.alive();
        }
        // A rename becomes durable as a whole, with either of its directories.
        let mut halves = BTreeSet::new();
        world.renamed.retain(|(from, to)| {
            let synced = [from, to].iter().any(|name| name.parent() == Some(path));
            if synced {
                halves.extend([from.clone(), to.clone()]);
            }
            !synced
        });
        let within = |name: &Path| name.parent() == Some(path) || halves.contains(name);
        let kept = world.durable_names.iter().filter(|(name, _)| !within(name));
        let synced = world.names.iter().filter(|(name, _)| within(name));
        world.durable_names = kept
            .chain(synced)
            .map(|(name, file)| (name.clone(), *file))
            .collect();
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Send>>> {
        self.world().alive()?;
        Ok(Some(Box::new(())))
    }
}

struct SimFile {
    fs: SimFs,
    file: usize,
    /// Whether it writes at the end, wherever that is.
    append: bool,
    life: u32,
}

impl SimFile {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.fs.world();
        world.alive()?;
        if world.life == self.life {
            Ok(world)
        } else {
            Err(io::Error::other("a handle of an earlier life"))
        }
    }
}

impl FsFile for SimFile {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world()?;
        let fate = world.change()?;
        let full = !world.has_room();
        let bytes = match fate {
            Fate::Happens if full => &bytes[..world.random() as usize % (bytes.len() + 1)],
            Fate::Happens => bytes,
            Fate::Ends(random) => &bytes[..random as usize % (bytes.len() + 1)],
        };
        let file = &mut world.files[self.file];
        let contents = &mut file.now;
        let at = if self.append {
            contents.len() as u64
        } else {
            at
        };
        let (at, end) = (at as usize, at as usize + bytes.len());
        contents.resize(contents.len().max(end), 0);
        contents[at..end].copy_from_slice(bytes);
        file.touch(at..end);
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.alive()
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let world = self.world()?;
        let contents = &world.files[self.file].now;
        let bytes = contents
            .get(at as usize..at as usize + buffer.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut world = self.world()?;
        let fate = world.change()?;
        if matches!(fate, Fate::Happens) || matches!(fate, Fate::Ends(random) if random % 2 == 0) {
            world.files[self.file].now.resize(len as usize, 0);
            world.files[self.file].touch(len as usize..usize::MAX);
        }
        world.alive()
    }

    fn len(&mut self) -> io::Result<u64> {
        Ok(self.world()?.files[self.file].now.len() as u64)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.world()?;
        if let Fate::Happens = world.change()? {
            if !world.may_sync() {
                world.files[self.file].fail_to_sync();
                return Err(io::Error::other("the disk failed"));
            }
            world.files[self.file].sync();
        }
        world.alive()
    }
}
