//! From JoinGroup to a new generation. Pure.

use std::time::{Duration, Instant};

use super::{
    Group, Join, Joined, MAX_MEMBERS, Member, NotJoined, Replies, Reply, State, Ticket, dismiss,
};
use crate::wire::error::ErrorCode;

/// How long a rebalance that cannot end yet is put off at least, whatever rebalance timeout its members named.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

impl Group {
    /// A member joins, for the first time or again.
    pub(in crate::broker) fn join(
        &mut self,
        now: Instant,
        join: &Join,
        ticket: Ticket,
        replies: &mut Replies,
    ) {
        if let Err(code) = self.try_join(now, join, ticket, replies) {
            let member_id = match code {
                ErrorCode::MEMBER_ID_REQUIRED => &join.new_member_id,
                _ => &join.member_id,
            };
            let member_id = member_id.clone();
            replies.push((ticket, Reply::Join(Err(NotJoined { code, member_id }))));
        }
    }

    fn try_join(
        &mut self,
        now: Instant,
        join: &Join,
        ticket: Ticket,
        replies: &mut Replies,
    ) -> Result<(), ErrorCode> {
        self.check_protocols(join)?;
        if !join.member_id.is_empty() {
            return self.join_with_id(now, join, ticket, replies);
        }
        if let Some(instance) = &join.instance
            && let Some(old) = self.instances.get(instance).cloned()
        {
            self.replace(now, &old, join, ticket, replies);
            return Ok(());
        }
        if self.members.len() + self.pending.len() >= MAX_MEMBERS {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if join.instance.is_none() && join.id_required {
            let ends = now + join.session_timeout;
            self.pending.insert(join.new_member_id.clone(), ends);
            return Err(ErrorCode::MEMBER_ID_REQUIRED);
        }
        self.add(now, join.new_member_id.clone(), join, ticket, replies);
        Ok(())
    }

    /// Whether there remains a protocol that all members have. A static member that comes back without its id is not one
    /// of the others.
    fn check_protocols(&self, join: &Join) -> Result<(), ErrorCode> {
        let is_self = |member: &Member| {
            member.id == join.member_id
                || (join.instance.is_some() && member.instance == join.instance)
        };
        let all_others_support = |name: &str| {
            let mut others = self.members.values().filter(|member| !is_self(member));
            others.all(|other| other.supports(name))
        };
        let same_type = self.members.is_empty() || self.protocol_type == join.protocol_type;
        let mut own = join.protocols.iter();
        if !join.protocol_type.is_empty()
            && same_type
            && own.any(|own| all_others_support(&own.name))
        {
            Ok(())
        } else {
            Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)
        }
    }

    fn join_with_id(
        &mut self,
        now: Instant,
        join: &Join,
        ticket: Ticket,
        replies: &mut Replies,
    ) -> Result<(), ErrorCode> {
        if join.instance.is_none() && self.pending.remove(&join.member_id).is_some() {
            self.add(now, join.member_id.clone(), join, ticket, replies);
            return Ok(());
        }
        self.identify(&join.member_id, join.instance.as_deref())?;
        let Some(member) = self.members.get_mut(&join.member_id) else {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        };
        // Whoever asks again does not wait for the first answer any more.
        dismiss(member, ErrorCode::REBALANCE_IN_PROGRESS, replies);
        let unchanged = member.protocols == join.protocols;
        member.describe(join, now);
        let nothing_new = match self.state {
            // The answer was lost.
            State::CompletingRebalance { .. } => unchanged,
            // A leader that joins again asks for a rebalance.
            State::Stable { .. } => unchanged && self.leader != join.member_id,
            State::Empty | State::PreparingRebalance { .. } => false,
        };
        if nothing_new {
            let joined = self.joined(&join.member_id, &self.leader, false);
            replies.push((ticket, Reply::Join(Ok(joined))));
            return Ok(());
        }
        if let Some(member) = self.members.get_mut(&join.member_id) {
            member.joining = Some(ticket);
        }
        self.rebalance(now, replies);
        Ok(())
    }

    fn add(
        &mut self,
        now: Instant,
        id: String,
        join: &Join,
        ticket: Ticket,
        replies: &mut Replies,
    ) {
        let mut member = Member::new(id.clone(), join, now);
        member.joining = Some(ticket);
        if self.members.is_empty() {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.members.insert(id, member);
        self.rebalance(now, replies);
    }

    /// A static member comes back under a new member id (KIP-345): whoever had its instance id is fenced, and a stable group
    /// goes on as it is when its protocol stays the same. What the member tells under that protocol does not count, as with
    /// Kafka: a sticky one tells what it owns, and one that was started again owns nothing.
    fn replace(
        &mut self,
        now: Instant,
        old: &str,
        join: &Join,
        ticket: Ticket,
        replies: &mut Replies,
    ) {
        let Some(mut member) = self.members.remove(old) else {
            return;
        };
        dismiss(&mut member, ErrorCode::FENCED_INSTANCE_ID, replies);
        member.id.clone_from(&join.new_member_id);
        member.describe(join, now);
        let led = self.leader == old;
        if led {
            self.leader.clone_from(&member.id);
        }
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        let id = member.id.clone();
        self.members.insert(id.clone(), member);
        if matches!(self.state, State::Stable { .. }) && self.vote() == self.protocol {
            // A leader shares out after every join. One that cannot be told not to must not learn that it leads.
            let leader = if led && !join.knows_skip_assignment {
                old
            } else {
                self.leader.as_str()
            };
            let joined = self.joined(&id, leader, led && join.knows_skip_assignment);
            replies.push((ticket, Reply::Join(Ok(joined))));
        } else {
            if let Some(member) = self.members.get_mut(&id) {
                member.joining = Some(ticket);
            }
            self.rebalance(now, replies);
        }
    }

    /// Asks all members to join again, and goes on at once where they all have.
    pub(super) fn rebalance(&mut self, now: Instant, replies: &mut Replies) {
        if !matches!(self.state, State::PreparingRebalance { .. }) {
            for member in self.members.values_mut() {
                if let Some(ticket) = member.syncing.take() {
                    let code = ErrorCode::REBALANCE_IN_PROGRESS;
                    replies.push((ticket, Reply::Sync(Err(code))));
                    member.touch(now);
                }
            }
            let ends = now + self.rebalance_timeout();
            self.state = State::PreparingRebalance { ends };
        }
        self.complete_join_if_all_here(now, replies);
    }

    pub(super) fn complete_join_if_all_here(&mut self, now: Instant, replies: &mut Replies) {
        let all_here =
            self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some());
        if all_here && matches!(self.state, State::PreparingRebalance { .. }) {
            self.complete_join(now, replies);
        }
    }

    /// Begins the next generation with those who joined. Static members that did not keep their place until their session
    /// ends; the others have lost it.
    pub(super) fn complete_join(&mut self, now: Instant, replies: &mut Replies) {
        let late: Vec<_> = self
            .members
            .values()
            .filter(|member| member.joining.is_none() && member.instance.is_none())
            .map(|member| member.id.clone())
            .collect();
        for member_id in &late {
            self.remove(member_id, replies);
        }
        if self.members.is_empty() {
            self.generation = self.generation.saturating_add(1);
            self.leader.clear();
            self.protocol.clear();
            self.state = State::Empty;
            return;
        }
        let joined = |member: &&Member| member.joining.is_some();
        let leader = self
            .members
            .get(&self.leader)
            .filter(joined)
            .or_else(|| self.members.values().find(joined));
        let Some(leader) = leader.map(|leader| leader.id.clone()) else {
            // Only static members, and none came back yet: they have until their sessions end.
            let ends = now + self.rebalance_timeout().max(SHORTEST_WAIT);
            self.state = State::PreparingRebalance { ends };
            return;
        };
        self.generation = self.generation.saturating_add(1);
        self.leader = leader;
        self.protocol = self.vote();
        let ends = now + self.rebalance_timeout();
        self.state = State::CompletingRebalance { ends };
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in &ids {
            let joined = self.joined(id, &self.leader, false);
            let Some(member) = self.members.get_mut(id) else {
                continue;
            };
            member.synced = false;
            if let Some(ticket) = member.joining.take() {
                member.touch(now);
                replies.push((ticket, Reply::Join(Ok(joined))));
            }
        }
    }

    /// The protocol that most members prefer among those that all have; among equals the one that the leader prefers.
    fn vote(&self) -> String {
        let common = |name: &str| self.members.values().all(|member| member.supports(name));
        let votes = |name: &str| {
            let preferred = |member: &&Member| {
                let mut own = member.protocols.iter().filter(|own| common(&own.name));
                own.next().is_some_and(|own| own.name == name)
            };
            self.members.values().filter(preferred).count()
        };
        let Some(leader) = self.members.get(&self.leader) else {
            return String::new();
        };
        let candidates = leader.protocols.iter().filter(|own| common(&own.name));
        // Of several largest ones `max_by_key` takes the last.
        candidates
            .rev()
            .max_by_key(|own| votes(&own.name))
            .map(|own| own.name.clone())
            .unwrap_or_default()
    }

    /// What `member_id` learns of the generation.
    fn joined(&self, member_id: &str, leader: &str, skip_assignment: bool) -> Joined {
        let members = if leader == member_id {
            let describe = |member: &Member| {
                let metadata = member.metadata(&self.protocol);
                (member.id.clone(), member.instance.clone(), metadata)
            };
            self.members.values().map(describe).collect()
        } else {
            Vec::new()
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: leader.to_owned(),
            skip_assignment,
            member_id: member_id.to_owned(),
            members,
        }
    }
}
