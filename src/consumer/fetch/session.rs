//! A fetch session (KIP-227): the broker remembers what it was asked for, so that a request names only what changed and
//! an answer only what has news. Pure.
//!
//! ```text
//!            request with id 0, epoch 0             id, epoch + 1: what changed
//!  new ───────────────────────────────► agreed on ◄──────────────────────────┐
//!   ▲ ▲   the broker has no room (id 0)     │  └───────────────────────────────┘
//!   │ └─────────────────────────────────────┤
//!   └── an error, or no answer: out of step ┘
//! ```
//!
//! Who is asked for a partition twice in a row at the same place does not name it again; 1,000 idle partitions then cost
//! nothing.

use std::collections::BTreeMap;

use super::subscription::Ask;

/// What a request has to say of the session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) id: i32,
    pub(super) epoch: i32,
    /// What is new or has moved, in the order of the asks.
    pub(super) asks: Vec<Ask>,
    /// What is not asked for any more.
    pub(super) forgotten: Vec<i32>,
}

/// The session with one broker.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    /// What the broker remembers.
    known: BTreeMap<i32, Ask>,
}

impl Session {
    /// What to say in order to ask for all of `asks`.
    pub(super) fn say(&mut self, asks: &[Ask]) -> Said {
        let wanted: BTreeMap<i32, Ask> = asks.iter().map(|ask| (ask.partition, *ask)).collect();
        let forgotten = self
            .known
            .keys()
            .filter(|partition| !wanted.contains_key(partition));
        let said = Said {
            id: self.id,
            epoch: self.epoch,
            forgotten: forgotten.copied().collect(),
            asks: asks
                .iter()
                .filter(|ask| self.known.get(&ask.partition) != Some(ask))
                .copied()
                .collect(),
        };
        self.known = wanted;
        said
    }

    /// The broker answered, with a session of this id, or 0 for none.
    pub(super) fn answered(&mut self, id: i32) {
        if id == 0 || (self.id != 0 && self.id != id) {
            *self = Self::default();
            return;
        }
        self.id = id;
        // 0 begins a session and is not come back to.
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
    }

    /// Nobody knows what the broker remembers.
    pub(super) fn out_of_step(&mut self) {
        *self = Self::default();
    }

    /// Whether the broker leaves partitions without news out of its answers.
    pub(super) fn is_agreed(&self) -> bool {
        self.id != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::super::cursor::Cursor, *};

    fn ask(partition: i32, position: i64) -> Ask {
        Ask {
            partition,
            cursor: Cursor::at(position, None),
            leader_epoch: 1,
            near: false,
            unproven: false,
        }
    }

    #[test]
    fn says_only_what_changed() {
        let mut session = Session::default();
        let all = [ask(0, 5), ask(1, 5)];
        let said = session.say(&all);
        assert_eq!((said.id, said.epoch, said.asks.len()), (0, 0, 2));
        session.answered(7);
        let said = session.say(&[ask(1, 6), ask(2, 0)]);
        assert_eq!((said.id, said.epoch), (7, 1));
        assert_eq!(said.asks, [ask(1, 6), ask(2, 0)]);
        assert_eq!(said.forgotten, [0]);
        session.answered(7);
        assert!(session.say(&[ask(1, 6), ask(2, 0)]).asks.is_empty());
        session.out_of_step();
        let said = session.say(&[ask(1, 6)]);
        assert_eq!((said.id, said.epoch, said.asks.len()), (0, 0, 1));
    }

    proptest! {
        /// A broker that does what it is told asks for the same as the client means, whatever happens in between.
        #[test]
        fn both_sides_mean_the_same(turns in prop::collection::vec((prop::collection::btree_map(0..5i32, 0..3i64, 0..5), 0..4u8), 1..40)) {
            let mut session = Session::default();
            let mut broker: Option<(i32, i32, BTreeMap<i32, Ask>)> = None;
            let mut ids = 0;
            for (wanted, fate) in turns {
                let asks: Vec<Ask> = wanted.iter().map(|(partition, position)| ask(*partition, *position)).collect();
                let said = session.say(&asks);
                if said.id == 0 {
                    prop_assert_eq!(said.epoch, 0);
                    ids += 1;
                    broker = Some((ids, 0, BTreeMap::new()));
                }
                let Some((id, epoch, remembered)) = &mut broker else {
                    // The broker threw the session out.
                    session.out_of_step();
                    continue;
                };
                prop_assert!(said.id == 0 || said.id == *id);
                prop_assert_eq!(said.epoch, *epoch);
                *epoch += 1;
                for partition in said.forgotten {
                    remembered.remove(&partition);
                }
                for ask in said.asks {
                    remembered.insert(ask.partition, ask);
                }
                let means: Vec<Ask> = remembered.values().copied().collect();
                prop_assert_eq!(means, asks);
                match fate {
                    0 => session.out_of_step(),
                    1 => session.answered(0),
                    2 => {
                        session.answered(*id);
                        broker = None;
                    }
                    _ => session.answered(*id),
                }
            }
        }
    }
}
