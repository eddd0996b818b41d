//! What a member may read, as the group says it, and what it does read, as the caller says it. Pure.
//!
//! A *tenure* is a membership from its beginning to its loss. Within one, partitions that the member keeps cross
//! generations: nobody else has read them in between, so rows and commits go on. At its end all partitions are lost
//! together. Whoever commits names the tenure, so that nothing of one before counts by accident.

use std::collections::BTreeSet;

use super::LostReason;
use crate::wire::error::ErrorCode;

/// Where the membership stands, for the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::consumer) struct MembershipState {
    /// Counts the memberships that were lost.
    pub(in crate::consumer) tenure: u64,
    /// Counts what the group has said about partitions.
    pub(in crate::consumer) serial: u64,
    /// What the group lets this member read now.
    pub(in crate::consumer) assigned: BTreeSet<i32>,
    /// What the caller reads, or has not committed to its end yet, or may begin to read at any moment because it was
    /// let. Whatever is said to the group counts all of that as ours.
    pub(in crate::consumer) owned: BTreeSet<i32>,
    /// Why the tenure before this one ended.
    pub(in crate::consumer) lost: Option<LostReason>,
    /// No member, and no way to become one.
    pub(in crate::consumer) failed: Option<(&'static str, ErrorCode)>,
}

impl MembershipState {
    /// The group lets this member read exactly these partitions.
    pub(super) fn assign(&mut self, partitions: BTreeSet<i32>) {
        self.serial += 1;
        self.assigned = partitions;
        self.owned.extend(&self.assigned);
    }

    /// The caller reads exactly these partitions now, and will begin no other before the group says more than it had
    /// said in `serial`. Words of an earlier tenure change nothing.
    pub(super) fn own(&mut self, tenure: u64, serial: u64, partitions: &BTreeSet<i32>) {
        if tenure != self.tenure {
            return;
        }
        self.owned.clone_from(partitions);
        if serial != self.serial {
            self.owned.extend(&self.assigned);
        }
    }

    /// Whether everything that the group wants back was given up.
    pub(super) fn gave_up(&self) -> bool {
        self.owned.is_subset(&self.assigned)
    }

    /// The membership is over.
    pub(super) fn lose(&mut self, why: LostReason) {
        self.tenure += 1;
        self.serial += 1;
        self.assigned.clear();
        self.owned.clear();
        self.lost = Some(why);
    }

    /// The group refuses this member for good.
    pub(super) fn fail(&mut self, api: &'static str, code: ErrorCode) {
        self.lose(LostReason::Refused(code));
        self.failed = Some((api, code));
    }
}
