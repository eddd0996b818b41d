//! The table of keys: section, name, type, default, what it is for, and whether this version has it.
//!
//! Names follow the Confluent .NET client's properties, because that is what users of KafkaStockFlow know. A key that a
//! later version gets is turned on by changing its `later` to `now`.

use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

use super::super::table::{Key, section};
use super::super::values::{
    AutoOffsetReset, BadRecords, Codec, Column, Compression, CompressionType, Entitlement,
    FileDate, Function, GroupProtocol, HostPort, Interval, IsolationLevel, Level, LogFormat,
    OutputSize, PartitionAssignmentStrategy, Partitioner, Publish, RequestLimit, Secret,
    SecurityProtocol, SourceKind, base_url, choice, decimal, directory, distinct, files, flag,
    host_ports, millis, name, one_of, optional_choice, optional_decimal, optional_file_part,
    optional_text, optional_topic, optional_whole, request_limit, seconds, secret, symbols,
    time_zone, topic, whole,
};
use super::read::Reader;

/// The most that a duration in milliseconds can be: Kafka keeps them in a signed 32-bit number.
const I32: u64 = i32::MAX as u64;

section! {
    /// Brokers, topic, group, and how records get there and back.
    pub struct Kafka = "Kafka" {
        /// Brokers that are asked first: HOST:PORT, comma-separated.
        now bootstrap_servers: Vec<HostPort> = "BootstrapServers", host_ports(), "localhost:9092";
        /// The topic that holds the trades.
        now topic: String = "Topic", topic(), "stock-trades";
        /// The consumer group.
        now group_id: String = "GroupId", name(), "stock-trade-consumers";
        /// What the brokers' logs and quotas call this client.
        now client_id: String = "ClientId", name(), "stockflow";
        /// Whose Kafka it is: sets what that provider needs.
        later provider: &'static str = "Provider", one_of(&["generic", "msk", "event-hubs", "confluent-cloud"]), "generic";
        /// Event Hubs: the whole connection string in one paste.
        later connection_string: Option<Secret> = "ConnectionString", secret(), "";
        /// How brokers are talked to.
        now security_protocol: SecurityProtocol = "SecurityProtocol", choice(), "Plaintext";
        /// How the client proves who it is.
        later sasl_mechanism: &'static str = "SaslMechanism", one_of(&["Plain", "ScramSha256", "ScramSha512", "OAuthBearer", "AwsMskIam", ""]), "";
        /// User name for Plain and Scram.
        later sasl_username: Option<String> = "SaslUsername", optional_text(), "";
        /// Password for Plain and Scram.
        later sasl_password: Option<Secret> = "SaslPassword", secret(), "";
        /// A bearer token as it is.
        later sasl_oauthbearer_token: Option<Secret> = "SaslOauthbearerToken", secret(), "";
        /// Where bearer tokens are fetched.
        later sasl_oauthbearer_token_endpoint_url: Option<String> = "SaslOauthbearerTokenEndpointUrl", optional_text(), "";
        /// Client id for the token endpoint.
        later sasl_oauthbearer_client_id: Option<String> = "SaslOauthbearerClientId", optional_text(), "";
        /// Client secret for the token endpoint.
        later sasl_oauthbearer_client_secret: Option<Secret> = "SaslOauthbearerClientSecret", secret(), "";
        /// Scope asked of the token endpoint.
        later sasl_oauthbearer_scope: Option<String> = "SaslOauthbearerScope", optional_text(), "";
        /// Region of an MSK cluster.
        later aws_region: Option<String> = "AwsRegion", optional_text(), "";
        /// Profile of the AWS configuration files.
        later aws_profile: Option<String> = "AwsProfile", optional_text(), "";
        /// Certificates that are trusted beside the system's (PEM).
        later ssl_ca_location: Option<String> = "SslCaLocation", optional_text(), "";
        /// The client's certificate (PEM).
        later ssl_certificate_location: Option<String> = "SslCertificateLocation", optional_text(), "";
        /// The client certificate's key (PEM).
        later ssl_key_location: Option<String> = "SslKeyLocation", optional_text(), "";
        /// Password of that key.
        later ssl_key_password: Option<Secret> = "SslKeyPassword", secret(), "";
        /// Whether a broker's certificate must name its host.
        later ssl_endpoint_identification_algorithm: &'static str = "SslEndpointIdentificationAlgorithm", one_of(&["https", "none"]), "https";
        /// How a key finds its partition.
        now partitioner: Partitioner = "Partitioner", choice(), "murmur2_random";
        /// How batches are compressed.
        now compression_type: CompressionType = "CompressionType", choice(), "lz4";
        /// How long a batch waits for more records, in milliseconds.
        now linger: Duration = "LingerMs", millis(0, 900_000), "5";
        /// How large a batch may get before it is sent, in bytes.
        now batch_size: u64 = "BatchSize", whole(1_024, 10_485_760, "bytes"), "262144";
        /// How long a record may go without acknowledgement, in milliseconds: then commands that end by themselves fail, others say so and go on.
        now message_timeout: Duration = "MessageTimeoutMs", millis(1_000, I32), "120000";
        /// Produce requests under way at once per broker; brokers remember five batches of a partition.
        now max_in_flight: u64 = "MaxInFlight", whole(1, 5, ""), "5";
        /// Memory for records that are not acknowledged yet, in KiB.
        now queue_buffering_max_kbytes: u64 = "QueueBufferingMaxKbytes", whole(1_024, 2_097_151, "KiB"), "32768";
        /// Whether a retry can double a record; it never does.
        now enable_idempotence: bool = "EnableIdempotence", flag(), "true";
        /// Each poll is published in a transaction; fences other producers of the same id.
        now transactional_id: Option<String> = "TransactionalId", optional_text(), "";
        /// How long an answer may take, in milliseconds.
        now request_timeout: Duration = "RequestTimeoutMs", millis(10, 900_000), "30000";
        /// First pause before connecting again, in milliseconds.
        now reconnect_backoff: Duration = "ReconnectBackoffMs", millis(1, 3_600_000), "100";
        /// Longest pause before connecting again, in milliseconds.
        now reconnect_backoff_max: Duration = "ReconnectBackoffMaxMs", millis(1, 3_600_000), "10000";
        /// How old the picture of the cluster may get, in milliseconds.
        now metadata_max_age: Duration = "MetadataMaxAgeMs", millis(1_000, 86_400_000), "300000";
        /// How long an unused connection is kept, in milliseconds.
        now connections_max_idle: Duration = "ConnectionsMaxIdleMs", millis(1_000, I32), "540000";
        /// Which group protocol the consumer speaks.
        now group_protocol: GroupProtocol = "GroupProtocol", choice(), "auto";
        /// A name that a member keeps across restarts (static membership).
        now group_instance_id: Option<String> = "GroupInstanceId", optional_text(), "";
        /// How partitions are shared out in a classic group.
        now partition_assignment_strategy: PartitionAssignmentStrategy = "PartitionAssignmentStrategy", choice(), "cooperative-sticky";
        /// Where a group without offsets begins.
        now auto_offset_reset: AutoOffsetReset = "AutoOffsetReset", choice(), "earliest";
        /// Which records of transactions are read.
        now isolation_level: IsolationLevel = "IsolationLevel", choice(), "read_committed";
        /// How long the group waits for a silent member, in milliseconds.
        now session_timeout: Duration = "SessionTimeoutMs", millis(1_000, 3_600_000), "45000";
        /// How often a member says that it is alive, in milliseconds; less than SessionTimeoutMs.
        now heartbeat_interval: Duration = "HeartbeatIntervalMs", millis(1, 3_600_000), "3000";
        /// How long a rebalance may wait for this member to make durable what it gives up, in milliseconds; longer pauses of the disk are reported.
        now max_poll_interval: Duration = "MaxPollIntervalMs", millis(1_000, 86_400_000), "300000";
        /// The most that one Fetch may bring, in bytes.
        now fetch_max_bytes: u64 = "FetchMaxBytes", whole(1_024, 1_073_741_824, "bytes"), "52428800";
        /// The most that one Fetch may bring of one partition, in bytes.
        now max_partition_fetch_bytes: u64 = "MaxPartitionFetchBytes", whole(1_024, 1_000_000_000, "bytes"), "4194304";
        /// The rack or zone of this host, for reading from a near replica.
        now client_rack: Option<String> = "ClientRack", optional_text(), "";
    }
}

section! {
    /// Where market data comes from.
    pub struct Source = "Source" {
        /// Where market data comes from.
        now kind: SourceKind = "Kind", choice(), "alpha-vantage";
        /// Files and directories to replay; - is standard input.
        now input: Vec<PathBuf> = "Input", files(), "";
    }
}

section! {
    /// The simulated market.
    pub struct Simulated = "Source.Simulated" {
        /// The symbols that trade.
        now symbols: Vec<String> = "Symbols" | "Symbol", symbols(), "AAPL,AMZN,GOOGL,IBM,MSFT";
        /// Events a second; unset is as fast as possible.
        now rate: Option<f64> = "Rate", optional_decimal(), "";
        /// The same seed makes the same market.
        now seed: Option<u64> = "Seed", optional_whole(), "";
    }
}

section! {
    /// The Alpha Vantage API.
    pub struct AlphaVantage = "AlphaVantage" {
        /// The API key.
        now api_key: Option<Secret> = "ApiKey", secret(), "";
        /// Symbols to poll: one, a comma list or an array.
        now symbols: Vec<String> = "Symbols" | "Symbol", symbols(), "";
        /// Which function is asked.
        now function: Function = "Function", choice(), "auto";
        /// Length of an intraday bar.
        now interval: Interval = "Interval", choice(), "1min";
        /// Time between two polls of a symbol, in seconds.
        now poll_interval: Duration = "PollSeconds", seconds(60, 604_800), "60";
        /// How much history a response holds.
        now output_size: OutputSize = "OutputSize", choice(), "compact";
        /// Whether bars before and after trading hours are asked for.
        now extended_hours: bool = "ExtendedHours", flag(), "true";
        /// Whether intraday prices are adjusted for splits and dividends, and not as they were traded.
        now adjusted: bool = "Adjusted", flag(), "false";
        /// Which data a paid key is entitled to.
        now entitlement: Option<Entitlement> = "Entitlement", optional_choice(), "";
        /// Where the API is.
        now base_url: String = "BaseUrl", base_url(), "https://www.alphavantage.co";
        /// Requests a second.
        now requests_per_second: f64 = "RequestsPerSecond", decimal(), "1";
        /// Requests a minute; auto is the free limit until the key proves to be a paid one, 0 is unlimited.
        now requests_per_minute: RequestLimit = "RequestsPerMinute", request_limit(), "auto";
        /// Requests a day; auto is the free limit until the key proves to be a paid one, 0 is unlimited.
        now requests_per_day: RequestLimit = "RequestsPerDay", request_limit(), "auto";
        /// The zone whose midnight begins a new day of requests.
        now day_reset_time_zone: Tz = "DayResetTimeZone", time_zone(), "America/New_York";
        /// How long a request may take, in seconds.
        now timeout: Duration = "TimeoutSeconds", seconds(1, 600), "15";
        /// How often a failed request is tried again.
        now max_retries: u64 = "MaxRetries", whole(0, 100, ""), "5";
        /// First pause before a request is tried again, in milliseconds.
        now retry_backoff: Duration = "RetryBackoffMs", millis(1, 600_000), "500";
        /// Failures in a row that stop requests for a while.
        now circuit_breaker_failures: u64 = "CircuitBreakerFailures", whole(1, 1_000, ""), "5";
        /// How long they are stopped, in seconds.
        now circuit_breaker: Duration = "CircuitBreakerSeconds", seconds(1, 86_400), "60";
    }
}

section! {
    /// The schema registry.
    pub(in crate::config) struct SchemaRegistry = "SchemaRegistry" {
        /// Where the registry is.
        later url: Option<String> = "Url" | "Kafka.SchemaRegistryUrl", optional_text(), "";
        /// How values are written; unset is plain JSON without a registry.
        later format: &'static str = "Format", one_of(&["json", "avro", "protobuf", ""]), "";
        /// How a subject is named.
        later subject_name_strategy: &'static str = "SubjectNameStrategy", one_of(&["topic", "record", "topic-record"]), "topic";
        /// Whether a missing schema is registered.
        later auto_register: bool = "AutoRegister", flag(), "false";
        /// What happens to records while the registry is away.
        later on_unavailable: &'static str = "OnUnavailable", one_of(&["wait", "dead-letter"]), "wait";
        /// User name.
        later username: Option<String> = "Username", optional_text(), "";
        /// Password.
        later password: Option<Secret> = "Password", secret(), "";
        /// Bearer token.
        later bearer_token: Option<Secret> = "BearerToken", secret(), "";
        /// Certificates that are trusted beside the system's (PEM).
        later ssl_ca_location: Option<String> = "SslCaLocation", optional_text(), "";
        /// The client's certificate (PEM).
        later ssl_certificate_location: Option<String> = "SslCertificateLocation", optional_text(), "";
        /// The client certificate's key (PEM).
        later ssl_key_location: Option<String> = "SslKeyLocation", optional_text(), "";
    }
}

section! {
    /// The CSV files.
    pub struct Output = "Output" {
        /// Where the files are written.
        now directory: PathBuf = "Directory", directory(), "ConsumedTrades";
        /// Which day names a file.
        now file_date: FileDate = "FileDate", choice(), "event";
        /// Size at which a new part begins, in 10^6 bytes; 0 is by day only.
        now roll_megabytes: u64 = "RollMegabytes", whole(0, 1_000_000, "10^6 bytes"), "0";
        /// Age at which a new part begins, in seconds; 0 is by day only.
        now roll: Duration = "RollSeconds", seconds(0, 604_800), "0";
        /// Whether a file grows under its name or appears when it is closed.
        now publish: Publish = "Publish", choice(), "append";
        /// How closed files are compressed.
        now compression: Compression = "Compression", choice(), "none";
        /// The columns, in order.
        now columns: Vec<Column> = "Columns", distinct(), "Symbol,Side,Quantity,Price,Timestamp";
        /// Part of the files' names, for hosts that share a directory.
        now instance: Option<String> = "Instance", optional_file_part(), "";
        /// What becomes of a record that is not a trade.
        now bad_records: BadRecords = "BadRecords", choice(), "dead-letter";
        /// The topic for records that are not trades, instead of files.
        now dead_letter_topic: Option<String> = "DeadLetterTopic", optional_topic(), "";
        /// Time between two commits, in milliseconds.
        now commit_interval: Duration = "CommitIntervalMs", millis(1, 3_600_000), "1000";
        /// Files that are open at once.
        now max_open_files: u64 = "MaxOpenFiles", whole(1, 65_536, ""), "64";
    }
}

section! {
    /// What is kept between runs.
    pub struct State = "State" {
        /// Where it is kept; $STATE_DIRECTORY under systemd.
        now directory: PathBuf = "Directory", directory(), ".stockflow";
    }
}

section! {
    /// The HTTP server.
    pub(in crate::config) struct Server = "Server" {
        /// Where to listen; unset is no server.
        later address: Option<String> = "Address", optional_text(), "";
        /// Whether there is a live page.
        later page: bool = "Page", flag(), "true";
    }
}

section! {
    /// The log, on standard error.
    pub struct Logging = "Logging" {
        /// How much is logged.
        now level: Level = "Level" | "LogLevel", choice(), "info";
        /// How a log line is written.
        now format: LogFormat = "Format", choice(), "text";
    }
}

section! {
    /// Keys that stand at the top, in no section.
    pub struct Process = "" {
        /// How long a requested stop may take to drain, in milliseconds.
        now shutdown_timeout: Duration = "ShutdownTimeoutMs", millis(0, 3_600_000), "8000";
    }
}

/// The table, section by section, in the order in which it is shown.
pub(in crate::config) const TABLE: &[&[Key]] = &[
    Kafka::KEYS,
    Source::KEYS,
    Simulated::KEYS,
    AlphaVantage::KEYS,
    SchemaRegistry::KEYS,
    Output::KEYS,
    State::KEYS,
    Server::KEYS,
    Logging::KEYS,
    Process::KEYS,
];
