//! What the sink is told: where to write, in which form, and which topic and group the directory belongs to.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use uuid::Uuid;

/// How rows are written, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory of the CSV files; made when it is missing.
    pub directory: PathBuf,
    /// The columns of a row, in order; see [`Column::DEFAULT`].
    pub columns: Vec<Column>,
    /// Which date names a row's file.
    pub file_date: FileDate,
    /// Goes into every file's name, so that the files of several directories can be put together:
    /// 1 to 64 letters, digits, `_` and `-`.
    pub instance: Option<String>,
    /// How many data files are kept open at once, 1 or more; the least recently written one is closed first.
    pub max_open_files: usize,
    /// What happens to a record that is not a trade.
    pub bad_records: BadRecords,
    /// When a new part begins.
    pub roll: Roll,
    /// Whether a file is seen while it grows.
    pub publish: Publish,
    /// How closed files are compressed.
    pub compression: Compression,
}

/// When a file of rows takes no more of them and a new part begins, beside the change of its date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// When it would be longer than so many bytes; a single row that is longer has a file of its own.
    pub bytes: Option<u64>,
    /// When it is so old, also when nothing comes; whole seconds.
    pub age: Option<Duration>,
}

/// Whether a file of rows is seen while it grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// It grows under its name.
    #[default]
    Append,
    /// It appears under its name when it is closed, whole.
    Atomic,
}

/// How closed files of rows are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952; the name ends in `.gz`.
    Gzip,
    /// RFC 8878; the name ends in `.zst`.
    Zstd,
}

/// A column of the CSV files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// Ticker symbol.
    Symbol,
    /// `Buy` or `Sell`.
    Side,
    /// Shares.
    Quantity,
    /// Decimal price, to the letter.
    Price,
    /// When the trade was, to the letter.
    Timestamp,
    /// The event's identity; empty where it has none. As it is, or in base64, as the key.
    TradeId,
    /// The record's partition.
    Partition,
    /// The record's offset in its partition.
    Offset,
    /// The topic.
    Topic,
    /// The record's key: as it is when it is printable ASCII, not the start of a spreadsheet formula, and does not end in
    /// `=`; else in base64, which always does.
    Key,
}

impl Column {
    /// The columns that are written when nothing else is asked for.
    pub const DEFAULT: [Self; 5] = [
        Self::Symbol,
        Self::Side,
        Self::Quantity,
        Self::Price,
        Self::Timestamp,
    ];

    const ALL: [Self; 10] = [
        Self::Symbol,
        Self::Side,
        Self::Quantity,
        Self::Price,
        Self::Timestamp,
        Self::TradeId,
        Self::Partition,
        Self::Offset,
        Self::Topic,
        Self::Key,
    ];

    /// The column's name in the header and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Symbol => "Symbol",
            Self::Side => "Side",
            Self::Quantity => "Quantity",
            Self::Price => "Price",
            Self::Timestamp => "Timestamp",
            Self::TradeId => "TradeId",
            Self::Partition => "Partition",
            Self::Offset => "Offset",
            Self::Topic => "Topic",
            Self::Key => "Key",
        }
    }
}

/// A name that is no column's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is not a column; the columns are Symbol, Side, Quantity, Price, Timestamp, TradeId, Partition, Offset, Topic and Key"
)]
pub struct UnknownColumn(String);

impl FromStr for Column {
    type Err = UnknownColumn;

    /// Matched without regard to case.
    fn from_str(name: &str) -> Result<Self, UnknownColumn> {
        let found = Self::ALL
            .into_iter()
            .find(|column| column.as_str().eq_ignore_ascii_case(name.trim()));
        found.ok_or_else(|| UnknownColumn(name.to_owned()))
    }
}

/// Which date names the file of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileDate {
    /// The event's own date in UTC: reading a topic again makes the same files.
    #[default]
    Event,
    /// The date of writing, in UTC.
    Processing,
}

/// What happens to a record that is not a trade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadRecords {
    /// It is written into the day's dead letters file.
    #[default]
    DeadLetter,
    /// Writing stops with an error that names it.
    Fail,
    /// It is counted and passed over.
    Skip,
}

/// What a directory belongs to: rows of two topics, or of two groups, never meet in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The id of the Kafka cluster.
    pub cluster_id: String,
    /// The topic's name.
    pub topic: String,
    /// The topic's id, from brokers that tell it (Metadata 10 and later, KIP-516).
    pub topic_id: Option<Uuid>,
    /// The consumer group.
    pub group: String,
}
