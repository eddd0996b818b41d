//! Which events of an input repeat one before them, told by TradeId, and which of these say something else. Pure.
//!
//! Of events with one TradeId only the first is published, so the others have to be told: the same one saved twice is
//! harmless, another price or quantity is not. Memory is bounded: what repeats an event further back than the last
//! [`MAX_EVENTS`] that were first is left to whoever publishes.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use crate::event::TradeEvent;
use crate::event::price::normalise;

/// As many events are remembered, in some 40 MB.
const MAX_EVENTS: usize = 1 << 20;

/// The events so far.
#[derive(Debug)]
pub(super) struct Seen {
    hasher: RandomState,
    /// What each one says, by its identity; of both only hashes, because this only counts.
    recent: HashMap<u64, u64>,
    /// Those before, so that forgetting costs no search.
    former: HashMap<u64, u64>,
    max: usize,
    pub(super) repeated: u64,
    /// Of these, those that say something else.
    conflicts: u64,
    /// The first of those.
    first: Option<String>,
}

impl Default for Seen {
    fn default() -> Self {
        Self::remembering(MAX_EVENTS)
    }
}

impl Seen {
    fn remembering(max: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            recent: HashMap::new(),
            former: HashMap::new(),
            max,
            repeated: 0,
            conflicts: 0,
            first: None,
        }
    }

    /// Takes note of the next event.
    pub(super) fn note(&mut self, event: &TradeEvent) {
        let id = self.hasher.hash_one(&event.trade_id);
        let price = normalise(&event.price);
        let content = self.hasher.hash_one((
            &event.symbol,
            event.side,
            event.quantity,
            price.as_ref().unwrap_or(&event.price),
            event.timestamp.instant,
        ));
        let Some(before) = self.recent.get(&id).or_else(|| self.former.get(&id)) else {
            if self.recent.len() >= self.max / 2 {
                self.former = std::mem::take(&mut self.recent);
            }
            self.recent.insert(id, content);
            return;
        };
        self.repeated += 1;
        if *before != content {
            self.conflicts += 1;
            self.first.get_or_insert_with(|| {
                format!(
                    "TradeId {}, {} {} {} @ {}, {}",
                    event.trade_id,
                    event.symbol,
                    event.side.as_str(),
                    event.quantity,
                    event.price,
                    event.timestamp.text
                )
            });
        }
    }

    /// What is to be said at the end of those that say something else, once.
    pub(super) fn conflicts(&mut self) -> Option<String> {
        let first = self.first.take()?;
        let (events, have) = match self.conflicts {
            1 => ("event", "has"),
            _ => ("events", "have"),
        };
        Some(format!(
            "{} {events} of the input {have} the TradeId of an earlier one there, but another symbol, side, quantity, price or \
             time. Without --republish only the earlier one is published. The first that differs: {first}",
            self.conflicts
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(id: u64, price: &str) -> TradeEvent {
        let json = format!(
            r#"{{"TradeId":"t{id}","Symbol":"IBM","Side":"Buy","Quantity":1,"Price":{price},"Timestamp":"2025-11-06T20:59:00Z"}}"#
        );
        TradeEvent::from_json(json.as_bytes(), 1).expect("an event")
    }

    #[test]
    fn what_repeats_is_counted_and_what_differs_is_named() {
        let mut seen = Seen::default();
        for (id, price) in [(1, "1.5"), (2, "1.5"), (1, "1.50")] {
            seen.note(&event(id, price));
        }
        assert_eq!((seen.repeated, seen.conflicts()), (1, None));
        seen.note(&event(2, "1.6"));
        seen.note(&event(1, "1.7"));
        assert_eq!(seen.repeated, 3);
        let said = seen.conflicts().expect("words");
        assert!(said.starts_with("2 events of the input have"), "{said}");
        assert!(said.contains("TradeId t2, IBM Buy 1 @ 1.6"), "{said}");
        assert_eq!(seen.conflicts(), None, "said once");
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_what_is_near_is_found(ids in prop::collection::vec(0_u64..40, 0..200), max in 2_usize..20) {
            let mut seen = Seen::remembering(max);
            let mut new: Vec<u64> = Vec::new();
            for id in ids {
                let before = seen.repeated;
                seen.note(&event(id, "1"));
                let repeats = seen.repeated > before;
                prop_assert!(seen.recent.len() + seen.former.len() <= max);
                // Half of what is remembered is always the latest.
                if new.iter().rev().take(max / 2).any(|known| *known == id) {
                    prop_assert!(repeats);
                }
                prop_assert!(!repeats || new.contains(&id));
                if !repeats {
                    new.push(id);
                }
            }
        }
    }
}
