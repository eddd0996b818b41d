//! The broker that coordinates the group: looked up when needed, forgotten when it is not the one (any more).

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::wire::{
    cluster::{Cluster, ClusterError, Lane},
    error::{CallError, ErrorCode, Remedy},
    messages::{Request, Str},
};

/// Finds the coordinator of one group and talks to it.
#[derive(Debug)]
pub(super) struct Coordinator {
    cluster: Arc<Cluster>,
    group: Str,
    node: Mutex<Option<i32>>,
}

impl Coordinator {
    pub(super) fn new(cluster: Arc<Cluster>, group: Str) -> Self {
        Self {
            cluster,
            group,
            node: Mutex::default(),
        }
    }

    pub(super) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    pub(super) fn group(&self) -> &Str {
        &self.group
    }

    /// The broker's id, looked up if need be. Nothing of the caller's was sent when this fails.
    pub(super) async fn node(&self) -> Result<i32, ClusterError> {
        let known = *self.node.lock();
        if let Some(node) = known {
            return Ok(node);
        }
        let node = self.cluster.coordinator(&self.group).await?;
        *self.node.lock() = Some(node);
        Ok(node)
    }

    /// Notes that an answer's code may mean that the coordinator is another broker.
    pub(super) fn note(&self, code: ErrorCode) {
        if code.remedy() == Remedy::FindCoordinator {
            *self.node.lock() = None;
        }
    }

    /// Asks broker `node` once; a failed call makes the next one look for the coordinator anew.
    pub(super) async fn ask<R: Request + Sync>(
        &self,
        node: i32,
        lane: Lane,
        request: &R,
        limit: Duration,
    ) -> Result<R::Response, CallError> {
        let answer = match self.cluster.connection(node, lane).await {
            Ok(connection) => connection.request(request, limit).await,
            Err(error) => Err(error),
        };
        if answer.is_err() {
            *self.node.lock() = None;
        }
        answer
    }

    /// Whether broker `node` knows a version of this request; not, where it cannot be reached.
    pub(super) async fn knows<R: Request>(&self, node: i32, lane: Lane) -> bool {
        let connection = self.cluster.connection(node, lane).await;
        connection.is_ok_and(|connection| connection.version_of::<R>().is_some())
    }

    /// Looks up the coordinator and asks it once, at most `Kafka.RequestTimeoutMs`.
    pub(super) async fn call<R: Request + Sync>(
        &self,
        lane: Lane,
        request: &R,
    ) -> Result<R::Response, ClusterError> {
        let node = self.node().await?;
        let limit = self.cluster.settings().request_timeout;
        Ok(self.ask(node, lane, request, limit).await?)
    }
}
