//! The heartbeat: a task of its own, which never waits for disk, fetches or a rebalance; and the leader's look at how many
//! partitions there are.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::super::{Counted, Identity, Machine, Membership};
use super::machine::Event;
use crate::{
    consumer::retry::Streak,
    wire::{
        cluster::{ClusterError, Lane},
        error::ErrorCode,
        messages::{HeartbeatRequest, HeartbeatResponse},
    },
};

/// Into how many parts a session is cut: a heartbeat that got no answer in one of them is given up, so that there is
/// time to find the coordinator elsewhere.
const TRIES_A_SESSION: u32 = 3;

impl Membership {
    /// Beats for as long as it is polled; while there is no membership it only waits.
    pub(in crate::consumer::membership) async fn beat(self: Arc<Self>) {
        let mut ticks = interval(
            self.settings
                .heartbeat_interval
                .max(Duration::from_millis(1)),
        );
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut streak = Streak::new(format!(
            "send a heartbeat to group {}",
            self.coordinator.group()
        ));
        loop {
            ticks.tick().await;
            let Some(identity) = self.beats_as() else {
                continue;
            };
            let request = HeartbeatRequest {
                group_id: self.coordinator.group().clone(),
                generation_id: identity.generation,
                member_id: identity.member_id.clone(),
                group_instance_id: self.settings.group_instance_id.clone(),
            };
            let beat = self.send_heartbeat(&request);
            tokio::pin!(beat);
            let answer = loop {
                // The session may end while the coordinator is silent.
                tokio::select! {
                    answer = &mut beat => break answer,
                    _ = ticks.tick() => self.happened(Event::Tick),
                };
            };
            match answer {
                Ok(answer) => {
                    streak.over();
                    self.answered("Heartbeat", &identity, ErrorCode::check(answer.error_code));
                }
                Err(error) => {
                    streak.note(&error);
                }
            }
            self.happened(Event::Tick);
        }
    }

    fn beats_as(&self) -> Option<Identity> {
        match &*self.machine.lock() {
            Machine::Classic(machine) => machine.beats_as(),
            Machine::Kip848(_) => None,
        }
    }

    async fn send_heartbeat(
        &self,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatResponse, ClusterError> {
        let node = self.coordinator.node().await?;
        let limit = self.settings.session_timeout / TRIES_A_SESSION;
        Ok(self
            .coordinator
            .ask(node, Lane::Group, request, limit)
            .await?)
    }

    /// Watches the partitions of the topics that generation `generation` shares out, as its leader has to; ends when one
    /// has another number of them, and the group has to be made anew.
    pub(in crate::consumer::membership) async fn watch_partitions(
        self: Arc<Self>,
        generation: i32,
        counted: Counted,
    ) {
        let cluster = Arc::clone(self.coordinator.cluster());
        loop {
            sleep(cluster.settings().metadata_max_age).await;
            for (topic, &count) in &counted {
                let Ok(described) = cluster.refresh_topic(topic).await else {
                    continue;
                };
                if i32::try_from(described.partitions.len()).is_ok_and(|now| now > count) {
                    tracing::info!(%topic, from = count, to = described.partitions.len(), "the topic has more partitions; the group shares them out anew");
                    self.happened(Event::PartitionsGrew(generation));
                    return;
                }
            }
        }
    }
}
