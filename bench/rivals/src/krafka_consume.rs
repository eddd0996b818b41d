//! Reads a topic into CSV files with krafka: KIP-848, large fetches, offsets committed once a second and at the end.

mod rows;

use std::time::{Duration, Instant};

use clap::Parser;
use krafka::Kafka;
use krafka::consumer::{AutoOffsetReset, GroupProtocol};

#[tokio::main]
async fn main() -> rows::Outcome<()> {
    let arguments = rows::Arguments::parse();
    let mut sheets = rows::Sheets::new(&arguments)?;
    let kafka = Kafka::builder(arguments.brokers.clone()).connect().await?;
    let consumer = kafka
        .consumer(format!("{}-krafka-{}", arguments.topic, std::process::id()))
        .group_protocol(GroupProtocol::Consumer)
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .enable_auto_commit(false)
        .fetch_min_bytes(1)
        .fetch_max_bytes(50 << 20)
        .max_partition_fetch_bytes(8 << 20)
        .max_poll_records(50_000)
        .max_buffered_records(500_000)
        .build()
        .await?;
    consumer.subscribe([arguments.topic.as_str()]).await?;
    let mut rows = 0;
    let mut committed = Instant::now();
    while rows < arguments.count {
        for record in consumer.poll(Duration::from_secs(1)).await? {
            if let Some(value) = &record.value {
                sheets.put(record.partition, value)?;
                rows += 1;
            }
        }
        if committed.elapsed() > Duration::from_secs(1) {
            consumer.commit().await?;
            committed = Instant::now();
        }
    }
    consumer.commit().await?;
    consumer.close().await?;
    sheets.close(rows)
}
