//! Events on their way: handed to the producer, and kept until it is certain what became of them.

use std::{
    collections::{HashSet, VecDeque},
    future::Future,
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::known;
use crate::{
    event::TradeEvent,
    producer::{Acknowledged, Delivery, DeliveryError},
    source::Batch,
};

/// A batch of events, and when it was first offered.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) batch: Batch,
    pub(super) at: DateTime<Utc>,
}

impl Offer {
    pub(super) fn new(batch: Batch) -> Arc<Self> {
        Arc::new(Self {
            batch,
            at: Utc::now(),
        })
    }
}

/// One event of an offer, on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) offer: Arc<Offer>,
    pub(super) place: usize,
    pub(super) delivery: Delivery,
}

impl Flight {
    pub(super) fn event(&self) -> &TradeEvent {
        &self.offer.batch.events[self.place]
    }

    /// Where it is when it was found on the topic, but not acknowledged.
    pub(super) fn place_without_offset(&self) -> Acknowledged {
        Acknowledged {
            partition: self.delivery.partition(),
            offset: None,
        }
    }

    /// Notes that what was tried before is decided: it is not on the topic.
    pub(super) fn never_sent(&mut self) {
        self.delivery = Delivery::not_sent(self.delivery.partition());
    }
}

/// The events on their way, in the order in which they were offered.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: VecDeque<Flight>,
}

impl Flights {
    /// Whether everything is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    pub(super) fn push(&mut self, flight: Flight) {
        self.flights.push_back(flight);
    }

    /// Takes out the first one when it was acknowledged; an error when it was given up.
    pub(super) fn pop_acknowledged(&mut self) -> Result<Option<(Flight, Acknowledged)>, ()> {
        let Some(outcome) = self.flights.front().and_then(|of| of.delivery.outcome()) else {
            return Ok(None);
        };
        let place = outcome.map_err(|_| ())?;
        Ok(self.flights.pop_front().map(|flight| (flight, place)))
    }

    /// Waits until the outcome of the first one is known; for ever when there is none.
    pub(super) fn next_outcome(&self) -> impl Future<Output = ()> + use<> {
        let first = self.flights.front().map(|first| first.delivery.clone());
        async move {
            match first {
                // The outcome is looked at by whoever waited.
                Some(delivery) => drop(delivery.wait().await),
                None => std::future::pending().await,
            }
        }
    }

    fn errors(&self) -> impl Iterator<Item = DeliveryError> {
        let error = |flight: &Flight| flight.delivery.outcome()?.err();
        self.flights.iter().filter_map(error)
    }

    /// What was given up first, rather than what was given up because of it.
    pub(super) fn failure(&self) -> Option<DeliveryError> {
        let mut errors = self.errors();
        let first = errors.next()?;
        match first {
            DeliveryError::Stopped { .. } => errors
                .find(|error| !matches!(error, DeliveryError::Stopped { .. }))
                .or(Some(first)),
            first => Some(first),
        }
    }

    /// How many were given up.
    pub(super) fn failed(&self) -> u64 {
        self.errors().count() as u64
    }

    /// The ids of those that may be on the topic without an acknowledgement, and since when the first of them may.
    pub(super) fn doubtful(&self) -> (HashSet<u128>, Option<DateTime<Utc>>) {
        let doubtful = |flight: &&Flight| {
            let outcome = flight.delivery.outcome();
            outcome.is_none_or(|outcome| outcome.is_err_and(|error| error.possibly_written()))
        };
        let doubtful = || self.flights.iter().filter(doubtful);
        (
            doubtful()
                .map(|flight| known::number(&flight.event().trade_id))
                .collect(),
            doubtful().map(|flight| flight.offer.at).min(),
        )
    }
}

impl IntoIterator for Flights {
    type Item = Flight;
    type IntoIter = std::collections::vec_deque::IntoIter<Flight>;

    fn into_iter(self) -> Self::IntoIter {
        self.flights.into_iter()
    }
}
