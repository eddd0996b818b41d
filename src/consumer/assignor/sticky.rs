//! The sticky assignors: balance first, then as little movement as possible.
//!
//! What Java's do, by a plainer way: members keep what they had; what nobody has goes to whoever has least; then
//! partitions move from members with more to members with less until no single move makes the shares more even. Where
//! all members subscribed to the same topics, shares then differ by one at most.
//!
//! If two members claim a partition, it is of the one with the later generation; the other was out of the group when it
//! was given away. With the same generation neither is believed.

use std::collections::BTreeMap;

use super::share::{Shares, Subscriber, nothing};
use crate::wire::messages::Str;

type Place = (Str, i32);

/// The shares in the making: members by their index.
struct Board<'m> {
    members: &'m [&'m Subscriber],
    owner: BTreeMap<Place, usize>,
    load: Vec<usize>,
}

impl Board<'_> {
    fn give(&mut self, place: Place, to: usize) {
        if let Some(from) = self.owner.insert(place, to)
            && let Some(load) = self.load.get_mut(from)
        {
            *load -= 1;
        }
        if let Some(load) = self.load.get_mut(to) {
            *load += 1;
        }
    }

    /// The subscribed member that has least; the first of them in the members' order.
    fn least(&self, topic: &Str) -> Option<(usize, usize)> {
        self.members
            .iter()
            .zip(&self.load)
            .enumerate()
            .filter(|(_, (member, _))| member.topics.contains(topic))
            .map(|(index, (_, load))| (*load, index))
            .min()
    }

    /// Moves one partition to a member that has at least two fewer; `false` when there is no such move.
    fn level(&mut self) -> bool {
        let mut least: BTreeMap<&Str, (usize, usize)> = BTreeMap::new();
        let mut best: Option<(usize, &Place, usize)> = None;
        for (place, &from) in self.owner.iter().rev() {
            let Some(&(fewest, to)) = (match least.get(&place.0) {
                Some(found) => Some(found),
                None => self
                    .least(&place.0)
                    .map(|found| &*least.entry(&place.0).or_insert(found)),
            }) else {
                continue;
            };
            let load = self.load.get(from).copied().unwrap_or_default();
            // The steepest move first: then no member is filled only to be emptied again.
            if load > fewest + 1 && best.is_none_or(|(gain, ..)| load - fewest > gain) {
                best = Some((load - fewest, place, to));
            }
        }
        let Some((_, place, to)) = best else {
            return false;
        };
        let place = place.clone();
        self.give(place, to);
        true
    }
}

/// Shares the partitions out; `members` in their order.
pub(super) fn sticky(members: &[&Subscriber], partitions: &BTreeMap<Str, i32>) -> Shares {
    let mut board = Board {
        members,
        owner: BTreeMap::new(),
        load: vec![0; members.len()],
    };
    for (place, owner) in claims(members, partitions) {
        board.give(place, owner);
    }
    for (topic, &count) in partitions {
        for partition in 0..count {
            let place = (topic.clone(), partition);
            if !board.owner.contains_key(&place)
                && let Some((_, to)) = board.least(topic)
            {
                board.give(place, to);
            }
        }
    }
    while board.level() {}

    let mut shares = nothing(members);
    for ((topic, partition), owner) in board.owner {
        if let Some(share) = members
            .get(owner)
            .and_then(|member| shares.get_mut(&member.member_id))
        {
            share.entry(topic).or_default().push(partition);
        }
    }
    shares
}

/// Who may keep what: partitions that exist, of topics that the member subscribed to, claimed by nobody with more right.
fn claims(members: &[&Subscriber], partitions: &BTreeMap<Str, i32>) -> Vec<(Place, usize)> {
    // The latest generation, and its only claimant.
    let mut latest: BTreeMap<Place, (i32, Option<usize>)> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        for (topic, claimed) in &member.owned {
            let count = partitions.get(topic).copied().unwrap_or_default();
            if !member.topics.contains(topic) {
                continue;
            }
            for &partition in claimed
                .iter()
                .filter(|claimed| (0..count).contains(*claimed))
            {
                let claim = (member.generation, Some(index));
                latest
                    .entry((topic.clone(), partition))
                    .and_modify(|known| match known.0.cmp(&claim.0) {
                        std::cmp::Ordering::Less => *known = claim,
                        std::cmp::Ordering::Equal if known.1 != claim.1 => known.1 = None,
                        _ => {}
                    })
                    .or_insert(claim);
            }
        }
    }
    latest
        .into_iter()
        .filter_map(|(place, (_, owner))| Some((place, owner?)))
        .collect()
}

/// Takes out of the shares what another member still has: it is given when that one has given it up (KIP-429).
pub(super) fn withhold(members: &[&Subscriber], shares: &mut Shares) {
    let mut claimants: BTreeMap<(&Str, i32), Vec<&Str>> = BTreeMap::new();
    for member in members {
        for (topic, owned) in &member.owned {
            for &partition in owned {
                claimants
                    .entry((topic, partition))
                    .or_default()
                    .push(&member.member_id);
            }
        }
    }
    for (member_id, share) in shares {
        let keep = |topic: &Str, partition: i32| {
            claimants
                .get(&(topic, partition))
                .is_none_or(|claimants| claimants.iter().all(|claimant| *claimant == member_id))
        };
        for (topic, partitions) in &mut *share {
            partitions.retain(|partition| keep(topic, *partition));
        }
        share.retain(|_, partitions: &mut Vec<i32>| !partitions.is_empty());
    }
}

/// A share as a set of places, for who compares.
#[cfg(test)]
pub(super) fn places(share: &super::Share) -> impl Iterator<Item = (&Str, i32)> {
    share
        .iter()
        .flat_map(|(topic, partitions)| partitions.iter().map(move |partition| (topic, *partition)))
}
