//! Events on their way: handed to the producer, and kept until it is certain what became of them.
//!
//! Each partition has a lane of its own: one whose leader is away holds up none of the others.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use futures::{StreamExt as _, stream::FuturesUnordered};

use crate::{
    event::TradeEvent,
    producer::{Acknowledged, Delivery, DeliveryError},
    source::Batch,
};

/// One event of a batch, on its way.
#[derive(Debug)]
pub(crate) struct InFlightEvent {
    pub(in crate::pipeline) batch: Arc<Batch>,
    pub(in crate::pipeline) place: usize,
    pub(in crate::pipeline) delivery: Delivery,
}

impl InFlightEvent {
    pub(in crate::pipeline) fn event(&self) -> &TradeEvent {
        &self.batch.events[self.place]
    }
}

/// The events on their way, each with its number, in the order in which they were offered.
type Lane = VecDeque<(u64, InFlightEvent)>;

/// The events on their way.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct InFlightEvents {
    /// By partition.
    lanes: Vec<Lane>,
    /// Where the last one that was acknowledged was found.
    at: usize,
    /// How many were offered.
    offered: u64,
}

impl InFlightEvents {
    /// Whether everything is acknowledged.
    pub(in crate::pipeline) fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }

    pub(in crate::pipeline) fn push(&mut self, flight: InFlightEvent) {
        let lane = usize::try_from(flight.delivery.partition()).unwrap_or_default();
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane + 1, Lane::default);
        }
        if let Some(lane) = self.lanes.get_mut(lane) {
            self.offered += 1;
            lane.push_back((self.offered, flight));
        }
    }

    /// Takes out one that was acknowledged, of each partition the first one first. An error when there is none and one was given
    /// up.
    pub(in crate::pipeline) fn pop_acknowledged(
        &mut self,
    ) -> Result<Option<(InFlightEvent, Acknowledged)>, ()> {
        let mut given_up = false;
        for _ in 0..self.lanes.len() {
            if let Some(lane) = self.lanes.get_mut(self.at) {
                match lane.front().and_then(|(_, first)| first.delivery.outcome()) {
                    Some(Ok(place)) => {
                        return Ok(lane.pop_front().map(|(_, flight)| (flight, place)));
                    }
                    Some(Err(_)) => given_up = true,
                    None => {}
                }
            }
            self.at = (self.at + 1) % self.lanes.len();
        }
        match given_up {
            true => Err(()),
            false => Ok(None),
        }
    }

    /// Waits until the outcome of the first one of a partition is known; for ever when there is none.
    pub(in crate::pipeline) async fn next_outcome(&self) {
        let firsts = self.lanes.iter().filter_map(VecDeque::front);
        let mut firsts: FuturesUnordered<_> =
            firsts.map(|(_, first)| first.delivery.wait()).collect();
        // The outcome is looked at by whoever waited.
        if firsts.next().await.is_none() {
            std::future::pending().await
        }
    }

    /// Waits until the outcome of all that is on its way to these partitions is known.
    pub(in crate::pipeline) async fn outcomes(&self, of: &BTreeSet<i32>) {
        for (_, flight) in self.lanes.iter().flatten() {
            if of.contains(&flight.delivery.partition()) {
                let _ = flight.delivery.wait().await;
            }
        }
    }

    fn errors(&self) -> impl Iterator<Item = (u64, &InFlightEvent, DeliveryError)> {
        let error = |flight: &InFlightEvent| flight.delivery.outcome()?.err();
        self.lanes
            .iter()
            .flatten()
            .filter_map(move |(number, flight)| Some((*number, flight, error(flight)?)))
    }

    /// What was given up first, rather than what was given up because of it.
    pub(in crate::pipeline) fn failure(&self) -> Option<(&InFlightEvent, DeliveryError)> {
        let is_effect = |error: &DeliveryError| matches!(error, DeliveryError::Stopped { .. });
        self.errors()
            .min_by_key(|(number, _, error)| (is_effect(error), *number))
            .map(|(_, flight, error)| (flight, error))
    }

    /// How many were given up.
    pub(in crate::pipeline) fn failed(&self) -> u64 {
        self.errors().count() as u64
    }

    /// Whether one may be on the topic without an acknowledgement.
    pub(in crate::pipeline) fn any_in_doubt(&self) -> bool {
        self.lanes.iter().flatten().any(|(_, flight)| {
            let outcome = flight.delivery.outcome();
            outcome.is_none_or(|outcome| outcome.is_err_and(|error| error.possibly_written()))
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::source::BadCounts;

    fn flight(place: usize, delivery: &Delivery) -> InFlightEvent {
        let batch = Arc::new(Batch {
            events: vec![],
            origin: "test".into(),
            bad: BadCounts::default(),
            more: false,
        });
        InFlightEvent {
            batch,
            place,
            delivery: delivery.clone(),
        }
    }

    /// On partitions 2, 0 and 2 again, in this order.
    fn in_flight() -> ([Delivery; 3], InFlightEvents) {
        let deliveries = [2, 0, 2].map(Delivery::promised);
        let mut in_flight = InFlightEvents::default();
        for (place, delivery) in deliveries.iter().enumerate() {
            in_flight.push(flight(place, delivery));
        }
        (deliveries, in_flight)
    }

    fn popped(in_flight: &mut InFlightEvents) -> Result<Option<usize>, ()> {
        let popped = in_flight.pop_acknowledged()?;
        Ok(popped.map(|(flight, _)| flight.place))
    }

    #[test]
    fn one_partition_does_not_wait_for_another() {
        let ([first, other, last], mut in_flight) = in_flight();
        assert_eq!(popped(&mut in_flight), Ok(None));
        assert_eq!(in_flight.next_outcome().now_or_never(), None);
        last.decide(Ok(Some(8)));
        assert_eq!(
            popped(&mut in_flight),
            Ok(None),
            "behind the first of its own"
        );
        other.decide(Ok(Some(5)));
        assert_eq!(in_flight.next_outcome().now_or_never(), Some(()));
        assert_eq!(popped(&mut in_flight), Ok(Some(1)));
        assert_eq!(popped(&mut in_flight), Ok(None));
        assert!(in_flight.any_in_doubt() && !in_flight.is_empty());
        assert_eq!(in_flight.outcomes(&[0, 1].into()).now_or_never(), Some(()));
        assert_eq!(in_flight.outcomes(&[0, 2].into()).now_or_never(), None);
        first.decide(Ok(Some(7)));
        assert_eq!(in_flight.outcomes(&[0, 2].into()).now_or_never(), Some(()));
        assert_eq!(popped(&mut in_flight), Ok(Some(0)));
        assert_eq!(popped(&mut in_flight), Ok(Some(2)));
        assert_eq!(popped(&mut in_flight), Ok(None));
        assert!(in_flight.is_empty());
        assert_eq!(in_flight.next_outcome().now_or_never(), None);
    }

    #[test]
    fn what_is_acknowledged_counts_before_what_was_given_up() {
        let error = |cause: bool| {
            let (topic, partition, possibly_written) = ("trades".into(), 0, false);
            match cause {
                true => DeliveryError::TimedOut {
                    topic,
                    partition,
                    possibly_written,
                    cause: "no leader".into(),
                },
                false => DeliveryError::Stopped {
                    topic,
                    partition,
                    possibly_written,
                },
            }
        };
        let ([first, other, last], mut in_flight) = in_flight();
        first.decide(Err(error(false)));
        last.decide(Err(error(true)));
        other.decide(Ok(None));
        assert_eq!(popped(&mut in_flight), Ok(Some(1)));
        assert_eq!(popped(&mut in_flight), Err(()));
        assert_eq!(in_flight.failed(), 2);
        let (cause, found) = in_flight.failure().unwrap();
        assert_eq!((cause.place, found), (2, error(true)));
    }
}
