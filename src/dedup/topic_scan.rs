//! Reads what a topic holds: to the very end of its log, and every TradeId between two offsets.
//!
//! A record of a producer that was killed can lie behind the high watermark, not replicated yet, or in a transaction
//! that is not finished. Neither can be read, and both may come to count, so both are waited for: the end is the leader's log end
//! offset, which OffsetForLeaderEpoch tells (KIP-320), and what is read up to there is read_committed.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::error::DedupError;
use super::store::{Mark, RecordPosition};
use super::topic_bounds::{Offsets, SAY_EVERY, ends};
use crate::{
    consumer::{Chunk, ConsumeError, Isolation, Reader},
    event::read_trade,
    wire::{
        cluster::Cluster,
        records::{Entry, Scratch},
    },
};

/// How long nothing may be readable before the end is asked for again: a new leader's log may be shorter.
pub(super) const STALL: Duration = Duration::from_secs(2);

/// How far before an offset the last batch with records is looked for: behind it there may be markers.
const LOOK_BACK: i64 = 16;

/// What was read.
pub(super) struct Scanned {
    /// `to`, or less where a new leader's log turned out shorter.
    pub(super) reached: Offsets,
    /// The last batch of each partition that had something to show.
    pub(super) marks: Marks,
}

/// Batches by partition.
pub(super) type Marks = BTreeMap<i32, Mark>;

/// Hands the TradeId of every trade between `from` and `to` to `each`, and where it lies, and waits for what cannot be read yet.
pub(super) async fn scan(
    cluster: &Arc<Cluster>,
    topic: &Arc<str>,
    mut from: Offsets,
    mut to: Offsets,
    mut each: impl FnMut(u128, RecordPosition) -> Result<(), DedupError>,
) -> Result<Scanned, DedupError> {
    let isolation = Isolation::ReadCommitted;
    let mut scratch = Scratch::default();
    let mut marks = Marks::new();
    let mut still = Still::new(topic);
    let mut reader = Reader::look_through(cluster, topic, isolation, &from, &to);
    loop {
        let Ok(chunk) = tokio::time::timeout(STALL, reader.next()).await else {
            still.say(
                "waiting for the end of the topic to be readable: records there are not replicated yet, belong to a transaction that is not finished, or come slowly",
            );
            let mut is_shorter = false;
            let of = to.keys().copied().collect();
            for (partition, end) in ends(cluster, topic, Some(&of)).await? {
                if let Some(to) = to.get_mut(&partition).filter(|to| end < **to) {
                    *to = end;
                    is_shorter = true;
                }
            }
            // Otherwise what is under way goes on: an answer may take longer than this on a slow link.
            if is_shorter {
                reader = Reader::look_through(cluster, topic, isolation, &from, &to);
            }
            continue;
        };
        let Some(chunk) = chunk.map_err(not_learnt)? else {
            return Ok(Scanned { reached: to, marks });
        };
        still.over();
        let mut outcome = Ok(());
        let read = chunk.each(&mut scratch, |entry| {
            // One that is too large to be read is no trade to anybody here.
            if let Entry::Record(record) = entry
                && let Some(id) = record.value.and_then(trade_id)
            {
                outcome = each(id, RecordPosition::new(chunk.partition(), record.offset));
            }
            match outcome {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        outcome?;
        let _ = read.map_err(not_learnt)?;
        let last = chunk.batches().last();
        marks.extend(last.map(|batch| (chunk.partition(), batch.header().into())));
        from.insert(chunk.partition(), chunk.next_offset());
    }
}

/// Since when nothing has come.
struct Still<'a> {
    topic: &'a str,
    /// Since when, or when that was said last.
    since: Instant,
}

impl<'a> Still<'a> {
    fn new(topic: &'a str) -> Self {
        let since = Instant::now();
        Self { topic, since }
    }

    fn over(&mut self) {
        self.since = Instant::now();
    }

    /// Says what is waited for, if that is long.
    fn say(&mut self, what: &str) {
        if self.since.elapsed() > SAY_EVERY {
            self.over();
            tracing::warn!(topic = self.topic, "{what}");
        }
    }
}

/// Finds the first batch with records from each of these offsets on, committed or not, however long it takes. Of those offsets
/// that a log does not reach it finds none.
pub(super) async fn first_batches(
    cluster: &Arc<Cluster>,
    topic: &Arc<str>,
    at: &Offsets,
    found: &mut Marks,
) -> Result<(), DedupError> {
    let to = at
        .iter()
        .map(|(partition, offset)| (*partition, offset + 1))
        .collect();
    read_batches(cluster, topic, at, &to, |chunk| {
        if let Some(first) = chunk.batches().next() {
            let mark = first.header().into();
            found.entry(chunk.partition()).or_insert(mark);
        }
    })
    .await
}

/// What lies before an offset.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// The last batch with records, as far as it is near.
    pub(super) marks: Marks,
    /// The TradeId of the last record, where it has one.
    pub(super) ids: BTreeMap<i32, u128>,
}

/// What lies before each of these offsets, as far as it can be read; the logs begin at `starts`.
pub(super) async fn last_batches(
    cluster: &Arc<Cluster>,
    topic: &Arc<str>,
    starts: &Offsets,
    before: &Offsets,
) -> Result<Before, DedupError> {
    let from = before.iter().filter_map(|(partition, next)| {
        let start = starts.get(partition)?;
        Some((*partition, (next - LOOK_BACK).max(*start)))
    });
    let mut found = Before::default();
    let mut scratch = Scratch::default();
    read_batches(cluster, topic, &from.collect(), before, |chunk| {
        let partition = chunk.partition();
        let next = before.get(&partition).copied().unwrap_or_default();
        let batches = chunk.batches().map(|batch| Mark::from(batch.header()));
        let last = batches.filter(|mark| mark.base < next).last();
        found.marks.extend(last.map(|mark| (partition, mark)));
        // Where it cannot be read, there is no id.
        let _ = chunk.each(&mut scratch, |entry| {
            if let Entry::Record(record) = entry
                && record.offset == next - 1
                && let Some(id) = record.value.and_then(trade_id)
            {
                found.ids.insert(partition, id);
            }
            match entry.offset() < next {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
    })
    .await?;
    Ok(found)
}

/// Hands what has records to `each`, as far as the logs reach.
async fn read_batches(
    cluster: &Arc<Cluster>,
    topic: &Arc<str>,
    from: &Offsets,
    to: &Offsets,
    mut each: impl FnMut(&Chunk),
) -> Result<(), DedupError> {
    let mut still = Still::new(topic);
    let mut reader = Reader::glance(cluster, topic, Isolation::ReadUncommitted, from, to);
    loop {
        match tokio::time::timeout(STALL, reader.next()).await {
            Err(_) => {
                still.say("waiting for what was known of the topic to be readable again");
                // A new leader's log may be shorter; then nothing is there.
                let of = to.keys().copied().collect();
                let ends = ends(cluster, topic, Some(&of)).await?;
                for (partition, to) in to {
                    if ends.get(partition).is_none_or(|end| end < to) {
                        reader.skip(*partition);
                    }
                }
            }
            Ok(chunk) => match chunk.map_err(not_learnt)? {
                None => return Ok(()),
                Some(chunk) => {
                    still.over();
                    each(&chunk);
                }
            },
        }
    }
}

/// Events that cannot be read may have been published.
fn not_learnt(error: ConsumeError) -> DedupError {
    match error.unreadable() {
        Some(_) => DedupError::Unreadable { source: error },
        None => error.into(),
    }
}

/// What a value of ours begins with.
const OURS: &[u8] = b"{\"TradeId\":\"";

/// The TradeId of a trade, as a number.
fn trade_id(value: &[u8]) -> Option<u128> {
    // Most values are ours: their id stands in front, and the rest need not be looked at.
    const TEXT: usize = uuid::fmt::Hyphenated::LENGTH;
    if let Some((text, b"\"")) = value
        .strip_prefix(OURS)
        .and_then(|rest| rest.get(..=TEXT))
        .and_then(|text| text.split_at_checked(TEXT))
        && let Some(uuid) = canonical(text)
    {
        return Some(uuid.as_u128());
    }
    let trade = read_trade(value).ok()?;
    let id = trade.trade_id.filter(|id| !id.is_empty())?;
    Some(number(&id))
}

/// The UUID that is written so. Other forms of one are other texts, and so other TradeIds.
fn canonical(text: &[u8]) -> Option<Uuid> {
    let may_be =
        text.len() == uuid::fmt::Hyphenated::LENGTH && !text.iter().any(u8::is_ascii_uppercase);
    may_be.then(|| Uuid::try_parse_ascii(text).ok()).flatten()
}

/// A TradeId as a number: its own bits, or those of a UUID made from its text.
pub(super) fn number(text: &str) -> u128 {
    canonical(text.as_bytes())
        .unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()))
        .as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_texts_are_two_ids_even_if_both_can_be_read_as_one_uuid() {
        let id = "f81d4fae-7dec-51d0-a765-00a0c91e6bf6";
        let forms = [
            id.to_owned(),
            id.to_uppercase(),
            id.replace('-', ""),
            format!("{{{id}}}"),
            format!("urn:uuid:{id}"),
        ];
        let value = |id: &str| {
            format!(
                r#"{{"TradeId":"{id}","Symbol":"IBM","Side":"Buy","Quantity":1,"Price":1,"Timestamp":"2025-11-06T20:59:00Z"}}"#
            )
        };
        let numbers: std::collections::BTreeSet<u128> = forms
            .iter()
            .map(|form| {
                assert_eq!(
                    trade_id(value(form).as_bytes()),
                    Some(number(form)),
                    "{form}"
                );
                number(form)
            })
            .collect();
        assert_eq!(numbers.len(), forms.len());
        assert!(numbers.contains(&Uuid::try_parse(id).unwrap().as_u128()));
    }

    #[test]
    fn the_short_way_and_the_long_way_find_the_same_id() {
        let id = "f81d4fae-7dec-51d0-a765-00a0c91e6bf6";
        let rest = r#""Symbol":"IBM","Side":"Buy","Quantity":1,"Price":1,"Timestamp":"2025-11-06T20:59:00Z""#;
        let ours = format!("{{\"TradeId\":\"{id}\",{rest}}}");
        let others = format!("{{{rest}, \"TradeId\":\"{id}\"}}");
        let text = format!("{{\"TradeId\":\"t-1\",{rest}}}");
        assert_eq!(trade_id(ours.as_bytes()), Some(number(id)));
        assert_eq!(trade_id(others.as_bytes()), Some(number(id)));
        assert_eq!(trade_id(text.as_bytes()), Some(number("t-1")));
        let empty = text.replace("t-1", "");
        assert_eq!(trade_id(empty.as_bytes()), None);
        assert_eq!(trade_id(b"{}"), None);
        assert_eq!(trade_id(&ours.as_bytes()[..40]), None);
    }
}
