//! The disk of the simulation, and what becomes of it when power is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Default)]
pub(super) struct World {
    pub(super) files: Vec<Contents>,
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    /// Renames of which neither name was made durable: they survive as a whole or not at all, as in a journal.
    pub(super) renamed: Vec<(PathBuf, PathBuf)>,
    /// Changes that may still happen before the end.
    pub(super) fuse: Option<u32>,
    pub(super) dead: bool,
    /// Writes that still have room, before the disk is full.
    pub(super) room: Option<u32>,
    /// Syncs of files that still work, before one fails, once.
    pub(super) syncs: Option<u32>,
    /// Whether one has.
    pub(super) sync_failed: bool,
    /// Handles of an earlier life are of no use.
    pub(super) life: u32,
    pub(super) random: u64,
}

#[derive(Default)]
pub(super) struct Contents {
    pub(super) now: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Bytes that a sync which failed has left behind: the system takes them for written, and no later sync does it.
    lost: BTreeSet<usize>,
}

impl Contents {
    pub(super) fn durable(bytes: &[u8]) -> Self {
        Self {
            now: bytes.to_vec(),
            durable: bytes.to_vec(),
            lost: BTreeSet::new(),
        }
    }

    /// Bytes are to be written again.
    pub(super) fn touch(&mut self, range: std::ops::Range<usize>) {
        self.lost.retain(|at| !range.contains(at));
    }

    pub(super) fn sync(&mut self) {
        let before = std::mem::replace(&mut self.durable, self.now.clone());
        for at in &self.lost {
            if let Some(byte) = self.durable.get_mut(*at) {
                *byte = before.get(*at).copied().unwrap_or_default();
            }
        }
    }

    pub(super) fn fail_to_sync(&mut self) {
        let differs = |at: &usize| self.now.get(*at) != self.durable.get(*at);
        let lost: Vec<usize> = (0..self.now.len()).filter(differs).collect();
        self.lost.extend(lost);
    }
}

/// What happens to a change: it happens, or the world ends before, within or after it.
pub(super) enum Fate {
    Happens,
    Ends(u64),
}

impl World {
    /// splitmix64: the simulation is a function of its seed.
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        if self.dead {
            Err(io::Error::other("the world has ended"))
        } else {
            Ok(())
        }
    }

    pub(super) fn change(&mut self) -> io::Result<Fate> {
        self.alive()?;
        match &mut self.fuse {
            Some(0) => {
                self.dead = true;
                Ok(Fate::Ends(self.random()))
            }
            Some(left) => {
                *left -= 1;
                Ok(Fate::Happens)
            }
            None => Ok(Fate::Happens),
        }
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&mut self) -> bool {
        match &mut self.room {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }

    /// Whether this sync works.
    pub(super) fn may_sync(&mut self) -> bool {
        match &mut self.syncs {
            Some(0) => {
                self.syncs = None;
                self.sync_failed = true;
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<usize> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Keeps what was synced, and of the rest any part.
    pub(super) fn lose_power(&mut self) {
        let paths: Vec<_> = self
            .names
            .keys()
            .chain(self.durable_names.keys())
            .cloned()
            .collect();
        let renamed = std::mem::take(&mut self.renamed);
        let mut halves = BTreeMap::new();
        for (from, to) in &renamed {
            let fate = match halves.get(from).or_else(|| halves.get(to)) {
                Some(fate) => *fate,
                None => self.random().is_multiple_of(2),
            };
            halves.insert(from.clone(), fate);
            halves.insert(to.clone(), fate);
        }
        for path in paths {
            let survives = match halves.get(&path) {
                Some(fate) => *fate,
                None => self.random().is_multiple_of(2),
            };
            if survives {
                match self.names.get(&path).copied() {
                    Some(file) => self.durable_names.insert(path, file),
                    None => self.durable_names.remove(&path),
                };
            }
        }
        self.names = self.durable_names.clone();
        for at in 0..self.files.len() {
            let (now, durable) = (self.files[at].now.clone(), self.files[at].durable.clone());
            if now != durable {
                let (short, long) = (now.len().min(durable.len()), now.len().max(durable.len()));
                let len = short + (self.random() as usize) % (long - short + 1);
                let survives = self.random();
                let byte = |i: usize| match (now.get(i), durable.get(i)) {
                    (Some(now), Some(durable)) if now == durable => *now,
                    // Whole sectors of what was not synced are there or are not.
                    (now, durable) => {
                        let written = survives >> (i / 16 % 64) & 1 == 1;
                        *if written {
                            now.or(durable)
                        } else {
                            durable.or(Some(&0))
                        }
                        .unwrap_or(&0)
                    }
                };
                let left: Vec<u8> = (0..len).map(byte).collect();
                self.files[at] = Contents::durable(&left);
            }
        }
    }
}
