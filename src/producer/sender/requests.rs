//! Requests to the brokers' lanes, and what their answers mean for each batch.

use super::super::broker_lane::{LaneRequest, LaneResponse};
use super::super::{broker_lane, produce_response, split_batch};
use super::{Node, Outgoing, Sender};
use crate::producer::sequence::{Refusal, Verdict};
use crate::producer::transaction::{Transaction, Turn};
use crate::wire::error::ErrorCode;
use crate::wire::messages::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Bytes after which a request is full; one batch always fits. Below any broker's socket.request.max.bytes.
const MAX_REQUEST_BYTES: usize = 8 << 20;

/// How much longer than the broker we wait, so that its own REQUEST_TIMED_OUT comes first.
const BROKER_GRACE: Duration = Duration::from_secs(1);

/// After how many failures in a row a partition's trouble is said aloud: some two seconds.
const LOUD_AFTER: u32 = 4;

/// The pause before a batch is sent again that only the end of the transaction before is in the way of.
const MARKERS: Duration = Duration::from_millis(10);

/// All acknowledged replicas.
const ACKS_ALL: i16 = -1;

impl Sender {
    /// Makes a request for each broker that can take one; says whether there was any.
    pub(super) fn hand_over(&mut self, now: Instant) -> bool {
        let mut leaders: Vec<i32> = Vec::new();
        for (index, partition) in self.partitions.iter().enumerate() {
            if partition.sequence.is_empty() {
                continue;
            }
            match self.topic.leader(index as i32) {
                Some(leader) if !leaders.contains(&leader) => leaders.push(leader),
                Some(_) => {}
                None => self.stale = true,
            }
        }
        let mut any = false;
        for leader in leaders {
            any |= self.hand_over_to(leader, now);
        }
        any
    }

    fn hand_over_to(&mut self, leader: i32, now: Instant) -> bool {
        let most = self.settings.max_in_flight.max(1);
        if let Some(node) = self.nodes.get(&leader)
            && (node.under_way >= most || node.throttled.is_some_and(|until| now < until))
        {
            return false;
        }
        self.follow_transaction();
        let transaction = self.shared.transaction.as_ref();
        let numbered = transaction.is_some() || self.settings.idempotent;
        let mut outside = Vec::new();
        let mut batches = Vec::new();
        let mut partition_data = Vec::new();
        let mut bytes = 0;
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            let number = index as i32;
            if bytes >= MAX_REQUEST_BYTES || self.topic.leader(number) != Some(leader) {
                continue;
            }
            match transaction.map_or(Turn::Send, |transaction| transaction.turn(number)) {
                Turn::Send => {}
                Turn::Add => {
                    if !partition.sequence.is_empty() {
                        outside.push(number);
                    }
                    continue;
                }
                Turn::Wait => continue,
            }
            let Some(attempt) = partition.sequence.take(leader, now) else {
                continue;
            };
            if let Some(transaction) = transaction {
                transaction.sent(number);
            }
            let frozen = &mut attempt.batch.frozen;
            if attempt.first {
                frozen.restamp(numbered.then_some(attempt.identity));
            }
            bytes += frozen.bytes().len();
            batches.push((number, attempt.ticket));
            partition_data.push(PartitionProduceData {
                index: number,
                records: Some(frozen.bytes().clone()),
            });
        }
        let protocol = transaction.map(Transaction::protocol);
        self.add_to_transaction(outside);
        if batches.is_empty() {
            return false;
        }
        let request = ProduceRequest {
            transactional_id: self.settings.transactional_id.as_deref().map(Into::into),
            acks: ACKS_ALL,
            timeout_ms: i32::try_from(self.settings.request_timeout.as_millis())
                .unwrap_or(i32::MAX),
            topic_data: vec![TopicProduceData {
                name: (&*self.shared.topic).into(),
                partition_data,
            }],
        };
        let node = self.node(leader);
        node.under_way += 1;
        if let Err(error) = node.errands.try_send(LaneRequest {
            request,
            protocol,
            batches,
        }) {
            // Its channel holds all that may be under way, so this is a lane that ended: make another.
            let (mpsc::error::TrySendError::Full(errand)
            | mpsc::error::TrySendError::Closed(errand)) = error;
            self.nodes.remove(&leader);
            for (number, ticket) in errand.batches {
                let verdict = Verdict::NotWritten("the broker's task ended".into());
                self.settle(number, ticket, verdict.into());
            }
        }
        true
    }

    fn node(&mut self, id: i32) -> &mut Node {
        let most = self.settings.max_in_flight.max(1);
        self.nodes.entry(id).or_insert_with(|| {
            let (errands, served) = mpsc::channel(most);
            let limit = self.settings.request_timeout + BROKER_GRACE;
            let reports = self.reports.0.clone();
            self.lanes.spawn(broker_lane::serve(
                Arc::clone(&self.cluster),
                id,
                limit,
                served,
                reports,
            ));
            Node {
                errands,
                under_way: 0,
                throttled: None,
            }
        })
    }

    pub(super) fn report(&mut self, report: LaneResponse) {
        let LaneResponse {
            node,
            batches,
            answer,
        } = report;
        let now = Instant::now();
        if let Some(node) = self.nodes.get_mut(&node) {
            node.under_way = node.under_way.saturating_sub(1);
            if let Ok(ProduceResponse {
                throttle_time_ms: ms @ 1..,
                ..
            }) = &answer
            {
                node.throttled = Some(now + Duration::from_millis(u64::from(ms.unsigned_abs())));
            }
        }
        match answer {
            Ok(response) => {
                let answers: HashMap<i32, _> = response
                    .responses
                    .iter()
                    .filter(|topic| *topic.name == *self.shared.topic)
                    .flat_map(|topic| &topic.partition_responses)
                    .map(|answer| (answer.index, answer))
                    .collect();
                for (number, ticket) in batches {
                    let sorted = match answers.get(&number) {
                        Some(answer) => produce_response::of_answer(answer),
                        None => produce_response::unanswered(),
                    };
                    self.settle(number, ticket, sorted);
                }
            }
            Err(error) => {
                tracing::debug!(node, %error, "a Produce request has no answer");
                self.trouble = Some(error.to_string().into());
                for (number, ticket) in batches {
                    self.settle(number, ticket, produce_response::of_failure(&error));
                }
            }
        }
    }

    fn settle(&mut self, number: i32, ticket: u64, sorted: produce_response::Sorted) {
        let index = number as usize;
        let Some(partition) = self.partitions.get_mut(index) else {
            return;
        };
        self.stale |= sorted.stale;
        let pause = match &sorted.verdict {
            Verdict::Written(_) => {
                partition.backoff.reset();
                self.refresh_backoff.reset();
                self.trouble = None;
                if self.complained.take().is_some() {
                    tracing::info!(topic = %self.shared.topic, partition = number, "records are acknowledged again");
                }
                Duration::ZERO
            }
            Verdict::Unknown(cause) | Verdict::NotWritten(cause) => {
                // The first failures are the usual ones of a change of leaders; a row of them is worth a word.
                // That the topic is not there is said by who looks it up.
                if partition.backoff.failures() == LOUD_AFTER && self.missing.is_none() {
                    tracing::warn!(topic = %self.shared.topic, partition = number, %cause, "a batch is not acknowledged; it is sent again");
                } else {
                    tracing::debug!(topic = %self.shared.topic, partition = number, %cause, "a batch will be sent again");
                }
                match sorted.soon {
                    true => MARKERS,
                    false => partition.backoff.next_pause(rand::random()),
                }
            }
            Verdict::OutOfOrder | Verdict::Refused(_) => Duration::ZERO,
        };
        let too_large = |refusal: &Refusal| {
            let codes = [
                ErrorCode::MESSAGE_TOO_LARGE,
                ErrorCode::RECORD_LIST_TOO_LARGE,
            ];
            codes.contains(&refusal.code)
        };
        if let Verdict::Refused(refusal) = &sorted.verdict
            && too_large(refusal)
            && self.split(index, ticket)
        {
            return;
        }
        let Some(partition) = self.partitions.get_mut(index) else {
            return;
        };
        let done = partition
            .sequence
            .resolve(ticket, sorted.verdict, Instant::now() + pause);
        if let Some(code) = sorted.fatal {
            // The first reason is the one that explains the others.
            self.shared.fatal.get_or_init(|| code);
        }
        self.complete(index, done);
    }

    /// Puts two halves in the place of a batch that is too large and certainly was not written.
    fn split(&mut self, index: usize, ticket: u64) -> bool {
        let codec = self.settings.codec;
        let transactional = self.shared.transaction.is_some();
        let Some(partition) = self.partitions.get_mut(index) else {
            return false;
        };
        let halves = |batch: &Outgoing| {
            let (first, second) = split_batch::halves(&batch.frozen, codec, transactional)?;
            let (here, there) = (first.count(), second.count());
            let charge = batch.charge / 2;
            let part = |frozen, first, last, charge| Outgoing {
                id: batch.id,
                frozen,
                outcome: Arc::clone(&batch.outcome),
                opened: batch.opened,
                first,
                last,
                charge,
            };
            Some([
                (part(first, batch.first, false, charge), here),
                (
                    part(
                        second,
                        batch.first + here,
                        batch.last,
                        batch.charge - charge,
                    ),
                    there,
                ),
            ])
        };
        let split = partition.sequence.split(ticket, halves);
        if split {
            tracing::debug!(topic = %self.shared.topic, partition = index, "a batch is larger than the topic's max.message.bytes: sent in two");
        }
        split
    }
}
