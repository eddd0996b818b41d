//! Produce and InitProducerId.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{Context, Refused};
use crate::{
    broker::topics::Appended,
    wire::{
        error::ErrorCode,
        messages::{
            InitProducerIdRequest, InitProducerIdResponse, PartitionProduceData,
            PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
        },
        records::{Batch, Batches, RecordsError},
    },
};

/// The largest record batch, in bytes: Kafka's default of `message.max.bytes`.
const MAX_BATCH_BYTES: usize = 1_048_588;

/// Appends batches; no response is wanted with acks=0.
pub(super) fn produce(
    context: &Context<'_>,
    request: ProduceRequest,
) -> Result<Option<ProduceResponse>, Refused> {
    let refused = match (request.acks, &request.transactional_id) {
        (-1..=1, None) => None,
        (-1..=1, Some(_)) => Some(ErrorCode::INVALID_REQUEST),
        _ => Some(ErrorCode::INVALID_REQUIRED_ACKS),
    };
    let mut failed = None;
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let mut append = |partition: PartitionProduceData| {
            let outcome = match refused {
                Some(code) => Err(code),
                None => append(context, &topic.name, partition.index, partition.records),
            };
            failed = failed.or(outcome.err());
            describe(partition.index, outcome)
        };
        let partition_responses = topic.partition_data.into_iter().map(&mut append).collect();
        responses.push(TopicProduceResponse {
            name: topic.name,
            partition_responses,
        });
    }
    context.shared.appended.notify_waiters();
    match (request.acks, failed) {
        (0, Some(code)) => Err(Refused::Unacknowledged(code)),
        (0, None) => Ok(None),
        _ => Ok(Some(ProduceResponse {
            responses,
            ..Default::default()
        })),
    }
}

fn describe(index: i32, outcome: Result<Appended, ErrorCode>) -> PartitionProduceResponse {
    match outcome {
        Ok(appended) => PartitionProduceResponse {
            index,
            base_offset: appended.base_offset,
            log_start_offset: appended.log_start_offset,
            ..Default::default()
        },
        Err(code) => PartitionProduceResponse {
            index,
            error_code: code.0,
            base_offset: -1,
            error_message: Some(code.to_string().into()),
            ..Default::default()
        },
    }
}

fn append(
    context: &Context<'_>,
    topic: &str,
    partition: i32,
    records: Option<Bytes>,
) -> Result<Appended, ErrorCode> {
    let batch = only_batch(records.unwrap_or_default())?;
    let mut topics = context.shared.topics.lock();
    topics.append(topic, partition, &batch)
}

/// The one batch of a Produce request's partition, with what Kafka checks of it (its records stay unopened).
fn only_batch(records: Bytes) -> Result<Batch, ErrorCode> {
    let mut batches = Batches::new(records);
    let batch = match batches.next() {
        Some(Ok(batch)) => batch,
        Some(Err(RecordsError::Magic { .. })) => {
            return Err(ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT);
        }
        Some(Err(_)) => return Err(ErrorCode::CORRUPT_MESSAGE),
        None if batches.remaining() == 0 => return Err(ErrorCode::INVALID_RECORD),
        None => return Err(ErrorCode::CORRUPT_MESSAGE),
    };
    if batches.remaining() > 0 {
        return Err(ErrorCode::INVALID_RECORD);
    }
    if batch.bytes().len() > MAX_BATCH_BYTES {
        return Err(ErrorCode::MESSAGE_TOO_LARGE);
    }
    let header = batch.header();
    if header.codec().is_err() {
        return Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    }
    let dense = header.record_count > 0 && header.last_offset_delta == header.record_count - 1;
    if !dense || header.is_control() || header.is_transactional() {
        return Err(ErrorCode::INVALID_RECORD);
    }
    Ok(batch)
}

/// Gives out a producer id for idempotence; transactions are not served.
pub(super) async fn init_producer_id(
    context: &Context<'_>,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if request.transactional_id.is_some() {
        return InitProducerIdResponse {
            error_code: ErrorCode::INVALID_REQUEST.0,
            producer_epoch: -1,
            ..Default::default()
        };
    }
    let next = &context.shared.next_producer_id;
    InitProducerIdResponse {
        producer_id: next.fetch_add(1, Ordering::Relaxed),
        ..Default::default()
    }
}
