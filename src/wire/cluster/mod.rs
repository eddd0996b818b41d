//! The cluster as a client sees it: which brokers there are, who leads what, and connections to them.
//!
//! One connection does one kind of thing ([`Lane`]), because a broker answers a connection in order: a heartbeat behind a
//! long poll would wait for it. Connections are made when first needed and made again when they broke, after a pause
//! that grows with each failure and is jittered, so that a restarted broker is not stormed.
//!
//! Calls give up at once with a [`CallError`]; whether to try again is decided where it is known what the call was for.

mod backoff;
mod lane;
mod pool;
mod settings;
mod topology;

pub use settings::Settings;

pub use lane::Lane;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::RwLock;

pub use backoff::Backoff;
pub use pool::Outage;
pub use topology::{Broker, Partition, Topic};

use self::{
    pool::Pool,
    topology::{Identity, Topology, topic_of},
};
use super::{
    connection::{Connection, ConnectionSettings},
    error::{CallError, ErrorCode},
    messages::{
        FindCoordinatorRequest, InitProducerIdRequest, MetadataRequest, MetadataRequestTopic,
        MetadataResponse, Request,
    },
};

/// The largest response that is read on all lanes but [`Lane::Fetch`], in bytes: metadata of 100,000 partitions is 10 MB.
const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// How long connecting may take, including the broker's first answer. Longer than any network's round trip, and short
/// enough that a dead address is told within the two seconds in which a person wonders.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_800);

/// How long a topic that is made on first use may take to appear in the metadata.
const TOPIC_APPEARS: Duration = Duration::from_secs(2);

/// The pause between two questions for a topic that is about to appear.
const TOPIC_PAUSE: Duration = Duration::from_millis(100);

/// How many answers about a topic may differ before asking ends with an error that passes.
const MOST_ANSWERS: usize = 6;

/// Why a question to the cluster has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No broker could be asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The topic does not exist.
    #[error(
        "topic {topic} (Kafka.Topic) does not exist on {address}; create it with `kafka-topics.sh --bootstrap-server {address} --create --topic {topic} --partitions 3`, or let the brokers make topics on first use (auto.create.topics.enable)"
    )]
    UnknownTopic {
        /// The topic's name.
        topic: String,
        /// A broker of the cluster that was asked.
        address: String,
    },
    /// The broker refuses to answer about the topic.
    #[error("topic {topic}: {code}")]
    Topic {
        /// The topic's name.
        topic: String,
        /// What the broker said.
        code: ErrorCode,
    },
    /// The broker refuses to answer about the transactional id.
    #[error(
        "transactional id {id} (Kafka.TransactionalId): {code}{}",
        without_coordinator(*.code)
    )]
    Transaction {
        /// The transactional id.
        id: String,
        /// What the broker said.
        code: ErrorCode,
    },
    /// The brokers have no idempotence.
    #[error(
        "the service at {address} has no InitProducerId, without which no batch is recognised that comes again: nothing can be published exactly once to it. Kafka.EnableIdempotence=false publishes at least once: an event whose acknowledgement is lost can be there twice, with one TradeId"
    )]
    NoProducerIds {
        /// A broker of the cluster that was asked.
        address: String,
    },
    /// The broker refuses to answer about the group.
    #[error("group {group}: {code}")]
    Group {
        /// The group's id.
        group: String,
        /// What the broker said.
        code: ErrorCode,
    },
}

/// What it means that a transactional id has no coordinator.
fn without_coordinator(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::NOT_COORDINATOR => {
            "; the brokers have no transaction coordinator to give: on a cluster, see that the replicas of the topic __transaction_state are up (transaction.state.log.replication.factor, transaction.state.log.min.isr); the embedded broker has no transactions"
        }
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => {
            "; the transaction coordinator reads its part of the topic __transaction_state first"
        }
        _ => "",
    }
}

impl ClusterError {
    /// Whether trying again later may help: connections, elections, time-outs, but not refusals or a missing topic.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Call(CallError::Unsupported { .. })
            | Self::UnknownTopic { .. }
            | Self::NoProducerIds { .. } => false,
            Self::Call(_) => true,
            Self::Topic { code, .. }
            | Self::Group { code, .. }
            | Self::Transaction { code, .. } => code.remedy() != super::error::Remedy::None,
        }
    }
}

/// A Kafka cluster: shared by everything that talks to it.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    pool: Pool,
    topology: RwLock<Topology>,
}

impl Cluster {
    /// Knows nothing yet and connects to nobody.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            pool: Pool::new(&settings),
            topology: RwLock::new(Topology::default()),
            settings,
        })
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The outage in which no broker at all can be reached; `None` while one can, or before the first try.
    pub fn outage(&self) -> Option<Outage> {
        self.pool.outage()
    }

    /// The cluster's id, once metadata was read; brokers before 0.10.1 have none.
    pub fn cluster_id(&self) -> Option<String> {
        self.topology.read().cluster_id.clone()
    }

    /// The level of `transaction.version` that the brokers have agreed on, as of the newest connection: 2 is
    /// KIP-890; 0 where there is no such feature.
    pub fn transaction_version(&self) -> i16 {
        self.pool.features().transaction()
    }

    /// What is known of `topic`, asked anew when it is older than `Kafka.MetadataMaxAgeMs`.
    pub async fn topic(&self, topic: &str) -> Result<Arc<Topic>, ClusterError> {
        let known = self.topology.read().topics.get(topic).cloned();
        match known {
            Some(known) if known.learnt.elapsed() < self.settings.metadata_max_age => Ok(known),
            _ => self.refresh_topic(topic).await,
        }
    }

    /// What a broker says of `topic` now.
    pub async fn refresh_topic(&self, topic: &str) -> Result<Arc<Topic>, ClusterError> {
        self.describe_topic(topic, false).await
    }

    /// What a broker says of `topic` now; brokers that make topics on first use make it
    /// (`auto.create.topics.enable`), and it is waited for a moment until it is there.
    pub async fn make_topic(&self, topic: &str) -> Result<Arc<Topic>, ClusterError> {
        let started = Instant::now();
        loop {
            match self.describe_topic(topic, true).await {
                // A topic that is being made is unknown first and has no leaders then.
                Err(ClusterError::UnknownTopic { .. } | ClusterError::Topic { .. })
                    if started.elapsed() < TOPIC_APPEARS =>
                {
                    tokio::time::sleep(TOPIC_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// No checksum covers an answer, and much is decided by which topic it means: what is not known already is believed
    /// when a second answer says the same.
    async fn describe_topic(&self, topic: &str, create: bool) -> Result<Arc<Topic>, ClusterError> {
        let mut before = None;
        for _ in 0..MOST_ANSWERS {
            let (address, response) = self.metadata(topic, create).await?;
            let described = topic_of(&response, topic, Instant::now());
            let is_unknown =
                matches!(described, Err(code) if code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            if let Err(code) = described
                && !is_unknown
            {
                let topic = topic.to_owned();
                return Err(ClusterError::Topic { topic, code });
            }
            let described = described.ok();
            let identity = Identity::of(&response, described.as_ref());
            if before.as_ref() != Some(&identity)
                && !self.topology.read().is_known(topic, &identity)
            {
                before = Some(identity);
                continue;
            }
            let mut topology = self.topology.write();
            topology.learn(&response);
            let Some(described) = described.map(Arc::new) else {
                topology.topics.remove(topic);
                let topic = topic.to_owned();
                return Err(ClusterError::UnknownTopic { topic, address });
            };
            let name = Arc::clone(&described.name);
            topology.topics.insert(name, Arc::clone(&described));
            return Ok(described);
        }
        Err(ClusterError::Topic {
            topic: topic.to_owned(),
            code: ErrorCode::LEADER_NOT_AVAILABLE,
        })
    }

    async fn metadata(
        &self,
        topic: &str,
        create: bool,
    ) -> Result<(String, MetadataResponse), CallError> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(topic.into()),
                ..Default::default()
            }]),
            allow_auto_topic_creation: create,
            ..Default::default()
        };
        let connection = self.any_broker().await?;
        let response = connection
            .request(&request, self.settings.request_timeout)
            .await?;
        Ok((connection.address().to_owned(), response))
    }

    /// The ids of all brokers, as one of them says now.
    pub async fn refresh_brokers(&self) -> Result<Vec<i32>, ClusterError> {
        let request = MetadataRequest {
            topics: Some(Vec::new()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let response = self.request_any(&request).await?;
        let mut topology = self.topology.write();
        topology.learn_brokers(&response);
        Ok(topology.brokers.keys().copied().collect())
    }

    /// The broker that coordinates `group`.
    pub async fn coordinator(&self, group: &str) -> Result<i32, ClusterError> {
        self.find_coordinator(group, 0)
            .await?
            .map_err(|code| ClusterError::Group {
                group: group.to_owned(),
                code,
            })
    }

    /// The broker that coordinates the transactions of `id`.
    pub async fn transaction_coordinator(&self, id: &str) -> Result<i32, ClusterError> {
        self.find_coordinator(id, 1)
            .await?
            .map_err(|code| ClusterError::Transaction {
                id: id.to_owned(),
                code,
            })
    }

    async fn find_coordinator(
        &self,
        key: &str,
        key_type: i8,
    ) -> Result<Result<i32, ErrorCode>, CallError> {
        let connection = self.any_broker().await?;
        let request = FindCoordinatorRequest {
            key: key.into(),
            key_type,
            coordinator_keys: vec![key.into()],
        };
        let response = connection
            .request(&request, self.settings.request_timeout)
            .await?;
        // Version 4 answers for many groups at once (KIP-699).
        let (code, node, host, port) = match response.coordinators.first() {
            Some(found) => (found.error_code, found.node_id, &found.host, found.port),
            None => (
                response.error_code,
                response.node_id,
                &response.host,
                response.port,
            ),
        };
        if let Err(code) = ErrorCode::check(code) {
            return Ok(Err(code));
        }
        self.topology.write().learn_broker(node, host, port);
        Ok(Ok(node))
    }

    /// A connection to broker `node` on a lane, made when there is none.
    pub async fn connection(&self, node: i32, lane: Lane) -> Result<Arc<Connection>, CallError> {
        let address = self
            .topology
            .read()
            .brokers
            .get(&node)
            .map(Broker::address)
            .ok_or(CallError::UnknownNode { node })?;
        self.pool.connection(&address, lane).await
    }

    /// Asks broker `node` on a lane; `Kafka.RequestTimeoutMs` is the limit.
    pub async fn request<R: Request + Sync>(
        &self,
        node: i32,
        lane: Lane,
        request: &R,
    ) -> Result<R::Response, CallError> {
        self.connection(node, lane)
            .await?
            .request(request, self.settings.request_timeout)
            .await
    }

    /// Whether the brokers give producer ids, without which there is no idempotence.
    ///
    /// # Errors
    /// [`ClusterError::NoProducerIds`] when they do not; when no broker can be asked.
    pub async fn has_producer_ids(&self) -> Result<(), ClusterError> {
        let broker = self.any_broker().await?;
        match broker.version_of::<InitProducerIdRequest>() {
            Some(_) => Ok(()),
            None => Err(ClusterError::NoProducerIds {
                address: broker.address().to_owned(),
            }),
        }
    }

    /// Asks any broker that can be reached.
    pub async fn request_any<R: Request + Sync>(
        &self,
        request: &R,
    ) -> Result<R::Response, CallError> {
        self.any_broker()
            .await?
            .request(request, self.settings.request_timeout)
            .await
    }

    /// A control connection to any broker: an open one, else the first of the known brokers and the bootstrap servers
    /// that can be reached. The error is the last address's.
    async fn any_broker(&self) -> Result<Arc<Connection>, CallError> {
        if let Some(open) = self.pool.any_open(Lane::Control) {
            return Ok(open);
        }
        let mut addresses = self.topology.read().addresses();
        for address in &self.settings.bootstrap {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        self.pool.first_reachable(&addresses, Lane::Control).await
    }
}

impl From<&Settings> for ConnectionSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            client_id: Arc::clone(&settings.client_id),
            connect_timeout: CONNECT_TIMEOUT,
            max_response_bytes: MAX_RESPONSE_BYTES,
        }
    }
}
