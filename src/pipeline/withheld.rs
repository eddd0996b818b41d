//! Records that wait for a transaction to end: with `Kafka.IsolationLevel=read_committed` a partition is read up to the first record
//! of one that is still open, and a producer that died in one holds back all that comes behind. Who sees nothing come is
//! told why, once for each such place.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{PipelineError, session::Session, settings};
use crate::{
    config::IsolationLevel,
    consumer::{self, Bound, Isolation},
};

/// How often positions are looked at. What stands at two looks waits: other transactions take milliseconds.
const LOOK: Duration = Duration::from_secs(15);

/// How long the brokers are waited for, while rows wait to be committed: the next look asks again.
const PATIENCE: Duration = Duration::from_secs(2);

/// What stood where.
#[derive(Debug)]
pub(super) struct Withheld {
    next: Instant,
    /// Where partitions were at the last look.
    before: BTreeMap<i32, i64>,
    /// Where it was said that an open transaction begins.
    said: BTreeMap<i32, i64>,
}

impl Withheld {
    pub(super) fn new() -> Self {
        Self {
            next: Instant::now() + LOOK,
            before: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    /// When to look next.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.next)
    }

    /// Which of these positions are where they were at the last look.
    fn standing(&mut self, positions: BTreeMap<i32, i64>) -> BTreeMap<i32, i64> {
        let mut standing = positions.clone();
        standing.retain(|partition, at| self.before.get(partition) == Some(at));
        self.before = positions;
        standing
    }

    /// The partitions of `standing` behind which there are records, of which nothing was said yet: where each stands.
    fn news(
        &mut self,
        standing: &BTreeMap<i32, i64>,
        stable: &BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
    ) -> BTreeMap<i32, i64> {
        let held_back = |partition: &i32, at: i64| {
            let (stable, end) = (stable.get(partition), ends.get(partition));
            stable.is_some_and(|stable| *stable <= at) && end.is_some_and(|end| *end > at)
        };
        let mut news = standing.clone();
        news.retain(|partition, at| {
            held_back(partition, *at) && self.said.insert(*partition, *at) != Some(*at)
        });
        news
    }
}

impl Session<'_> {
    /// Says of partitions that stand since the last look, or of all of `positions`, whether a transaction is in the way.
    pub(super) async fn look_for_open_transactions(
        &mut self,
        positions: Option<BTreeMap<i32, i64>>,
    ) -> Result<(), PipelineError> {
        self.withheld.next = Instant::now() + LOOK;
        if self.config.kafka.isolation_level != IsolationLevel::ReadCommitted {
            return Ok(());
        }
        let standing = match positions {
            Some(positions) => positions,
            None => self.withheld.standing(self.held.positions().clone()),
        };
        if standing.is_empty() {
            return Ok(());
        }
        let partitions: Vec<i32> = standing.keys().copied().collect();
        let (cluster, topic) = (self.cluster, &*self.config.kafka.topic);
        let latest = |isolation| {
            consumer::list_offsets(cluster, topic, isolation, &partitions, Bound::Latest)
        };
        let asked = async {
            // In this order: what was committed in between is not taken for held back.
            let ends = latest(Isolation::ReadUncommitted).await?;
            Ok((latest(Isolation::ReadCommitted).await?, ends))
        };
        let Ok(asked) = tokio::time::timeout(PATIENCE, asked).await else {
            return Ok(());
        };
        let (stable, ends) = asked.map_err(PipelineError::Consumer)?;
        for (partition, offset) in self.withheld.news(&standing, &stable, &ends) {
            let records = ends.get(&partition).map_or(0, |end| end - offset);
            tracing::warn!(
                topic,
                partition,
                offset,
                "a transaction that began at this offset is still open, so {records} offsets from there on are not read: only \
                 what is committed is (Kafka.IsolationLevel=read_committed). It ends when its producer ends it, or when the \
                 brokers abort it after that producer's transaction.timeout.ms; `kafka-transactions.sh --bootstrap-server {} \
                 find-hanging` finds one that hangs",
                settings::bootstrap(self.config)
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<const N: usize>(offsets: [(i32, i64); N]) -> BTreeMap<i32, i64> {
        offsets.into()
    }

    #[test]
    fn what_stands_before_an_open_transaction_is_said_once() {
        let mut withheld = Withheld::new();
        // 0 waits at an open transaction, 1 is at the end, 2 goes on, 3 has committed records to read still.
        let first = at([(0, 5), (1, 9), (2, 1), (3, 4)]);
        assert!(withheld.standing(first.clone()).is_empty());
        let second = at([(0, 5), (1, 9), (2, 2), (3, 4)]);
        let standing = withheld.standing(second.clone());
        assert_eq!(standing, at([(0, 5), (1, 9), (3, 4)]));
        let (stable, ends) = (at([(0, 5), (1, 9), (3, 7)]), at([(0, 8), (1, 9), (3, 9)]));
        assert_eq!(withheld.news(&standing, &stable, &ends), at([(0, 5)]));
        let standing = withheld.standing(second);
        assert!(withheld.news(&standing, &stable, &ends).is_empty());
        // The next one is news again.
        withheld.standing(at([(0, 8)]));
        let standing = withheld.standing(at([(0, 8)]));
        let (stable, ends) = (at([(0, 8)]), at([(0, 11)]));
        assert_eq!(withheld.news(&standing, &stable, &ends), at([(0, 8)]));
    }
}
