//! Reads a topic into CSV files with rskafka's own client, serde_json and csv: the short program that a person who
//! knows these crates writes in an afternoon, with the care of a good one (large fetches, borrowed strings, buffered
//! writing, one task a partition) and without groups, commits or recovery, which the client does not have.
//!
//! It reads up to the high watermarks seen at the start, writes a file a partition, and ends with fsync.

mod rows;

use clap::Parser;
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{OffsetAt, PartitionClient, UnknownTopicHandling};

/// Bytes asked for in one fetch: enough for the round trip to vanish, little enough to stay in the cache's reach.
const FETCH_BYTES: i32 = 8 * 1024 * 1024;
const WAIT_MS: i32 = 500;

#[tokio::main]
async fn main() -> rows::Outcome<()> {
    let arguments = rows::Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let brokers = arguments.brokers.split(',').map(str::to_owned).collect();
    let client = ClientBuilder::new(brokers).build().await?;
    let mut tasks = Vec::new();
    for partition in 0..arguments.partitions {
        let reader = client.partition_client(&arguments.topic, partition, UnknownTopicHandling::Error).await?;
        let sheet = rows::Sheet::new(&arguments.out, partition)?;
        tasks.push(tokio::spawn(copy(reader, sheet)));
    }
    let mut rows = 0;
    for task in tasks {
        rows += task.await??;
    }
    println!("{{\"rows_written\":{rows}}}");
    Ok(())
}

/// Copies one partition into one file; gives the number of rows.
async fn copy(reader: PartitionClient, mut sheet: rows::Sheet) -> rows::Outcome<u64> {
    let end = reader.get_offset(OffsetAt::Latest).await?;
    let mut next = reader.get_offset(OffsetAt::Earliest).await?;
    let mut rows = 0;
    while next < end {
        let (records, _) = reader.fetch_records(next, 1..FETCH_BYTES, WAIT_MS).await?;
        for fetched in records {
            next = fetched.offset + 1;
            if let Some(value) = &fetched.record.value {
                sheet.put(value)?;
                rows += 1;
            }
        }
    }
    sheet.close()?;
    Ok(rows)
}
