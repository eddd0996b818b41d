//! Waiting for a cluster that cannot be reached, or for a topic that does not exist yet: the first failure is said at
//! once, then it is tried for ever; a one-shot command gives up.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::error::PipelineError;
use crate::wire::{
    cluster::{Cluster, ClusterError, Outage},
    error::CallError,
};

/// How long a one-shot command tries to reach a cluster or an API.
pub(super) const ONE_SHOT_LIMIT: Duration = Duration::from_secs(30);

/// The pause between two questions that a reachable broker could not answer yet. Connections have pauses of their own.
const PAUSE: Duration = Duration::from_millis(200);

/// How often it is said again that a transactional id has no coordinator.
const REMIND: Duration = Duration::from_secs(60);

/// How often the cluster's reachability is looked at while a pipeline runs.
const LOOK: Duration = Duration::from_millis(500);

/// Whether it was said that no broker can be reached. Two halves of a process share it, so that one of them says it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told(Arc<AtomicBool>);

impl Told {
    /// The cluster is lost: whether that is to be said.
    fn lost(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// The cluster is back: whether that is to be said.
    fn found(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// How patient a command is with a cluster that cannot be reached.
#[derive(Clone, Debug)]
pub(crate) struct Reachability {
    cluster: Arc<Cluster>,
    limit: Option<Duration>,
    told: Told,
}

impl Reachability {
    /// `one_shot` commands give up after 30 s, the others never.
    pub(crate) fn new(cluster: &Arc<Cluster>, one_shot: bool) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            limit: one_shot.then_some(ONE_SHOT_LIMIT),
            told: Told::default(),
        }
    }

    /// As one of two halves, which say once between them what is to be said.
    pub(super) fn sharing(self, told: &Told) -> Self {
        Self {
            told: told.clone(),
            ..self
        }
    }

    fn bootstrap(&self) -> String {
        self.cluster.settings().bootstrap.join(",")
    }

    /// Asks until there is an answer or a refusal.
    ///
    /// # Errors
    /// What no trying again helps against; for one-shot commands also that no broker could be reached in time, or that a
    /// transactional id got no coordinator.
    pub(crate) async fn ask<T, F>(
        &self,
        mut question: impl FnMut() -> F,
    ) -> Result<T, PipelineError>
    where
        F: Future<Output = Result<T, ClusterError>>,
    {
        let started = Instant::now();
        let mut failed = false;
        let mut refused: Option<Instant> = None;
        let mut missing = false;
        loop {
            let error = match question().await {
                Ok(answer) => {
                    if failed && self.told.found() {
                        tracing::info!(brokers = %self.bootstrap(), "Kafka can be reached");
                    }
                    if missing {
                        tracing::info!("the topic exists now");
                    }
                    if refused.is_some() {
                        tracing::info!(
                            "the transactional id (Kafka.TransactionalId) has a coordinator"
                        );
                    }
                    return Ok(answer);
                }
                // The brokers answer, but not what is needed.
                Err(error @ ClusterError::Transaction { .. }) if error.is_retriable() => {
                    if refused.is_none_or(|told| told.elapsed() >= REMIND) {
                        refused = Some(Instant::now());
                        tracing::warn!("{error}; trying again{}", self.patience());
                    }
                    if let Some(after) = self.limit.filter(|limit| started.elapsed() > *limit) {
                        let source = error;
                        return Err(PipelineError::NoCoordinator { after, source });
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                // A deployment may start before its topic is created.
                Err(error @ ClusterError::UnknownTopic { .. }) if self.limit.is_none() => {
                    if !std::mem::replace(&mut missing, true) {
                        tracing::warn!("{error}; waiting for it");
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) if error.is_retriable() => error,
                Err(error) => return Err(error.into()),
            };
            let hint = match &error {
                ClusterError::Call(CallError::Connect { address, .. }) => self.hint(address),
                _ => self.hint(""),
            };
            if !std::mem::replace(&mut failed, true) && self.told.lost() {
                tracing::warn!("{error}; trying again{}. {hint}", self.patience());
            }
            if let Some(limit) = self.limit.filter(|limit| started.elapsed() > *limit) {
                return Err(PipelineError::Unreachable {
                    after: limit,
                    reason: format!("{error}. {hint}"),
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What to look at when `address` cannot be reached.
    fn hint(&self, address: &str) -> String {
        let bootstrap = self.bootstrap();
        if address.is_empty() || bootstrap.split(',').any(|each| each == address) {
            format!(
                "Kafka.BootstrapServers is {bootstrap}; without a Kafka, `stockflow demo` shows how all works"
            )
        } else {
            format!(
                "{bootstrap} (Kafka.BootstrapServers) can be reached, and names this broker {address}: this machine must resolve and reach that address, or the broker's advertised.listeners must name another one"
            )
        }
    }

    /// How long is tried, in words.
    fn patience(&self) -> String {
        match self.limit {
            Some(limit) => format!(" for {} s", limit.as_secs()),
            None => " until it answers".to_owned(),
        }
    }

    /// Says when the cluster is lost and when it is back, while a pipeline runs; ends only for a one-shot command whose
    /// cluster stays away.
    pub(crate) async fn watch(&self) -> PipelineError {
        let mut lost = false;
        loop {
            tokio::time::sleep(LOOK).await;
            match self.cluster.outage() {
                Some(Outage {
                    since,
                    address,
                    reason,
                }) => {
                    if !std::mem::replace(&mut lost, true) && self.told.lost() {
                        tracing::warn!(
                            "no broker can be reached: {reason}; trying again, nothing is lost. {}",
                            self.hint(&address)
                        );
                    }
                    if let Some(limit) = self.limit.filter(|limit| since.elapsed() > *limit) {
                        return PipelineError::Unreachable {
                            after: limit,
                            reason: format!("{reason}. {}", self.hint(&address)),
                        };
                    }
                }
                None => {
                    if std::mem::take(&mut lost) && self.told.found() {
                        tracing::info!("Kafka can be reached again");
                    }
                }
            }
        }
    }
}
