//! A broker that answers what a test wants: for refusals and faults that a real one shows only when its disk is full or its
//! administrator says no. It keeps no records.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use bytes::Bytes;
use stockflow::wire::messages::{
    self, ApiVersion, ApiVersionsRequest, ApiVersionsResponse, DescribeConfigsRequest,
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    InitProducerIdRequest, InitProducerIdResponse, MetadataRequest, MetadataResponse,
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    PartitionProduceResponse, ProduceRequest, ProduceResponse, Reader, Request, RequestHeader,
    TopicProduceResponse,
};

/// What it answers. Codes are Kafka's error codes, 0 is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// Of the topic in Metadata.
    pub(crate) topic: i16,
    /// Whether the topic's one partition has a leader.
    pub(crate) leader: bool,
    /// Of InitProducerId.
    pub(crate) producer_id: i16,
    /// Of the partition in the Produce request of this number, from 0 on.
    pub(crate) produce: fn(usize) -> i16,
    /// The topic's cleanup.policy in DescribeConfigs.
    pub(crate) policy: &'static str,
    /// How long clients are asked to stay away after a Produce request, in milliseconds.
    pub(crate) throttle_ms: i32,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            topic: 0,
            leader: true,
            producer_id: 0,
            produce: |_| 0,
            policy: "delete",
            throttle_ms: 0,
        }
    }
}

/// A scripted broker; its threads end with the test's process.
pub(crate) struct Scripted {
    pub(crate) address: String,
    /// When each Produce request came.
    pub(crate) produced: Arc<Mutex<Vec<Instant>>>,
}

impl Scripted {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let produced = Arc::new(Mutex::new(Vec::new()));
        let of_threads = Arc::clone(&produced);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let produced = Arc::clone(&of_threads);
                let port = address.port();
                thread::spawn(move || while serve(&stream, port, script, &produced).is_some() {});
            }
        });
        Self {
            address: address.to_string(),
            produced,
        }
    }
}

/// Answers one request; `None` when the client is gone or asks what is not in the script.
fn serve(
    mut stream: &TcpStream,
    port: u16,
    script: Script,
    produced: &Mutex<Vec<Instant>>,
) -> Option<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).ok()?;
    let mut reader = Reader::new(Bytes::from(frame));
    let header = RequestHeader::decode(&mut reader).ok()?;
    let answer = match header.api_key {
        ApiVersionsRequest::KEY => answer_api_versions(&header),
        MetadataRequest::KEY => {
            answer::<MetadataRequest>(&header, reader, |asked| metadata(&asked, port, script))?
        }
        InitProducerIdRequest::KEY => {
            answer::<InitProducerIdRequest>(&header, reader, |_| InitProducerIdResponse {
                error_code: script.producer_id,
                producer_id: 7,
                ..Default::default()
            })?
        }
        DescribeConfigsRequest::KEY => {
            answer::<DescribeConfigsRequest>(&header, reader, |asked| configs(asked, script))?
        }
        ProduceRequest::KEY => answer::<ProduceRequest>(&header, reader, |asked| {
            let mut produced = produced.lock().expect("no panic");
            produced.push(Instant::now());
            let code = (script.produce)(produced.len() - 1);
            of_produce(asked, code, produced.len() as i64, script.throttle_ms)
        })?,
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
fn answer_api_versions(header: &RequestHeader) -> Vec<u8> {
    const UNSUPPORTED_VERSION: i16 = 35;
    const NEWEST: i16 = 3;
    let known = header.api_version <= NEWEST;
    let api = |api_key, max_version| ApiVersion {
        api_key,
        min_version: 0,
        max_version,
    };
    let response = ApiVersionsResponse {
        error_code: if known { 0 } else { UNSUPPORTED_VERSION },
        api_keys: vec![
            api(ApiVersionsRequest::KEY, NEWEST),
            api(MetadataRequest::KEY, 9),
            api(InitProducerIdRequest::KEY, 4),
            api(DescribeConfigsRequest::KEY, 4),
            api(ProduceRequest::KEY, 9),
        ],
        ..Default::default()
    };
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
