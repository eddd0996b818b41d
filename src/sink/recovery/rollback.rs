//! A sink that failed, on a full disk mostly, cuts off what it wrote after its last batch, so that the next start finds
//! files that end where the checkpoint says, and has nothing to warn of.
//!
//! It is no more than good manners: recovery does the same at the next start, for a process that was killed. So an error
//! here ends it, quietly, and whatever it is not certain to have written itself stays.

use std::path::Path;

use super::super::Sink;
use super::super::error::SinkError;
use super::super::files::Output;
use super::super::state::{Checkpoint, checkpoint, redo};
use crate::durable::envelope;

impl Sink {
    /// Takes back what no checkpoint covers.
    pub(in crate::sink) fn take_back(&mut self) -> Result<(), SinkError> {
        let redo = self.state_directory.join(redo::FILE);
        let path = self.state_directory.join(checkpoint::FILE);
        let known = |path: &Path| self.fs.len(path).map_err(SinkError::io("read", path));
        if known(&redo)?.is_some() {
            return Ok(());
        }
        // Not the one in memory: which of the two the next start finds is not certain when writing it has failed.
        let Some(bytes) = envelope::read(&*self.fs, &path)? else {
            return Ok(());
        };
        let durable = Checkpoint::decode(&path, &bytes)?;
        for output in &mut self.outputs.list {
            let place = output.place();
            if !output.created || durable.disturbed.contains_key(&place) {
                continue;
            }
            let path = self.directory.join(&place);
            let Some(len) = self.fs.len(&path).map_err(SinkError::io("read", &path))? else {
                continue;
            };
            match durable.file(&output.name) {
                Some(state) if len > state.len && is_ours(&*self.fs, output, &path, len)? => {
                    let mut file = self.fs.open(&path).map_err(SinkError::io("open", &path))?;
                    file.set_len(state.len)
                        .and_then(|()| file.sync())
                        .map_err(SinkError::io("cut", &path))?;
                }
                None if durable.loose.contains(&place)
                    && is_ours(&*self.fs, output, &path, len)? =>
                {
                    self.fs
                        .remove(&path)
                        .map_err(SinkError::io("remove", &path))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether the file ends in what was written last: all of it, or as far as the disk took it.
fn is_ours(
    fs: &dyn crate::durable::Fs,
    output: &Output,
    path: &Path,
    len: u64,
) -> Result<bool, SinkError> {
    let Some(more) = len.checked_sub(output.len) else {
        return Ok(false);
    };
    let waiting = output.waiting();
    let Some(wanted) = usize::try_from(more)
        .ok()
        .and_then(|more| waiting.get(..more))
    else {
        return Ok(false);
    };
    let mut found = vec![0; wanted.len()];
    fs.open_to_read(path)
        .and_then(|mut file| file.read_at(output.len, &mut found))
        .map_err(SinkError::io("read", path))?;
    Ok(found == wanted)
}
