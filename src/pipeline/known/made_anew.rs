//! A topic that is deleted and made anew while events are published to it is another topic (KIP-516): what was published to the
//! old one is not on it, and is published when the source gives it again.

use std::time::{Duration, Instant};

use super::{Known, LookUp, ask, failed};
use crate::pipeline::PipelineError;

/// How often it is looked at most whether the topic is still the same: a question to a broker.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Known {
    /// Whether the topic, or the leader of a partition, is no longer the one that is known.
    pub(in crate::pipeline) async fn is_outdated(&mut self) -> bool {
        let Some(ledger) = &self.ledger else {
            return false;
        };
        if self.looked.elapsed() < LOOK_EVERY {
            return false;
        }
        let described = self.cluster.refresh_topic(&self.topic).await;
        self.looked = Instant::now();
        match described {
            Ok(described) if ledger.is_of(described.id) => {
                // Who does not look up anything believes nothing of what is on the logs.
                self.doubtful |= self.look_up != LookUp::Nothing
                    && ask::epochs(&described) != self.bounds.epochs;
                self.doubtful
            }
            // No checksum covers that answer: two more that agree have the last word.
            Ok(_) => {
                let identity = ask::identity(&self.cluster, &self.topic).await;
                self.made_anew = identity.is_ok_and(|(_, id)| !ledger.is_of(id));
                self.made_anew
            }
            // Whoever publishes says that the topic is not there, or that nobody answers.
            Err(_) => false,
        }
    }

    /// Begins anew with the topic that there is now, or looks at its logs again. Nothing may be on its way: where it went, to
    /// this topic or to the one before, is found by reading this one.
    pub(in crate::pipeline) fn begin_anew(&mut self) -> Result<(), PipelineError> {
        if !std::mem::take(&mut self.made_anew) {
            return Ok(());
        }
        tracing::warn!(
            topic = &*self.topic,
            "the topic was deleted and made anew: what was published before is published again when it is polled again"
        );
        self.doubtful = false;
        self.offered.clear();
        if let Some(mut ledger) = self.ledger.take() {
            ledger.settle();
            ledger
                .save()
                .map_err(|source| failed(&self.state, source))?;
        }
        Ok(())
    }
}
