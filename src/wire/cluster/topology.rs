//! What Metadata answers, kept: brokers, topics and their leaders. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use uuid::Uuid;

use crate::wire::{error::ErrorCode, messages::MetadataResponse};

/// A broker's address, as it advertises itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// The broker's id.
    pub node: i32,
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Broker {
    /// `HOST:PORT`, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A partition of a topic, as the metadata describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The broker that leads it; `None` while there is none.
    pub leader: Option<i32>,
    /// The leader's epoch (KIP-320); -1 where the broker does not say.
    pub leader_epoch: i32,
}

/// A topic, as the metadata describes it.
#[derive(Clone, Debug)]
pub struct Topic {
    /// The name.
    pub name: Arc<str>,
    /// The id that tells a topic from one made anew under its name (KIP-516); brokers before 2.8 have none.
    pub id: Option<Uuid>,
    /// The partitions: number i is at index i.
    pub partitions: Vec<Partition>,
    /// When a broker said so.
    pub learnt: Instant,
}

impl Topic {
    /// The broker that leads `partition`, if there is one.
    pub fn leader(&self, partition: i32) -> Option<i32> {
        let index = usize::try_from(partition).ok()?;
        self.partitions.get(index)?.leader
    }
}

/// Which topic of which cluster an answer means, and how many partitions it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    cluster_id: Option<String>,
    /// `None` where there is no such topic.
    topic: Option<(Option<Uuid>, usize)>,
}

impl Identity {
    pub(super) fn of(response: &MetadataResponse, described: Option<&Topic>) -> Self {
        Self {
            cluster_id: cluster_id(response),
            topic: described.map(|topic| (topic.id, topic.partitions.len())),
        }
    }
}

/// All that is known of the cluster.
#[derive(Debug, Default)]
pub(super) struct Topology {
    pub(super) cluster_id: Option<String>,
    pub(super) brokers: BTreeMap<i32, Broker>,
    pub(super) topics: HashMap<Arc<str>, Arc<Topic>>,
}

impl Topology {
    /// Takes over brokers and cluster id of a response. An empty list (a broker that is starting) changes nothing.
    pub(super) fn learn(&mut self, response: &MetadataResponse) {
        if let Some(id) = cluster_id(response) {
            self.cluster_id = Some(id);
        }
        self.learn_brokers(response);
    }

    /// Whether an answer says of a topic what was learnt before.
    pub(super) fn is_known(&self, topic: &str, identity: &Identity) -> bool {
        let topic = self.topics.get(topic);
        let topic = topic.map(|topic| (topic.id, topic.partitions.len()));
        topic.is_some() && topic == identity.topic && self.cluster_id == identity.cluster_id
    }

    /// Takes over the brokers of a response.
    pub(super) fn learn_brokers(&mut self, response: &MetadataResponse) {
        if response.brokers.is_empty() {
            return;
        }
        self.brokers.clear();
        for broker in &response.brokers {
            self.learn_broker(broker.node_id, &broker.host, broker.port);
        }
    }

    /// Takes over one broker's address; an impossible port is passed over.
    pub(super) fn learn_broker(&mut self, node: i32, host: &str, port: i32) {
        if let Ok(port) = u16::try_from(port) {
            let host = host.to_owned();
            self.brokers.insert(node, Broker { node, host, port });
        }
    }

    /// The addresses of all known brokers.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.brokers.values().map(Broker::address).collect()
    }
}

fn cluster_id(response: &MetadataResponse) -> Option<String> {
    let id = response.cluster_id.as_ref().filter(|id| !id.is_empty())?;
    Some(id.to_string())
}

/// What a response says of `topic`.
pub(super) fn topic_of(
    response: &MetadataResponse,
    topic: &str,
    learnt: Instant,
) -> Result<Topic, ErrorCode> {
    let described = response
        .topics
        .iter()
        .find(|described| described.name.as_deref() == Some(topic))
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    ErrorCode::check(described.error_code)?;
    let mut partitions: Vec<_> = described.partitions.iter().collect();
    partitions.sort_unstable_by_key(|partition| partition.partition_index);
    let in_order = partitions
        .iter()
        .zip(0..)
        .all(|(partition, index)| partition.partition_index == index);
    if partitions.is_empty() || !in_order {
        return Err(ErrorCode::LEADER_NOT_AVAILABLE);
    }
    Ok(Topic {
        name: topic.into(),
        id: Some(described.topic_id).filter(|id| !id.is_nil()),
        partitions: partitions
            .into_iter()
            .map(|partition| Partition {
                leader: Some(partition.leader_id).filter(|leader| {
                    *leader >= 0 && ErrorCode::check(partition.error_code).is_ok()
                }),
                leader_epoch: partition.leader_epoch,
            })
            .collect(),
        learnt,
    })
}
