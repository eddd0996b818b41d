//! Partitions whose leaders do not say at once where their logs begin and end: whether the offset that is committed for them is in
//! the log is not known, and going by it blindly could pass records by. They are begun when the leaders have answered,
//! however long that takes, while the others are read on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::task::JoinHandle;

use super::super::session::Session;
use super::beyond_the_end::SECOND_LOOK;
use crate::consumer::{self, ConsumeError};
use crate::pipeline::PipelineError;

/// Where logs begin and end, by partition.
pub(in crate::pipeline) type Logs = BTreeMap<i32, (i64, i64)>;

/// What leaders are asked beside the work.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct SlowLeaders {
    asking: Option<JoinHandle<Result<Logs, ConsumeError>>>,
}

impl SlowLeaders {
    /// Waits until the leaders have answered. Cancel-safe; waits for ever where nobody is asked.
    pub(in crate::pipeline) async fn answered(&mut self) -> Result<Logs, PipelineError> {
        let Some(asking) = &mut self.asking else {
            return std::future::pending().await;
        };
        let answer = asking.await;
        self.asking = None;
        match answer {
            Ok(logs) => Ok(logs?),
            Err(error) => Err(PipelineError::Internal(error.to_string())),
        }
    }
}

impl Drop for SlowLeaders {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.abort();
        }
    }
}

impl Session<'_> {
    /// Begins these partitions when their leaders have said where the logs begin and end.
    pub(in crate::pipeline) fn begin_later(&mut self, partitions: &BTreeSet<i32>) {
        tracing::warn!(
            topic = self.config.kafka.topic,
            ?partitions,
            "the leaders of these partitions do not say yet where their logs begin and end, so whether what is committed for them is \
             in the logs cannot be told; they are read as soon as that is known"
        );
        self.assignment.put_off(partitions);
        self.ask_again();
    }

    /// Asks about all that are put off, anew.
    fn ask_again(&mut self) {
        let partitions: Vec<i32> = self.assignment.put_off_ones().iter().copied().collect();
        if let Some(asking) = self.slow_leaders.asking.take() {
            asking.abort();
        }
        if partitions.is_empty() {
            return;
        }
        let (cluster, topic) = (Arc::clone(self.cluster), self.config.kafka.topic.clone());
        self.slow_leaders.asking = Some(tokio::spawn(async move {
            consumer::limits(&cluster, &topic, &partitions).await?;
            tokio::time::sleep(SECOND_LOOK).await;
            consumer::limits(&cluster, &topic, &partitions).await
        }));
    }

    /// The leaders have answered: what this member still has of it is begun.
    pub(in crate::pipeline) async fn begin_put_off(
        &mut self,
        logs: Logs,
    ) -> Result<(), PipelineError> {
        let put_off = self.assignment.put_off_ones().clone();
        let given: Vec<i32> = put_off
            .into_iter()
            .filter(|of| logs.contains_key(of))
            .collect();
        if !given.is_empty() {
            self.begin_in(&given, Some(logs)).await?;
        }
        // Those that were not asked about, because they came while it was asked about others.
        self.ask_again();
        Ok(())
    }
}
