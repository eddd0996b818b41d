//! What is on the topic already, by TradeId, so that nothing is published twice, also not after a restart.
//!
//! A record of an event is on the topic only after the event happened, so reading from the first record that is not
//! older than the oldest event polled finds every former publication of it (KIP-79 finds that record by its time); an event
//! whose time is yet to come can have been published at any time, then the topic is read from its start. What was
//! read, and what was acknowledged, is kept in a [`ledger`] on disk: the next start reads only what came behind. Ids
//! are never forgotten, also not when retention deletes their records.
//!
//! Exact with one producer a symbol; two that publish the same bars at the same time do not see each other.

mod compacted;
mod filter;
mod learn;
mod ledger;
mod log;
mod manifest;
mod run;

use std::{
    collections::HashSet,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

pub(super) use compacted::{is_compacted, refusal};

use self::ledger::Ledger;
use super::PipelineError;
use crate::{event::TradeId, producer::Acknowledged, wire::cluster::Cluster};

/// How often what is known is made durable while it grows.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// The TradeIds that are on the topic, or on their way there.
pub(super) struct Known {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    state: PathBuf,
    ledger: Option<Ledger>,
    /// Handed to the producer and not acknowledged yet; as many as its buffer holds.
    offered: HashSet<u128>,
    saved: Instant,
}

impl Known {
    /// Nothing is known yet; `state` is `State.Directory`.
    pub(super) fn new(cluster: &Arc<Cluster>, topic: &str, state: PathBuf) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            topic: topic.into(),
            state,
            ledger: None,
            offered: HashSet::new(),
            saved: Instant::now(),
        }
    }

    /// Notes an event that is about to be published; `false` if it is on the topic, or on its way there, already.
    pub(super) fn offer(&mut self, id: &TradeId) -> Result<bool, PipelineError> {
        let id = number(id);
        let Some(ledger) = &self.ledger else {
            return Ok(self.offered.insert(id));
        };
        if ledger.contains(id).map_err(|source| self.failed(source))? {
            return Ok(false);
        }
        Ok(self.offered.insert(id))
    }

    /// Notes that an event is on the topic for good.
    pub(super) fn acknowledged(
        &mut self,
        id: &TradeId,
        place: &Acknowledged,
    ) -> Result<(), PipelineError> {
        let id = number(id);
        self.offered.remove(&id);
        if let Some(ledger) = &mut self.ledger {
            ledger
                .acknowledged(id, place.partition, place.offset)
                .map_err(|source| failed(&self.state, source))?;
        }
        Ok(())
    }

    /// Makes what is known durable, at the end; `settled` says that nothing is on its way any more.
    pub(super) fn close(&mut self, settled: bool) -> Result<(), PipelineError> {
        if let Some(ledger) = &mut self.ledger {
            if settled {
                ledger.settle();
            }
            ledger
                .save()
                .map_err(|source| failed(&self.state, source))?;
        }
        Ok(())
    }

    /// Makes what is known durable, if that was some time ago.
    pub(super) fn save(&mut self) -> Result<(), PipelineError> {
        if let Some(ledger) = &mut self.ledger
            && self.saved.elapsed() > SAVE_EVERY
        {
            self.saved = Instant::now();
            ledger
                .save()
                .map_err(|source| failed(&self.state, source))?;
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> PipelineError {
        failed(&self.state, source)
    }
}

/// A TradeId as a number.
fn number(id: &TradeId) -> u128 {
    match id {
        TradeId::Uuid(uuid) => uuid.as_u128(),
        TradeId::Text(text) => log::number(text),
    }
}

fn failed(state: &std::path::Path, source: io::Error) -> PipelineError {
    PipelineError::Io {
        action: format!(
            "keep what is published in {} (State.Directory)",
            state.display()
        ),
        source,
    }
}
