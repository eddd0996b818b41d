//! Publishes events with krafka, idempotent.

mod events;

use std::time::{Duration, Instant};

use clap::Parser;
use krafka::{Compression, Kafka, Record, producer::Acks};

/// How many handles are kept before the oldest is waited for.
const UNDER_WAY: usize = 50_000;

#[tokio::main]
async fn main() {
    let arguments = events::Arguments::parse();
    let kafka = Kafka::builder(arguments.brokers.clone()).connect().await.expect("a client");
    let producer = kafka
        .producer()
        .acks(Acks::All)
        .idempotent(true)
        .linger(Duration::from_millis(arguments.linger_ms))
        .batch_size(262_144)
        .compression(match arguments.compression.as_str() {
            "none" => Compression::None,
            _ => Compression::Lz4,
        })
        .build()
        .await
        .expect("a producer");
    let mut value = Vec::new();
    let mut handles = std::collections::VecDeque::new();
    let started = Instant::now();
    for number in 0..arguments.count {
        let symbol = events::event(number, &mut value);
        let record = Record::new(arguments.topic.as_str(), value.clone()).key(symbol);
        handles.push_back(producer.enqueue(record).await.expect("taken"));
        if handles.len() > UNDER_WAY
            && let Some(oldest) = handles.pop_front()
        {
            drop(oldest.await.expect("acknowledged"));
        }
    }
    for handle in handles {
        drop(handle.await.expect("acknowledged"));
    }
    let seconds = started.elapsed().as_secs_f64();
    producer.close().await.expect("closed");
    println!("{{\"published\":{},\"seconds\":{seconds:.3}}}", arguments.count);
}
