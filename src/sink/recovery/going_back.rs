//! A partition is begun again further back than the directory has read: because it appeared after the group had begun and
//! was begun at its end all the same, or because that may turn out yet for whoever gets it.
//!
//! ```text
//!  note where it goes ──► claim it there, until certain ──► take out the rows from there on
//! ```
//!
//! The rows go last: were they gone before the claim counts, whoever took the partition over meanwhile would go on behind
//! them. A stop in between leaves the note, and what is committed by then tells whether the claim counted.

use std::collections::BTreeMap;

use super::super::Sink;
use super::super::error::SinkError;
use super::super::state::{Committed, checkpoint::GoingBack};
use super::plan;
use super::supersede::Superseded;

impl Sink {
    /// Whether a partition that appeared later, as is known by now, was begun at its end all the same: then whether it can be
    /// begun again, by [`go_back`](Self::go_back).
    pub fn begun_amiss(&self, partition: i32, committed: &Committed) -> Option<bool> {
        let met = self.checkpoint.met?;
        plan::begun_amiss(self.checkpoint.holder(), met, partition, committed)
    }

    /// Where the group began the partition, as its commit says.
    pub fn begun_at(&self, committed: &Committed) -> Option<i64> {
        plan::begun_at(self.checkpoint.holder(), committed)
    }

    /// Where the group began a partition that it met at its start, when nothing was read of it yet.
    pub fn begun_unread(&self, partition: i32, committed: &Committed) -> Option<i64> {
        plan::begun_unread(self.checkpoint.holder(), partition, committed)
    }

    /// Lets a partition be [claimed](Self::claim) at an offset further back; when that is committed, it has
    /// [`gone_back`](Self::gone_back).
    pub fn go_back(&mut self, partition: i32, to: i64) {
        let batch = self.checkpoint.next_batch;
        self.checkpoint
            .going_back
            .insert(partition, GoingBack { to, batch });
        self.unsaved = true;
        self.is_committed_elsewhere(partition);
        self.is_left_as_it_is(partition);
    }

    /// That the partition was begun at its end is mended, or has been said.
    pub fn is_left_as_it_is(&mut self, partition: i32) {
        if let Some(tenancy) = self.tenancies.get_mut(&partition) {
            tenancy.met = None;
        }
    }

    /// With how many partitions the group met the topic, as a commit of this partition says it. One that was begun at its end
    /// by whoever did not know better says so until it is mended: a stop in between must not make it be forgotten.
    pub(crate) fn met_by(&self, partition: i32) -> Option<i32> {
        let begun = self.tenancies.get(&partition).and_then(|of| of.met);
        let known = self.checkpoint.met;
        begun
            .filter(|_| known.is_some_and(|met| partition >= met))
            .or(known)
    }

    /// The claim counts: rows from there on are superseded.
    ///
    /// # Errors
    /// Those of [`supersede`](Self::supersede).
    pub fn gone_back(&mut self, partition: i32) -> Result<Option<Superseded>, SinkError> {
        let going = self.checkpoint.going_back.get(&partition).copied();
        let Some(GoingBack { to, .. }) = going else {
            return Ok(None);
        };
        let superseded = self.supersede(partition, to)?;
        self.start_at(partition, to)?;
        Ok(Some(superseded))
    }

    /// Where the group began a partition, as the next claim says.
    pub(super) fn begins(&self, partition: i32) -> Option<i64> {
        let begins = self.checkpoint.begins.get(&partition).copied()?;
        let going = self.checkpoint.going_back.get(&partition);
        Some(going.map_or(begins, |going| going.to.min(begins)))
    }

    /// Where a partition went back to whose rows have not gone yet, after what is committed by now. Where the claim did not
    /// count, nothing is to be done any more.
    pub(super) fn went_back(&mut self, partition: i32, committed: &Committed) -> Option<i64> {
        let going = self.checkpoint.going_back.get(&partition).copied()?;
        if plan::went_back(self.checkpoint.holder(), going.batch, committed) {
            return Some(going.to);
        }
        self.checkpoint.going_back.remove(&partition);
        self.unsaved = true;
        None
    }

    /// Takes out what was still to go when the process before was stopped.
    pub(super) fn go_back_at_last(
        &mut self,
        committed: &BTreeMap<i32, Committed>,
    ) -> Result<(), SinkError> {
        let partitions: Vec<i32> = self.checkpoint.going_back.keys().copied().collect();
        for partition in partitions {
            // One that is not asked about is asked about when it is begun.
            let Some(committed) = committed.get(&partition) else {
                continue;
            };
            if let Some(to) = self.went_back(partition, committed) {
                self.supersede(partition, to)?;
            }
        }
        Ok(())
    }
}
