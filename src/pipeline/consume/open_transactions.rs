//! Records that wait for a transaction to end: with `Kafka.IsolationLevel=read_committed` a partition is read up to the first record
//! of one that is still open, and a producer that died in one holds back all that comes behind. Who sees nothing come is
//! told why, once for each such place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::super::settings;
use super::session::Session;
use crate::{
    config::IsolationLevel,
    consumer::{self, Bound, Isolation},
};

/// How often positions are looked at. What stands at two looks waits: other transactions take milliseconds.
const LOOK: Duration = Duration::from_secs(15);

/// How long the brokers are waited for: the next look asks again.
const PATIENCE: Duration = Duration::from_secs(2);

/// What stood where.
#[derive(Debug)]
pub(in crate::pipeline) struct OpenTransactions {
    next: Instant,
    /// Where partitions were at the last look.
    before: BTreeMap<i32, i64>,
    /// Where it was said that an open transaction begins.
    said: Offsets,
    /// What is being asked about positions that stand.
    looking: Option<(Offsets, JoinHandle<(Offsets, Offsets)>)>,
}

/// Offsets by partition.
type Offsets = BTreeMap<i32, i64>;

impl OpenTransactions {
    pub(in crate::pipeline) fn new() -> Self {
        Self {
            next: Instant::now() + LOOK,
            before: BTreeMap::new(),
            said: BTreeMap::new(),
            looking: None,
        }
    }

    /// When to look next.
    pub(in crate::pipeline) fn due(&self) -> Option<Instant> {
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
    /// Says of partitions that stand since the last look whether a transaction is in the way. The brokers are asked beside the
    /// work, which goes on meanwhile.
    pub(in crate::pipeline) async fn look_for_open_transactions(&mut self) {
        self.open_transactions.next = Instant::now() + LOOK;
        if let Some((standing, looking)) = self.open_transactions.looking.take() {
            // Whoever panicked has ended the command.
            if let Ok(found) = looking.await {
                self.say_what_is_withheld(&standing, &found);
            }
        }
        let standing = self
            .open_transactions
            .standing(self.assignment.positions().clone());
        if self.reads_committed() && !standing.is_empty() {
            let looking = tokio::spawn(self.ask_what_is_stable(&standing));
            self.open_transactions.looking = Some((standing, looking));
        }
    }

    /// Says whether a transaction is in the way of these positions, at which a run is about to end.
    pub(in crate::pipeline) async fn look_for_open_transactions_at(&mut self, positions: Offsets) {
        if self.reads_committed() {
            let found = self.ask_what_is_stable(&positions).await;
            self.say_what_is_withheld(&positions, &found);
        }
    }

    fn reads_committed(&self) -> bool {
        self.config.kafka.isolation_level == IsolationLevel::ReadCommitted
    }

    /// The last stable offsets and the ends of those whose leaders say it at once.
    fn ask_what_is_stable(
        &self,
        standing: &Offsets,
    ) -> impl Future<Output = (Offsets, Offsets)> + use<> {
        let partitions: Vec<i32> = standing.keys().copied().collect();
        let (cluster, topic) = (Arc::clone(self.cluster), self.config.kafka.topic.clone());
        async move {
            let of = |isolation| {
                let bound = Bound::Latest;
                consumer::glance(&cluster, &topic, isolation, &partitions, bound, PATIENCE)
            };
            // In this order: what was committed in between is not taken for held back.
            let ends = of(Isolation::ReadUncommitted).await;
            (of(Isolation::ReadCommitted).await, ends)
        }
    }

    fn say_what_is_withheld(&mut self, standing: &Offsets, (stable, ends): &(Offsets, Offsets)) {
        let topic = &*self.config.kafka.topic;
        for (partition, offset) in self.open_transactions.news(standing, stable, ends) {
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
        let mut open_transactions = OpenTransactions::new();
        // 0 waits at an open transaction, 1 is at the end, 2 goes on, 3 has committed records to read still.
        let first = at([(0, 5), (1, 9), (2, 1), (3, 4)]);
        assert!(open_transactions.standing(first.clone()).is_empty());
        let second = at([(0, 5), (1, 9), (2, 2), (3, 4)]);
        let standing = open_transactions.standing(second.clone());
        assert_eq!(standing, at([(0, 5), (1, 9), (3, 4)]));
        let (stable, ends) = (at([(0, 5), (1, 9), (3, 7)]), at([(0, 8), (1, 9), (3, 9)]));
        assert_eq!(
            open_transactions.news(&standing, &stable, &ends),
            at([(0, 5)])
        );
        let standing = open_transactions.standing(second);
        assert!(open_transactions.news(&standing, &stable, &ends).is_empty());
        // The next one is news again.
        open_transactions.standing(at([(0, 8)]));
        let standing = open_transactions.standing(at([(0, 8)]));
        let (stable, ends) = (at([(0, 8)]), at([(0, 11)]));
        assert_eq!(
            open_transactions.news(&standing, &stable, &ends),
            at([(0, 8)])
        );
    }
}
