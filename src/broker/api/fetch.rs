//! Fetch, as a long poll without sessions, and ListOffsets.
//!
//! A session id of 0 in the answer tells the client that there is no session (KIP-227), so it sends all its partitions each
//! time. The first batch that is found goes out whole whatever the limits say (KIP-74); behind it only what fits does.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{Context, code_of};
use crate::{
    broker::{
        LEADER_EPOCH,
        log::{Found, Log},
        topics::Topics,
    },
    wire::{
        error::ErrorCode,
        messages::{
            FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse,
            ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest,
            ListOffsetsResponse, ListOffsetsTopicResponse, PartitionData,
        },
    },
};

/// The most bytes of records in a response, whatever the client allows: Kafka's default of `fetch.max.bytes`.
const MAX_FETCH_BYTES: usize = 55 << 20;

/// The longest that a request waits, whatever the client allows: a client that is gone is noticed only by writing to it.
const MAX_FETCH_WAIT: Duration = Duration::from_secs(60);

/// `isolation_level` of a client that wants no records of open or aborted transactions.
const READ_COMMITTED: i8 = 1;

/// Waits until there is as much as the client wants, or time is up.
pub(super) async fn fetch(context: &Context<'_>, request: FetchRequest) -> FetchResponse {
    if request.session_id != 0 {
        return FetchResponse {
            error_code: ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0,
            ..Default::default()
        };
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + wait.min(MAX_FETCH_WAIT);
    let wanted = usize::try_from(request.min_bytes).unwrap_or(0);
    loop {
        let mut appended = pin!(context.shared.appended.notified());
        // From here on no append is missed.
        appended.as_mut().enable();
        let enough = is_enough(&context.shared.topics.lock(), &request, wanted);
        if enough || timeout_at(deadline, appended).await.is_err() {
            return read(&context.shared.topics.lock(), request);
        }
    }
}

/// How much room a response has left.
struct Room {
    bytes: usize,
    /// Whether nothing was found yet, so that the first batch may be larger than the room.
    empty: bool,
}

impl Room {
    fn of(request: &FetchRequest) -> Self {
        let bytes = usize::try_from(request.max_bytes).unwrap_or(0);
        Self {
            bytes: bytes.min(MAX_FETCH_BYTES),
            empty: true,
        }
    }

    fn limit(&self, partition: &FetchPartition) -> usize {
        let own = usize::try_from(partition.partition_max_bytes).unwrap_or(0);
        own.min(self.bytes)
    }

    fn take(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.empty &= bytes == 0;
    }
}

/// Whether there is an error to be told, or as much to read as the client waits for.
fn is_enough(topics: &Topics, request: &FetchRequest, wanted: usize) -> bool {
    let mut room = Room::of(request);
    let mut found = 0_usize;
    for topic in &request.topics {
        for partition in &topic.partitions {
            let available = topics
                .log(&topic.topic, partition.partition)
                .and_then(|log| {
                    log.available(partition.fetch_offset, room.limit(partition), room.empty)
                });
            let Ok(available) = available else {
                return true;
            };
            room.take(available);
            found = found.saturating_add(available);
        }
    }
    found >= wanted
}

fn read(topics: &Topics, request: FetchRequest) -> FetchResponse {
    let mut room = Room::of(&request);
    let committed = request.isolation_level == READ_COMMITTED;
    let responses = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let log = topics.log(&topic.topic, partition.partition);
            let records = log.and_then(|log| {
                log.read(partition.fetch_offset, room.limit(partition), room.empty)
            });
            room.take(records.as_ref().map_or(0, Bytes::len));
            let (start, end) = log.map_or((-1, -1), |log| (log.start(), log.end()));
            PartitionData {
                partition_index: partition.partition,
                error_code: code_of(&records),
                high_watermark: end,
                last_stable_offset: end,
                log_start_offset: start,
                aborted_transactions: committed.then(Vec::new),
                records: Some(records.unwrap_or_default()),
                ..Default::default()
            }
        });
        FetchableTopicResponse {
            partitions: partitions.collect(),
            topic: topic.topic,
            ..Default::default()
        }
    });
    FetchResponse {
        responses: responses.collect(),
        ..Default::default()
    }
}

/// `timestamp` of a question for the end of the log.
const LATEST: i64 = -1;
/// `timestamp` of a question for its start.
const EARLIEST: i64 = -2;
/// `timestamp` of a question for the record with the largest one (KIP-734).
const MAX_TIMESTAMP: i64 = -3;

/// Offsets by time.
pub(super) async fn list_offsets(
    context: &Context<'_>,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            // A search may have to decompress a batch, so the lock is held for one partition at a time.
            let topics = context.shared.topics.lock();
            let log = topics.log(&topic.name, partition.partition_index);
            offset_of(log, partition)
        });
        ListOffsetsTopicResponse {
            partitions: partitions.collect(),
            name: topic.name,
        }
    });
    ListOffsetsResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

fn offset_of(
    log: Result<&Log, ErrorCode>,
    partition: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let at = |offset| {
        let timestamp = -1;
        Ok(Some(Found { offset, timestamp }))
    };
    let found = log.and_then(|log| match partition.timestamp {
        LATEST => at(log.end()),
        EARLIEST => at(log.start()),
        MAX_TIMESTAMP => Ok(log.latest()),
        timestamp if timestamp >= 0 => Ok(log.find(timestamp)),
        _ => Err(ErrorCode::INVALID_REQUEST),
    });
    let mut response = ListOffsetsPartitionResponse {
        partition_index: partition.partition_index,
        error_code: code_of(&found),
        ..Default::default()
    };
    if let Ok(Some(found)) = found {
        response.offset = found.offset;
        response.timestamp = found.timestamp;
        response.leader_epoch = LEADER_EPOCH;
    }
    response
}
