//! The broker through its socket, asked by our own client side.

mod frames;
mod members;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};

use super::{testing::batch, *};
use crate::wire::{
    cluster::{Cluster, Lane, Settings as ClusterSettings},
    error::{CallError, ErrorCode},
    messages::*,
    records::{Batches, ProducerIdentity},
};

struct Running {
    address: SocketAddr,
    // The broker stops when this is dropped.
    _stop: oneshot::Sender<()>,
}

async fn start(max_bytes: usize) -> Running {
    let settings = Settings {
        listen: "127.0.0.1:0".to_owned(),
        max_bytes,
        min_session_timeout: Duration::ZERO,
        ..Default::default()
    };
    let broker = Broker::bind(settings).await.unwrap();
    let address = broker.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(broker.run(async move {
        stopped.await.ok();
    }));
    Running {
        address,
        _stop: stop,
    }
}

fn client(broker: &Running) -> Arc<Cluster> {
    Cluster::new(settings(broker))
}

fn settings(broker: &Running) -> ClusterSettings {
    ClusterSettings {
        bootstrap: vec![broker.address.to_string()],
        client_id: "test".into(),
        request_timeout: Duration::from_secs(30),
        reconnect_backoff: Duration::from_millis(10),
        reconnect_backoff_max: Duration::from_millis(100),
        metadata_max_age: Duration::from_secs(60),
        connections_max_idle: Duration::from_secs(540),
        max_fetch_response_bytes: 64 << 20,
    }
}

fn produce(records: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        topic_data: vec![TopicProduceData {
            name: "trades".into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(records),
            }],
        }],
        ..Default::default()
    }
}

fn fetch(offset: i64, max_wait_ms: i32) -> FetchRequest {
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: "trades".into(),
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn send(cluster: &Cluster, records: Bytes) -> PartitionProduceResponse {
    let response = cluster
        .request(NODE_ID, Lane::Produce, &produce(records))
        .await
        .unwrap();
    response.responses[0].partition_responses[0].clone()
}

async fn poll(cluster: &Cluster, offset: i64, max_wait_ms: i32) -> PartitionData {
    let response = cluster
        .request(NODE_ID, Lane::Fetch, &fetch(offset, max_wait_ms))
        .await
        .unwrap();
    response.responses[0].partitions[0].clone()
}

#[tokio::test]
async fn what_is_produced_is_fetched_and_what_is_committed_is_kept() {
    let broker = start(1 << 20).await;
    let cluster = client(&broker);
    let missing = cluster.topic("trades").await;
    assert!(missing.is_err(), "nobody asked for it to be made");
    let topic = cluster.make_topic("trades").await.unwrap();
    assert_eq!(topic.partitions.len(), 3);
    assert!(topic.id.is_some());
    assert_eq!(topic.leader(0), Some(NODE_ID));

    let initialised = cluster
        .request_any(&InitProducerIdRequest::default())
        .await
        .unwrap();
    let identity = |base_sequence| {
        Some(ProducerIdentity {
            id: initialised.producer_id,
            epoch: initialised.producer_epoch,
            base_sequence,
        })
    };
    let first = batch(&[10, 20], identity(0));
    for again in 0..2 {
        let sent = send(&cluster, first.bytes().clone()).await;
        assert_eq!((sent.error_code, sent.base_offset), (0, 0), "{again}");
    }
    let gap = send(&cluster, batch(&[30], identity(3)).bytes().clone()).await;
    assert_eq!(gap.error_code, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0);
    let second = send(&cluster, batch(&[30], identity(2)).bytes().clone()).await;
    assert_eq!((second.error_code, second.base_offset), (0, 2));
    let mut damaged = first.bytes().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let refused = send(&cluster, damaged.into()).await;
    assert_eq!(refused.error_code, ErrorCode::CORRUPT_MESSAGE.0);
    let two = [&first.bytes()[..], &first.bytes()[..]].concat();
    let refused = send(&cluster, two.into()).await;
    assert_eq!(refused.error_code, ErrorCode::INVALID_RECORD.0);

    let fetched = poll(&cluster, 1, 0).await;
    assert_eq!((fetched.error_code, fetched.high_watermark), (0, 3));
    let offsets: Vec<_> = Batches::new(fetched.records.unwrap())
        .map(|batch| batch.unwrap().header().base_offset)
        .collect();
    assert_eq!(offsets, [0, 2]);
    let beyond = poll(&cluster, 4, 30_000).await;
    assert_eq!(beyond.error_code, ErrorCode::OFFSET_OUT_OF_RANGE.0);

    let mut found = Vec::new();
    for timestamp in [-1, -2, -3, 15, 31] {
        let request = ListOffsetsRequest {
            topics: vec![ListOffsetsTopic {
                name: "trades".into(),
                partitions: vec![ListOffsetsPartition {
                    timestamp,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let response = cluster.request_any(&request).await.unwrap();
        found.push(response.topics[0].partitions[0].offset);
    }
    assert_eq!(found, [3, 0, 2, 1, -1]);

    assert_eq!(cluster.coordinator("readers").await.unwrap(), NODE_ID);
    let committed = |partition_index, metadata: String| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 2,
        committed_metadata: Some(metadata.into()),
        ..Default::default()
    };
    let commit = OffsetCommitRequest {
        group_id: "readers".into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "trades".into(),
            partitions: vec![
                committed(0, "note".to_owned()),
                committed(1, "x".repeat(offsets::MAX_METADATA_BYTES + 1)),
                committed(9, String::new()),
            ],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = cluster
        .request(NODE_ID, Lane::Group, &commit)
        .await
        .unwrap();
    let codes: Vec<_> = response.topics[0]
        .partitions
        .iter()
        .map(|partition| partition.error_code)
        .collect();
    let expected = [
        0,
        ErrorCode::OFFSET_METADATA_TOO_LARGE.0,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
    ];
    assert_eq!(codes, expected);
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "readers".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = cluster
        .request(NODE_ID, Lane::Group, &request)
        .await
        .unwrap();
    let partitions = &response.groups[0].topics[0].partitions;
    assert_eq!(partitions.len(), 1);
    assert_eq!(partitions[0].committed_offset, 2);
    assert_eq!(partitions[0].metadata.as_deref(), Some("note"));
}

#[tokio::test]
async fn a_long_poll_ends_when_something_comes_and_holds_up_nobody() {
    let broker = start(1 << 20).await;
    let cluster = client(&broker);
    cluster.make_topic("trades").await.unwrap();
    let reader = Arc::clone(&cluster);
    let waiting = tokio::spawn(async move { poll(&reader, 0, 30_000).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    send(&cluster, batch(&[1], None).bytes().clone()).await;
    let fetched = timeout(Duration::from_secs(20), waiting).await.unwrap();
    assert_eq!(fetched.unwrap().high_watermark, 1);
    let empty = poll(&cluster, 1, 20).await;
    assert_eq!(empty.error_code, 0);
    assert_eq!(empty.records, Some(Bytes::new()));
}

#[tokio::test]
async fn memory_is_bounded_and_the_oldest_go_first() {
    let broker = start(2_000).await;
    let cluster = client(&broker);
    cluster.make_topic("trades").await.unwrap();
    for _ in 0..50 {
        send(&cluster, batch(&[1], None).bytes().clone()).await;
    }
    let first = poll(&cluster, 0, 0).await;
    assert_eq!(first.error_code, ErrorCode::OFFSET_OUT_OF_RANGE.0);
    assert!(first.log_start_offset > 30, "{}", first.log_start_offset);
    let last = poll(&cluster, 49, 0).await;
    assert!(!last.records.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_request_closes_the_connection() {
    let broker = start(1 << 20).await;
    let unknown_api = frames::request_frame(999, 0, false, &[]);
    let length = unknown_api.len() as i32;
    let unknown_api_frame = [&length.to_be_bytes()[..], &unknown_api[..]].concat();
    for bytes in [
        unknown_api_frame,
        i32::MAX.to_be_bytes().to_vec(),
        (-1_i32).to_be_bytes().to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let mut stream = TcpStream::connect(broker.address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut rest = Vec::new();
        let closed = timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        // Unread bytes make the system reset the connection.
        assert!(closed.is_ok());
        assert!(rest.is_empty());
    }
    client(&broker).make_topic("trades").await.unwrap();
}

#[tokio::test]
async fn stopping_closes_the_connections() {
    let broker = start(1 << 20).await;
    let cluster = client(&broker);
    cluster.make_topic("trades").await.unwrap();
    let reader = Arc::clone(&cluster);
    let waiting = tokio::spawn(async move {
        reader
            .request(NODE_ID, Lane::Fetch, &fetch(0, 30_000))
            .await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(broker);
    let ended = timeout(Duration::from_secs(20), waiting).await.unwrap();
    let disconnected = matches!(ended, Ok(Err(CallError::Disconnected { .. })));
    assert!(disconnected, "{ended:?}");
}

#[test]
fn addresses_to_advertise() {
    let parse = |address: &str| parse_host_port(address.to_owned()).ok();
    let expected = |host: &str, port| Some((host.to_owned(), port));
    assert_eq!(
        parse("broker.example:9092"),
        expected("broker.example", 9092)
    );
    assert_eq!(parse("[::1]:1"), expected("::1", 1));
    for wrong in [
        "",
        ":1",
        "host",
        "host:",
        "host:0",
        "host:65536",
        "::1:9092",
        "[::1:9092",
    ] {
        assert_eq!(parse(wrong), None, "{wrong}");
    }
}

#[tokio::test]
async fn a_deleted_topic_takes_its_committed_offsets_along() {
    let broker = start(1 << 20).await;
    let cluster = client(&broker);
    cluster.make_topic("trades").await.unwrap();
    cluster.make_topic("quotes").await.unwrap();
    let of = |name: &str| OffsetCommitRequestTopic {
        name: name.into(),
        partitions: vec![OffsetCommitRequestPartition {
            committed_offset: 2,
            ..Default::default()
        }],
        ..Default::default()
    };
    let commit = OffsetCommitRequest {
        group_id: "readers".into(),
        topics: vec![of("trades"), of("quotes")],
        ..Default::default()
    };
    cluster
        .request(NODE_ID, Lane::Group, &commit)
        .await
        .unwrap();
    let delete = DeleteTopicsRequest {
        topic_names: vec!["trades".into()],
        ..Default::default()
    };
    cluster.request_any(&delete).await.unwrap();
    cluster.make_topic("trades").await.unwrap();

    let fetch = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "readers".into(),
            topics: Some(
                ["trades", "quotes"]
                    .map(|name| OffsetFetchRequestTopics {
                        name: name.into(),
                        partition_indexes: vec![0],
                        ..Default::default()
                    })
                    .into(),
            ),
            ..Default::default()
        }],
        ..Default::default()
    };
    let fetched = cluster.request(NODE_ID, Lane::Group, &fetch).await.unwrap();
    let offsets: Vec<_> = fetched.groups[0]
        .topics
        .iter()
        .map(|topic| topic.partitions[0].committed_offset)
        .collect();
    assert_eq!(
        offsets,
        [-1, 2],
        "the new topic has no offset, the other keeps its own"
    );
}

#[tokio::test]
async fn a_connection_is_closed_when_nothing_was_asked_for_too_long() {
    let broker = start(1 << 20).await;
    let cluster = Cluster::new(ClusterSettings {
        connections_max_idle: Duration::from_millis(200),
        ..settings(&broker)
    });
    cluster.make_topic("trades").await.unwrap();
    let idle = cluster.connection(NODE_ID, Lane::Group).await.unwrap();
    let fetching = cluster.connection(NODE_ID, Lane::Fetch).await.unwrap();
    // What waits for an answer, however long, is not idle.
    tokio::select! {
        polled = poll(&cluster, 0, 30_000) => panic!("nothing was produced: {polled:?}"),
        () = tokio::time::sleep(Duration::from_millis(400)) => {
            assert!(!idle.is_closed(), "nobody looked");
            cluster.connection(NODE_ID, Lane::Produce).await.unwrap();
            assert!(idle.is_closed(), "it was idle for 400 ms");
            assert!(!fetching.is_closed(), "it waits for an answer");
        }
    }
    let again = cluster.connection(NODE_ID, Lane::Group).await.unwrap();
    assert!(!again.is_closed());
}
