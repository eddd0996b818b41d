//! What every rival that reads does with a record: the JSON through serde_json, the row through csv, a file a
//! partition, flushed and synced at the end.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use clap::Parser;
use serde::Deserialize;
use serde_json::value::RawValue;

pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const BUFFER_BYTES: usize = 1024 * 1024;

/// What every rival is told.
#[derive(Parser)]
pub struct Arguments {
    /// Bootstrap addresses, with commas between them
    #[arg(long)]
    pub brokers: String,
    #[arg(long)]
    pub topic: String,
    /// How many partitions the topic has
    #[arg(long)]
    pub partitions: i32,
    /// How many events it holds
    #[arg(long)]
    pub count: u64,
    /// The directory for the files
    #[arg(long)]
    pub out: PathBuf,
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

/// The file of one partition.
pub struct Sheet {
    csv: csv::Writer<BufWriter<File>>,
}

impl Sheet {
    pub fn new(out: &std::path::Path, partition: i32) -> Outcome<Self> {
        let file = File::create_new(out.join(format!("partition-{partition}.csv")))?;
        let mut csv = csv::Writer::from_writer(BufWriter::with_capacity(BUFFER_BYTES, file));
        csv.write_record(["Symbol", "Side", "Quantity", "Price", "Timestamp"])?;
        Ok(Self { csv })
    }

    pub fn put(&mut self, value: &[u8]) -> Outcome<()> {
        let event: TradeEvent<'_> = serde_json::from_slice(value)?;
        self.csv
            .serialize((event.symbol, event.side, event.quantity, event.price.get(), event.timestamp))?;
        Ok(())
    }

    pub fn close(self) -> Outcome<()> {
        let buffered = self.csv.into_inner().map_err(|error| error.into_error())?;
        buffered.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        Ok(())
    }
}

/// The files of all partitions, for those that poll them together.
pub struct Sheets(Vec<Sheet>);

#[allow(dead_code, reason = "not every rival polls all partitions together")]
impl Sheets {
    pub fn new(arguments: &Arguments) -> Outcome<Self> {
        std::fs::create_dir_all(&arguments.out)?;
        let sheets = (0..arguments.partitions).map(|partition| Sheet::new(&arguments.out, partition));
        Ok(Self(sheets.collect::<Outcome<_>>()?))
    }

    pub fn put(&mut self, partition: i32, value: &[u8]) -> Outcome<()> {
        self.0[usize::try_from(partition)?].put(value)
    }

    pub fn close(self, rows: u64) -> Outcome<()> {
        self.0.into_iter().try_for_each(Sheet::close)?;
        println!("{{\"rows_written\":{rows}}}");
        Ok(())
    }
}
