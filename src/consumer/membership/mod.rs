//! Classic group membership (KIP-62, KIP-345, KIP-394): the thin driver of the pure [`machine`].
//!
//! JoinGroup and SyncGroup travel on a lane of their own because the broker holds them back until the other members
//! came; heartbeats are a task of their own that waits for nothing but the coordinator's answer.

mod heartbeat;
mod leave;
mod machine;
mod protocol;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

pub use leave::fence;
pub use machine::LostReason;
pub(super) use machine::{Identity, Status};

use self::machine::{Candidate, Event, Machine, Round, Step};
use super::{
    ConsumeError, Settings, assignor,
    assignor::{Share, Subscriber},
    coordinator::Coordinator,
    retry::Streak,
};
use crate::wire::{
    cluster::{ClusterError, Lane},
    error::ErrorCode,
    messages::{
        JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, Str, SyncGroupRequest,
        SyncGroupRequestAssignment,
    },
};

/// The kind of members that agree on partitions.
const PROTOCOL_TYPE: &str = "consumer";

/// How much longer than the rebalance may take its answer may take, so that the broker's clock decides and not ours.
const REBALANCE_SLACK: Duration = Duration::from_secs(5);

/// What the group gave this member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The generation of the group.
    pub generation: i32,
    /// The member's id, stored already.
    pub member_id: String,
    /// The partitions, ascending.
    pub partitions: Vec<i32>,
    /// Whether no other member can have read a partition that is kept since we last had it: this generation follows
    /// directly on the last one that we were a member of, and the membership was not lost in between.
    pub continues: bool,
}

/// How many partitions of which topics a generation shares out, as its leader saw it.
pub(super) type Counted = BTreeMap<Str, i32>;

/// What the members of a generation agreed on, as far as it concerns us.
#[derive(Debug, Default)]
struct Agreed {
    share: Share,
    counted: Option<Counted>,
}

/// One member of one group.
#[derive(Debug)]
pub(super) struct Membership {
    settings: Arc<Settings>,
    coordinator: Coordinator,
    machine: Mutex<Machine>,
    /// Told whenever the status may have changed.
    changed: Notify,
}

impl Membership {
    pub(super) fn new(coordinator: Coordinator, settings: Arc<Settings>) -> Self {
        Self {
            machine: Mutex::new(Machine::new(settings.session_timeout)),
            coordinator,
            settings,
            changed: Notify::new(),
        }
    }

    pub(super) fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        self.machine.lock().identity()
    }

    pub(super) fn status(&self) -> Status {
        self.machine.lock().status()
    }

    /// Waits until the status may have changed since the last such wait.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes over what the coordinator answered to a heartbeat or commit of a generation.
    pub(super) fn answered(&self, generation: i32, result: Result<(), ErrorCode>) {
        if let Err(code) = result {
            self.coordinator.note(code);
        }
        self.on(Event::Answered(generation, result));
    }

    fn on(&self, event: Event) -> Option<ErrorCode> {
        let (pause, moved) = {
            let mut machine = self.machine.lock();
            let before = machine.status();
            let pause = machine.on(event, Instant::now());
            (pause, machine.status() != before)
        };
        if moved {
            self.changed.notify_one();
        }
        pause
    }

    /// Becomes a member of the group's next generation, trying for ever; also says what the generation shares out if
    /// we lead it. `remember` stores the member id durably.
    pub(super) async fn join(
        &self,
        mut remember: impl FnMut(&str) -> io::Result<()>,
    ) -> Result<(Assignment, Option<Counted>), ConsumeError> {
        let mut streak = Streak::new(format!("join group {}", self.coordinator.group()));
        let mut agreed = Agreed::default();
        self.on(Event::Join);
        loop {
            let step = self.machine.lock().step();
            let tried = match step {
                Step::Remember(member_id) => {
                    remember(&member_id).map_err(|source| ConsumeError::Remember {
                        group: self.coordinator.group().to_string(),
                        source,
                    })?;
                    Ok(self.on(Event::Remembered))
                }
                Step::Join(member_id) => self.send_join(member_id).await,
                Step::Sync(round) => self.send_sync(&round, &mut streak, &mut agreed).await,
                Step::Done {
                    generation,
                    continues,
                } => {
                    streak.over();
                    let assignment = self.assignment(generation, continues, &mut agreed.share);
                    return Ok((assignment, agreed.counted));
                }
                Step::Failed(api, code) => return Err(self.refused(api, code)),
                // Left by another call in the moment between: begin again.
                Step::Idle => Ok(self.on(Event::Join)),
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

    fn assignment(&self, generation: i32, continues: bool, share: &mut Share) -> Assignment {
        let mut partitions = share.remove(&self.settings.topic).unwrap_or_default();
        partitions.retain(|partition| *partition >= 0);
        partitions.sort_unstable();
        partitions.dedup();
        let member_id = self.machine.lock().stored_member_id().unwrap_or_default();
        tracing::info!(
            group = %self.coordinator.group(), generation, %member_id, ?partitions,
            "joined the group"
        );
        Assignment {
            generation,
            member_id: member_id.to_string(),
            partitions,
            continues,
        }
    }

    pub(super) fn refused(&self, api: &'static str, code: ErrorCode) -> ConsumeError {
        ConsumeError::Group {
            group: self.coordinator.group().to_string(),
            api,
            code,
        }
    }

    fn rebalance_limit(&self) -> Duration {
        self.settings.rebalance_timeout + REBALANCE_SLACK
    }

    async fn send_join(&self, member_id: Str) -> Result<Option<ErrorCode>, ConsumeError> {
        let request = JoinGroupRequest {
            group_id: self.coordinator.group().clone(),
            session_timeout_ms: millis(self.settings.session_timeout),
            rebalance_timeout_ms: millis(self.settings.rebalance_timeout),
            member_id,
            group_instance_id: self.settings.group_instance_id.clone(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: assignor::NAME.into(),
                metadata: protocol::encode_subscription(&self.settings.topic),
            }],
            reason: None,
        };
        let node = self.coordinator.node().await?;
        let answer = self
            .coordinator
            .ask(node, Lane::Membership, &request, self.rebalance_limit())
            .await?;
        Ok(match ErrorCode::check(answer.error_code) {
            Ok(()) => self.on(Event::Joined(round_of(answer))),
            Err(code) => {
                self.coordinator.note(code);
                self.on(Event::JoinRefused(code, answer.member_id))
            }
        })
    }

    /// Sends SyncGroup, with everybody's share if we lead.
    async fn send_sync(
        &self,
        round: &Round,
        streak: &mut Streak,
        agreed: &mut Agreed,
    ) -> Result<Option<ErrorCode>, ConsumeError> {
        let leads = !round.members.is_empty();
        let (shares, counted) = if leads {
            self.assign(&round.members, streak).await?
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
                self.on(Event::Unanswered);
                return Err(error.into());
            }
        };
        if let Err(code) = ErrorCode::check(answer.error_code) {
            self.coordinator.note(code);
            return Ok(self.on(Event::SyncRefused(code)));
        }
        agreed.share = protocol::decode_assignment(answer.assignment).map_err(|source| {
            ConsumeError::Assignment {
                group: self.coordinator.group().to_string(),
                source,
            }
        })?;
        agreed.counted = leads.then_some(counted);
        Ok(self.on(Event::Synced))
    }

    /// Shares the partitions out among the members. Topics that only others subscribed to are shared out too.
    async fn assign(
        &self,
        members: &[Candidate],
        streak: &mut Streak,
    ) -> Result<(BTreeMap<Str, Share>, Counted), ConsumeError> {
        let subscribers: Vec<_> = members.iter().map(subscriber).collect();
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
        Ok((assignor::range(&subscribers, &counted), counted))
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

fn subscriber(member: &Candidate) -> Subscriber {
    let topics = match protocol::decode_subscription(member.metadata.clone()) {
        Ok(subscription) => subscription.topics,
        Err(error) => {
            tracing::warn!(
                member_id = %member.member_id,
                "a member's subscription cannot be read, so it gets no partitions: {error}"
            );
            Vec::new()
        }
    };
    Subscriber {
        member_id: member.member_id.clone(),
        instance: member.instance.clone(),
        topics,
    }
}

fn round_of(answer: JoinGroupResponse) -> Round {
    let leads = answer.leader == answer.member_id && !answer.skip_assignment;
    Round {
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

/// Milliseconds as the protocol has them.
fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
