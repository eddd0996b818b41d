//! The thin driver of the classic [`machine`](super::machine): JoinGroup, SyncGroup, and sharing out as the leader.
//!
//! JoinGroup and SyncGroup travel on a lane of their own because the broker holds them back until the other members came.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::super::{Counted, Machine, Membership, Remember, millis};
use super::machine::{Candidate, Event, Joining, Round, Step};
use super::{machine, protocol};
use crate::{
    consumer::{
        ConsumeError, Task,
        assignor::{self, Share, Subscriber},
        retry::Streak,
    },
    wire::{
        cluster::{ClusterError, Lane},
        error::ErrorCode,
        messages::{
            JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, Str, SyncGroupRequest,
            SyncGroupRequestAssignment,
        },
    },
};

/// The kind of members that agree on partitions.
const PROTOCOL_TYPE: &str = "consumer";

/// How much longer than the rebalance may take its answer may take, so that the broker's clock decides and not ours.
const REBALANCE_SLACK: Duration = Duration::from_secs(5);

impl Membership {
    /// Keeps the membership for as long as it is polled.
    pub(in crate::consumer::membership) async fn drive_classic(
        self: Arc<Self>,
        remember: &Remember,
    ) -> Result<(), ConsumeError> {
        *self.machine.lock() = {
            let standing = self.standing();
            Machine::Classic(machine::Machine::new(
                self.settings.session_timeout,
                standing,
            ))
        };
        let _heartbeat = Task::spawn(Arc::clone(&self).beat());
        let mut watch: Option<Task> = None;
        let mut streak = Streak::new(format!("join group {}", self.coordinator.group()));
        loop {
            let step = match &*self.machine.lock() {
                Machine::Classic(machine) => machine.step(),
                Machine::Kip848(_) => Step::Idle,
            };
            let tried = match step {
                Step::Remember(member_id) => {
                    self.remember(remember, &member_id).await?;
                    Ok(self.happened(Event::Remembered))
                }
                Step::Join(joining) => {
                    watch = None;
                    self.send_join(&joining).await
                }
                Step::Sync(round) => self.send_sync(&round, &mut streak, &mut watch).await,
                Step::Fence(member_id) => {
                    self.end_membership(&member_id).await?;
                    Ok(self.happened(Event::Fenced))
                }
                Step::Idle => {
                    streak.over();
                    self.due.notified().await;
                    Ok(None)
                }
            };
            match tried {
                Ok(None) => {}
                Ok(Some(code)) => streak.failed(&code).await,
                Err(ConsumeError::Cluster(error)) if error.is_retriable() => {
                    streak.failed(&error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes an event into the classic machine.
    pub(in crate::consumer::membership) fn happened(&self, event: Event) -> Option<ErrorCode> {
        self.on(|machine| match machine {
            Machine::Classic(machine) => machine.on(event, Instant::now()),
            Machine::Kip848(_) => None,
        })
    }

    fn rebalance_limit(&self) -> Duration {
        self.settings.rebalance_timeout + REBALANCE_SLACK
    }

    async fn send_join(&self, joining: &Joining) -> Result<Option<ErrorCode>, ConsumeError> {
        let settings = &self.settings;
        let request = JoinGroupRequest {
            group_id: self.coordinator.group().clone(),
            session_timeout_ms: millis(settings.session_timeout),
            rebalance_timeout_ms: millis(settings.rebalance_timeout),
            member_id: joining.member_id.clone(),
            group_instance_id: settings.group_instance_id.clone(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: settings
                .assignor
                .offered()
                .iter()
                .map(|&assignor| JoinGroupRequestProtocol {
                    name: assignor.name().into(),
                    metadata: protocol::encode_subscription(
                        &settings.topic,
                        assignor,
                        joining,
                        settings.rack.as_ref(),
                    ),
                })
                .collect(),
            reason: None,
        };
        let node = self.coordinator.node().await?;
        let answer = self
            .coordinator
            .ask(node, Lane::Membership, &request, self.rebalance_limit())
            .await?;
        Ok(match ErrorCode::check(answer.error_code) {
            Ok(()) => self.happened(Event::Joined(round_of(answer))),
            Err(code) => {
                self.coordinator.note(code);
                self.happened(Event::JoinRefused(code, answer.member_id))
            }
        })
    }

    /// Sends SyncGroup, with everybody's share if we lead.
    async fn send_sync(
        self: &Arc<Self>,
        round: &Round,
        streak: &mut Streak,
        watch: &mut Option<Task>,
    ) -> Result<Option<ErrorCode>, ConsumeError> {
        let leads = !round.members.is_empty();
        let (shares, counted) = if round.shared_out {
            // The shares stand, and growth is watched all the same (KIP-814).
            (
                BTreeMap::new(),
                self.count(&subscribers(round), streak).await?,
            )
        } else if leads {
            self.assign(round, streak).await?
        } else {
            Default::default()
        };
        let request = SyncGroupRequest {
            group_id: self.coordinator.group().clone(),
            generation_id: round.generation,
            member_id: round.member_id.clone(),
            group_instance_id: self.settings.group_instance_id.clone(),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: round.protocol.clone(),
            assignments: shares
                .iter()
                .map(|(member_id, share)| SyncGroupRequestAssignment {
                    member_id: member_id.clone(),
                    assignment: protocol::encode_assignment(share),
                })
                .collect(),
        };
        let answer = match self.coordinator.node().await {
            Ok(node) => self
                .coordinator
                .ask(node, Lane::Membership, &request, self.rebalance_limit())
                .await
                .map_err(ClusterError::from),
            Err(error) => Err(error),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // Whether the group went on without us is learnt by joining again.
                self.happened(Event::Unanswered);
                return Err(error.into());
            }
        };
        if let Err(code) = ErrorCode::check(answer.error_code) {
            self.coordinator.note(code);
            return Ok(self.happened(Event::SyncRefused(code)));
        }
        let mut share = protocol::decode_assignment(answer.assignment).map_err(|source| {
            ConsumeError::Assignment {
                group: self.coordinator.group().to_string(),
                source,
            }
        })?;
        let partitions: BTreeSet<i32> = share
            .remove(&self.settings.topic)
            .unwrap_or_default()
            .into_iter()
            .filter(|partition| *partition >= 0)
            .collect();
        tracing::info!(
            group = %self.coordinator.group(), generation = round.generation, member_id = %round.member_id,
            assignor = round.protocol.as_deref(), ?partitions, "joined the group"
        );
        *watch = leads
            .then(|| Task::spawn(Arc::clone(self).watch_partitions(round.generation, counted)));
        Ok(self.happened(Event::Synced(partitions)))
    }

    /// Shares the partitions out among the members. Topics that only others subscribed to are shared out too.
    async fn assign(
        &self,
        round: &Round,
        streak: &mut Streak,
    ) -> Result<(BTreeMap<Str, Share>, Counted), ConsumeError> {
        let assignor = round.protocol.as_deref().unwrap_or_default();
        let subscribers = subscribers(round);
        let counted = self.count(&subscribers, streak).await?;
        let shares = assignor::assign(assignor, &subscribers, &counted)
            .ok_or_else(|| self.refused("JoinGroup", ErrorCode::INCONSISTENT_GROUP_PROTOCOL))?;
        Ok((shares, counted))
    }

    /// Counts the partitions of everything that anybody subscribed to.
    async fn count(
        &self,
        subscribers: &[Subscriber],
        streak: &mut Streak,
    ) -> Result<Counted, ConsumeError> {
        let topics: BTreeSet<_> = subscribers
            .iter()
            .flat_map(|subscriber| &subscriber.topics)
            .collect();
        let mut counted = Counted::new();
        for topic in topics {
            match self.count_partitions(topic, streak).await {
                Ok(count) => {
                    counted.insert(topic.clone(), count);
                }
                Err(error) if *topic == self.settings.topic => return Err(error.into()),
                Err(error) => tracing::warn!(%topic, "not shared out among the group: {error}"),
            }
        }
        Ok(counted)
    }

    async fn count_partitions(
        &self,
        topic: &Str,
        streak: &mut Streak,
    ) -> Result<i32, ClusterError> {
        loop {
            match self.coordinator.cluster().refresh_topic(topic).await {
                Ok(described) => {
                    return Ok(i32::try_from(described.partitions.len()).unwrap_or(i32::MAX));
                }
                Err(error) if error.is_retriable() => streak.failed(&error).await,
                Err(error) => return Err(error),
            }
        }
    }
}

fn subscribers(round: &Round) -> Vec<Subscriber> {
    let assignor = round.protocol.as_deref().unwrap_or_default();
    let members = round.members.iter();
    members.map(|member| subscriber(member, assignor)).collect()
}

fn subscriber(member: &Candidate, assignor: &str) -> Subscriber {
    let subscription = match protocol::decode_subscription(member.metadata.clone()) {
        Ok(subscription) => subscription,
        Err(error) => {
            tracing::warn!(
                member_id = %member.member_id,
                "a member's subscription cannot be read, so it gets no partitions: {error}"
            );
            protocol::Subscription::default()
        }
    };
    let (owned, generation) = subscription.had(assignor);
    Subscriber {
        member_id: member.member_id.clone(),
        instance: member.instance.clone(),
        topics: subscription.topics,
        owned,
        generation,
    }
}

fn round_of(answer: JoinGroupResponse) -> Round {
    let leads = answer.leader == answer.member_id;
    Round {
        shared_out: leads && answer.skip_assignment,
        generation: answer.generation_id,
        member_id: answer.member_id,
        protocol: answer.protocol_name,
        members: if leads { answer.members } else { Vec::new() }
            .into_iter()
            .map(|member| Candidate {
                member_id: member.member_id,
                instance: member.group_instance_id,
                metadata: member.metadata,
            })
            .collect(),
    }
}
