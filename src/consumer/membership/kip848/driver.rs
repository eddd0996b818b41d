//! The thin driver of the KIP-848 [`machine`](super::machine): one heartbeat after another.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::super::{Identity, Machine, Membership, Remember, millis};
use super::machine::{self, Beat, Step};
use crate::{
    consumer::{ConsumeError, GroupProtocol, retry::Streak},
    wire::{
        cluster::{ClusterError, Lane},
        error::{CallError, ErrorCode},
        messages::{
            ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
        },
    },
};

/// After how long a heartbeat that got no answer is given up: a fraction of the shortest session that brokers grant by
/// default (45 s), so that there is time to find the coordinator elsewhere.
const LIMIT: Duration = Duration::from_secs(10);

/// The shortest interval that is believed.
const SHORTEST: Duration = Duration::from_millis(50);

/// How soon a member that was given no partition asks again, and for how long after it joined. The coordinator computes an
/// assignment about once a second (`group.consumer.assignment.interval.ms`) and tells it with a heartbeat's answer: who
/// joins right after another left would sit idle for a whole interval.
const EAGER: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The coordinator has this protocol not, or not for this group.
#[derive(Debug)]
pub(in crate::consumer::membership) struct NotHere;

impl Membership {
    /// Keeps the membership for as long as it is polled; ends only when another protocol may be tried, before the
    /// first membership.
    pub(in crate::consumer::membership) async fn drive_modern(
        self: Arc<Self>,
        remember: &Remember,
    ) -> Result<NotHere, ConsumeError> {
        *self.machine.lock() = Machine::Kip848(machine::Machine::new(self.standing()));
        let mut streak = Streak::new(format!("be a member of group {}", self.coordinator.group()));
        let mut next = Instant::now();
        let mut ever = false;
        let mut eager: Option<Instant> = None;
        loop {
            let step = match &*self.machine.lock() {
                Machine::Kip848(machine) => machine.step(Instant::now() >= next),
                Machine::Classic(_) => return Ok(NotHere),
            };
            match step {
                Step::Name => {
                    let member_id = Uuid::new_v4().to_string().into();
                    self.remember(remember, &member_id).await?;
                    self.modern(|machine| machine.named(member_id));
                }
                Step::Fence(member_id) => {
                    self.end_membership(&member_id).await?;
                    self.modern(machine::Machine::fenced);
                }
                Step::Beat(beat) => {
                    let trouble = match self.send_beat(&beat).await {
                        Ok(answer) => match ErrorCode::check(answer.error_code) {
                            Ok(()) => {
                                if !std::mem::replace(&mut ever, true) {
                                    self.say_what_is_not_used();
                                }
                                streak.over();
                                let interval = u64::try_from(answer.heartbeat_interval_ms);
                                let interval = Duration::from_millis(interval.unwrap_or_default());
                                let now = Instant::now();
                                if beat.epoch == 0 {
                                    eager = Some(now + EAGER.1);
                                }
                                if let Some(assignment) = &answer.assignment.0
                                    && !assignment.topic_partitions.is_empty()
                                {
                                    eager = None;
                                }
                                let interval = match eager {
                                    Some(until) if now < until => interval.min(EAGER.0),
                                    _ => interval,
                                };
                                next = now + interval.max(SHORTEST);
                                self.take_in(&beat, answer).await;
                                None
                            }
                            Err(code) if !ever && self.may_fall_back(code) => return Ok(NotHere),
                            Err(code) => {
                                let identity = Identity {
                                    generation: beat.epoch,
                                    member_id: beat.member_id,
                                };
                                self.answered("ConsumerGroupHeartbeat", &identity, Err(code))
                                    .map(|code| code.to_string())
                            }
                        },
                        Err(ClusterError::Call(CallError::Unsupported { .. }))
                            if !ever && self.settings.protocol == GroupProtocol::Auto =>
                        {
                            return Ok(NotHere);
                        }
                        // A topic that is deleted while it is read may be made again: the others wait for it, too.
                        Err(error @ ClusterError::UnknownTopic { .. }) => Some(error.to_string()),
                        Err(error) if error.is_retriable() => Some(error.to_string()),
                        Err(error) => return Err(error.into()),
                    };
                    if let Some(trouble) = trouble {
                        streak.failed(&trouble).await;
                    }
                }
                Step::Idle => {
                    tokio::select! {
                        () = sleep_until(next) => {}
                        () = self.due.notified() => {}
                    }
                }
            }
        }
    }

    /// Settings that were given and have no meaning here are not passed over in silence.
    fn say_what_is_not_used(&self) {
        let given = &self.settings.classic_only;
        if !given.is_empty() {
            tracing::warn!(
                group = %self.coordinator.group(),
                settings = given.join(", "),
                "under KIP-848 the broker decides these (group.consumer.session.timeout.ms, group.consumer.heartbeat.interval.ms, \
                 group.consumer.assignors): the settings are not used; with Kafka.GroupProtocol classic they are"
            );
        }
    }

    fn modern(&self, work: impl FnOnce(&mut machine::Machine)) {
        self.on(|machine| {
            if let Machine::Kip848(machine) = machine {
                work(machine);
            }
        });
    }

    /// Whether the code says that this coordinator, or this group, speaks the classic protocol only.
    fn may_fall_back(&self, code: ErrorCode) -> bool {
        let classic = [
            ErrorCode::UNSUPPORTED_VERSION,
            ErrorCode::GROUP_ID_NOT_FOUND,
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ];
        self.settings.protocol == GroupProtocol::Auto && classic.contains(&code)
    }

    async fn send_beat(&self, beat: &Beat) -> Result<ConsumerGroupHeartbeatResponse, ClusterError> {
        let settings = &self.settings;
        let joins = beat.epoch == 0;
        let id = match &beat.owned {
            Some(owned) if !owned.is_empty() => {
                let cluster = self.coordinator.cluster();
                cluster.topic(&settings.topic).await?.id
            }
            _ => None,
        };
        let owned = beat.owned.as_ref().map(|owned| {
            let partitions: Vec<i32> = owned.iter().copied().collect();
            id.into_iter()
                .map(|topic_id| TopicPartitions {
                    topic_id,
                    partitions: partitions.clone(),
                })
                .collect()
        });
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.coordinator.group().clone(),
            member_id: beat.member_id.clone(),
            member_epoch: beat.epoch,
            instance_id: settings.group_instance_id.clone(),
            rack_id: settings.rack.clone().filter(|_| joins),
            rebalance_timeout_ms: if joins {
                millis(settings.rebalance_timeout)
            } else {
                -1
            },
            subscribed_topic_names: joins.then(|| vec![settings.topic.clone()]),
            topic_partitions: owned,
            ..Default::default()
        };
        let node = self.coordinator.node().await?;
        Ok(self
            .coordinator
            .ask(node, Lane::Group, &request, LIMIT)
            .await?)
    }

    async fn take_in(&self, beat: &Beat, answer: ConsumerGroupHeartbeatResponse) {
        let cluster = self.coordinator.cluster();
        let mut assigned = None;
        if let Some(assignment) = answer.assignment.0 {
            let mut topic = cluster.topic(&self.settings.topic).await.ok();
            let ids: BTreeSet<_> = assignment
                .topic_partitions
                .iter()
                .map(|of| of.topic_id)
                .collect();
            let known = |topic: &Option<Arc<_>>| {
                topic
                    .as_ref()
                    .and_then(|topic: &Arc<crate::wire::cluster::Topic>| topic.id)
                    .is_some_and(|id| ids.contains(&id))
            };
            if !ids.is_empty() && !known(&topic) {
                topic = cluster.refresh_topic(&self.settings.topic).await.ok();
            }
            let id = topic.and_then(|topic| topic.id);
            let partitions: BTreeSet<i32> = assignment
                .topic_partitions
                .into_iter()
                .filter(|of| Some(of.topic_id) == id)
                .flat_map(|of| of.partitions)
                .collect();
            tracing::info!(
                group = %self.coordinator.group(), epoch = answer.member_epoch, member_id = %beat.member_id, ?partitions,
                "the group's partitions for this member"
            );
            assigned = Some(partitions);
        }
        self.modern(|machine| machine.beaten(beat, answer.member_epoch, assigned));
    }
}
