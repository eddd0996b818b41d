//! Records of any kind onto a topic, and off it, past the program.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use stockflow::{
    consumer::{self, Bound, Isolation, Reader},
    producer::{self, Producer},
    wire::{
        cluster,
        records::{Codec, Scratch},
    },
};

/// A record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Raw {
    pub(crate) fn new(key: &[u8], value: Option<&[u8]>) -> Self {
        Self {
            key: Some(key.to_vec()),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let header = self.headers.iter().find(|(key, _)| key == name)?;
        Some(String::from_utf8_lossy(&header.1).into_owned())
    }
}

fn connect(address: &str) -> Arc<cluster::Cluster> {
    cluster::Cluster::new(cluster::Settings {
        bootstrap: vec![address.to_owned()],
        client_id: "front-door".into(),
        request_timeout: Duration::from_secs(30),
        reconnect_backoff: Duration::from_millis(100),
        reconnect_backoff_max: Duration::from_secs(1),
        metadata_max_age: Duration::from_secs(300),
        connections_max_idle: Duration::from_secs(540),
        max_fetch_response_bytes: 128 << 20,
    })
}

/// Publishes records and waits until all are acknowledged.
pub(crate) async fn publish(
    address: &str,
    topic: &str,
    transactional_id: Option<&str>,
    records: impl IntoIterator<Item = Raw>,
) {
    let settings = producer::Settings {
        topic: topic.into(),
        codec: Codec::Lz4,
        partitioner: producer::Scheme::Murmur2,
        linger: Duration::from_millis(5),
        batch_size: 262_144,
        message_timeout: Duration::from_secs(120),
        transactional_id: transactional_id.map(Into::into),
        on_timeout: producer::OnTimeout::GiveUp,
        max_in_flight: 5,
        buffer: 32 << 20,
        request_timeout: Duration::from_secs(30),
        seed: 1,
    };
    let producer = Producer::start(connect(address), settings)
        .await
        .expect("a producer");
    let mut last = None;
    for record in records {
        let headers: Vec<(&str, &[u8])> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let new = producer::Record {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
            timestamp_ms: chrono::Utc::now().timestamp_millis(),
        };
        last = Some(producer.send(&new).await.expect("taken"));
    }
    producer.flush().await;
    producer.commit().await.expect("committed");
    if let Some(last) = last {
        last.wait().await.expect("acknowledged");
    }
}

/// All records of a topic, by partition and offset.
pub(crate) async fn read(address: &str, topic: &str) -> Vec<((i32, i64), Raw)> {
    let cluster = connect(address);
    let topic: Arc<str> = topic.into();
    let described = cluster.refresh_topic(&topic).await.expect("a topic");
    let partitions: Vec<i32> = (0..).take(described.partitions.len()).collect();
    let isolation = Isolation::ReadCommitted;
    let list = |bound| consumer::list_offsets(&cluster, &topic, isolation, &partitions, bound);
    let starts: BTreeMap<i32, i64> = list(Bound::Earliest).await.expect("starts");
    let ends = list(Bound::Latest).await.expect("ends");
    let mut reader = Reader::start(&cluster, &topic, isolation, &starts, &ends);
    let mut scratch = Scratch::default();
    let mut all = Vec::new();
    while let Some(chunk) = reader.next().await.expect("data") {
        for batch in chunk.batches() {
            for record in batch.records(&mut scratch).expect("records") {
                let record = record.expect("a record");
                let headers = record.headers.iter().flatten().map(|header| {
                    let name = String::from_utf8_lossy(header.key).into_owned();
                    (name, header.value.unwrap_or_default().to_vec())
                });
                let raw = Raw {
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: headers.collect(),
                };
                all.push(((chunk.partition(), record.offset), raw));
            }
        }
    }
    all.sort_by_key(|(place, _)| *place);
    all
}

/// An event, as the program writes it.
pub(crate) fn event(number: u64) -> String {
    format!(
        r#"{{"TradeId":"t-{number}","Symbol":"IBM","Side":"Buy","Quantity":{number},"Price":314.1,"Timestamp":"2025-11-06T20:59:00Z"}}"#
    )
}

/// Runs async code of a test.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .expect("a runtime")
        .block_on(work)
}
