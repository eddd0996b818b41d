//! Events on their way: handed to the producer, and kept until it is certain what became of them.

use std::{collections::VecDeque, future::Future, sync::Arc};

use crate::{
    event::TradeEvent,
    producer::{Acknowledged, Delivery, DeliveryError},
    source::Batch,
};

/// One event of a batch, on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) batch: Arc<Batch>,
    pub(super) place: usize,
    pub(super) delivery: Delivery,
}

impl Flight {
    pub(super) fn event(&self) -> &TradeEvent {
        &self.batch.events[self.place]
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

    fn errors(&self) -> impl Iterator<Item = (&Flight, DeliveryError)> {
        let error = |flight: &Flight| flight.delivery.outcome()?.err();
        self.flights
            .iter()
            .filter_map(move |flight| Some((flight, error(flight)?)))
    }

    /// What was given up first, rather than what was given up because of it.
    pub(super) fn failure(&self) -> Option<(&Flight, DeliveryError)> {
        let is_cause = |error: &DeliveryError| !matches!(error, DeliveryError::Stopped { .. });
        let cause = self.errors().find(|(_, error)| is_cause(error));
        cause.or_else(|| self.errors().next())
    }

    /// How many were given up.
    pub(super) fn failed(&self) -> u64 {
        self.errors().count() as u64
    }

    /// Whether one may be on the topic without an acknowledgement.
    pub(super) fn any_in_doubt(&self) -> bool {
        self.flights.iter().any(|flight| {
            let outcome = flight.delivery.outcome();
            outcome.is_none_or(|outcome| outcome.is_err_and(|error| error.possibly_written()))
        })
    }
}
