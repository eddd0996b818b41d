//! Publishes events with rskafka's own client: batches of a few thousand records, one request under way a partition. It
//! has no idempotence: a retry can double a batch, so this is the upper bound of what it can do.

mod events;

use std::{collections::BTreeMap, time::Instant};

use chrono::Utc;
use clap::Parser;
use rskafka::{
    client::{
        ClientBuilder,
        partition::{Compression, UnknownTopicHandling},
    },
    record::Record,
};

const PARTITIONS: usize = 3;
/// About as many as fit into 256 KiB.
const BATCH: usize = 1_500;

#[tokio::main]
async fn main() {
    let arguments = events::Arguments::parse();
    let brokers = arguments.brokers.split(',').map(str::to_owned).collect();
    let client = ClientBuilder::new(brokers).build().await.expect("a client");
    let compression = match arguments.compression.as_str() {
        "none" => Compression::NoCompression,
        _ => Compression::Lz4,
    };
    let mut lanes = Vec::new();
    let mut tasks = Vec::new();
    for partition in 0..PARTITIONS {
        let writer = client
            .partition_client(&arguments.topic, partition as i32, UnknownTopicHandling::Error)
            .await
            .expect("the partition");
        let (lane, mut batches) = tokio::sync::mpsc::channel::<Vec<Record>>(4);
        lanes.push(lane);
        tasks.push(tokio::spawn(async move {
            while let Some(batch) = batches.recv().await {
                writer.produce(batch, compression).await.expect("acknowledged");
            }
        }));
    }
    let started = Instant::now();
    let mut open: Vec<Vec<Record>> = (0..PARTITIONS).map(|_| Vec::with_capacity(BATCH)).collect();
    let mut value = Vec::new();
    for number in 0..arguments.count {
        let symbol = events::event(number, &mut value);
        let place = events::SYMBOLS.iter().position(|other| *other == symbol).expect("a symbol");
        let partition = place % PARTITIONS;
        open[partition].push(Record {
            key: Some(symbol.into()),
            value: Some(value.clone()),
            headers: BTreeMap::new(),
            timestamp: Utc::now(),
        });
        if open[partition].len() == BATCH {
            let batch = std::mem::replace(&mut open[partition], Vec::with_capacity(BATCH));
            lanes[partition].send(batch).await.expect("its task");
        }
    }
    for (lane, rest) in lanes.into_iter().zip(open) {
        lane.send(rest).await.expect("its task");
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    println!(
        "{{\"published\":{},\"seconds\":{:.3}}}",
        arguments.count,
        started.elapsed().as_secs_f64()
    );
}
