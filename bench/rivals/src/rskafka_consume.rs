//! Reads a topic into CSV files with rskafka's own client, serde_json and csv: the short program that a person who
//! knows these crates writes in an afternoon, with the care of a good one (large fetches, borrowed strings, buffered
//! writing, one task a partition) and without groups, commits or recovery, which the client does not have.
//!
//! It reads up to the high watermarks seen at the start, writes a file a partition, and ends with fsync.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use clap::Parser;
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{OffsetAt, PartitionClient, UnknownTopicHandling};
use serde::Deserialize;
use serde_json::value::RawValue;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes asked for in one fetch: enough for the round trip to vanish, little enough to stay in the cache's reach.
const FETCH_BYTES: i32 = 8 * 1024 * 1024;
const WAIT_MS: i32 = 500;
const BUFFER_BYTES: usize = 1024 * 1024;

/// Reads a topic into CSV files with rskafka's own client.
#[derive(Parser)]
struct Arguments {
    /// Bootstrap addresses, with commas between them
    #[arg(long, value_delimiter = ',')]
    brokers: Vec<String>,
    #[arg(long)]
    topic: String,
    /// How many partitions the topic has
    #[arg(long)]
    partitions: i32,
    /// The directory for the files
    #[arg(long)]
    out: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TradeEvent<'a> {
    symbol: &'a str,
    side: &'a str,
    quantity: u64,
    /// As its digits: through a float it would not come out as it went in.
    #[serde(borrow)]
    price: &'a RawValue,
    timestamp: &'a str,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let client = ClientBuilder::new(arguments.brokers).build().await?;
    let mut tasks = Vec::new();
    for partition in 0..arguments.partitions {
        let reader = client.partition_client(&arguments.topic, partition, UnknownTopicHandling::Error).await?;
        let file = File::create_new(arguments.out.join(format!("partition-{partition}.csv")))?;
        tasks.push(tokio::spawn(copy(reader, file)));
    }
    let mut rows = 0;
    for task in tasks {
        rows += task.await??;
    }
    println!("{{\"rows_written\":{rows}}}");
    Ok(())
}

/// Copies one partition into one file; gives the number of rows.
async fn copy(reader: PartitionClient, file: File) -> Outcome<u64> {
    let mut csv = csv::Writer::from_writer(BufWriter::with_capacity(BUFFER_BYTES, file));
    csv.write_record(["Symbol", "Side", "Quantity", "Price", "Timestamp"])?;
    let end = reader.get_offset(OffsetAt::Latest).await?;
    let mut next = reader.get_offset(OffsetAt::Earliest).await?;
    let mut rows = 0;
    while next < end {
        let (records, _) = reader.fetch_records(next, 1..FETCH_BYTES, WAIT_MS).await?;
        for fetched in records {
            next = fetched.offset + 1;
            if let Some(value) = &fetched.record.value {
                let event: TradeEvent<'_> = serde_json::from_slice(value)?;
                csv.serialize((event.symbol, event.side, event.quantity, event.price.get(), event.timestamp))?;
                rows += 1;
            }
        }
    }
    let buffered = csv.into_inner().map_err(|error| error.into_error())?;
    buffered.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(rows)
}
