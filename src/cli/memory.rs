//! Memory that the system does not give (`ulimit -v`): where that shows at the start, it is an error with a sentence there. In
//! the middle of the work the program ends as after a crash, and the next start finds out what was done.

use std::{collections::TryReserveError, hint::black_box};

use super::Exit;

/// What a command holds at most of what is fetched, sent and written, in bytes, apart from single large records.
pub(super) const NEEDED: usize = 64 << 20;

/// Whether so many bytes can be had now; they are given back at once.
pub(super) fn can_be_had(bytes: usize) -> Result<(), TryReserveError> {
    let mut memory = Vec::<u8>::new();
    memory.try_reserve_exact(bytes)?;
    // Compilers leave out what nobody looks at.
    black_box(&memory);
    Ok(())
}

/// How a command ends for which there is not enough.
pub(super) fn missing(error: &TryReserveError) -> Exit {
    tracing::error!(
        "cannot get the {} MiB of memory that this command needs: {error}. The system limits this process to less: raise ulimit -v",
        NEEDED >> 20
    );
    Exit::Failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_an_error() {
        assert!(can_be_had(NEEDED).is_ok());
        assert!(can_be_had(usize::MAX >> 2).is_err());
    }
}
