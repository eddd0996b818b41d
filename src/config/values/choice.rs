//! Settings that take one of a few names.
//!
//! A name matches however .NET or librdkafka write it: case, `-`, `_` and `.` do not count (`SaslSsl`, `SASL_SSL`).
//! A name under `later` is a legal one that this version cannot honour; it has no variant, so no code can meet it.

/// A type whose values have names in the configuration.
pub trait Choice: Copy + 'static {
    /// The names that work, each in its first spelling.
    const NAMES: &'static [&'static str];
    /// Names that are legal and that this version does not have.
    const LATER: &'static [&'static str];
    /// The value of that name, in any spelling.
    fn from_name(name: &str) -> Option<Self>;
    /// The name in its first spelling.
    fn name(self) -> &'static str;
}

/// What is left of a name when case and separators do not count.
pub(in crate::config) fn bare(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '-' | '_' | '.' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

macro_rules! choices {
    ($(
        $(#[$meta:meta])*
        pub enum $type:ident {
            $($(#[$doc:meta])* $variant:ident = $name:literal $(| $alias:literal)*,)+
        } $(later $($later:literal),+;)?
    )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$doc])* $variant,)+ }

        impl Choice for $type {
            const NAMES: &'static [&'static str] = &[$($name),+];
            const LATER: &'static [&'static str] = &[$($($later),+)?];

            fn from_name(name: &str) -> Option<Self> {
                let name = bare(name);
                $(if name == bare($name) $(|| name == bare($alias))* { return Some(Self::$variant); })+
                None
            }

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    )+};
}

choices! {
    /// How brokers are talked to.
    pub enum SecurityProtocol {
        /// Plain TCP.
        Plaintext = "Plaintext",
    } later "Ssl", "SaslPlaintext", "SaslSsl";

    /// How a key finds its partition.
    pub enum Partitioner {
        /// Java's: murmur2 of the key; without a key, any.
        Murmur2Random = "murmur2_random" | "murmur2",
        /// librdkafka's: CRC-32 of the key; without a key, or with an empty one, any.
        ConsistentRandom = "consistent_random",
    } later "consistent", "random", "fnv1a", "fnv1a_random";

    /// How batches are compressed.
    pub enum CompressionType {
        /// Not at all.
        None = "none",
        /// Deflate in gzip's framing.
        Gzip = "gzip",
        /// Snappy, framed as Java's clients do.
        Snappy = "snappy",
        /// LZ4 frames.
        Lz4 = "lz4",
        /// Zstandard.
        Zstd = "zstd",
    }

    /// Which group protocol the consumer speaks.
    pub enum GroupProtocol {
        /// The best that broker and program both have.
        Auto = "auto",
        /// JoinGroup, SyncGroup, Heartbeat: the members share the partitions out.
        Classic = "classic",
        /// KIP-848: the broker shares the partitions out.
        Consumer = "consumer",
    }

    /// How partitions are shared out in a group.
    pub enum PartitionAssignmentStrategy {
        /// Contiguous ranges of each topic.
        Range = "range",
        /// Partitions go round among the members.
        RoundRobin = "roundrobin" | "round-robin",
        /// Members keep what they had, and give everything up while the group is made anew.
        Sticky = "sticky",
        /// Members keep what they have, and give up only what moves (KIP-429).
        CooperativeSticky = "cooperative-sticky",
    }

    /// Where a group without offsets begins.
    pub enum AutoOffsetReset {
        /// At the oldest record.
        Earliest = "earliest" | "smallest" | "beginning",
        /// At the next record.
        Latest = "latest" | "largest" | "end",
    }

    /// Which records of transactions are read.
    pub enum IsolationLevel {
        /// Committed ones, up to the last stable offset.
        ReadCommitted = "read_committed",
        /// All, up to the high watermark.
        ReadUncommitted = "read_uncommitted",
    }

    /// Where market data comes from.
    pub enum SourceKind {
        /// The Alpha Vantage API.
        AlphaVantage = "alpha-vantage",
        /// A seeded random walk.
        Simulated = "simulated" | "simulation",
        /// Saved bodies or events.
        Replay = "replay",
    }

    /// Which Alpha Vantage function is asked.
    pub enum Function {
        /// The best that the key may use.
        Auto = "auto",
        /// TIME_SERIES_INTRADAY.
        Intraday = "intraday" | "TIME_SERIES_INTRADAY",
        /// GLOBAL_QUOTE.
        Quote = "quote" | "GLOBAL_QUOTE",
        /// REALTIME_BULK_QUOTES: up to 100 symbols a request.
        BulkQuotes = "bulk-quotes" | "REALTIME_BULK_QUOTES",
        /// TIME_SERIES_DAILY.
        Daily = "daily" | "TIME_SERIES_DAILY",
    }

    /// The length of an intraday bar.
    pub enum Interval {
        /// One minute.
        OneMinute = "1min",
        /// Five minutes.
        FiveMinutes = "5min",
        /// Fifteen minutes.
        FifteenMinutes = "15min",
        /// Thirty minutes.
        ThirtyMinutes = "30min",
        /// An hour.
        SixtyMinutes = "60min",
    }

    /// How much history a response holds.
    pub enum OutputSize {
        /// The latest 100 bars.
        Compact = "compact",
        /// All that there is.
        Full = "full",
    }

    /// Which data a paid key is entitled to.
    pub enum Entitlement {
        /// Real-time US market data.
        Realtime = "realtime",
        /// US market data 15 minutes late.
        Delayed = "delayed",
    }

    /// Which day names a CSV file.
    pub enum FileDate {
        /// The event's own, in UTC: reading a topic again makes the same files.
        Event = "event",
        /// The day on which the row is written, in UTC.
        Processing = "processing",
    }

    /// A column of the CSV files.
    pub enum Column {
        /// The ticker symbol.
        Symbol = "Symbol",
        /// Buy or Sell.
        Side = "Side",
        /// Shares.
        Quantity = "Quantity",
        /// The price, digit for digit.
        Price = "Price",
        /// When the trade was.
        Timestamp = "Timestamp",
        /// The event's identity.
        TradeId = "TradeId",
        /// The record's partition.
        Partition = "Partition",
        /// The record's offset.
        Offset = "Offset",
        /// The record's topic.
        Topic = "Topic",
        /// The record's key.
        Key = "Key",
    }

    /// What becomes of a record that is not a trade.
    pub enum BadRecords {
        /// It is kept as a dead letter.
        DeadLetter = "dead-letter",
        /// It ends the program.
        Fail = "fail",
        /// It is counted and passed over.
        Skip = "skip",
    }

    /// Whether a file is seen while it grows.
    pub enum Publish {
        /// It grows under its name.
        Append = "append",
        /// It appears under its name when it is closed.
        Atomic = "atomic",
    }

    /// How closed files are compressed.
    pub enum Compression {
        /// Not at all.
        None = "none",
        /// RFC 1952: `.gz`.
        Gzip = "gzip" | "gz",
        /// RFC 8878: `.zst`.
        Zstd = "zstd" | "zst",
    }

    /// How much is logged.
    pub enum Level {
        /// Everything.
        Trace = "trace",
        /// What a developer wants to know.
        Debug = "debug",
        /// What an operator wants to know.
        Info = "info" | "information",
        /// What needs attention.
        Warn = "warn" | "warning",
        /// What failed.
        Error = "error" | "critical" | "fatal",
        /// Nothing.
        Off = "off" | "none",
    }

    /// How a log line is written.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}
