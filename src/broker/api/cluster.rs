//! What there is: Metadata, FindCoordinator, CreateTopics, DeleteTopics.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Context, code_of};
use crate::{
    broker::{
        LEADER_EPOCH, NODE_ID,
        topics::{Topic, Topics},
    },
    wire::{
        error::ErrorCode,
        messages::{
            Coordinator, CreatableTopic, CreatableTopicResult, CreateTopicsRequest,
            CreateTopicsResponse, DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
            FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest, MetadataRequestTopic,
            MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
            MetadataResponseTopic, Str,
        },
    },
};

/// `key_type` of a group in FindCoordinator; 1 is a transaction.
const GROUP_KEY: i8 = 0;
const TRANSACTION_KEY: i8 = 1;

/// What stands for "as the broker likes" in CreateTopics (KIP-464).
const DEFAULT: i32 = -1;

impl Context<'_> {
    /// Where clients are to connect to: as it was set, or as this client did.
    fn address(&self) -> (Str, i32) {
        match &self.shared.advertise {
            Some((host, port)) => (host.as_str().into(), i32::from(*port)),
            None => {
                let local = self.client.local;
                (local.ip().to_string().into(), i32::from(local.port()))
            }
        }
    }
}

/// The broker, the topics that are asked for, and those that are made by asking.
pub(super) async fn metadata(context: &Context<'_>, request: MetadataRequest) -> MetadataResponse {
    let (host, port) = context.address();
    let create = request.allow_auto_topic_creation;
    let mut topics = context.shared.topics.lock();
    // In version 0, which has no null, an empty list means all.
    let asked = request
        .topics
        .filter(|asked| context.version > 0 || !asked.is_empty());
    let described = match asked {
        None => topics
            .all()
            .map(|(name, topic)| describe(name, topic))
            .collect(),
        Some(asked) => {
            // A topic is described once, however often it is named.
            let mut seen = BTreeSet::new();
            asked
                .into_iter()
                .filter(|asked| seen.insert((asked.topic_id, asked.name.clone())))
                .map(|asked| {
                    find_or_create(
                        &mut topics,
                        asked,
                        create,
                        context.shared.default_partitions,
                    )
                })
                .collect()
        }
    };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: NODE_ID,
            host,
            port,
            rack: None,
        }],
        cluster_id: Some(context.shared.cluster_id.as_str().into()),
        controller_id: NODE_ID,
        topics: described,
        ..Default::default()
    }
}

fn find_or_create(
    topics: &mut Topics,
    asked: MetadataRequestTopic,
    create: bool,
    partitions: i32,
) -> MetadataResponseTopic {
    let Some(name) = &asked.name else {
        let known = topics.name_of(asked.topic_id);
        return match known.and_then(|name| Some((name, topics.get(name)?))) {
            Some((name, topic)) => describe(name, topic),
            None => unknown(asked, ErrorCode::UNKNOWN_TOPIC_ID),
        };
    };
    if let Some(topic) = topics.get(name) {
        return describe(name, topic);
    }
    match topics.check_new(name, partitions) {
        Err(code) => return unknown(asked, code),
        Ok(_) if !create => return unknown(asked, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        Ok(_) => {}
    }
    match topics.create(name, partitions, Uuid::new_v4()) {
        Ok(topic) => {
            tracing::debug!(topic = %name, partitions, "made on first use");
            describe(name, topic)
        }
        Err(code) => unknown(asked, code),
    }
}

fn unknown(asked: MetadataRequestTopic, code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: code.0,
        name: asked.name,
        topic_id: asked.topic_id,
        ..Default::default()
    }
}

fn describe(name: &str, topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0..topic.partitions()).map(|partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: NODE_ID,
        leader_epoch: LEADER_EPOCH,
        replica_nodes: vec![NODE_ID],
        isr_nodes: vec![NODE_ID],
        ..Default::default()
    });
    MetadataResponseTopic {
        name: Some(name.into()),
        topic_id: topic.id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

/// This broker, for every group; transactions have no coordinator here.
pub(super) async fn find_coordinator(
    context: &Context<'_>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let refused = match request.key_type {
        GROUP_KEY => None,
        TRANSACTION_KEY => Some((
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
            "the embedded broker has no transactions",
        )),
        _ => Some((ErrorCode::INVALID_REQUEST, "not a type of coordinator")),
    };
    let (error_code, error_message) = match refused {
        None => (0, None),
        Some((code, message)) => (code.0, Some(Str::from_static(message))),
    };
    let (node_id, (host, port)) = match refused {
        None => (NODE_ID, context.address()),
        Some(_) => (-1, (Str::new(), -1)),
    };
    let keys = request.coordinator_keys.into_iter();
    let coordinators = keys.map(|key| Coordinator {
        key,
        node_id,
        host: host.clone(),
        port,
        error_code,
        error_message: error_message.clone(),
    });
    FindCoordinatorResponse {
        coordinators: coordinators.collect(),
        throttle_time_ms: 0,
        error_code,
        error_message,
        node_id,
        host,
        port,
    }
}

/// Makes topics, or only says whether they could be made.
pub(super) async fn create_topics(
    context: &Context<'_>,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut named = BTreeMap::new();
    for topic in &request.topics {
        *named.entry(topic.name.clone()).or_insert(0_usize) += 1;
    }
    let mut topics = context.shared.topics.lock();
    let answered = named.into_iter().filter_map(|(name, times)| {
        let topic = request.topics.iter().find(|topic| topic.name == name)?;
        let outcome = match times {
            1 => wanted_partitions(topic, context.shared.default_partitions),
            _ => Err((
                ErrorCode::INVALID_REQUEST,
                "the request names the topic more than once",
            )),
        };
        let outcome = outcome.and_then(|partitions| {
            let plain = |code| (code, "");
            topics.check_new(&name, partitions).map_err(plain)?;
            if request.validate_only {
                return Ok((partitions, Uuid::nil()));
            }
            let id = Uuid::new_v4();
            topics.create(&name, partitions, id).map_err(plain)?;
            Ok((partitions, id))
        });
        Some(match outcome {
            Ok((num_partitions, topic_id)) => CreatableTopicResult {
                name,
                topic_id,
                num_partitions,
                replication_factor: 1,
                configs: Some(Vec::new()),
                ..Default::default()
            },
            Err((code, message)) => CreatableTopicResult {
                name,
                error_code: code.0,
                error_message: Some(match message {
                    "" => code.to_string().into(),
                    message => message.into(),
                }),
                ..Default::default()
            },
        })
    });
    CreateTopicsResponse {
        topics: answered.collect(),
        ..Default::default()
    }
}

/// Deletes topics by name: their records and what groups committed on them are gone at once, so that a group reads a
/// topic that is created again under the name from its own beginning.
pub(super) async fn delete_topics(
    context: &Context<'_>,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let responses = request.topic_names.into_iter().map(|name| {
        let deleted = context.shared.topics.lock().delete(&name);
        if deleted.is_ok() {
            context.shared.coordinator.forget_topic(&name);
        }
        DeletableTopicResult {
            name,
            error_code: code_of(&deleted),
            error_message: deleted.err().map(|code| code.to_string().into()),
        }
    });
    DeleteTopicsResponse {
        responses: responses.collect(),
        ..Default::default()
    }
}

/// How many partitions a topic is to have.
fn wanted_partitions(
    topic: &CreatableTopic,
    default: i32,
) -> Result<i32, (ErrorCode, &'static str)> {
    if !topic.configs.is_empty() {
        let message = "the embedded broker keeps everything in memory and has no topic settings: leave them out";
        return Err((ErrorCode::INVALID_CONFIG, message));
    }
    if !matches!(topic.replication_factor, 1 | -1) {
        let message = "the embedded broker is alone: the replication factor can only be 1";
        return Err((ErrorCode::INVALID_REPLICATION_FACTOR, message));
    }
    if topic.assignments.is_empty() {
        return Ok(match topic.num_partitions {
            DEFAULT => default,
            partitions => partitions,
        });
    }
    let mut assigned: Vec<_> = topic.assignments.iter().collect();
    assigned.sort_unstable_by_key(|assigned| assigned.partition_index);
    let legal = assigned.iter().zip(0..).all(|(assigned, index)| {
        assigned.partition_index == index && assigned.broker_ids == [NODE_ID]
    });
    if legal && topic.num_partitions == DEFAULT {
        Ok(i32::try_from(assigned.len()).unwrap_or(i32::MAX))
    } else {
        let message = "every partition has to be on broker 1, the only one";
        Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, message))
    }
}
