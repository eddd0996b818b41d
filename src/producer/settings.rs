//! What a producer has to know, in the terms of Kafka's own clients.

use super::Scheme;
use crate::wire::records::Codec;
use std::sync::Arc;
use std::time::Duration;

/// What a [`Producer`](super::Producer) has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The topic (`Kafka.Topic`).
    pub topic: Arc<str>,
    /// How batches are compressed (`Kafka.CompressionType`).
    pub codec: Codec,
    /// How keys find their partitions (`Kafka.Partitioner`).
    pub partitioner: Scheme,
    /// How long a batch waits for more records (`Kafka.LingerMs`).
    pub linger: Duration,
    /// Bytes, before compression, at which a batch is closed (`Kafka.BatchSize`).
    pub batch_size: usize,
    /// How long after its batch was begun a record may go without an acknowledgement (`Kafka.MessageTimeoutMs`).
    pub message_timeout: Duration,
    /// What happens to it then.
    pub on_timeout: OnTimeout,
    /// With it, records count only when [`Producer::commit`](super::Producer::commit) says so, and others with the same id are fenced
    /// (`Kafka.TransactionalId`).
    pub transactional_id: Option<Arc<str>>,
    /// Whether batches have numbers by which brokers recognise one that comes again (`Kafka.EnableIdempotence`). Without,
    /// each is written at least once, and one at a time a partition, which keeps them in order.
    pub idempotent: bool,
    /// Requests under way to one broker, 1 to 5 (`Kafka.MaxInFlight`).
    pub max_in_flight: usize,
    /// Bytes of all batches not done with (`Kafka.QueueBufferingMaxKbytes`).
    pub buffer: usize,
    /// How long a broker may take to answer (`Kafka.RequestTimeoutMs`).
    pub request_timeout: Duration,
    /// What keyless records are spread by.
    pub seed: u64,
}

/// What becomes of a record that is not acknowledged in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimeout {
    /// It is given up; the error says whether it may have been written.
    GiveUp,
    /// It is said aloud, again and again, and the very same batch is sent until a broker has answered. An attempt that
    /// the network delivers late is then recognised by the brokers, which it would not be after the record was offered
    /// anew. Only one that may have been written, and that the brokers could have forgotten since (12 hours), is given up.
    KeepTrying,
}
