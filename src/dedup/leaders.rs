//! Who leads the topic's partitions. Of one that has no leader nothing can be learnt, and what waits for it is not to hold up the
//! others: it is looked at when it has one again, by whose epoch that is seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::wire::cluster::{Cluster, Topic};

/// How often it is looked whether there are leaders while something waits for them.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Epochs of leaders by partition.
pub(super) type Epochs = BTreeMap<i32, i32>;

/// Some of the topic's partitions; `None` is all that there are.
pub(super) type Of<'a> = Option<&'a BTreeSet<i32>>;

/// Whether a partition is one of these.
pub(super) fn is_of(of: Of<'_>, partition: i32) -> bool {
    of.is_none_or(|of| of.contains(&partition))
}

/// The epoch of each partition's leader; -1 where the broker does not say.
pub(super) fn epochs(topic: &Topic) -> Epochs {
    let partitions = (0..).zip(&topic.partitions);
    partitions
        .map(|(number, partition)| (number, partition.leader_epoch))
        .collect()
}

/// The same, of those partitions that have a leader.
pub(super) fn led(topic: &Topic) -> Epochs {
    let mut epochs = epochs(topic);
    let partitions = (0..).zip(&topic.partitions);
    for (number, _) in partitions.filter(|(_, partition)| partition.leader.is_none()) {
        epochs.remove(&number);
    }
    epochs
}

/// The partitions whose leader is not the one that was known.
pub(super) fn moved(led: &Epochs, known: &Epochs) -> BTreeSet<i32> {
    let moved = led
        .iter()
        .filter(|(of, epoch)| known.get(of) != Some(epoch));
    moved.map(|(of, _)| *of).collect()
}

/// Waits until one of these partitions has no leader; gives those that have one.
pub(super) async fn lost(cluster: &Cluster, topic: &str, of: &BTreeSet<i32>) -> BTreeSet<i32> {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Where nobody can be asked, that is said by whoever asks for more.
        if let Ok(described) = cluster.refresh_topic(topic).await {
            let led = led(&described);
            let left = of.iter().filter(|partition| led.contains_key(partition));
            let left: BTreeSet<i32> = left.copied().collect();
            if left.len() < of.len() {
                return left;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::wire::cluster::Partition;

    #[test]
    fn a_partition_without_a_leader_is_looked_at_when_it_has_one_again() {
        let moved = |partitions: &[(Option<i32>, i32)]| {
            let partition = |&(leader, leader_epoch)| Partition {
                leader,
                leader_epoch,
            };
            let topic = Topic {
                name: "trades".into(),
                id: None,
                partitions: partitions.iter().map(partition).collect(),
                learnt: Instant::now(),
            };
            let moved = super::moved(&led(&topic), &[(0, 3), (1, 3)].into());
            moved.into_iter().collect::<Vec<i32>>()
        };
        assert_eq!(moved(&[(Some(1), 3), (Some(2), 3)]), [0_i32; 0]);
        // Losing a leader is an epoch, too.
        assert_eq!(moved(&[(Some(1), 3), (None, 4)]), [0_i32; 0]);
        assert_eq!(moved(&[(Some(1), 3), (Some(2), 5)]), [1]);
        assert_eq!(moved(&[(Some(2), 4), (None, 4)]), [0]);
        assert_eq!(moved(&[(Some(1), 3), (Some(2), 3), (Some(1), 0)]), [2]);
    }
}
