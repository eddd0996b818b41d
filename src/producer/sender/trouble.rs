//! What the sender does when it cannot simply send: producer ids, lost leaders, explanations, giving up.

use super::{Event, Outgoing, Partition, RETRY_PAUSE, Sender};
use crate::producer::delivery::DeliveryError;
use crate::producer::sequence::{Epochs, Failure, PartitionSequence, ProducerEpoch, Refusal};
use crate::producer::{OnTimeout, readable};
use crate::wire::cluster::{Backoff, ClusterError, Topic};
use crate::wire::error::{CallError, ErrorCode, Remedy};
use crate::wire::messages::InitProducerIdRequest;
use crate::wire::records::{Batches, FrozenBatch, Scratch};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// At which answer in a row it is said that the topic is not there: the first may come from a broker that has just started.
const MISSING_AFTER: u32 = 2;

/// Why there is no producer id.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoProducerId {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("no producer id: {0}")]
    Refused(ErrorCode),
}

impl Sender {
    /// Takes over what is known of the topic now.
    pub(super) fn learn(&mut self, topic: Arc<Topic>) {
        let count = topic.partitions.len();
        if self.topic.id != topic.id {
            tracing::warn!(topic = %self.shared.topic, "the topic was deleted and made anew; what is not acknowledged yet goes to the new one");
            for partition in &mut self.partitions {
                partition.sequence.is_forgotten();
            }
        }
        if count < self.partitions.len() {
            tracing::error!(topic = %self.shared.topic, partitions = count, before = self.partitions.len(), "the topic has fewer partitions than before");
            let gone = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            self.shared.fatal.get_or_init(|| gone);
        }
        if count > self.partitions.len() {
            let in_flight = self.settings.max_in_flight;
            let epochs = match self.shared.transaction {
                Some(_) => Epochs::Coordinators,
                None if self.settings.idempotent => Epochs::Ours,
                None => Epochs::Without,
            };
            self.partitions.resize_with(count, || Partition {
                sequence: PartitionSequence::<Outgoing>::new(in_flight, epochs),
                backoff: Backoff::new(RETRY_PAUSE.0, RETRY_PAUSE.1),
            });
            self.shared.accumulator.lock().grow(count as u32);
        }
        self.topic = topic;
    }

    /// When it is to be said that records are not acknowledged in time, if it is.
    pub(super) fn complain_at(&self) -> Option<Instant> {
        if self.settings.on_timeout == OnTimeout::GiveUp {
            return None;
        }
        let oldest = |of: &Partition| of.sequence.oldest().map(|(batch, _)| batch.opened);
        let oldest = self.partitions.iter().filter_map(oldest).min()?;
        Some(oldest.max(self.complained.unwrap_or(oldest)) + self.settings.message_timeout)
    }

    /// Says which partitions acknowledge nothing, once every `Kafka.MessageTimeoutMs`, when nothing is given up for it.
    pub(super) fn complain(&mut self, now: Instant) {
        if self.complain_at().is_none_or(|at| now < at) {
            return;
        }
        self.complained = Some(now);
        let mut silent = Vec::new();
        let mut cause = None;
        for (number, partition) in self.partitions.iter().enumerate() {
            if let Some((batch, last)) = partition.sequence.oldest()
                && now >= batch.opened + self.settings.message_timeout
            {
                silent.push(number);
                cause = cause.or(last);
            }
        }
        let missing = self.missing.as_ref().map(|(text, _)| text);
        let cause = missing.or(cause).or(self.trouble.as_ref());
        tracing::error!(
            topic = %self.shared.topic,
            partitions = ?silent,
            cause = cause.map_or("no leader, or no answer", |cause| &**cause),
            "records are not acknowledged within Kafka.MessageTimeoutMs; the same batches are sent again until the brokers answer, and nothing is lost"
        );
    }

    /// Has the topic's leaders looked up, after the pause that failures before it impose.
    pub(super) fn refresh(&mut self) {
        if self.refreshing {
            return;
        }
        self.refreshing = true;
        let pause = if self.stale {
            self.refresh_backoff.next_pause(rand::random())
        } else {
            Duration::ZERO
        };
        self.stale = false;
        let cluster = Arc::clone(&self.cluster);
        let topic = Arc::clone(&self.shared.topic);
        self.background.push(Box::pin(async move {
            tokio::time::sleep(pause).await;
            Event::Topic(cluster.refresh_topic(&topic).await)
        }));
    }

    /// Numbers batches anew when a transaction has begun that has an epoch of its own.
    pub(super) fn follow_transaction(&mut self) {
        if let Some(transaction) = &self.shared.transaction {
            let producer = transaction.producer();
            for partition in &mut self.partitions {
                partition.sequence.renew(producer);
            }
        }
    }

    /// Lets partitions take part in the transaction, before their first batch is sent.
    pub(super) fn add_to_transaction(&mut self, partitions: Vec<i32>) {
        if partitions.is_empty() || self.adding || self.shared.transaction.is_none() {
            return;
        }
        self.adding = true;
        let shared = Arc::clone(&self.shared);
        self.background.push(Box::pin(async move {
            Event::Added(match &shared.transaction {
                Some(transaction) => transaction.add(&shared.topic, &partitions).await,
                None => Ok(()),
            })
        }));
    }

    /// Asks for a producer id when a partition needs one.
    pub(super) fn ask_for_id(&mut self) {
        let needed = self
            .partitions
            .iter()
            .any(|of| of.sequence.needs_producer());
        if !needed || self.asking_id {
            return;
        }
        if let Some(transaction) = &self.shared.transaction {
            for partition in &mut self.partitions {
                partition.sequence.set_producer(transaction.producer());
            }
            return;
        }
        self.asking_id = true;
        let pause = match self.id_backoff.failures() {
            0 => Duration::ZERO,
            _ => self.id_backoff.next_pause(rand::random()),
        };
        let cluster = Arc::clone(&self.cluster);
        self.background.push(Box::pin(async move {
            tokio::time::sleep(pause).await;
            Event::ProducerId(new_producer_id(&cluster).await)
        }));
    }

    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Added(answer) => {
                self.adding = false;
                if let Err(code) = answer {
                    self.shared.fatal.get_or_init(|| code);
                }
            }
            Event::Topic(answer) => {
                self.refreshing = false;
                match answer {
                    Ok(topic) => {
                        if let Some((_, MISSING_AFTER..)) = self.missing.take() {
                            tracing::info!(topic = %self.shared.topic, "the topic is there again");
                        }
                        self.learn(topic);
                    }
                    Err(error) => {
                        tracing::debug!(topic = %self.shared.topic, %error, "cannot look up the leaders");
                        let text: Arc<str> = error.to_string().into();
                        if matches!(error, ClusterError::UnknownTopic { .. }) {
                            self.note_missing(Arc::clone(&text));
                        }
                        self.trouble = Some(text);
                        self.stale = true;
                    }
                }
            }
            Event::ProducerId(answer) => {
                self.asking_id = false;
                match answer {
                    Ok(producer) => {
                        tracing::debug!(
                            id = producer.id,
                            epoch = producer.epoch,
                            "got a producer id"
                        );
                        self.id_backoff.reset();
                        for partition in &mut self.partitions {
                            partition.sequence.set_producer(producer);
                        }
                    }
                    Err(NoProducerId::Refused(code)) if code.remedy() == Remedy::None => {
                        self.shared.fatal.get_or_init(|| code);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot get a producer id");
                        self.trouble = Some(error.to_string().into());
                        self.id_backoff.next_pause(rand::random());
                    }
                }
            }
        }
    }

    /// Notes that the topic is not there, and says it once.
    fn note_missing(&mut self, text: Arc<str>) {
        let before = self.missing.as_ref().map_or(0, |(_, times)| *times);
        let times = before.saturating_add(1);
        if times == MISSING_AFTER {
            tracing::warn!("{text}; until it is there, nothing is published");
        }
        self.missing = Some((text, times));
    }

    /// Ends all that was promised, because of the broker's `code` or because the producer is stopped.
    pub(super) fn give_up_everything(&mut self, code: Option<ErrorCode>) {
        let ended = |partition: usize, possibly_written: bool| {
            let topic = Arc::clone(&self.shared.topic);
            let partition = partition as i32;
            match code {
                Some(code) => DeliveryError::Fatal {
                    topic,
                    partition,
                    code,
                    possibly_written,
                },
                None => DeliveryError::Stopped {
                    topic,
                    partition,
                    possibly_written,
                },
            }
        };
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            for done in partition.sequence.abandon() {
                let batch = done.batch;
                let result = done
                    .result
                    .map_err(|failure| ended(index, failure.possibly_written));
                batch.outcome.resolve(batch.first, batch.last, result);
                let mut accumulator = self.shared.accumulator.lock();
                accumulator.release(batch.id, batch.charge, batch.last);
            }
            let mut accumulator = self.shared.accumulator.lock();
            while let Some(gathered) = accumulator.take(index as u32, Instant::now(), true) {
                gathered.outcome.resolve(0, true, Err(ended(index, false)));
                accumulator.release(gathered.id, gathered.builder.size(), true);
            }
        }
        self.shared.room.notify_waiters();
    }

    /// Puts a failure into words that name topic, partition and setting.
    pub(super) fn explain(
        &self,
        partition: i32,
        batch: &FrozenBatch,
        failure: Failure,
    ) -> DeliveryError {
        let topic = Arc::clone(&self.shared.topic);
        let possibly_written = failure.possibly_written;
        match failure.refusal {
            Some(Refusal { code, detail }) => DeliveryError::Refused {
                topic,
                partition,
                code,
                detail: match code {
                    ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => {
                        Some(too_large(batch))
                    }
                    _ => detail,
                },
                possibly_written,
            },
            None => DeliveryError::TimedOut {
                topic,
                partition,
                possibly_written,
                cause: self
                    .missing
                    .as_ref()
                    .map(|(text, _)| Arc::clone(text))
                    .or(failure.cause)
                    .or_else(|| self.trouble.clone())
                    .or_else(|| Some(self.shared.transaction.as_ref()?.away()?.1))
                    .unwrap_or_else(|| match self.topic.leader(partition) {
                        Some(_) => "none came".into(),
                        None => "the partition has no leader".into(),
                    }),
            },
        }
    }
}

/// Names the record that most likely is too large, and what can be done.
fn too_large(batch: &FrozenBatch) -> Arc<str> {
    let mut scratch = Scratch::new();
    let mut largest = (0, String::new());
    if let Some(Ok(view)) = Batches::new(batch.bytes().clone()).next()
        && let Ok(records) = view.records(&mut scratch)
    {
        for record in records.flatten() {
            let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
            if size >= largest.0 {
                largest = (size, readable(record.key));
            }
        }
    }
    let (size, key) = largest;
    let remedy = match batch.count() {
        // No smaller batch than this one can be made.
        1 => "raise the topic's max.message.bytes",
        _ => "raise the topic's max.message.bytes or lower Kafka.BatchSize",
    };
    format!(
        "a batch of {} bytes with {} records, the largest of {size} bytes (key {key}); {remedy}",
        batch.bytes().len(),
        batch.count(),
    )
    .into()
}

async fn new_producer_id(
    cluster: &crate::wire::cluster::Cluster,
) -> Result<ProducerEpoch, NoProducerId> {
    let request = InitProducerIdRequest {
        // Only transactions have a time limit; brokers want a positive number all the same.
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let answer = cluster.request_any(&request).await?;
    ErrorCode::check(answer.error_code).map_err(NoProducerId::Refused)?;
    Ok(ProducerEpoch {
        id: answer.producer_id,
        epoch: answer.producer_epoch,
    })
}
