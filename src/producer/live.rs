//! The producer against a real Kafka, read back record by record. Where `STOCKFLOW_TEST_KAFKA` names no broker
//! (`host:port`), these tests say so and pass.

use super::*;
use crate::wire::cluster::{self, Lane};
use crate::wire::messages::{
    CreatableTopic, CreateTopicsRequest, FetchPartition, FetchRequest, FetchTopic,
};
use crate::wire::records::{Batches, Codec, Scratch};
use std::time::SystemTime;

const PARTITIONS: i32 = 3;

/// What no test needs on any machine that works.
const LIMIT: Duration = Duration::from_secs(600);

fn kafka() -> Option<Arc<Cluster>> {
    let Ok(address) = std::env::var("STOCKFLOW_TEST_KAFKA") else {
        println!("skipped: STOCKFLOW_TEST_KAFKA names no broker");
        return None;
    };
    Some(Cluster::new(cluster::Settings {
        bootstrap: vec![address],
        client_id: "stockflow-test".into(),
        request_timeout: Duration::from_secs(10),
        reconnect_backoff: Duration::from_millis(10),
        reconnect_backoff_max: Duration::from_millis(200),
        metadata_max_age: Duration::from_secs(300),
        connections_max_idle: Duration::from_secs(540),
        max_fetch_response_bytes: 64 << 20,
    }))
}

fn settings(topic: &Arc<str>, codec: Codec) -> Settings {
    Settings {
        topic: Arc::clone(topic),
        codec,
        partitioner: Scheme::Murmur2,
        linger: Duration::from_millis(5),
        batch_size: 262_144,
        message_timeout: Duration::from_secs(120),
        on_timeout: OnTimeout::GiveUp,
        transactional_id: None,
        idempotent: true,
        max_in_flight: 5,
        buffer: 32 << 20,
        request_timeout: Duration::from_secs(10),
        seed: 1,
    }
}

async fn new_topic(cluster: &Cluster, purpose: &str) -> Arc<str> {
    let topic: Arc<str> = format!("producer-{purpose}-{}", uuid::Uuid::new_v4()).into();
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: (&*topic).into(),
            num_partitions: PARTITIONS,
            replication_factor: 1,
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = cluster.request_any(&request).await.unwrap();
    assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
    topic
}

/// Every value of a partition, in the log's order.
async fn read_all(
    cluster: &Cluster,
    topic: &Arc<str>,
    partition: i32,
) -> Vec<(i64, Vec<u8>, Vec<u8>)> {
    let node = cluster
        .refresh_topic(topic)
        .await
        .unwrap()
        .leader(partition)
        .unwrap();
    let mut read = Vec::new();
    let mut position = 0;
    let mut scratch = Scratch::new();
    loop {
        let request = FetchRequest {
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 32 << 20,
            topics: vec![FetchTopic {
                topic: (&**topic).into(),
                partitions: vec![FetchPartition {
                    partition,
                    fetch_offset: position,
                    partition_max_bytes: 8 << 20,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = cluster.request(node, Lane::Fetch, &request).await.unwrap();
        let data = &answer.responses[0].partitions[0];
        assert_eq!(data.error_code, 0);
        for batch in Batches::new(data.records.clone().unwrap_or_default()) {
            let batch = batch.unwrap();
            for record in batch.records(&mut scratch).unwrap() {
                let record = record.unwrap();
                if record.offset >= position {
                    let key = record.key.unwrap_or_default().to_vec();
                    read.push((
                        record.offset,
                        key,
                        record.value.unwrap_or_default().to_vec(),
                    ));
                }
            }
            position = batch.header().next_offset();
        }
        if position >= data.high_watermark {
            return read;
        }
    }
}

/// Sends `count` numbered records and checks that the topic holds each once, in order, where it was acknowledged.
async fn send_and_check(cluster: &Arc<Cluster>, topic: &Arc<str>, producer: &Producer, count: u32) {
    let mut deliveries = Vec::new();
    // As old as they are: retention removes what is older than a week while the test reads.
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = since_1970.unwrap().as_millis() as i64;
    for number in 0..count {
        let key = format!("SYM{}", number % 8);
        let value = format!("{number:08} {}", "x".repeat(120));
        let record = Record {
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[("stockflow-source", b"test")],
            timestamp_ms: now + i64::from(number),
        };
        deliveries.push(producer.send(&record).await.unwrap());
    }
    producer.flush().await;
    let mut expected: Vec<Vec<(i64, String)>> = vec![Vec::new(); PARTITIONS as usize];
    for (number, delivery) in deliveries.iter().enumerate() {
        let acknowledged = delivery.outcome().unwrap().unwrap();
        let offset = acknowledged.offset.unwrap_or(-1);
        expected[acknowledged.partition as usize].push((offset, format!("{number:08}")));
    }
    for (partition, expected) in expected.iter().enumerate() {
        let read = read_all(cluster, topic, partition as i32).await;
        assert_eq!(read.len(), expected.len(), "partition {partition}");
        for ((offset, _, value), (promised, number)) in read.iter().zip(expected) {
            assert!(
                value.starts_with(number.as_bytes()),
                "partition {partition}, offset {offset}"
            );
            assert!(*promised == -1 || promised == offset);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_codec_is_taken_by_the_broker_and_read_back() {
    let Some(cluster) = kafka() else { return };
    for codec in [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ] {
        let topic = new_topic(&cluster, "codec").await;
        let producer = Producer::start(Arc::clone(&cluster), settings(&topic, codec))
            .await
            .unwrap();
        send_and_check(&cluster, &topic, &producer, 5_000).await;
        assert!(
            producer
                .close(Instant::now() + Duration::from_secs(5))
                .await
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_connections_double_and_lose_nothing() {
    let Some(cluster) = kafka() else { return };
    let topic = new_topic(&cluster, "broken").await;
    let small = Settings {
        batch_size: 4_096,
        linger: Duration::from_millis(1),
        message_timeout: LIMIT,
        ..settings(&topic, Codec::Lz4)
    };
    let producer = Producer::start(Arc::clone(&cluster), small).await.unwrap();
    let node = cluster.topic(&topic).await.unwrap().leader(0).unwrap();
    // Cut by progress and not by time, so that a slow broker is not cut before it could answer: batches are made only as
    // fast as those before them are acknowledged.
    let cut = async {
        let mut cut_at = 0;
        let mut cuts = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let made = producer.volume().plain;
            if made < cut_at {
                continue;
            }
            if let Ok(connection) = cluster.connection(node, Lane::Produce).await {
                connection.close();
                cuts += 1;
                cut_at = made + 256 * 1_024;
            }
            assert!(cuts < 1_000, "it is cut and makes no progress");
        }
    };
    let sent = tokio::time::timeout(LIMIT, async {
        tokio::select! {
            () = send_and_check(&cluster, &topic, &producer, 60_000) => {}
            () = cut => {}
        }
    });
    assert!(
        sent.await.is_ok(),
        "broken_connections_double_and_lose_nothing: not done within {LIMIT:?}"
    );
    assert!(producer.close(Instant::now() + LIMIT).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_too_large_is_named_and_ends_the_producer() {
    let Some(cluster) = kafka() else { return };
    let topic = new_topic(&cluster, "large").await;
    let plain = settings(&topic, Codec::None);
    let producer = Producer::start(Arc::clone(&cluster), plain).await.unwrap();
    let small = Record {
        key: Some(b"IBM"),
        value: Some(b"small"),
        ..Record::default()
    };
    let value = vec![b'x'; 2 << 20];
    let large = Record {
        value: Some(&value),
        ..small
    };
    let mut deliveries = Vec::new();
    for record in [&small, &large, &small] {
        deliveries.push(producer.send(record).await.unwrap());
    }
    producer.flush().await;
    assert!(deliveries[0].wait().await.is_ok());
    let error = deliveries[1].wait().await.unwrap_err();
    assert!(!error.possibly_written());
    let text = error.to_string();
    assert!(
        text.contains("(key \"IBM\")")
            && text.contains("raise the topic's max.message.bytes")
            && !text.contains("Kafka.BatchSize"),
        "{text}"
    );
    // What comes behind it is not written either, so that it can be offered again in its order.
    assert!(deliveries[2].wait().await.is_err());
    assert_eq!(
        read_all(
            &cluster,
            &topic,
            deliveries[0].wait().await.unwrap().partition
        )
        .await
        .len(),
        1
    );
    let refused = producer.send(&small).await;
    assert!(
        matches!(refused, Err(SendError::GaveUp { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_up_what_is_left_and_says_so() {
    let Some(cluster) = kafka() else { return };
    let topic = new_topic(&cluster, "stop").await;
    let patient = Settings {
        linger: Duration::from_secs(60),
        ..settings(&topic, Codec::None)
    };
    let producer = Producer::start(Arc::clone(&cluster), patient)
        .await
        .unwrap();
    let record = Record {
        value: Some(b"x"),
        ..Record::default()
    };
    let delivery = producer.send(&record).await.unwrap();
    assert!(!producer.close(Instant::now()).await);
    assert!(matches!(
        delivery.wait().await,
        Err(DeliveryError::Stopped { .. })
    ));
    assert!(matches!(
        producer.send(&record).await,
        Err(SendError::Closed { .. })
    ));
}
