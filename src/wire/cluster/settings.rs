//! What a cluster has to know to be reached.

use std::sync::Arc;
use std::time::Duration;

/// What a [`Cluster`](super::Cluster) has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HOST:PORT` of the brokers to ask first (`Kafka.BootstrapServers`).
    pub bootstrap: Vec<String>,
    /// How brokers call us in their logs and quotas (`Kafka.ClientId`).
    pub client_id: Arc<str>,
    /// How long a request may take, beyond what the broker is asked to wait (`Kafka.RequestTimeoutMs`).
    pub request_timeout: Duration,
    /// The first pause before connecting again (`Kafka.ReconnectBackoffMs`).
    pub reconnect_backoff: Duration,
    /// The longest pause before connecting again (`Kafka.ReconnectBackoffMaxMs`).
    pub reconnect_backoff_max: Duration,
    /// After how long what is known of a topic is asked anew (`Kafka.MetadataMaxAgeMs`).
    pub metadata_max_age: Duration,
    /// After how long without a request a connection is closed (`Kafka.ConnectionsMaxIdleMs`).
    pub connections_max_idle: Duration,
    /// The largest Fetch response that is read, in bytes: above `Kafka.FetchMaxBytes` plus the largest batch (KIP-74).
    pub max_fetch_response_bytes: usize,
}
