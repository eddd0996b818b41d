//! The task that asks one leader for data, in one long poll after another.

use std::{collections::BTreeMap, sync::Arc};

use super::{Fetched, Held, LONG_POLL, MOST_IN_FLIGHT, Shared, board::Ask};
use crate::{
    consumer::{
        Chunk, ConsumeError,
        cursor::{Action, Fault, action},
    },
    wire::{
        cluster::Lane,
        error::{CallError, ErrorCode},
        messages::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData},
        records::RecordsError,
    },
};

/// Answers as soon as there is anything.
const MIN_BYTES: i32 = 1;

/// Asks broker `node` for as long as the board has partitions there.
pub(super) async fn serve(shared: Arc<Shared>, node: i32) {
    loop {
        shared.gate.below(MOST_IN_FLIGHT / 2).await;
        let (asks, leaders) = {
            let mut board = shared.board.lock();
            let Some(asks) = board.asks(node) else {
                return;
            };
            (asks, board.leaders())
        };
        match fetch(&shared, node, &asks, leaders).await {
            Ok(answer) => shared.take(node, &asks, answer).await,
            Err(error) => {
                tracing::debug!(node, "cannot fetch: {error}");
                let mut board = shared.board.lock();
                for ask in &asks {
                    board.displace(node, ask);
                }
            }
        }
        if shared.board.lock().has_trouble() {
            shared.trouble.notify_one();
        }
    }
}

async fn fetch(
    shared: &Shared,
    node: i32,
    asks: &[Ask],
    leaders: usize,
) -> Result<FetchResponse, CallError> {
    let settings = &shared.settings;
    let share = (MOST_IN_FLIGHT / 2 / leaders.max(1)).min(settings.max_bytes);
    let request = FetchRequest {
        max_wait_ms: i32::try_from(LONG_POLL.as_millis()).unwrap_or(i32::MAX),
        min_bytes: MIN_BYTES,
        max_bytes: i32::try_from(share).unwrap_or(i32::MAX),
        isolation_level: settings.isolation.level(),
        topics: vec![FetchTopic {
            topic: (&*settings.topic).into(),
            partitions: asks
                .iter()
                .map(|ask| FetchPartition {
                    partition: ask.partition,
                    current_leader_epoch: ask.leader_epoch,
                    fetch_offset: ask.cursor.position(),
                    partition_max_bytes: i32::try_from(settings.max_partition_bytes)
                        .unwrap_or(i32::MAX),
                    ..Default::default()
                })
                .collect(),
        }],
        ..Default::default()
    };
    let limit = shared.cluster.settings().request_timeout + LONG_POLL;
    let connection = shared.cluster.connection(node, Lane::Fetch).await?;
    connection.request(&request, limit).await
}

impl Shared {
    /// Sorts an answer: data to the reader, trouble to the board.
    async fn take(&self, node: i32, asks: &[Ask], answer: FetchResponse) {
        let whole = ErrorCode::check(answer.error_code);
        let mut answered: BTreeMap<i32, PartitionData> = answer
            .responses
            .into_iter()
            .filter(|topic| topic.topic == *self.settings.topic)
            .flat_map(|topic| topic.partitions)
            .map(|partition| (partition.partition_index, partition))
            .collect();
        let bytes = answered
            .values()
            .filter_map(|data| data.records.as_ref())
            .map(|records| records.len());
        let held = self.gate.hold(bytes.sum());
        let mut brought = Vec::new();
        // In order of the queue, so that the first batch with data is known: that one has to be whole.
        let mut first = true;
        for ask in asks {
            match answered.remove(&ask.partition) {
                Some(data) if whole.is_ok() => {
                    let bytes = data.records.as_ref().map_or(0, |records| records.len());
                    brought.extend(self.sort(node, ask, data, first, &held));
                    first &= bytes == 0;
                }
                // A partition that the broker says nothing about is not asked for in a loop.
                _ => self.board.lock().displace(node, ask),
            }
        }
        // The chunks alone keep the memory now.
        drop(held);
        for fetched in brought {
            self.hand_on(fetched).await;
        }
    }

    /// What one partition brought; `first` if its bytes have to hold a whole batch.
    fn sort(
        &self,
        node: i32,
        ask: &Ask,
        data: PartitionData,
        first: bool,
        held: &Arc<Held>,
    ) -> Vec<Fetched> {
        if let Err(code) = ErrorCode::check(data.error_code) {
            return self.sort_error(node, ask, code).into_iter().collect();
        }
        let mut cursor = ask.cursor;
        let aborted = data.aborted_transactions.unwrap_or_default();
        let mut taken = cursor.take(data.records.unwrap_or_default(), &aborted);
        let fault = taken.fault.take();
        let moved = cursor != ask.cursor;
        // Bad data at the position itself is no good answer; bad data behind good data is met again.
        if fault.is_none() || moved {
            let (counts, recovered) = self.board.lock().advance(node, ask, cursor);
            if !counts {
                return Vec::new();
            }
            if recovered {
                tracing::info!(topic = %self.settings.topic, partition = ask.partition, "the partition can be read again");
            }
        }
        let mut sorted = Vec::new();
        if moved {
            sorted.push(Fetched::Chunk(Chunk {
                topic: Arc::clone(&self.settings.topic),
                partition: ask.partition,
                high_watermark: data.high_watermark,
                last_stable_offset: data.last_stable_offset,
                taken,
                _held: Arc::clone(held),
            }));
        }
        let ask = Ask { cursor, ..*ask };
        match fault {
            None => {}
            // Another partition took the room of the answer; in the next one this one comes first.
            Some(Fault::NoProgress(_)) if !first => {}
            Some(fault) => sorted.extend(self.suspect(node, &ask, fault)),
        }
        sorted
    }

    fn sort_error(&self, node: i32, ask: &Ask, code: ErrorCode) -> Option<Fetched> {
        match action(code) {
            Action::Refresh => {
                tracing::debug!(node, partition = ask.partition, "cannot fetch: {code}");
                self.board.lock().displace(node, ask);
                return None;
            }
            Action::Reset => {
                self.board.lock().out_of_range(node, ask);
                return None;
            }
            Action::Suspect if !self.board.lock().suspect(node, ask) => return None,
            Action::Suspect | Action::Fail => self.board.lock().stop(ask.partition),
        }
        Some(Fetched::Failed(ConsumeError::Partition {
            topic: Arc::clone(&self.settings.topic),
            partition: ask.partition,
            api: "Fetch",
            code,
        }))
    }

    /// Bad data: fetched again a few times, then reported.
    fn suspect(&self, node: i32, ask: &Ask, fault: Fault) -> Option<Fetched> {
        let topic = Arc::clone(&self.settings.topic);
        let (partition, offset) = (ask.partition, ask.cursor.position());
        // An old format does not become a new one by fetching it again.
        if matches!(fault, Fault::Corrupt(RecordsError::Magic { .. })) {
            self.board.lock().stop(partition);
        } else if !self.board.lock().suspect(node, ask) {
            tracing::warn!(%topic, partition, offset, ?fault, "bad data, will be fetched again");
            return None;
        }
        Some(Fetched::Failed(match fault {
            Fault::Corrupt(source) => ConsumeError::Corrupt {
                topic,
                partition,
                offset,
                source,
            },
            Fault::NoProgress(bytes) => ConsumeError::Stuck {
                topic,
                partition,
                offset,
                bytes,
            },
        }))
    }
}
