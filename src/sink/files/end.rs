//! Ends files: from then on they take no more lines, and the next line of their day begins another part.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::super::Sink;
use super::super::error::SinkError;
use super::super::settings::{Compression, Publish, Settings};
use super::super::state::{Closed, FileState, closed_list};
use super::naming::{Kind, Purpose};
use super::rolling;
use crate::durable::Lines;

impl Sink {
    /// Ends all files that are published or compressed when they are closed, because the process ends. Then
    /// [`tend`](Self::tend) until nothing is left to be compressed.
    ///
    /// # Errors
    /// [`SinkError::OutOfOrder`].
    pub fn end_files(&mut self) -> Result<(), SinkError> {
        self.ready()?;
        self.end_where(|settings, purpose, _| {
            purpose.kind == Kind::Trades
                && (settings.publish == Publish::Atomic
                    || settings.compression != Compression::None)
        });
        Ok(())
    }

    /// Ends the files that are due, and those that no line will ever go to.
    pub(in crate::sink) fn end_where(
        &mut self,
        due: impl Fn(&Settings, Purpose, &FileState) -> bool,
    ) {
        for at in 0..self.outputs.list.len() {
            let Some(output) = self.outputs.list.get(at).filter(|output| !output.closing) else {
                continue;
            };
            let waiting = !output.runs.is_empty();
            let mut state = output.state();
            if waiting {
                state.written = self.now;
            }
            if !due(&self.settings, output.purpose, &state) {
                continue;
            }
            self.end_output(at);
        }
        self.outputs.retire();
        let written: HashSet<&str> = self.written();
        let instance = self.settings.instance.as_deref();
        let ended = self.checkpoint.counting.files.iter();
        let ended = ended.filter(|(name, state)| {
            let idle = !state.closing && !state.gone && !written.contains(name.as_str());
            let open = || match Purpose::of(instance, name) {
                Some((purpose, part)) => {
                    self.parts.get(&purpose) == Some(&part)
                        && self.is_continued(purpose, state)
                        && !due(&self.settings, purpose, state)
                }
                None => false,
            };
            idle && !open()
        });
        let ended: Vec<String> = ended.map(|(name, _)| name.clone()).collect();
        for name in ended {
            if let Some(state) = self.checkpoint.counting.files.get_mut(&name) {
                state.closing = true;
                self.unsaved = true;
            }
        }
    }

    /// Takes back what is of times to come, where the clock was set back since.
    pub(in crate::sink) fn set_back(&mut self, now: i64) {
        self.now = self.now.min(now);
        for output in &mut self.outputs.list {
            output.not_after(now);
        }
        let pending = self.checkpoint.pending.iter_mut();
        let pending = pending.flat_map(|pending| pending.files.values_mut());
        let counting = self.checkpoint.counting.files.values_mut();
        // What is being compressed is found again by what was known of it.
        for state in counting.chain(pending).filter(|state| !state.closing) {
            self.unsaved |= state.not_after(now);
        }
    }

    /// Lets a file take no more lines.
    pub(in crate::sink) fn end_output(&mut self, at: usize) {
        let Some(output) = self.outputs.list.get(at) else {
            return;
        };
        self.rolled |= !output.runs.is_empty();
        if let Some(state) = self.checkpoint.file_mut(&output.name) {
            state.closing = true;
            self.unsaved = true;
        }
        self.outputs.end(at);
    }

    /// The names of the files that lines went to.
    pub(in crate::sink) fn written(&self) -> HashSet<&str> {
        let list = self.outputs.list.iter();
        list.map(|output| output.name.as_str()).collect()
    }

    pub(in crate::sink) fn closes_next(&self) -> Option<DateTime<Utc>> {
        let instance = self.settings.instance.as_deref();
        let list = self.outputs.list.iter();
        let written = list.filter(|output| !output.closing).filter_map(|output| {
            rolling::closes_at(&self.settings, output.purpose, &output.state())
        });
        let others = self.written();
        let idle = self.checkpoint.files().filter_map(|(name, state)| {
            if state.closing || state.gone || others.contains(name.as_str()) {
                return None;
            }
            let (purpose, _) = Purpose::of(instance, name)?;
            rolling::closes_at(&self.settings, purpose, state)
        });
        let next = written.chain(idle).min()?;
        DateTime::from_timestamp(next, 0)
    }

    /// Learns which parts there have been.
    pub(in crate::sink) fn learn_parts(&mut self) -> Result<(), SinkError> {
        let instance = self.settings.instance.as_deref();
        let mut parts = HashMap::new();
        let mut learn = |name: &str| {
            if let Some((purpose, part)) = Purpose::of(instance, name) {
                let last = parts.entry(purpose).or_insert(part);
                *last = part.max(*last);
            }
        };
        self.checkpoint.files().for_each(|(name, _)| learn(name));
        let path = self.state_directory.join(closed_list::FILE);
        let end = self.checkpoint.counting.closed;
        for line in Lines::<Closed>::open(&*self.fs, &path, end)? {
            let (_, closed) = line?;
            if !closed.emptied {
                learn(&closed.name);
            }
        }
        self.parts = parts;
        Ok(())
    }
}
