//! Records of any kind onto a topic, and off it, past the program.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc, time::Duration};

use stockflow::{
    consumer::{self, Bound, Isolation, Reader},
    producer::{self, Producer},
    wire::{
        cluster,
        messages::{PartitionProduceData, ProduceRequest, TopicProduceData},
        records::{BatchBuilder, Codec, Entry, HEADER_LEN, NewRecord, Scratch},
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
    let producer = begin(address, topic, transactional_id, records).await;
    producer.commit().await.expect("committed");
}

/// Publishes records and waits until all are there; the transaction is open as long as the producer is.
pub(crate) async fn begin(
    address: &str,
    topic: &str,
    transactional_id: Option<&str>,
    records: impl IntoIterator<Item = Raw>,
) -> Producer {
    let settings = producer::Settings {
        topic: topic.into(),
        codec: Codec::Lz4,
        partitioner: producer::Scheme::Murmur2,
        linger: Duration::from_millis(5),
        batch_size: 262_144,
        message_timeout: Duration::from_secs(120),
        transactional_id: transactional_id.map(Into::into),
        on_timeout: producer::OnTimeout::GiveUp,
        idempotent: true,
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
    if let Some(last) = last {
        last.wait().await.expect("acknowledged");
    }
    producer
}

/// A batch of these values as a producer without idempotence makes it, after `edit` has changed its records as they lie
/// there; its header is right for what comes out of that.
pub(crate) fn batch(values: &[&[u8]], codec: Codec, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut builder = BatchBuilder::with_capacity(0);
    let now = chrono::Utc::now().timestamp_millis();
    for value in values {
        let record = NewRecord {
            key: Some(b"IBM"),
            value: Some(value),
            // Brokers delete what is older than a week.
            timestamp_ms: now,
            ..NewRecord::default()
        };
        builder.append(&record).expect("it fits");
    }
    let made = builder.finish(codec, None, false).expect("a batch");
    let mut head = made.bytes()[..HEADER_LEN].to_vec();
    let mut records = made.bytes()[HEADER_LEN..].to_vec();
    edit(&mut records);
    head.append(&mut records);
    seal(&mut head);
    head
}

/// Makes length and checksum of a batch right.
pub(crate) fn seal(batch: &mut [u8]) {
    let length = i32::try_from(batch.len() - 12).expect("a length");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Gives an uncompressed batch's records these offsets, relative to the first.
pub(crate) fn renumber(records: &mut [u8], deltas: &[u8]) {
    let mut at = 0;
    for delta in deltas {
        let (length, bytes) = varint(&records[at..]);
        at += bytes;
        // Behind the attributes and the difference of the timestamp, a byte each.
        records[at + 2] = delta << 1;
        at += length;
    }
}

/// A length, and how many bytes it takes.
fn varint(bytes: &[u8]) -> (usize, usize) {
    let mut value = 0;
    for (place, byte) in bytes.iter().enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return (value >> 1, place + 1);
        }
    }
    panic!("no length")
}

/// Appends a batch as it is to a partition; the offset that it got, or the broker's error code.
pub(crate) async fn append(
    address: &str,
    topic: &str,
    partition: i32,
    batch: Vec<u8>,
) -> Result<i64, i16> {
    append_all(address, topic, [(partition, batch)]).await
}

/// Appends batches as they are to partitions, one after the other; what became of the last, or of the first that was
/// refused.
pub(crate) async fn append_all(
    address: &str,
    topic: &str,
    batches: impl IntoIterator<Item = (i32, Vec<u8>)>,
) -> Result<i64, i16> {
    let cluster = connect(address);
    let described = cluster.make_topic(topic).await.expect("a topic");
    let mut offset = -1;
    for (partition, batch) in batches {
        let leader = described.partitions[partition as usize].leader;
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.into(),
                partition_data: vec![PartitionProduceData {
                    index: partition,
                    records: Some(batch.into()),
                }],
            }],
            ..Default::default()
        };
        let leader = leader.expect("a leader");
        let mut tries = 0;
        offset = loop {
            let answer = cluster.request(leader, cluster::Lane::Produce, &request);
            let answer = answer.await.expect("an answer");
            let answer = &answer.responses[0].partition_responses[0];
            match answer.error_code {
                0 => break answer.base_offset,
                // A topic that was just made: its leader does not know of it yet.
                3 | 6 if tries < 100 => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                code => return Err(code),
            }
        };
    }
    Ok(offset)
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
        let read = chunk.each(&mut scratch, |entry| {
            let Entry::Record(record) = entry else {
                panic!("too large: {entry:?}")
            };
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
            ControlFlow::Continue(())
        });
        let _ = read.expect("records");
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
