//! What this member has of the group, and how far it has come with that. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use uuid::Uuid;

use super::super::progress::Waiting;

/// A partition that was begun at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) struct BegunAtEnd {
    /// The offset.
    pub(in crate::pipeline) offset: i64,
    /// Until when members that started at once may still turn out to have begun before.
    pub(in crate::pipeline) until: Instant,
}

/// What this member has of the group.
#[derive(Clone, Debug, Default)]
pub(in crate::pipeline) struct Assignment {
    /// The id of the topic that the output directory belongs to.
    pub(in crate::pipeline) topic_id: Option<Uuid>,
    /// Whether the pending batch of the process before is resolved.
    pub(in crate::pipeline) recovered: bool,
    /// Counts the memberships that were lost.
    pub(in crate::pipeline) tenure: u64,
    /// Whether the group has said what this member may read.
    pub(in crate::pipeline) asked: bool,
    /// Whether that was ever anything.
    pub(in crate::pipeline) assigned: bool,
    /// The next offset of each partition that is being read.
    positions: BTreeMap<i32, i64>,
    /// Whether reading is to end.
    wants_ends: bool,
    /// Where it is to end, as far as that is known.
    ends: BTreeMap<i32, i64>,
    /// The partitions that are being read and have not come to their end, or whose end is not known.
    unfinished: BTreeSet<i32>,
    /// The partitions that are this member's, and are begun as soon as it is known where their logs begin and end.
    put_off: BTreeSet<i32>,
    /// The partitions that were begun at their end, because the group seemed to begin with them, as long as that may turn
    /// out to be wrong.
    pub(in crate::pipeline) at_end: BTreeMap<i32, BegunAtEnd>,
    /// The partitions that stand at data that cannot be read, and what is to be said of that.
    stopped: BTreeMap<i32, String>,
    /// How many records wait.
    pub(in crate::pipeline) waiting: Waiting,
    /// Whether the group has committed everything to its end, without this member.
    pub(in crate::pipeline) others_are_done: bool,
    /// Whether it was said that a new directory begins in the middle.
    pub(in crate::pipeline) said_new: bool,
}

impl Assignment {
    pub(in crate::pipeline) fn new(topic_id: Option<Uuid>, recovered: bool) -> Self {
        Self {
            topic_id,
            recovered,
            ..Self::default()
        }
    }

    /// What this member has, whether it is being read yet or not.
    pub(in crate::pipeline) fn partitions(&self) -> BTreeSet<i32> {
        let read = self.positions.keys();
        read.chain(&self.put_off).copied().collect()
    }

    /// These partitions are begun later.
    pub(in crate::pipeline) fn put_off(&mut self, partitions: &BTreeSet<i32>) {
        self.put_off.extend(partitions);
    }

    /// Those that are to be begun later.
    pub(in crate::pipeline) fn put_off_ones(&self) -> &BTreeSet<i32> {
        &self.put_off
    }

    /// A partition was begun, or the group has taken it away meanwhile.
    pub(in crate::pipeline) fn is_put_off_no_more(&mut self, partition: i32) {
        self.put_off.remove(&partition);
    }

    /// The next offset of each partition that is being read.
    pub(in crate::pipeline) fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    /// A partition has been read up to here.
    pub(in crate::pipeline) fn reached(&mut self, partition: i32, position: i64) {
        self.positions.insert(partition, position);
        self.look(partition, position);
    }

    /// A partition that is being read cannot be read on: there is no waiting for its end.
    pub(in crate::pipeline) fn stopped(&mut self, partition: i32, text: String) {
        if self.positions.contains_key(&partition) {
            self.stopped.insert(partition, text);
            self.unfinished.remove(&partition);
        }
    }

    /// What is to be said of the partitions that cannot be read on.
    pub(in crate::pipeline) fn what_is_stopped(&self) -> impl Iterator<Item = &str> {
        self.stopped.values().map(String::as_str)
    }

    /// Whether none of what this member has can be read on.
    pub(in crate::pipeline) fn is_stopped(&self) -> bool {
        let all = self.positions.len() + self.put_off.len();
        !self.stopped.is_empty() && self.stopped.len() == all
    }

    /// The log was truncated, and is read from here: it ends elsewhere than it did.
    pub(in crate::pipeline) fn fell_back(&mut self, partition: i32, position: i64) {
        self.ends.remove(&partition);
        self.reached(partition, position);
    }

    fn look(&mut self, partition: i32, position: i64) {
        let done = self.end(partition).is_some_and(|end| position >= end);
        if done || self.stopped.contains_key(&partition) {
            self.unfinished.remove(&partition);
        } else {
            self.unfinished.insert(partition);
        }
    }

    /// Reading is to end. Those of `partitions` whose end is not known yet.
    pub(in crate::pipeline) fn without_end(
        &mut self,
        partitions: impl IntoIterator<Item = i32>,
    ) -> Vec<i32> {
        self.wants_ends = true;
        let known = |partition: &i32| self.ends.contains_key(partition);
        partitions.into_iter().filter(|of| !known(of)).collect()
    }

    /// Those that are being read, and whose end is to be asked for.
    pub(in crate::pipeline) fn endless(&mut self) -> Vec<i32> {
        let unfinished = self.unfinished.clone();
        self.without_end(unfinished)
    }

    /// Where partitions end.
    pub(in crate::pipeline) fn learned(&mut self, ends: BTreeMap<i32, i64>) {
        self.ends.extend(ends);
        for (partition, position) in self.positions.clone() {
            self.look(partition, position);
        }
    }

    /// Those of these partitions that stand behind these ends.
    pub(in crate::pipeline) fn beyond(&self, ends: &BTreeMap<i32, i64>) -> Vec<i32> {
        let stands = |(partition, end): (&i32, &i64)| {
            let position = *self.positions.get(partition)?;
            (position > *end).then_some(*partition)
        };
        ends.iter().filter_map(stands).collect()
    }

    /// Where a partition ends, once that was asked for.
    pub(in crate::pipeline) fn end(&self, partition: i32) -> Option<i64> {
        self.ends.get(&partition).copied()
    }

    /// Whether everything was read to the ends that were asked for.
    pub(in crate::pipeline) fn is_at_end(&self) -> bool {
        let read = self.unfinished.is_empty() && self.put_off.is_empty();
        let done = self.others_are_done || self.assigned && read;
        self.wants_ends && done
    }

    /// Whether reading is to end, and nothing was given to this member to read: there may be more members than
    /// partitions, and nobody who gives one up.
    pub(in crate::pipeline) fn waits_for_others(&self) -> bool {
        self.wants_ends && self.asked && !self.assigned
    }

    /// These partitions are not read any more.
    pub(in crate::pipeline) fn give_up(&mut self, partitions: &BTreeSet<i32>) {
        self.positions.retain(|of, _| !partitions.contains(of));
        self.put_off.retain(|of| !partitions.contains(of));
        self.unfinished.retain(|of| !partitions.contains(of));
        self.stopped.retain(|of, _| !partitions.contains(of));
        self.at_end.retain(|of, _| !partitions.contains(of));
        self.waiting.retain(|of| !partitions.contains(&of));
    }

    /// The membership is lost, and with it all partitions; what is pending is to be judged.
    pub(in crate::pipeline) fn lose(&mut self) {
        self.positions.clear();
        self.put_off.clear();
        self.unfinished.clear();
        self.stopped.clear();
        self.at_end.clear();
        self.waiting.retain(|_| false);
        self.recovered = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Reachability(i32, i64),
        FallBack(i32, i64),
        Learn(i32, i64),
        Stop(i32),
        PutOff(i32),
        Begin(i32),
        GiveUp(i32),
        Lose,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..4_i32, 0..5_i64).prop_map(|(partition, at)| Step::Reachability(partition, at)),
            1 => (0..4_i32, 0..5_i64).prop_map(|(partition, at)| Step::FallBack(partition, at)),
            3 => (0..4_i32, 0..5_i64).prop_map(|(partition, end)| Step::Learn(partition, end)),
            1 => (0..4_i32).prop_map(Step::Stop),
            1 => (4..6_i32).prop_map(Step::PutOff),
            1 => (4..6_i32).prop_map(Step::Begin),
            1 => (0..6_i32).prop_map(Step::GiveUp),
            1 => Just(Step::Lose),
        ]
    }

    proptest! {
        /// The end is where each partition that is being read has reached its own, and the ends that are missing are
        /// asked for.
        #[test]
        fn the_end_is_where_all_are_at_theirs(steps in prop::collection::vec(step(), 0..40)) {
            let mut assignment = Assignment { assigned: true, ..Assignment::default() };
            let (mut positions, mut ends) = (BTreeMap::new(), BTreeMap::new());
            let (mut stopped, mut put_off) = (BTreeSet::new(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Reachability(partition, at) => {
                        assignment.reached(partition, at);
                        positions.insert(partition, at);
                    }
                    Step::FallBack(partition, at) => {
                        assignment.fell_back(partition, at);
                        positions.insert(partition, at);
                        ends.remove(&partition);
                    }
                    Step::Learn(partition, end) => {
                        assignment.learned([(partition, end)].into());
                        ends.insert(partition, end);
                    }
                    Step::Stop(partition) => {
                        assignment.stopped(partition, String::new());
                        if positions.contains_key(&partition) {
                            stopped.insert(partition);
                        }
                    }
                    Step::PutOff(partition) => {
                        if !positions.contains_key(&partition) {
                            assignment.put_off(&[partition].into());
                            put_off.insert(partition);
                        }
                    }
                    Step::Begin(partition) => {
                        if put_off.remove(&partition) {
                            assignment.is_put_off_no_more(partition);
                            assignment.reached(partition, 2);
                            positions.insert(partition, 2);
                        }
                    }
                    Step::GiveUp(partition) => {
                        assignment.give_up(&[partition].into());
                        positions.remove(&partition);
                        stopped.remove(&partition);
                        put_off.remove(&partition);
                    }
                    Step::Lose => {
                        assignment.lose();
                        positions.clear();
                        stopped.clear();
                        put_off.clear();
                    }
                }
                let endless = assignment.endless();
                let read_on = || positions.iter().filter(|(of, _)| !stopped.contains(*of));
                let missing: Vec<i32> = read_on().map(|(of, _)| *of).filter(|of| !ends.contains_key(of)).collect();
                prop_assert_eq!(endless, missing);
                let at_end = read_on().all(|(of, at)| ends.get(of).is_some_and(|end| at >= end));
                prop_assert_eq!(assignment.is_at_end(), at_end && put_off.is_empty());
                prop_assert_eq!(assignment.is_stopped(), !stopped.is_empty() && read_on().count() == 0 && put_off.is_empty());
                prop_assert_eq!(assignment.partitions(), positions.keys().chain(&put_off).copied().collect::<BTreeSet<_>>());
            }
        }
    }
}
