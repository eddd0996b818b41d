//! Who is asked for what: each partition's position, its leader, and what troubles it. Pure.
//!
//! ```text
//! homeless ──place──► at home, asked by its leader's task ──displace──► homeless
//!     ▲                        │
//!     └──────── reset ◄── out of range            stopped: reported, and left alone
//! ```
//!
//! Fairness: a partition that brought data goes to the end of its leader's queue. As the first partition of an answer
//! that has data always gets a whole batch (KIP-74), none can be starved or be stuck behind another.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    consumer::{
        cursor::{Cursor, Witness},
        retry::{FIRST_PAUSE, LONGEST_PAUSE},
    },
    wire::cluster::Topic,
};

/// How often in a row a partition's data may be bad before it is reported: damage on the way heals when it is fetched
/// again, damage on disk does not.
pub(super) const MOST_FAULTS: u32 = 3;

/// From how many failures in a row on a partition is worth a line in the log: the first is how a client learns that
/// the leader moved.
const TOLD_AFTER: u32 = 2;

/// The broker that leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Home {
    node: i32,
    leader_epoch: i32,
    /// The replica that the leader wants asked instead of itself, because it is nearer (KIP-392).
    near: Option<i32>,
}

impl Home {
    fn asked(self) -> i32 {
        self.near.unwrap_or(self.node)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Homeless,
    At(Home),
    OutOfRange,
    /// Somebody asks where to go on.
    Resetting,
    Stopped,
}

#[derive(Clone, Debug)]
struct Slot {
    cursor: Cursor,
    /// What the last answer left in doubt.
    doubt: Witness,
    place: Place,
    /// In a row, without a good answer in between.
    failures: u32,
    /// In a row, without data that brought it forward in between.
    faults: u32,
    told: bool,
    /// The epoch of the leader that has said that its log holds what was read before.
    proven: Option<i32>,
    /// The lower, the earlier in its leader's queue.
    turn: u64,
}

/// What to ask for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) partition: i32,
    pub(super) cursor: Cursor,
    pub(super) leader_epoch: i32,
    /// Whether it is asked of a replica that does not lead.
    pub(super) near: bool,
    /// Whether this leader has not said yet that its log holds what was read before.
    pub(super) unproven: bool,
}

/// Where to read partitions from: the next offset, and the leader epoch of the record before it, where known.
pub(in crate::consumer) type Positions = BTreeMap<i32, (i64, Option<i32>)>;

/// All partitions that are being read.
#[derive(Debug, Default)]
pub(super) struct SubscriptionState {
    slots: BTreeMap<i32, Slot>,
    /// The brokers that have a task.
    staffed: BTreeSet<i32>,
    turns: u64,
}

impl SubscriptionState {
    pub(super) fn new(positions: &Positions) -> Self {
        let mut subscription = Self::default();
        subscription.add(positions);
        subscription
    }

    /// Reads these partitions too, or from elsewhere.
    pub(super) fn add(&mut self, positions: &Positions) {
        for (&partition, &(position, leader_epoch)) in positions {
            let slot = Slot {
                cursor: Cursor::at(position, leader_epoch),
                doubt: Witness::default(),
                place: Place::Homeless,
                failures: 0,
                faults: 0,
                told: false,
                proven: None,
                turn: 0,
            };
            self.slots.insert(partition, slot);
        }
    }

    /// Reads these partitions no more.
    pub(super) fn remove(&mut self, partitions: &BTreeSet<i32>) {
        self.slots
            .retain(|partition, _| !partitions.contains(partition));
    }

    /// The partitions without a leader, and how long to wait before looking for one.
    pub(super) fn homeless(&self) -> Option<(Vec<i32>, Duration)> {
        let homeless: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.place == Place::Homeless)
            .collect();
        let failures = homeless.iter().map(|(_, slot)| slot.failures).min()?;
        let pause = match failures {
            0 | 1 => Duration::ZERO,
            failures => FIRST_PAUSE
                .saturating_mul(1 << (failures - 2).min(16))
                .min(LONGEST_PAUSE),
        };
        let homeless = homeless.into_iter().map(|(&partition, _)| partition);
        Some((homeless.collect(), pause))
    }

    /// Whether every partition that looks for a leader is new here: what is known of the topic will do.
    pub(super) fn is_fresh(&self) -> bool {
        self.slots
            .values()
            .all(|slot| slot.place != Place::Homeless || slot.failures == 0)
    }

    /// Gives homeless partitions the leaders that the metadata names, and moves others whose leader is a newer one.
    /// Those that the metadata has no leader for fail once more.
    pub(super) fn place(&mut self, topic: &Topic) {
        for (&partition, slot) in &mut self.slots {
            let described = usize::try_from(partition)
                .ok()
                .and_then(|index| topic.partitions.get(index));
            let home = described.and_then(|described| {
                Some(Home {
                    node: described.leader?,
                    leader_epoch: described.leader_epoch,
                    near: None,
                })
            });
            match (slot.place, home) {
                (Place::Homeless, Some(home)) => slot.place = Place::At(home),
                (Place::Homeless, None) => slot.failures = slot.failures.saturating_add(1),
                (Place::At(now), Some(home)) if home.leader_epoch > now.leader_epoch => {
                    slot.place = Place::At(home);
                }
                _ => {}
            }
        }
    }

    /// No metadata could be had: all that wait for it fail once more.
    pub(super) fn not_placed(&mut self) {
        for slot in self.slots.values_mut() {
            if slot.place == Place::Homeless {
                slot.failures = slot.failures.saturating_add(1);
            }
        }
    }

    /// How many brokers are being asked.
    pub(super) fn leaders(&self) -> usize {
        self.staffed.len()
    }

    /// Whether a partition needs a leader, a task that asks it, or a position.
    pub(super) fn has_trouble(&self) -> bool {
        self.slots.values().any(|slot| match slot.place {
            Place::Homeless | Place::OutOfRange => true,
            Place::At(home) => !self.staffed.contains(&home.asked()),
            Place::Resetting | Place::Stopped => false,
        })
    }

    /// Brokers that lead a partition and have no task yet; they count as having one from now on.
    pub(super) fn staff(&mut self) -> Vec<i32> {
        let nodes = self.slots.values().filter_map(|slot| match slot.place {
            Place::At(home) => Some(home.asked()),
            _ => None,
        });
        let nodes: BTreeSet<_> = nodes.collect();
        let new: Vec<_> = nodes.difference(&self.staffed).copied().collect();
        self.staffed.extend(&new);
        new
    }

    /// What the task of broker `node` asks next, in order of the queue; when there is nothing, the task has to end.
    pub(super) fn asks(&mut self, node: i32) -> Option<Vec<Ask>> {
        let mut asks: Vec<_> = self
            .slots
            .iter()
            .filter_map(|(&partition, slot)| match slot.place {
                Place::At(home) if home.asked() == node => Some((
                    slot.turn,
                    Ask {
                        partition,
                        cursor: slot.cursor,
                        leader_epoch: home.leader_epoch,
                        near: home.near.is_some(),
                        unproven: slot.cursor.leader_epoch().is_some()
                            && slot.proven != Some(home.leader_epoch),
                    },
                )),
                _ => None,
            })
            .collect();
        if asks.is_empty() {
            self.staffed.remove(&node);
            return None;
        }
        asks.sort_by_key(|(turn, _)| *turn);
        Some(asks.into_iter().map(|(_, ask)| ask).collect())
    }

    /// The slot that an answer of broker `node` is about, unless the partition was moved or reset since it was asked.
    fn asked(&mut self, node: i32, ask: &Ask) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(&ask.partition)?;
        let here = matches!(slot.place, Place::At(home) if home.asked() == node);
        (here && slot.cursor == ask.cursor).then_some(slot)
    }

    /// What the answer before left in doubt.
    pub(super) fn recall(&mut self, node: i32, ask: &Ask) -> Witness {
        let slot = self.asked(node, ask);
        slot.map_or_else(Witness::default, |slot| std::mem::take(&mut slot.doubt))
    }

    /// Keeps what an answer left in doubt for the one after it.
    pub(super) fn doubt(&mut self, node: i32, ask: &Ask, doubt: Witness) {
        if let Some(slot) = self.asked(node, ask) {
            slot.doubt = doubt;
        }
    }

    /// A good answer: the partition goes on from `cursor`. Whether it counts, and whether it ended a streak of failures
    /// that was told.
    pub(super) fn advance(&mut self, node: i32, ask: &Ask, cursor: Cursor) -> (bool, bool) {
        let turn = self.turns + 1;
        let Some(slot) = self.asked(node, ask) else {
            return (false, false);
        };
        let moved = slot.cursor != cursor;
        slot.cursor = cursor;
        slot.failures = 0;
        let told = std::mem::take(&mut slot.told);
        if moved {
            slot.faults = 0;
            slot.turn = turn;
            self.turns = turn;
        }
        (true, told)
    }

    /// The broker is not the one to ask (now): the partition looks for its leader anew.
    pub(super) fn displace(&mut self, node: i32, ask: &Ask) {
        if let Some(slot) = self.asked(node, ask) {
            slot.place = Place::Homeless;
            slot.failures = slot.failures.saturating_add(1);
        }
    }

    /// The leader's log holds what was read before the position: it is not asked again, for as long as it leads.
    pub(super) fn proven(&mut self, node: i32, ask: &Ask) {
        if let Some(slot) = self.asked(node, ask) {
            slot.proven = Some(ask.leader_epoch);
        }
    }

    /// The leader wants a nearer replica to be asked.
    pub(super) fn prefer(&mut self, node: i32, ask: &Ask, near: i32) {
        if let Some(slot) = self.asked(node, ask)
            && let Place::At(home) = &mut slot.place
        {
            home.near = Some(near);
        }
    }

    /// Asks the leaders again which replica is the nearest.
    pub(super) fn forget_near(&mut self) {
        for slot in self.slots.values_mut() {
            if let Place::At(home) = &mut slot.place {
                home.near = None;
            }
        }
    }

    /// Bad data: as [`Self::displace`], but not for ever. Whether that was once too often, and the partition was stopped.
    pub(super) fn suspect(&mut self, node: i32, ask: &Ask) -> bool {
        let Some(slot) = self.asked(node, ask) else {
            return false;
        };
        slot.faults += 1;
        slot.failures = slot.failures.saturating_add(1);
        let too_often = slot.faults > MOST_FAULTS;
        slot.place = if too_often {
            Place::Stopped
        } else {
            Place::Homeless
        };
        too_often
    }

    /// The partition was reported, and is asked for no more.
    pub(super) fn stop(&mut self, partition: i32) {
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.place = Place::Stopped;
        }
    }

    /// None of the partitions is asked for any more; whether one was.
    pub(super) fn stop_all(&mut self) -> bool {
        let mut any = false;
        for slot in self.slots.values_mut() {
            any |= slot.place != Place::Stopped;
            slot.place = Place::Stopped;
        }
        any
    }

    /// The position is not in the log, which counts when it is said for the second time.
    pub(super) fn out_of_range(&mut self, node: i32, ask: &Ask) {
        if let Some(slot) = self.asked(node, ask)
            && slot.doubt.out_of_range_again()
        {
            slot.doubt = Witness::default();
            slot.place = Place::OutOfRange;
        }
    }

    /// Goes on at another position of the same log, when it is said for the second time; whether it did.
    pub(super) fn go_back(&mut self, node: i32, ask: &Ask, position: i64, epoch: i32) -> bool {
        let Some(slot) = self.asked(node, ask) else {
            return false;
        };
        if !slot.doubt.parted_again(epoch, position) {
            return false;
        }
        slot.cursor = Cursor::at(position, Some(epoch).filter(|epoch| *epoch >= 0));
        slot.doubt = Witness::default();
        true
    }

    /// The partitions whose position is not in the log, with it; whoever takes them has to [`Self::reset`] or
    /// [`Self::stop`] them.
    pub(super) fn take_resets(&mut self) -> Vec<(i32, i64)> {
        let mut taken = Vec::new();
        for (&partition, slot) in &mut self.slots {
            if slot.place == Place::OutOfRange {
                slot.place = Place::Resetting;
                taken.push((partition, slot.cursor.position()));
            }
        }
        taken
    }

    /// Goes on at another position.
    pub(super) fn reset(&mut self, partition: i32, position: i64) {
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.cursor = Cursor::at(position, None);
            slot.doubt = Witness::default();
            slot.place = Place::Homeless;
        }
    }

    /// The partitions whose trouble is worth a line in the log now; each is named once a streak.
    pub(super) fn tell(&mut self) -> Vec<i32> {
        self.slots
            .iter_mut()
            .filter(|(_, slot)| slot.failures >= TOLD_AFTER && !slot.told)
            .map(|(&partition, slot)| {
                slot.told = true;
                partition
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
