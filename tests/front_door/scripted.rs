//! A broker that answers what a test wants: for refusals and faults that a real one shows only when its disk is full or its
//! administrator says no, or when its coordinator is away. It keeps no records.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use bytes::Bytes;
use stockflow::wire::messages::{
    self, AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnTopicResult, ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
    Coordinator, DescribeConfigsRequest, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, EndTxnRequest, EndTxnResponse, FinalizedFeatureKey,
    FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse,
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic, PartitionProduceResponse, ProduceRequest, ProduceResponse, Reader,
    Request, RequestHeader, TopicProduceResponse,
};

/// What it answers. Codes are Kafka's error codes, 0 is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// Of the topic in Metadata.
    pub(crate) topic: i16,
    /// Whether the topic's one partition has a leader.
    pub(crate) leader: bool,
    /// Of InitProducerId; none is a broker that does not have it.
    pub(crate) producer_id: Option<i16>,
    /// Of the partition in the Produce request of this number, from 0 on.
    pub(crate) produce: fn(usize) -> i16,
    /// The topic's cleanup.policy in DescribeConfigs.
    pub(crate) policy: &'static str,
    /// The level of transaction.version: 2 is KIP-890, 0 a broker that does not know it.
    pub(crate) transactions: i16,
    /// Of the EndTxn request of this number, from 0 on; none closes the connection instead.
    pub(crate) end: fn(usize) -> Option<i16>,
    /// How long clients are asked to stay away after a Produce request, in milliseconds.
    pub(crate) throttle_ms: i32,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            topic: 0,
            leader: true,
            producer_id: Some(0),
            produce: |_| 0,
            policy: "delete",
            transactions: 0,
            end: |_| Some(0),
            throttle_ms: 0,
        }
    }
}

/// A scripted broker; its threads end with the test's process.
pub(crate) struct Scripted {
    pub(crate) address: String,
    pub(crate) seen: Arc<Seen>,
}

/// What a scripted broker was asked.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// When each Produce request came.
    pub(crate) produced: Mutex<Vec<Instant>>,
    /// Every request's key and version.
    pub(crate) asked: Mutex<Vec<(i16, i16)>>,
}

impl Scripted {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let seen = Arc::new(Seen::default());
        let of_threads = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&of_threads);
                let port = address.port();
                thread::spawn(move || while serve(&stream, port, script, &seen).is_some() {});
            }
        });
        Self {
            address: address.to_string(),
            seen,
        }
    }
}

impl Scripted {
    /// The versions in which it was asked this.
    pub(crate) fn asked(&self, key: i16) -> Vec<i16> {
        let asked = self.seen.asked.lock().expect("no panic");
        let of_key = asked.iter().filter(|asked| asked.0 == key);
        of_key.map(|asked| asked.1).collect()
    }
}

/// Answers one request; `None` when the client is gone or asks what is not in the script.
fn serve(mut stream: &TcpStream, port: u16, script: Script, seen: &Seen) -> Option<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).ok()?;
    let mut reader = Reader::new(Bytes::from(frame));
    let header = RequestHeader::decode(&mut reader).ok()?;
    let asked = (header.api_key, header.api_version);
    seen.asked.lock().expect("no panic").push(asked);
    let answer = match header.api_key {
        ApiVersionsRequest::KEY => answer_api_versions(&header, script),
        MetadataRequest::KEY => {
            answer::<MetadataRequest>(&header, reader, |asked| metadata(&asked, port, script))?
        }
        InitProducerIdRequest::KEY => {
            let error_code = script.producer_id?;
            answer::<InitProducerIdRequest>(&header, reader, |_| InitProducerIdResponse {
                error_code,
                producer_id: 7,
                ..Default::default()
            })?
        }
        DescribeConfigsRequest::KEY => {
            answer::<DescribeConfigsRequest>(&header, reader, |asked| configs(asked, script))?
        }
        ProduceRequest::KEY => answer::<ProduceRequest>(&header, reader, |asked| {
            let mut produced = seen.produced.lock().expect("no panic");
            produced.push(Instant::now());
            let code = (script.produce)(produced.len() - 1);
            of_produce(asked, code, produced.len() as i64, script.throttle_ms)
        })?,
        FindCoordinatorRequest::KEY => {
            answer::<FindCoordinatorRequest>(&header, reader, |asked| coordinators(asked, port))?
        }
        AddPartitionsToTxnRequest::KEY => {
            answer::<AddPartitionsToTxnRequest>(&header, reader, added)?
        }
        EndTxnRequest::KEY => {
            let number = seen.asked.lock().expect("no panic");
            let number = number
                .iter()
                .filter(|asked| asked.0 == header.api_key)
                .count();
            let error_code = (script.end)(number - 1)?;
            answer::<EndTxnRequest>(&header, reader, |asked| EndTxnResponse {
                error_code,
                producer_id: asked.producer_id,
                producer_epoch: asked.producer_epoch + 1,
                ..Default::default()
            })?
        }
        _ => return None,
    };
    stream.write_all(&answer).ok()
}

fn answer<R: Request>(
    header: &RequestHeader,
    mut reader: Reader,
    make: impl FnOnce(R) -> R::Response,
) -> Option<Vec<u8>> {
    let version = R::version(header.api_version);
    if version.flexible {
        RequestHeader::skip_tagged(&mut reader).ok()?;
    }
    let request = messages::decode(reader.into_rest(), version).ok()?;
    let mut body = Vec::new();
    messages::encode_response_header(header.correlation_id, version.flexible, &mut body);
    messages::encode(&make(request), version, &mut body);
    Some(framed(&body))
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

/// In the version that was asked for, or in version 0 with the code that says so.
fn answer_api_versions(header: &RequestHeader, script: Script) -> Vec<u8> {
    const UNSUPPORTED_VERSION: i16 = 35;
    const NEWEST: i16 = 3;
    let known = header.api_version <= NEWEST;
    let api = |api_key, max_version| ApiVersion {
        api_key,
        min_version: 0,
        max_version,
    };
    let without = script.producer_id.is_none();
    let mut response = ApiVersionsResponse {
        error_code: if known { 0 } else { UNSUPPORTED_VERSION },
        api_keys: vec![
            api(ApiVersionsRequest::KEY, NEWEST),
            api(MetadataRequest::KEY, 9),
            api(InitProducerIdRequest::KEY, 4),
            api(DescribeConfigsRequest::KEY, 4),
            // What comes with the second version of transactions is spoken only where their level is 2.
            api(ProduceRequest::KEY, 12),
            api(FindCoordinatorRequest::KEY, 4),
            api(AddPartitionsToTxnRequest::KEY, 3),
            api(EndTxnRequest::KEY, 5),
        ],
        finalized_features_epoch: 1,
        finalized_features: match script.transactions {
            0 => Vec::new(),
            level => vec![FinalizedFeatureKey {
                name: "transaction.version".into(),
                max_version_level: level,
                min_version_level: level,
            }],
        },
        ..Default::default()
    };
    response
        .api_keys
        .retain(|api| !(without && api.api_key == InitProducerIdRequest::KEY));
    let mut body = Vec::new();
    messages::encode_response_header(header.correlation_id, false, &mut body);
    let version = ApiVersionsRequest::version(if known { header.api_version } else { 0 });
    messages::encode(&response, version, &mut body);
    framed(&body)
}

fn metadata(asked: &MetadataRequest, port: u16, script: Script) -> MetadataResponse {
    const LEADER_NOT_AVAILABLE: i16 = 5;
    let partition = MetadataResponsePartition {
        error_code: if script.leader {
            0
        } else {
            LEADER_NOT_AVAILABLE
        },
        leader_id: if script.leader { 1 } else { -1 },
        leader_epoch: 0,
        ..Default::default()
    };
    let topic = |name| MetadataResponseTopic {
        error_code: script.topic,
        name,
        partitions: match script.topic {
            0 => vec![partition.clone()],
            _ => Vec::new(),
        },
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 1,
            host: "127.0.0.1".into(),
            port: i32::from(port),
            ..Default::default()
        }],
        cluster_id: Some("scripted".into()),
        controller_id: 1,
        topics: asked
            .topics
            .iter()
            .flatten()
            .map(|asked| topic(asked.name.clone()))
            .collect(),
        ..Default::default()
    }
}

/// It coordinates all of them.
fn coordinators(asked: FindCoordinatorRequest, port: u16) -> FindCoordinatorResponse {
    let coordinator = |key| Coordinator {
        key,
        node_id: 1,
        host: "127.0.0.1".into(),
        port: i32::from(port),
        ..Default::default()
    };
    FindCoordinatorResponse {
        coordinators: asked
            .coordinator_keys
            .into_iter()
            .map(coordinator)
            .collect(),
        ..Default::default()
    }
}

fn added(asked: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
    let partition = |partition_index| AddPartitionsToTxnPartitionResult {
        partition_index,
        ..Default::default()
    };
    let topics = asked.v3_and_below_topics.into_iter();
    let results = topics.map(|topic| AddPartitionsToTxnTopicResult {
        name: topic.name,
        results_by_partition: topic.partitions.into_iter().map(partition).collect(),
    });
    AddPartitionsToTxnResponse {
        results_by_topic_v3_and_below: results.collect(),
        ..Default::default()
    }
}

fn configs(asked: DescribeConfigsRequest, script: Script) -> DescribeConfigsResponse {
    let results = asked
        .resources
        .into_iter()
        .map(|asked| DescribeConfigsResult {
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
            configs: vec![DescribeConfigsResourceResult {
                name: "cleanup.policy".into(),
                value: Some(script.policy.into()),
                ..Default::default()
            }],
            ..Default::default()
        });
    DescribeConfigsResponse {
        results: results.collect(),
        ..Default::default()
    }
}

fn of_produce(asked: ProduceRequest, code: i16, offset: i64, throttle_ms: i32) -> ProduceResponse {
    let partition = |index| PartitionProduceResponse {
        index,
        error_code: code,
        base_offset: if code == 0 { offset } else { -1 },
        ..Default::default()
    };
    ProduceResponse {
        responses: asked
            .topic_data
            .into_iter()
            .map(|topic| TopicProduceResponse {
                name: topic.name,
                partition_responses: topic
                    .partition_data
                    .iter()
                    .map(|data| partition(data.index))
                    .collect(),
            })
            .collect(),
        throttle_time_ms: throttle_ms,
        ..Default::default()
    }
}
