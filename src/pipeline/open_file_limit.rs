//! What the system lets this process have: how many files it may have open.

use std::sync::Once;

use rustix::process::{Resource, getrlimit};

/// What is kept from the files of rows, for connections to brokers and to the source, the lock, the index, the list of
/// closed files, one that is being compressed, standard streams and the runtime's own.
const KEPT: usize = 40;

/// How many files of rows may be open at once: `wanted` (`Output.MaxOpenFiles`), or as many as the process may have.
pub(super) fn open_files(wanted: usize) -> usize {
    static SAID: Once = Once::new();
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let fitting = fitting(wanted, limit);
    if let Some(limit) = limit.filter(|_| fitting < wanted) {
        SAID.call_once(|| {
            tracing::warn!(
                "this process may have {limit} files open (ulimit -n), and {KEPT} of them are kept for connections, index and \
                 lock: {fitting} files of rows are open at once, and not the {wanted} of Output.MaxOpenFiles. Rows of more \
                 days than that take longer to write"
            );
        });
    }
    fitting
}

/// One at least: where there is not even room for that, opening it says so.
fn fitting(wanted: usize, limit: Option<usize>) -> usize {
    let Some(limit) = limit else { return wanted };
    wanted.min(limit.saturating_sub(KEPT).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_rows_leave_room_for_all_else() {
        assert_eq!(fitting(64, None), 64);
        assert_eq!(fitting(64, Some(1024)), 64);
        assert_eq!(fitting(64, Some(104)), 64);
        assert_eq!(fitting(64, Some(103)), 63);
        assert_eq!(fitting(64, Some(64)), 24);
        assert_eq!(fitting(2, Some(64)), 2);
        assert_eq!(fitting(64, Some(20)), 1);
    }
}
