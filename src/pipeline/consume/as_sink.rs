//! What the group has committed, as the sink takes it.

use crate::consumer;

/// What was committed, as the sink knows it: the two rooms do not know each other.
pub(crate) fn as_sink(committed: consumer::Committed) -> crate::sink::Committed {
    crate::sink::Committed {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata,
    }
}
