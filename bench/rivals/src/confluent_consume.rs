//! Reads a topic into CSV files with Confluent's Rust client: KIP-848, large fetches, offsets committed once a second
//! and at the end.

mod rows;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clap::Parser;
use confluent_kafka::common::serialization::BytesDeserializer;
use confluent_kafka::consumer::{Consumer, ConsumerConfig, KafkaConsumer};

#[tokio::main]
async fn main() -> rows::Outcome<()> {
    let arguments = rows::Arguments::parse();
    let mut sheets = rows::Sheets::new(&arguments)?;
    let settings = [
        ("bootstrap.servers", arguments.brokers.clone()),
        ("group.id", format!("{}-confluent-{}", arguments.topic, std::process::id())),
        ("group.protocol", "consumer".to_owned()),
        ("auto.offset.reset", "earliest".to_owned()),
        ("enable.auto.commit", "false".to_owned()),
        ("max.poll.records", "50000".to_owned()),
        ("max.partition.fetch.bytes", "8388608".to_owned()),
        ("fetch.max.bytes", "52428800".to_owned()),
    ];
    let settings: HashMap<String, String> = settings.map(|(key, value)| (key.to_owned(), value)).into();
    let config = ConsumerConfig::new(&settings)?;
    let mut consumer = KafkaConsumer::new(config, BytesDeserializer::new(), BytesDeserializer::new())?;
    consumer.subscribe_with_topics(vec![arguments.topic.clone()]).await?;
    let mut rows = 0;
    let mut committed = Instant::now();
    while rows < arguments.count {
        for record in &consumer.poll(Duration::from_secs(1)).await? {
            if let Some(value) = record.value() {
                sheets.put(record.partition(), value)?;
                rows += 1;
            }
        }
        if committed.elapsed() > Duration::from_secs(1) {
            consumer.commit_sync().await?;
            committed = Instant::now();
        }
    }
    consumer.commit_sync().await?;
    consumer.close().await?;
    sheets.close(rows)
}
