//! All groups with their offsets: hands requests to the pure [`Group`] and its answers to those who wait for them.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::{
    group::{Group, Join, NotJoined, Replies, Reply, Sync, Ticket},
    offsets::Offsets,
};
use crate::wire::error::ErrorCode;

/// The most groups, including those that only have offsets. One without members and offsets is forgotten at once.
const MAX_GROUPS: usize = 10_000;

/// How long nothing has to be done when no group waits for anything; a change ends the pause.
const IDLE: Duration = Duration::from_secs(3_600);

/// A group and what it committed.
#[derive(Debug, Default)]
pub(super) struct GroupEntry {
    pub(super) group: Group,
    pub(super) offsets: Offsets,
}

#[derive(Debug, Default)]
struct Groups {
    by_id: BTreeMap<String, GroupEntry>,
    /// As many as there are connections at most, because a connection waits for one answer at a time.
    waiting: HashMap<Ticket, oneshot::Sender<Reply>>,
    last_ticket: u64,
}

impl Groups {
    fn deliver(&mut self, replies: Replies) {
        for (ticket, reply) in replies {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // Who waited may have been disconnected; the group finds out by the member's silence.
                waiting.send(reply).ok();
            }
        }
    }

    fn forget_if_unused(&mut self, id: &str) {
        let unused = |entry: &GroupEntry| entry.group.is_deserted() && entry.offsets.is_empty();
        if self.by_id.get(id).is_some_and(unused) {
            self.by_id.remove(id);
        }
    }

    fn entry(&mut self, id: &str) -> Result<&mut GroupEntry, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        if !self.by_id.contains_key(id) {
            if self.by_id.len() >= MAX_GROUPS {
                return Err(ErrorCode::POLICY_VIOLATION);
            }
            self.by_id.insert(id.to_owned(), GroupEntry::default());
        }
        self.by_id
            .get_mut(id)
            .ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)
    }
}

/// The coordinator of all groups.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    groups: Mutex<Groups>,
    changed: Notify,
}

impl Coordinator {
    /// Joins a group, which may wait for its other members.
    pub(super) async fn join(&self, group: &str, join: Join) -> Reply {
        let member_id = join.member_id.clone();
        let refuse = |code| Reply::Join(Err(NotJoined { code, member_id }));
        self.wait(group, true, refuse, |group, ticket, replies| {
            group.join(Instant::now(), &join, ticket, replies);
        })
        .await
    }

    /// Asks for an assignment, which may wait for the leader.
    pub(super) async fn sync(&self, group: &str, sync: Sync) -> Reply {
        let refuse = |code| Reply::Sync(Err(code));
        self.wait(group, false, refuse, |group, ticket, replies| {
            group.sync(Instant::now(), sync, ticket, replies);
        })
        .await
    }

    async fn wait(
        &self,
        id: &str,
        create: bool,
        refuse: impl FnOnce(ErrorCode) -> Reply,
        step: impl FnOnce(&mut Group, Ticket, &mut Replies),
    ) -> Reply {
        let answer = {
            let mut groups = self.groups.lock();
            if !create && !groups.by_id.contains_key(id) {
                return refuse(ErrorCode::UNKNOWN_MEMBER_ID);
            }
            groups.last_ticket += 1;
            let ticket = Ticket(groups.last_ticket);
            let mut replies = Replies::new();
            match groups.entry(id) {
                Ok(entry) => step(&mut entry.group, ticket, &mut replies),
                Err(code) => return refuse(code),
            }
            let (sender, answer) = oneshot::channel();
            groups.waiting.insert(ticket, sender);
            groups.deliver(replies);
            groups.forget_if_unused(id);
            answer
        };
        self.changed.notify_one();
        answer
            .await
            .unwrap_or_else(|_| refuse(ErrorCode::COORDINATOR_NOT_AVAILABLE))
    }

    /// Does something with a group that exists.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID where there is no such group, and whatever `step` answers.
    pub(super) fn with<T>(
        &self,
        id: &str,
        step: impl FnOnce(&mut Group, &mut Replies) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let mut groups = self.groups.lock();
        let mut replies = Replies::new();
        let outcome = match groups.by_id.get_mut(id) {
            Some(entry) => step(&mut entry.group, &mut replies),
            None if id.is_empty() => Err(ErrorCode::INVALID_GROUP_ID),
            None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        };
        if !replies.is_empty() {
            groups.deliver(replies);
        }
        groups.forget_if_unused(id);
        drop(groups);
        self.changed.notify_one();
        outcome
    }

    /// Writes a group's offsets, where the group lets `member_id` do so in `generation`.
    ///
    /// # Errors
    /// As [`Group::check_commit`]; ILLEGAL_GENERATION for a generation of a group that there is not.
    pub(super) fn commit(
        &self,
        id: &str,
        (member_id, instance, generation): (&str, Option<&str>, i32),
        write: impl FnOnce(&mut Offsets),
    ) -> Result<(), ErrorCode> {
        let mut groups = self.groups.lock();
        if generation >= 0 && !id.is_empty() && !groups.by_id.contains_key(id) {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let entry = groups.entry(id)?;
        let now = Instant::now();
        let outcome = entry
            .group
            .check_commit(now, member_id, instance, generation);
        if outcome.is_ok() {
            write(&mut entry.offsets);
        }
        groups.forget_if_unused(id);
        outcome
    }

    /// Drops every group's offsets on a topic that was deleted.
    pub(super) fn forget_topic(&self, topic: &str) {
        let mut groups = self.groups.lock();
        groups.by_id.retain(|_, entry| {
            entry.offsets.forget(topic);
            !(entry.group.is_deserted() && entry.offsets.is_empty())
        });
    }

    /// Looks at a group, if there is one.
    pub(super) fn look<T>(&self, id: &str, look: impl FnOnce(Option<&GroupEntry>) -> T) -> T {
        look(self.groups.lock().by_id.get(id))
    }

    /// Looks at all groups, in the order of their ids.
    pub(super) fn look_at_all<T>(
        &self,
        mut look: impl FnMut(&str, &GroupEntry) -> Option<T>,
    ) -> Vec<T> {
        let groups = self.groups.lock();
        groups
            .by_id
            .iter()
            .filter_map(|(id, entry)| look(id, entry))
            .collect()
    }

    /// Lets time pass for all groups, for ever.
    pub(super) async fn keep_time(&self) {
        loop {
            let next = self.tick(Instant::now());
            let pause = next.map_or(IDLE, |next| next.saturating_duration_since(Instant::now()));
            // A change only ends the pause: whether it did or the time is up, what is due is looked up anew.
            tokio::time::timeout(pause, self.changed.notified())
                .await
                .ok();
        }
    }

    fn tick(&self, now: Instant) -> Option<Instant> {
        let mut groups = self.groups.lock();
        let mut replies = Replies::new();
        let mut next = None;
        groups.by_id.retain(|_, entry| {
            let due = |entry: &GroupEntry| entry.group.next_tick();
            if due(entry).is_some_and(|due| due <= now) {
                entry.group.tick(now, &mut replies);
            }
            next = [next, due(entry)].into_iter().flatten().min();
            !(entry.group.is_deserted() && entry.offsets.is_empty())
        });
        groups.deliver(replies);
        next
    }
}
