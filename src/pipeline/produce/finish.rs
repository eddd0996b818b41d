//! How publishing ends: with everything acknowledged and, in transactions, committed; at a stop as far as the time allows; or
//! with what says why events were given up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::super::error::PipelineError;
use super::super::stop::Stop;
use super::in_flight::InFlightEvent;
use super::publisher::Publisher;
use crate::{
    event::TradeEvent,
    producer::{DeliveryError, SendError, TransactionError},
    wire::error::ErrorCode,
};

/// For how long a coordinator must have had no answer for a stop not to wait for it, and how long it is waited for then.
const AWAY: Duration = Duration::from_secs(1);

/// How long at the end an abort may take, which only spares readers a wait.
const ABORT: Duration = Duration::from_secs(5);

impl Publisher<'_> {
    /// Settles what came from a source that has ended, or up to the count; a stop that comes meanwhile decides how long that
    /// may take.
    pub(in crate::pipeline) async fn settle_unless(
        &mut self,
        stop: &Stop,
    ) -> Result<(), PipelineError> {
        // A part of a poll is taken back.
        if self.open.is_some() && !self.whole {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = stop.requested() => Ok(()),
            settled = self.settle() => settled,
        }
    }

    /// Waits until nothing is on its way any more.
    pub(super) async fn settle(&mut self) -> Result<(), PipelineError> {
        if self.open.is_some() {
            return self.commit().await;
        }
        self.producer.flush().await;
        self.reap().await
    }

    /// Waits until nothing is on its way any more to where it is about to be looked what is there. A partition that loses its
    /// leader is left out of that: it is looked at when it has one again.
    pub(super) async fn settle_for_look(&mut self) -> Result<(), PipelineError> {
        while self.open.is_none()
            && let Some(published_ids) = &mut self.published_ids
            && let Some(of) = published_ids.doubted()
        {
            let led = tokio::select! {
                biased;
                () = self.in_flight.outcomes(&of) => None,
                led = published_ids.lost_leaders(&of) => Some(led),
                // Its end is that of the first, too; this is for what lingers.
                () = self.producer.flush() => None,
            };
            match led {
                Some(led) => published_ids.doubt_only(led),
                None => return self.reap().await,
            }
        }
        self.settle().await
    }

    /// Commits, but a stop that comes meanwhile decides how long that may take.
    pub(super) async fn commit_unless(&mut self, stop: &Stop) -> Result<(), PipelineError> {
        tokio::select! {
            biased;
            committed = self.commit() => committed,
            () = stop.requested() => Ok(()),
        }
    }

    /// Commits what was sent since the last time, all of it. Given up in the middle, it can be done again.
    async fn commit(&mut self) -> Result<(), PipelineError> {
        if self.open.is_some() {
            self.producer.flush().await;
            if let Some((first, source)) = self.in_flight.failure() {
                return Err(self.not_acknowledged(first, source));
            }
            self.producer.commit().await?;
            self.open = None;
            self.count()?;
        }
        Ok(())
    }

    /// What it means that `first` was given up, and others with it, because of `source`.
    fn not_acknowledged(&self, first: &InFlightEvent, source: DeliveryError) -> PipelineError {
        let told = match source {
            DeliveryError::Fatal { code, .. } => self.transaction_error(code),
            // Of a batch that is refused for its own sake, its error says more.
            DeliveryError::Refused { code, .. } => self
                .transaction_error(code)
                .filter(|error| matches!(error, TransactionError::Fenced { .. })),
            _ => None,
        };
        if let Some(error) = told {
            return error.into();
        }
        let TradeEvent {
            trade_id, symbol, ..
        } = first.event();
        PipelineError::Delivery {
            events: self.in_flight.failed(),
            first: Some(format!("TradeId {trade_id} of {symbol}")),
            source,
        }
    }

    /// What it means for the transactions, if there are any, that the producer cannot go on because of `code`.
    pub(super) fn transaction_error(&self, code: ErrorCode) -> Option<TransactionError> {
        let id = self.id.as_ref()?;
        Some(TransactionError::new(id, code))
    }

    /// Why events were given up, when all are decided.
    pub(super) async fn gave_up(&mut self) -> PipelineError {
        self.producer.close(Instant::now()).await;
        match self.in_flight.failure() {
            Some((first, source)) => self.not_acknowledged(first, source),
            None => {
                let topic = Arc::clone(&self.topic);
                SendError::GaveUp { topic }.into()
            }
        }
    }

    /// Sends and commits what was taken, as far as the time allows; says whether that was everything.
    pub(in crate::pipeline) async fn finish(
        &mut self,
        deadline: Instant,
        commit: bool,
    ) -> Result<bool, PipelineError> {
        // A poll is to be seen whole or not at all: one that a stop cut is taken back, and polled again at the next start.
        let commit_it = commit && self.whole;
        let given_back = commit && !self.whole;
        let mut unanswered = None;
        if self.open.is_some() {
            // Of a coordinator that was away before the stop nothing is to be expected: it is asked once more.
            let away = self.producer.unanswered_for(AWAY).is_some();
            let deadline = match away {
                true => deadline.min(Instant::now() + AWAY),
                false => deadline,
            };
            let committed = async {
                match commit_it {
                    true => self.commit().await,
                    false => Ok(()),
                }
            };
            match tokio::time::timeout_at(deadline.into(), committed).await {
                Ok(committed) => committed?,
                Err(_) if away => unanswered = self.producer.unanswered_for(AWAY),
                Err(_) => {}
            }
        }
        let mut drained = self.producer.close(deadline).await;
        if self.open.is_some() {
            // What may still be on its way is not to arrive behind an abort. Then the next start takes it back, or the
            // coordinator when the transaction's time is over.
            if !self.in_flight.any_in_doubt() {
                self.producer
                    .abort(deadline.min(Instant::now() + ABORT))
                    .await;
            }
            drained &= given_back;
        } else {
            self.count()?;
        }
        if let Some(published_ids) = &mut self.published_ids {
            published_ids
                .close(!self.in_flight.any_in_doubt(), deadline)
                .await?;
        }
        if let Some(error) = unanswered {
            return Err(error.into());
        }
        match self.in_flight.failure() {
            Some((first, source)) if commit && !matches!(source, DeliveryError::Stopped { .. }) => {
                Err(self.not_acknowledged(first, source))
            }
            _ => Ok(drained),
        }
    }
}
