//! Reads a topic into CSV files with librdkafka: large fetches and queues, offsets committed once a second and at the
//! end.

mod rows;

use std::time::{Duration, Instant};

use clap::Parser;
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

fn main() -> rows::Outcome<()> {
    let arguments = rows::Arguments::parse();
    let mut sheets = rows::Sheets::new(&arguments)?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &arguments.brokers)
        .set("group.id", format!("{}-librdkafka-{}", arguments.topic, std::process::id()))
        .set("group.protocol", "consumer")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.queue.backoff.ms", "1")
        .set("fetch.message.max.bytes", "8388608")
        .set("queued.min.messages", "1000000")
        .set("queued.max.messages.kbytes", "262144")
        .create()?;
    consumer.subscribe(&[&arguments.topic])?;
    let mut rows = 0;
    let mut committed = Instant::now();
    while rows < arguments.count {
        let Some(message) = consumer.poll(Duration::from_secs(1)) else {
            continue;
        };
        let message = message?;
        if let Some(value) = message.payload() {
            sheets.put(message.partition(), value)?;
            rows += 1;
        }
        if rows % 10_000 == 0 && committed.elapsed() > Duration::from_secs(1) {
            consumer.commit_consumer_state(CommitMode::Async)?;
            committed = Instant::now();
        }
    }
    consumer.commit_consumer_state(CommitMode::Sync)?;
    sheets.close(rows)
}
