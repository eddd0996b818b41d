//! Dead letters on a topic of their own (`Output.DeadLetterTopic`): the record as it was, and in headers why it is no
//! trade and where it came from.
//!
//! They are acknowledged before the batch that answers for their offsets is durable, and so before it is committed. A
//! process that is killed in between leaves letters behind whose records are read again; so before the first letter of a
//! partition that was begun, the topic is read once, and a letter that is there already is not sent a second time. What
//! names a letter is its place: group, topic (and its id), partition, offset. A request of a dead process that is written
//! after it was looked for is the one way in which a letter can be there twice.
//!
//! A letter that the topic refuses for its size goes without its value, and says so; if that is still too much, without key
//! and headers of its own. The refusal ends the producer, so what was sent behind is sent again, one by one.

use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use tokio::runtime::Handle;

mod message;

use super::super::error::PipelineError;
use super::super::reachability::Reachability;
use super::super::settings;
use crate::{
    config::{BadRecords, Config},
    consumer::{self, Bound, ConsumeError, Isolation, Reader},
    producer::{self, Delivery, Producer, Record},
    sink::{DeadLetter, DeadLetters, LetterError},
    wire::{
        cluster::{Cluster, ClusterError, Topic},
        records::{Entry, Headers, Scratch},
    },
};
use message::{Failure, Letter, Trouble};

/// Why the record is no trade.
pub(crate) const REASON: &str = "stockflow-reason";
/// The topic that it came from.
pub(crate) const TOPIC: &str = "stockflow-topic";
/// That topic's id, where brokers tell it.
const TOPIC_ID: &str = "stockflow-topic-id";
/// The partition that it came from.
pub(crate) const PARTITION: &str = "stockflow-partition";
/// Its offset there.
pub(crate) const OFFSET: &str = "stockflow-offset";
/// The group that read it.
const GROUP: &str = "stockflow-group";
/// What of the record was left out, where something was.
pub(crate) const NOTE: &str = "stockflow-note";

/// After how many letters the acknowledgements are waited for.
const UNSETTLED: usize = 10_000;

/// After how many bytes of letters: they are kept until then, because they may have to be sent again.
const UNSETTLED_BYTES: usize = 8 << 20;

/// The pause before a broker that is away is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// What is known of a partition's letters.
enum Sent {
    /// From this offset on, nothing: they are to be looked for.
    Unknown(i64),
    /// These are there, and were not met yet.
    Known(HashSet<i64>),
}

/// Sends dead letters to their topic.
pub(in crate::pipeline) struct DeadLetterTopic {
    runtime: Handle,
    cluster: Arc<Cluster>,
    producer: Producer,
    settings: producer::Settings,
    /// The dead letters' topic.
    topic: Arc<str>,
    origin: Origin,
    sent: BTreeMap<i32, Sent>,
    /// Not known to be acknowledged.
    unsettled: Vec<(Letter, Delivery)>,
    unsettled_bytes: usize,
    /// Whether to wait for brokers that are away.
    patient: bool,
}

/// Where letters come from.
struct Origin {
    topic: String,
    topic_id: Option<String>,
    group: String,
}

/// The topic for dead letters, when they are to go to one.
///
/// # Errors
/// When it is the topic that is read: each letter would be read again, for ever.
pub(crate) fn topic(config: &Config) -> Result<Option<&str>, PipelineError> {
    match config.output.dead_letter_topic.as_deref() {
        Some(topic) if topic == config.kafka.topic => Err(PipelineError::Setting(format!(
            "Output.DeadLetterTopic is {topic}, the topic that is read (Kafka.Topic): name another one"
        ))),
        Some(topic) if config.output.bad_records != BadRecords::DeadLetter => {
            tracing::warn!(
                topic,
                "Output.DeadLetterTopic has no effect unless Output.BadRecords is dead-letter"
            );
            Ok(None)
        }
        topic => Ok(topic),
    }
}

impl DeadLetterTopic {
    /// Finds the topic `name` for letters of `source`; brokers that make topics on first use make it. `patient`: letters that
    /// are not acknowledged are tried again for ever.
    ///
    /// # Errors
    /// When the topic is not there, or may not be written to.
    pub(in crate::pipeline) async fn start(
        config: &Config,
        cluster: &Arc<Cluster>,
        name: &str,
        source: &Topic,
        reach: &Reachability,
        patient: bool,
    ) -> Result<Self, PipelineError> {
        /// Longer than anybody waits, and far from what instants can hold.
        const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);
        let mut settings = settings::producer(config);
        settings.topic = name.into();
        settings.transactional_id = None;
        if patient {
            settings.message_timeout = FOR_EVER;
        }
        let topic = Arc::clone(&settings.topic);
        let started = reach.ask(|| Producer::start(Arc::clone(cluster), settings.clone()));
        let producer = started.await.map_err(|error| match error {
            PipelineError::Cluster {
                source: source @ (ClusterError::UnknownTopic { .. } | ClusterError::Topic { .. }),
            } => PipelineError::DeadLetterTopic { source },
            error => error,
        })?;
        Ok(Self {
            runtime: Handle::current(),
            cluster: Arc::clone(cluster),
            producer,
            settings,
            topic,
            origin: Origin {
                topic: config.kafka.topic.clone(),
                topic_id: source.id.map(|id| id.to_string()),
                group: config.kafka.group_id.clone(),
            },
            sent: BTreeMap::new(),
            unsettled: Vec::new(),
            unsettled_bytes: 0,
            patient,
        })
    }

    /// Reads which letters of the partitions that were begun are on the topic.
    async fn look_up(&mut self) -> Result<(), ConsumeError> {
        let described = self.cluster.topic(&self.topic).await?;
        let partitions: Vec<i32> = (0..).take(described.partitions.len()).collect();
        let isolation = Isolation::ReadUncommitted;
        let list = |bound| {
            consumer::list_offsets(&self.cluster, &self.topic, isolation, &partitions, bound)
        };
        let (starts, ends) = (list(Bound::Earliest).await?, list(Bound::Latest).await?);
        let from: BTreeMap<i32, i64> = self
            .sent
            .iter()
            .filter_map(|(partition, sent)| match sent {
                Sent::Unknown(from) => Some((*partition, *from)),
                Sent::Known(_) => None,
            })
            .collect();
        let mut found: BTreeMap<i32, HashSet<i64>> =
            from.keys().map(|p| (*p, HashSet::new())).collect();
        let mut reader = Reader::start(&self.cluster, &self.topic, isolation, &starts, &ends);
        let mut scratch = Scratch::default();
        loop {
            let chunk = reader.next().await;
            let read = chunk.and_then(|chunk| {
                let Some(chunk) = chunk else {
                    return Ok(false);
                };
                let read = chunk.each(&mut scratch, |entry| {
                    // None of ours is that large.
                    let Entry::Record(record) = entry else {
                        return ControlFlow::Continue(());
                    };
                    if let Some((partition, offset)) = self.origin.place(&record.headers)
                        && from.get(&partition).is_some_and(|from| offset >= *from)
                        && let Some(found) = found.get_mut(&partition)
                    {
                        found.insert(offset);
                    }
                    ControlFlow::Continue(())
                });
                read.map(|_| true)
            });
            match read {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    let Some(what) = error.unreadable() else {
                        return Err(error);
                    };
                    reader.skip(what.partition);
                    tracing::warn!(
                        "{error}; dead letters that were sent there before the last stop are sent again"
                    );
                }
            }
        }
        for (partition, offsets) in found {
            if !offsets.is_empty() {
                tracing::info!(
                    topic = &*self.topic,
                    partition,
                    letters = offsets.len(),
                    "dead letters were sent before the last stop; they are not sent again"
                );
            }
            self.sent.insert(partition, Sent::Known(offsets));
        }
        Ok(())
    }

    async fn send(&self, letter: &Letter) -> Result<Delivery, Failure> {
        let mut headers: Vec<(&str, &[u8])> = letter
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        headers.extend(letter.note.iter().map(|note| (NOTE, note.as_bytes())));
        let record = Record {
            key: letter.key.as_deref(),
            value: letter.value.as_deref(),
            headers: &headers,
            timestamp_ms: Utc::now().timestamp_millis(),
        };
        self.producer.send(&record).await.map_err(Failure::Send)
    }

    /// Sends a letter again that was not taken, and waits until it is: without what makes it too large, and only where it is
    /// not on the topic by now.
    async fn send_alone(
        &mut self,
        mut letter: Letter,
        mut failure: Failure,
    ) -> Result<(), Trouble> {
        /// How often in a row it may only have been in another one's company.
        const MOST_RESTARTS: u32 = 3;
        let mut restarts = 0;
        loop {
            if failure.possibly_written() {
                let (partition, offset) = (letter.partition, letter.offset);
                self.sent.insert(partition, Sent::Unknown(offset));
                self.look_up().await.map_err(Trouble::LookUp)?;
                if let Some(Sent::Known(offsets)) = self.sent.get_mut(&partition)
                    && offsets.remove(&offset)
                {
                    return Ok(());
                }
            }
            let is_shorter = failure.is_size() && letter.shorten(&failure);
            if is_shorter {
                restarts = 0;
            } else if !failure.is_anothers() || restarts == MOST_RESTARTS {
                return Err(failure.of(&letter));
            }
            failure = match self.send(&letter).await {
                Ok(delivery) => {
                    self.producer.flush().await;
                    match delivery.wait().await {
                        Ok(_) => return Ok(()),
                        Err(error) => Failure::Delivery(error),
                    }
                }
                Err(failure) => failure,
            };
            if failure.is_anothers() || failure.is_size() {
                restarts += 1;
                self.restart().await?;
            }
        }
    }

    /// Begins with a new producer, because a letter that was refused has ended the one before.
    async fn restart(&mut self) -> Result<(), Trouble> {
        loop {
            let started = Producer::start(Arc::clone(&self.cluster), self.settings.clone()).await;
            match started {
                Ok(producer) => {
                    self.producer = producer;
                    return Ok(());
                }
                Err(error) if self.patient && error.is_retriable() => {
                    tracing::debug!("cannot continue with dead letters yet: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(Trouble::Again(error)),
            }
        }
    }

    /// Whether the letter is on the topic already.
    fn is_there(&mut self, partition: i32, offset: i64) -> Result<bool, LetterError> {
        if !matches!(self.sent.get(&partition), Some(Sent::Known(_))) {
            // What this process sent itself is to be found as well.
            self.settle()?;
            let runtime = self.runtime.clone();
            runtime.block_on(self.look_up()).map_err(Trouble::LookUp)?;
        }
        Ok(match self.sent.get_mut(&partition) {
            Some(Sent::Known(offsets)) => offsets.remove(&offset),
            _ => false,
        })
    }
}

impl Origin {
    /// The place that a letter came from, when it is one of ours.
    fn place(&self, headers: &Headers<'_>) -> Option<(i32, i64)> {
        let mut place = (None, None);
        let (mut topic, mut group, mut other_id) = (false, false, false);
        for header in headers.iter().flatten() {
            let value = header.value.unwrap_or_default();
            let text = || std::str::from_utf8(value).ok();
            if header.key == TOPIC.as_bytes() {
                topic = value == self.topic.as_bytes();
            } else if header.key == GROUP.as_bytes() {
                group = value == self.group.as_bytes();
            } else if header.key == TOPIC_ID.as_bytes() {
                other_id = self
                    .topic_id
                    .as_ref()
                    .is_some_and(|id| value != id.as_bytes());
            } else if header.key == PARTITION.as_bytes() {
                place.0 = text().and_then(|text| text.parse().ok());
            } else if header.key == OFFSET.as_bytes() {
                place.1 = text().and_then(|text| text.parse().ok());
            }
        }
        (topic && group && !other_id).then_some(())?;
        Some((place.0?, place.1?))
    }
}

impl DeadLetters for DeadLetterTopic {
    fn begin(&mut self, partition: i32, offset: i64) {
        self.sent.insert(partition, Sent::Unknown(offset));
    }

    fn put(&mut self, letter: &DeadLetter<'_>) -> Result<(), LetterError> {
        let DeadLetter {
            partition,
            record,
            reason,
        } = letter;
        if self.is_there(*partition, record.offset)? {
            return Ok(());
        }
        if self.unsettled.len() >= UNSETTLED || self.unsettled_bytes >= UNSETTLED_BYTES {
            self.settle()?;
        }
        let mut headers: Vec<(String, Vec<u8>)> =
            Headers::from_raw(record.headers.count, record.headers.encoded)
                .iter()
                .flatten()
                .map(|header| {
                    let name = String::from_utf8_lossy(header.key).into_owned();
                    (name, header.value.unwrap_or_default().to_vec())
                })
                .collect();
        let own_headers = headers.len();
        let mut said = |name: &str, value: String| {
            headers.push((name.to_owned(), value.into_bytes()));
        };
        said(REASON, reason.to_string());
        said(TOPIC, self.origin.topic.clone());
        said(PARTITION, partition.to_string());
        said(OFFSET, record.offset.to_string());
        said(GROUP, self.origin.group.clone());
        if let Some(id) = &self.origin.topic_id {
            said(TOPIC_ID, id.clone());
        }
        let letter = Letter {
            partition: *partition,
            offset: record.offset,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
            own_headers,
            note: None,
        };
        let runtime = self.runtime.clone();
        match runtime.block_on(self.send(&letter)) {
            Ok(delivery) => {
                self.unsettled_bytes += letter.size();
                self.unsettled.push((letter, delivery));
                Ok(())
            }
            Err(failure) if failure.is_size() || failure.is_anothers() => {
                // Whoever ended the producer is among those that are not settled.
                self.settle()?;
                Ok(runtime.block_on(self.send_alone(letter, failure))?)
            }
            Err(failure) => Err(failure.of(&letter).into()),
        }
    }

    fn settle(&mut self) -> Result<(), LetterError> {
        if self.unsettled.is_empty() {
            return Ok(());
        }
        let unsettled = std::mem::take(&mut self.unsettled);
        self.unsettled_bytes = 0;
        let runtime = self.runtime.clone();
        runtime.block_on(async {
            self.producer.flush().await;
            let mut failed = Vec::new();
            for (letter, delivery) in unsettled {
                if let Err(error) = delivery.wait().await {
                    failed.push((letter, Failure::Delivery(error)));
                }
            }
            // One that was refused for its size has ended the producer for the others; nothing else is tried again.
            if !failed.iter().any(|(_, failure)| failure.is_size()) {
                return match failed.into_iter().next() {
                    None => Ok(()),
                    Some((letter, failure)) => Err(failure.of(&letter).into()),
                };
            }
            for (letter, failure) in failed {
                self.send_alone(letter, failure).await?;
            }
            Ok(())
        })
    }
}
