//! Learning what a topic holds: what came behind what is known, and what lies before it, as far back as is needed.
//!
//! A producer that was killed may have left requests with a broker, which takes up the next only when it has answered the
//! one before, and so when that is replicated. After such an end the topic is looked at again, until it has stood still
//! for a moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::error::DedupError;
use super::leaders::{Of, is_of};
use super::store::{Before, Span, Store, Subject};
use super::topic_bounds::Offsets;
use super::topic_scan::{STALL, Scanned};
use super::{Changed, LookUp, PublishedIds, failed, leaders, topic_bounds, topic_scan};
use crate::consumer::Bound;
use crate::event::TradeEvent;

/// How far the clocks of brokers and of whoever published before may be off.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(10);

/// For how long the topic must stand still after a producer was killed: much longer than a broker takes from one request
/// of a connection to the next.
const STILL: Duration = Duration::from_secs(1);

/// How often it is looked at for that: as many requests as one connection can have had on its way. Others may be
/// publishing, too, and it would never stand still.
const LOOKS: usize = 5;

impl PublishedIds {
    /// Reads what the topic says about events as old as these, unless that is known.
    pub(crate) async fn learn(
        &mut self,
        events: &[TradeEvent],
        now: DateTime<Utc>,
    ) -> Result<(), DedupError> {
        let times = || events.iter().map(|event| event.timestamp.instant);
        let (Some(oldest), Some(newest)) = (times().min(), times().max()) else {
            return Ok(());
        };
        let since_ms = match self.look_up {
            LookUp::Nothing => {
                if self.store.is_none() {
                    self.store = Some(self.claim().await?);
                }
                return Ok(());
            }
            LookUp::All => None,
            LookUp::SinceTheirTime => since(oldest, newest, now),
        };
        let mut store = match self.store.take() {
            Some(store) => store,
            None => {
                let mut store = self.open().await?;
                self.extend(&mut store, since_ms).await?;
                self.let_settle(&mut store).await?;
                self.mark(&mut store, STALL).await;
                store
            }
        };
        let learnt = self.learn_more(&mut store, since_ms).await;
        self.store = Some(store);
        learnt
    }

    async fn learn_more(
        &mut self,
        store: &mut Store,
        since_ms: Option<i64>,
    ) -> Result<(), DedupError> {
        if let Some(Changed::Logs(of)) = self.changed.clone() {
            self.look_again(store, of).await?;
            self.changed = None;
        }
        self.extend(store, since_ms).await
    }

    /// Looks at the logs of these partitions, but not at one that loses its leader meanwhile: nothing is forgotten of it, and by
    /// its next leader it is seen that it is to be looked at.
    async fn look_again(
        &mut self,
        store: &mut Store,
        mut of: BTreeSet<i32>,
    ) -> Result<(), DedupError> {
        let (cluster, topic) = (Arc::clone(&self.cluster), Arc::clone(&self.topic));
        while !of.is_empty() {
            of = tokio::select! {
                checked = self.check(store, Some(&of)) => {
                    checked?;
                    break;
                }
                led = leaders::lost(&cluster, &topic, &of) => led,
            };
        }
        // From here on they are waited for: what was forgotten may be there, and could be offered for any partition.
        if !of.is_empty() && !store.spans().is_empty() {
            self.catch_up(store, Some(&of)).await?;
        }
        Ok(())
    }

    /// Waits for what a producer that was killed may have left with the brokers.
    async fn let_settle(&mut self, store: &mut Store) -> Result<(), DedupError> {
        let may_come = match store.before() {
            Before::Settled => false,
            // Also of an empty topic: the first requests ever may be those that are on their way.
            Before::Unsettled | Before::Unknown => true,
        };
        if may_come {
            for _ in 0..LOOKS {
                tokio::time::sleep(STILL).await;
                if !self.catch_up(store, None).await? {
                    break;
                }
            }
            store
                .settle_others()
                .map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// Opens the ledger: from now on it says that something may be on its way.
    async fn claim(&self) -> Result<Store, DedupError> {
        let (cluster_id, topic_id) = topic_bounds::identity(&self.cluster, &self.topic).await?;
        let subject = Subject {
            cluster_id,
            topic: self.topic.to_string(),
            topic_id,
        };
        Store::open(&self.state, &subject).map_err(|source| self.failed(source))
    }

    /// Opens the ledger and reads what came behind it.
    async fn open(&mut self) -> Result<Store, DedupError> {
        let mut store = self.claim().await?;
        self.check(&mut store, None).await?;
        if !store.spans().is_empty() {
            self.catch_up(&mut store, None).await?;
        }
        Ok(store)
    }

    /// Reads what came to these partitions behind what is known; says whether anything did.
    async fn catch_up(&mut self, store: &mut Store, of: Of<'_>) -> Result<bool, DedupError> {
        let is_asked = |(partition, _): &(&i32, &Span)| is_of(of, **partition);
        let mut ends = topic_bounds::ends(&self.cluster, &self.topic, of).await?;
        let is_shorter = |(partition, span): (&i32, &Span)| {
            ends.get(partition).is_none_or(|end| *end < span.next)
        };
        if store.spans().iter().filter(is_asked).any(is_shorter) {
            self.check(store, of).await?;
            ends = topic_bounds::ends(&self.cluster, &self.topic, of).await?;
        }
        let new: Vec<i32> = ends
            .keys()
            .filter(|partition| !store.spans().contains_key(partition))
            .copied()
            .collect();
        let behind = |(partition, span): (&i32, &Span)| {
            ends.get(partition).is_some_and(|end| *end > span.next)
        };
        if new.is_empty() && !store.spans().iter().any(behind) {
            return Ok(false);
        }
        let mut from =
            topic_bounds::starts(&self.cluster, &self.topic, &new, Bound::Earliest).await?;
        from.extend(
            store
                .spans()
                .iter()
                .filter(is_asked)
                .map(|(partition, span)| (*partition, span.next)),
        );
        let mut spans = store.spans().clone();
        for (partition, start) in &from {
            spans.entry(*partition).or_insert(Span {
                start: *start,
                next: *start,
                mark: None,
            });
        }
        let mut any = false;
        let scanned = self.scan(store, from, ends).await?;
        for (partition, next) in scanned.reached {
            if let Some(span) = spans.get_mut(&partition) {
                any |= next > span.next;
                span.next = next;
            }
        }
        let since_ms = store.since_ms();
        store.cover(spans, since_ms);
        store.mark(&self.confirmed(scanned.marks).await);
        store.save().map_err(|source| self.failed(source))?;
        Ok(any)
    }

    /// Reads what lies before what is known, as far back as `since_ms`.
    async fn extend(&self, store: &mut Store, since_ms: Option<i64>) -> Result<(), DedupError> {
        let known = !store.spans().is_empty();
        let covered = match (store.since_ms(), since_ms) {
            (None, _) => true,
            (Some(covered), Some(since)) => covered <= since,
            (Some(_), None) => false,
        };
        if known && covered {
            return Ok(());
        }
        let to: Offsets = match known {
            // What came behind was read, or published here.
            true => store
                .spans()
                .iter()
                .map(|(partition, span)| (*partition, span.start))
                .collect(),
            false => topic_bounds::ends(&self.cluster, &self.topic, None).await?,
        };
        let partitions: Vec<i32> = to.keys().copied().collect();
        let bound = since_ms.map_or(Bound::Earliest, Bound::Since);
        let mut from = topic_bounds::starts(&self.cluster, &self.topic, &partitions, bound).await?;
        for (partition, start) in &mut from {
            // No record as young as that: nothing to read.
            *start = (*start).min(to.get(partition).copied().unwrap_or(*start));
        }
        let scanned = self.scan(store, from.clone(), to).await?;
        let mut spans: BTreeMap<i32, Span> = store.spans().clone();
        for (partition, end) in scanned.reached {
            let start = from.get(&partition).copied().unwrap_or(end).min(end);
            let span = spans.entry(partition).or_insert(Span {
                start,
                next: end,
                mark: None,
            });
            span.start = start;
        }
        store.cover(spans, since_ms);
        if !known {
            store.mark(&self.confirmed(scanned.marks).await);
        }
        store.save().map_err(|source| self.failed(source))
    }

    async fn scan(
        &self,
        store: &mut Store,
        from: Offsets,
        to: Offsets,
    ) -> Result<Scanned, DedupError> {
        let started = Instant::now();
        let mut events = 0_u64;
        let scanned = topic_scan::scan(&self.cluster, &self.topic, from, to, |id, place| {
            events += 1;
            store
                .note(id, place)
                .map_err(|source| failed(&self.state, source))
        })
        .await?;
        tracing::info!(
            topic = &*self.topic,
            events,
            ms = started.elapsed().as_millis(),
            "looked up what came to the topic since the last look"
        );
        Ok(scanned)
    }
}

/// From which record time on former publications of events of these times can lie on the topic, if none was published
/// before its time; `None` is from the start.
fn since(oldest: DateTime<Utc>, newest: DateTime<Utc>, now: DateTime<Utc>) -> Option<i64> {
    let since = oldest.checked_sub_signed(CLOCK_SLACK)?;
    (newest <= now).then(|| since.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_whose_time_is_yet_to_come_is_looked_for_everywhere() {
        let at = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap();
        assert_eq!(since(at(100), at(105), at(105)), Some(90 * 60_000));
        assert_eq!(since(at(100), at(106), at(105)), None);
        assert_eq!(since(DateTime::<Utc>::MIN_UTC, at(1), at(2)), None);
    }
}
