//! From SyncGroup to everybody's assignment. Pure.

use std::{collections::BTreeMap, time::Instant};

use bytes::Bytes;

use super::{Group, Replies, Reply, State, Synced, Ticket};
use crate::wire::error::ErrorCode;

/// A request for the member's own assignment; the leader's brings those of all.
#[derive(Clone, Debug, Default)]
pub(in crate::broker) struct Sync {
    pub(in crate::broker) member_id: String,
    pub(in crate::broker) instance: Option<String>,
    pub(in crate::broker) generation: i32,
    /// What the member thinks the group is, from version 5 on (KIP-559).
    pub(in crate::broker) protocol_type: Option<String>,
    pub(in crate::broker) protocol: Option<String>,
    pub(in crate::broker) assignments: BTreeMap<String, Bytes>,
}

impl Group {
    /// A member asks for its assignment.
    pub(in crate::broker) fn sync(
        &mut self,
        now: Instant,
        sync: Sync,
        ticket: Ticket,
        replies: &mut Replies,
    ) {
        if let Err(code) = self.try_sync(now, sync, ticket, replies) {
            replies.push((ticket, Reply::Sync(Err(code))));
        }
    }

    fn try_sync(
        &mut self,
        now: Instant,
        mut sync: Sync,
        ticket: Ticket,
        replies: &mut Replies,
    ) -> Result<(), ErrorCode> {
        self.identify_in(&sync.member_id, sync.instance.as_deref(), sync.generation)?;
        let differs =
            |said: &Option<String>, is: &str| said.as_deref().is_some_and(|said| said != is);
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        let ends = match self.state {
            State::Empty => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            State::PreparingRebalance { .. } => return Err(ErrorCode::REBALANCE_IN_PROGRESS),
            State::CompletingRebalance { ends } => Some(ends),
            State::Stable { .. } => None,
        };
        let Some(member) = self.members.get_mut(&sync.member_id) else {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        };
        member.touch(now);
        member.synced = true;
        if let Some(before) = member.syncing.replace(ticket) {
            let code = ErrorCode::REBALANCE_IN_PROGRESS;
            replies.push((before, Reply::Sync(Err(code))));
        }
        if let Some(ends) = ends {
            if sync.member_id != self.leader {
                return Ok(());
            }
            for member in self.members.values_mut() {
                member.assignment = sync.assignments.remove(&member.id).unwrap_or_default();
            }
            self.state = State::Stable {
                sync_ends: Some(ends),
            };
        }
        self.share_out(now, replies);
        Ok(())
    }

    /// Gives everybody who waits its assignment.
    fn share_out(&mut self, now: Instant, replies: &mut Replies) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.syncing.take() {
                member.touch(now);
                let synced = Synced {
                    protocol_type: self.protocol_type.clone(),
                    protocol: self.protocol.clone(),
                    assignment: member.assignment.clone(),
                };
                replies.push((ticket, Reply::Sync(Ok(synced))));
            }
        }
        if self.members.values().all(|member| member.synced) {
            self.state = State::Stable { sync_ends: None };
        }
    }
}
