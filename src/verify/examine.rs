//! Looks into directories, one after the other; each may be in use meanwhile, and is read again when it changed.

use crate::verify::directory::state;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::directory::Look;
use super::examination::Examination;
use super::listing::Surplus;
use crate::durable::{Disk, Fs};
use crate::sink::state::checkpoint;
use crate::sink::{STATE_DIRECTORY, SinkError};

/// How often a directory that changes while it is read is read again.
const ATTEMPTS: u32 = 3;

/// The pause before that: a file that is being published or compressed is both there and not for as long as that takes.
const PAUSE: Duration = Duration::from_millis(100);

/// Reads directories; each may be in use meanwhile.
///
/// One that does not exist, or that has no state, is a doubt: nothing of it was looked at.
///
/// # Errors
/// When the state files of a directory are damaged or cannot be read.
pub fn examine(directories: &[PathBuf]) -> Result<Examination, SinkError> {
    examine_on(&Disk, directories)
}

pub(crate) fn examine_on(fs: &dyn Fs, directories: &[PathBuf]) -> Result<Examination, SinkError> {
    let mut examination = Examination {
        directories: directories.to_vec(),
        ..Examination::default()
    };
    for (number, directory) in directories.iter().enumerate() {
        if let Some(why) = closed_to_us(fs, directory) {
            examination.doubts.push(why);
            continue;
        }
        for attempt in 1..=ATTEMPTS {
            let mut looked = examination.clone();
            let changed = Look {
                fs,
                number,
                directory,
                forms: BTreeMap::new(),
                gone: BTreeSet::new(),
                said: BTreeMap::new(),
                surplus: Surplus::default(),
                longer: Vec::new(),
                is_last: attempt == ATTEMPTS,
                into: &mut looked,
            }
            .look()?;
            if !changed || attempt == ATTEMPTS {
                examination = looked;
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
    Ok(examination)
}

/// Why nothing of a directory can be looked at, where that is so.
fn closed_to_us(fs: &dyn Fs, directory: &Path) -> Option<String> {
    let error = state(fs, directory).err()?;
    let why = match (&error, fs.list(directory)) {
        (_, Err(list)) if list.kind() == ErrorKind::NotFound => {
            "there is no such directory".to_owned()
        }
        (SinkError::NotOurs { .. }, _) => format!(
            "no directory of stockflow: it has no {STATE_DIRECTORY}/{}",
            checkpoint::FILE
        ),
        _ => error.to_string(),
    };
    let directory = directory.display();
    Some(format!(
        "{directory}: {why}; nothing of it was looked at (is the name right? what `stockflow consume` wrote to, --out, is to be named)"
    ))
}
