//! Publishes events with librdkafka (through the crate rdkafka), idempotent, as its documentation advises for
//! throughput; with `--rate`, measures each event's acknowledgement.

mod events;

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use clap::Parser;
use rdkafka::{
    ClientConfig, ClientContext, Message,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};

#[derive(Default)]
struct Acknowledged {
    latencies: Mutex<Vec<Duration>>,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = Box<Option<Instant>>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Self::DeliveryOpaque) {
        if let Err((error, message)) = result {
            panic!("{error} at {:?}", message.key());
        }
        if let Some(sent) = *sent {
            self.latencies.lock().expect("nobody panics").push(sent.elapsed());
        }
    }
}

fn main() {
    let arguments = events::Arguments::parse();
    let producer: ThreadedProducer<Acknowledged> = ClientConfig::new()
        .set("bootstrap.servers", &arguments.brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", arguments.linger_ms.to_string())
        .set("batch.size", "262144")
        .set("queue.buffering.max.messages", "1000000")
        .set("compression.type", &arguments.compression)
        .set("partitioner", "murmur2_random")
        .create_with_context(Acknowledged::default())
        .expect("a producer");
    // Metadata and the producer id are there before the clock starts, as in the others.
    producer
        .client()
        .fetch_metadata(Some(&arguments.topic), Duration::from_secs(30))
        .expect("metadata");
    let mut value = Vec::new();
    let started = Instant::now();
    for number in 0..arguments.count {
        if let Some(rate) = arguments.rate {
            let due = started + Duration::from_secs_f64(number as f64 / rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let symbol = events::event(number, &mut value);
        let sent = arguments.rate.map(|_| Instant::now());
        let mut record = BaseRecord::with_opaque_to(&arguments.topic, Box::new(sent))
            .key(symbol)
            .payload(&value);
        while let Err((error, refused)) = producer.send(record) {
            assert!(
                matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)),
                "{error}"
            );
            record = refused;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    producer.flush(Duration::from_secs(120)).expect("all acknowledged");
    let seconds = started.elapsed().as_secs_f64();
    let mut latencies = producer.context().latencies.lock().expect("nobody panics").clone();
    latencies.sort_unstable();
    let rank = |per_mille: usize| {
        let rank = (latencies.len() * per_mille).div_ceil(1_000).saturating_sub(1);
        latencies.get(rank).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
    };
    println!(
        "{{\"published\":{},\"seconds\":{seconds:.3},\"latency_ms\":{{\"p50\":{:.3},\"p99\":{:.3},\"p99_9\":{:.3}}}}}",
        arguments.count,
        rank(500),
        rank(990),
        rank(999)
    );
}
