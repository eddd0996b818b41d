//! `run` stops on any key: only where a person sits in front of it.
//!
//! The terminal keeps its signals and its line ends; it only stops waiting for whole lines and echoing them, and gets
//! its former mode back at the end.

use std::io::{IsTerminal, Read, stdin};

use parking_lot::Mutex;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use super::stop::Stop;

/// The terminal's former mode, as long as it has another one.
static FORMER: Mutex<Option<Termios>> = Mutex::new(None);

/// Gives the terminal its former mode back, if it has another one: also when the process is ended by force.
pub fn give_terminal_back() {
    if let Some(former) = FORMER.lock().take() {
        // The terminal may be gone; there is nothing left to restore then.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &former);
    }
}

/// Gives the terminal its former mode back when this is dropped.
#[derive(Debug)]
pub(super) struct Keys(());

impl Keys {
    /// Listens for a key, if standard input is a terminal and we are in its foreground.
    pub(super) fn listen(stop: &Stop) -> Option<Self> {
        if !stdin().is_terminal() || tcgetpgrp(stdin()).ok()? != rustix::process::getpgrp() {
            return None;
        }
        let former = tcgetattr(stdin()).ok()?;
        let mut mode = former.clone();
        mode.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        FORMER.lock().replace(former);
        tcsetattr(stdin(), OptionalActions::Now, &mode).ok()?;
        let stop = stop.clone();
        // A thread, because a read of a terminal cannot be cancelled; it ends with the process.
        let keys = Self(());
        let waits = std::thread::Builder::new().spawn(move || {
            if let Ok(1..) = stdin().lock().read(&mut [0]) {
                tracing::info!("stopping (a key was pressed)");
                stop.request();
            }
        });
        if let Err(error) = waits {
            tracing::warn!(
                "keys cannot be read, because no thread can be started: {error}; stop with Ctrl-C"
            );
            return None;
        }
        tracing::info!("press any key to stop");
        Some(keys)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        give_terminal_back();
    }
}
