//! The task that asks one leader for data, in one long poll after another.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::Held;
use super::session::{Said, Session};
use super::shared::{Fetched, LONG_POLL, MOST_IN_FLIGHT, Shared};
use super::subscription::Ask;
use crate::{
    consumer::{
        Chunk, ConsumeError, Isolation,
        cursor::{Action, Answer, Fault, action},
        named::Named,
    },
    wire::{
        cluster::Lane,
        error::{CallError, ErrorCode},
        messages::{
            EpochEndOffset, FetchByIdRequest, FetchPartition, FetchRequest, FetchResponse,
            FetchTopic, FetchableTopicResponse, ForgottenTopic, PartitionData,
        },
        records::RecordsError,
    },
};

/// Answers as soon as there is anything.
const MIN_BYTES: i32 = 1;

/// Asks broker `node` for as long as the subscription has partitions there.
pub(super) async fn serve(shared: Arc<Shared>, node: i32) {
    let mut session = Session::default();
    loop {
        shared.memory.below(MOST_IN_FLIGHT / 2).await;
        let (asks, leaders) = {
            let mut subscription = shared.subscription.lock();
            let Some(asks) = subscription.asks(node) else {
                return;
            };
            (asks, subscription.leaders())
        };
        let unproven: Vec<Ask> = asks.iter().filter(|ask| ask.unproven).copied().collect();
        if !unproven.is_empty() {
            shared.look_for_branches(node, &unproven).await;
            if shared.subscription.lock().has_trouble() {
                shared.trouble.notify_one();
            }
            continue;
        }
        match fetch(&shared, node, session.say(&asks), leaders).await {
            Ok((topic, answer)) => match ErrorCode::check(answer.error_code) {
                Ok(()) => {
                    session.answered(answer.session_id);
                    match sorted_out(&asks, answer, |of| topic.is(&of.topic, of.topic_id)) {
                        Some(answered) => {
                            shared
                                .take(node, &asks, answered, session.is_agreed())
                                .await;
                        }
                        None => {
                            tracing::warn!(
                                node,
                                "the answer to a fetch is about partitions that were not asked for, or about one twice; asking again"
                            );
                            session.out_of_step();
                            shared.displace(node, &asks);
                        }
                    }
                }
                Err(
                    ErrorCode::FETCH_SESSION_ID_NOT_FOUND | ErrorCode::INVALID_FETCH_SESSION_EPOCH,
                ) if session.is_agreed() => {
                    tracing::debug!(node, "the fetch session is over, beginning another");
                    session.out_of_step();
                }
                Err(code) => {
                    tracing::debug!(node, "cannot fetch: {code}");
                    session.out_of_step();
                    shared.displace(node, &asks);
                }
            },
            Err(error) => {
                tracing::debug!(node, "cannot fetch: {error}");
                session.out_of_step();
                shared.displace(node, &asks);
            }
        }
        if shared.subscription.lock().has_trouble() {
            shared.trouble.notify_one();
        }
    }
}

/// What an answer says of each partition; `None` when it is no answer to `asks`, so that nothing of it is to be believed.
fn sorted_out(
    asks: &[Ask],
    answer: FetchResponse,
    is_ours: impl Fn(&FetchableTopicResponse) -> bool,
) -> Option<Vec<PartitionData>> {
    let mut asked: HashSet<i32> = asks.iter().map(|ask| ask.partition).collect();
    let mut answered = Vec::with_capacity(asks.len());
    for of_topic in answer.responses {
        let is_ours = is_ours(&of_topic);
        for data in of_topic.partitions {
            if !is_ours || !asked.remove(&data.partition_index) {
                return None;
            }
            answered.push(data);
        }
    }
    Some(answered)
}

async fn fetch(
    shared: &Shared,
    node: i32,
    said: Said,
    leaders: usize,
) -> Result<(Named, FetchResponse), CallError> {
    let settings = &shared.settings;
    let share = (MOST_IN_FLIGHT / 2 / leaders.max(1)).min(settings.max_bytes);
    let limit = shared.cluster.settings().request_timeout + LONG_POLL;
    let connection = shared.cluster.connection(node, Lane::Fetch).await?;
    let has_ids = connection.version_of::<FetchByIdRequest>().is_some();
    let named = Named::new(&settings.topic, settings.topic_id, has_ids);
    let (topic, topic_id) = named.fields();
    let request = FetchRequest {
        max_wait_ms: i32::try_from(LONG_POLL.as_millis()).unwrap_or(i32::MAX),
        min_bytes: MIN_BYTES,
        max_bytes: i32::try_from(share).unwrap_or(i32::MAX),
        isolation_level: settings.isolation.level(),
        session_id: said.id,
        session_epoch: said.epoch,
        topics: Vec::from_iter((!said.asks.is_empty()).then(|| {
            FetchTopic {
                topic: topic.clone(),
                topic_id,
                partitions: said
                    .asks
                    .iter()
                    .map(|ask| FetchPartition {
                        partition: ask.partition,
                        current_leader_epoch: ask.leader_epoch,
                        fetch_offset: ask.cursor.position(),
                        last_fetched_epoch: ask.cursor.leader_epoch().unwrap_or(-1),
                        partition_max_bytes: i32::try_from(settings.max_partition_bytes)
                            .unwrap_or(i32::MAX),
                        ..Default::default()
                    })
                    .collect(),
            }
        })),
        forgotten_topics_data: Vec::from_iter((!said.forgotten.is_empty()).then_some(
            ForgottenTopic {
                topic,
                topic_id,
                partitions: said.forgotten,
            },
        )),
        rack_id: settings.rack.clone().unwrap_or_default(),
        ..Default::default()
    };
    let answer = match named {
        Named::Id(_) => {
            let request = FetchByIdRequest::new(request);
            connection.request(&request, limit).await
        }
        Named::Name(_) => connection.request(&request, limit).await,
    };
    Ok((named, answer?))
}

impl Shared {
    pub(super) fn displace(&self, node: i32, asks: &[Ask]) {
        let mut subscription = self.subscription.lock();
        for ask in asks {
            subscription.displace(node, ask);
        }
    }

    /// Sorts an answer: data to the reader, trouble to the board. In a `session`, partitions without news are not in it.
    async fn take(&self, node: i32, asks: &[Ask], answered: Vec<PartitionData>, session: bool) {
        let mut asked: HashMap<i32, &Ask> = asks.iter().map(|ask| (ask.partition, ask)).collect();
        let bytes = answered
            .iter()
            .filter_map(|data| data.records.as_ref())
            .map(|records| records.len());
        let held = self.memory.hold(bytes.sum());
        // All data of an answer is one hand-over, however many partitions it is of.
        let (mut chunks, mut news) = (Vec::new(), Vec::new());
        // In the broker's order, so that the first batch with data is known: that one has to be whole.
        let mut first = true;
        for data in answered {
            if let Some(ask) = asked.remove(&data.partition_index) {
                let bytes = data.records.as_ref().map_or(0, |records| records.len());
                news.extend(self.sort(node, ask, data, first, &held, &mut chunks));
                first &= bytes == 0;
            }
        }
        if !session {
            // A partition that the broker says nothing about is not asked for in a loop.
            let mut subscription = self.subscription.lock();
            for ask in asked.into_values() {
                subscription.displace(node, ask);
            }
        }
        // The chunks alone keep the memory now.
        drop(held);
        if !chunks.is_empty() {
            self.hand_on(Fetched::Chunks(chunks)).await;
        }
        for fetched in news {
            self.hand_on(fetched).await;
        }
    }

    /// What one partition brought: data goes to `chunks`, what happened behind it is returned. `first` if its bytes have to
    /// hold a whole batch.
    fn sort(
        &self,
        node: i32,
        ask: &Ask,
        data: PartitionData,
        first: bool,
        held: &Arc<Held>,
        chunks: &mut Vec<Chunk>,
    ) -> Option<Fetched> {
        if let Err(code) = ErrorCode::check(data.error_code) {
            return self.sort_error(node, ask, code);
        }
        if data.preferred_read_replica >= 0 && !ask.near {
            let mut subscription = self.subscription.lock();
            subscription.prefer(node, ask, data.preferred_read_replica);
            return None;
        }
        if data.diverging_epoch.end_offset >= 0 {
            return self.go_back(node, ask, &data.diverging_epoch);
        }
        let mut cursor = ask.cursor;
        let committed = self.settings.isolation == Isolation::ReadCommitted;
        let answer = Answer {
            records: data.records.unwrap_or_default(),
            aborted: committed.then(|| data.aborted_transactions.unwrap_or_default()),
            high_watermark: data.high_watermark,
            leader_epoch: ask.leader_epoch,
        };
        let before = self.subscription.lock().recall(node, ask);
        let mut taken = cursor.take(answer, before);
        let fault = taken.fault.take();
        let doubt = std::mem::take(&mut taken.doubt);
        let moved = cursor != ask.cursor;
        // Bad data at the position itself is no good answer; bad data behind good data is met again.
        if fault.is_none() || moved {
            let (counts, recovered) = self.subscription.lock().advance(node, ask, cursor);
            if !counts {
                return None;
            }
            if recovered {
                tracing::info!(topic = %self.settings.topic, partition = ask.partition, "the partition can be read again");
            }
        }
        if moved {
            chunks.push(Chunk {
                topic: Arc::clone(&self.settings.topic),
                partition: ask.partition,
                high_watermark: data.high_watermark,
                last_stable_offset: data.last_stable_offset,
                taken,
                _held: Arc::clone(held),
            });
        }
        let ask = Ask { cursor, ..*ask };
        self.subscription.lock().doubt(node, &ask, doubt);
        match fault {
            None => None,
            // Another partition took the room of the answer; in the next one this one comes first.
            Some(Fault::NoProgress(_)) if !first => None,
            Some(fault) => self.suspect(node, &ask, fault, data.high_watermark),
        }
    }

    /// The leader's log and what we read of it have parted: it has lost records that we had (KIP-320).
    pub(super) fn go_back(&self, node: i32, ask: &Ask, parted: &EpochEndOffset) -> Option<Fetched> {
        let (from, to) = (
            ask.cursor.position(),
            parted.end_offset.min(ask.cursor.position()),
        );
        if !self
            .subscription
            .lock()
            .go_back(node, ask, to, parted.epoch)
            || to == from
        {
            return None;
        }
        tracing::warn!(
            topic = %self.settings.topic, partition = ask.partition, from, to,
            "the log was truncated (an unclean leader election): records that were read are not in it any more"
        );
        Some(Fetched::Moved {
            partition: ask.partition,
            from,
            to,
            parted: true,
        })
    }

    fn sort_error(&self, node: i32, ask: &Ask, code: ErrorCode) -> Option<Fetched> {
        match action(code) {
            Action::Refresh => {
                tracing::debug!(node, partition = ask.partition, "cannot fetch: {code}");
                self.subscription.lock().displace(node, ask);
                return None;
            }
            // A replica may lag behind its leader, who knows.
            Action::Reset if ask.near => {
                self.subscription.lock().displace(node, ask);
                return None;
            }
            Action::Reset => {
                self.subscription.lock().out_of_range(node, ask);
                return None;
            }
            Action::Suspect if !self.subscription.lock().suspect(node, ask) => return None,
            Action::Suspect => {
                return Some(Fetched::Failed(ConsumeError::Damaged {
                    topic: Arc::clone(&self.settings.topic),
                    partition: ask.partition,
                    offset: ask.cursor.position(),
                    code,
                }));
            }
            Action::Fail => self.subscription.lock().stop(ask.partition),
        }
        Some(Fetched::Failed(ConsumeError::Partition {
            topic: Arc::clone(&self.settings.topic),
            partition: ask.partition,
            api: "Fetch",
            code,
        }))
    }

    /// Bad data: fetched again a few times, then reported.
    fn suspect(&self, node: i32, ask: &Ask, fault: Fault, high_watermark: i64) -> Option<Fetched> {
        let topic = Arc::clone(&self.settings.topic);
        let (partition, offset) = (ask.partition, ask.cursor.position());
        // An old format does not become a new one by fetching it again.
        if matches!(fault, Fault::Corrupt(RecordsError::Magic { .. }, _)) {
            self.subscription.lock().stop(partition);
        } else if !self.subscription.lock().suspect(node, ask) {
            tracing::warn!(%topic, partition, offset, ?fault, "bad data, will be fetched again");
            return None;
        }
        Some(Fetched::Failed(match fault {
            Fault::Corrupt(source, past) => ConsumeError::Corrupt {
                topic,
                partition,
                offset,
                // What lies beyond the log's end is made up by the damage.
                past: past.filter(|past| (offset + 1..=high_watermark).contains(past)),
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
