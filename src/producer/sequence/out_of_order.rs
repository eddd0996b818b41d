//! What became of batches in doubt that were refused as out of order. A leader that was started again knows the last batch of
//! each producer and no other, so it refuses those before it though they are in the log. Brokers take nothing out of
//! turn: one that is acknowledged behind them proves them. When none behind them is left to tell, they are not there,
//! unless one of them was given up in doubt.

use super::entry::{Entry, State};
use super::{Epochs, PartitionSequence};

impl<B> PartitionSequence<B> {
    /// Decides about them, as far as what is known now says it.
    pub(super) fn judge(&mut self) {
        if !self.queue.iter().any(Entry::is_out_of_turn) {
            return;
        }
        let acknowledged = |entry: &Entry<B>| matches!(entry.state, State::Resolved(Ok(_)));
        let proof = self.queue.iter().rposition(acknowledged).unwrap_or(0);
        for entry in self.queue.iter_mut().take(proof) {
            if entry.is_out_of_turn() {
                entry.state = State::Resolved(Ok(None));
            }
        }
        // Behind a hole only what may be in the log is tried under its old numbers.
        let hole = self.hole;
        let can_tell =
            |entry: &Entry<B>| entry.can_tell() && !(hole && entry.is_certainly_absent());
        if self.queue.iter().any(can_tell) {
            return;
        }
        for entry in &mut self.queue {
            if !entry.is_out_of_turn() {
                continue;
            }
            if self.epochs == Epochs::Ours && !self.blind {
                entry.unnumber();
            } else {
                entry.cause = Some("the broker does not know the batch before this one".into());
                entry.give_up(None);
            }
            self.hole = true;
        }
    }
}
