//! Settings of other programs' clients that a file may well hold, and why they have no effect here.
//!
//! They are legal where the file comes from (Confluent.Kafka's `ProducerConfig` and `ConsumerConfig`, .NET's `Logging`),
//! so they are named in a warning instead of being refused; a misspelt key of ours still is refused.

/// Section, key, reason.
const FOREIGN: &[(&str, &str, &str)] = &[
    ("Kafka", "EnableAutoCommit", COMMITS),
    ("Kafka", "EnableAutoOffsetStore", COMMITS),
    (
        "Kafka",
        "AutoCommitIntervalMs",
        "rows are committed once they are durable: see Output.CommitIntervalMs",
    ),
    (
        "Kafka",
        "Acks",
        "acks=all is always used, or a lost broker could lose acknowledged events",
    ),
    (
        "Kafka",
        "RequestRequiredAcks",
        "acks=all is always used, or a lost broker could lose acknowledged events",
    ),
    ("Kafka", "Retries", RETRIES),
    ("Kafka", "MessageSendMaxRetries", RETRIES),
    ("Kafka", "RetryBackoffMs", RETRIES),
    ("Kafka", "RetryBackoffMaxMs", RETRIES),
    (
        "Kafka",
        "EnableGaplessGuarantee",
        "order and completeness are always kept",
    ),
    (
        "Kafka",
        "EnableDeliveryReports",
        "every acknowledgement is always awaited",
    ),
    (
        "Kafka",
        "DeliveryReportFields",
        "every acknowledgement is always awaited",
    ),
    (
        "Kafka",
        "EnableBackgroundPoll",
        "there is no polling thread",
    ),
    (
        "Kafka",
        "StatisticsIntervalMs",
        "librdkafka's statistics do not exist here",
    ),
    (
        "Kafka",
        "Debug",
        "librdkafka's debug contexts do not exist here: use -v or Logging.Level",
    ),
    ("Kafka", "LogLevel", "use Logging.Level"),
    ("Kafka", "LogQueue", "use Logging.Level"),
    ("Kafka", "LogThreadName", "use Logging.Format"),
    ("Kafka", "LogConnectionClose", "use Logging.Level"),
    (
        "Kafka",
        "SocketTimeoutMs",
        "requests end after Kafka.RequestTimeoutMs",
    ),
    (
        "Kafka",
        "SocketConnectionSetupTimeoutMs",
        "requests end after Kafka.RequestTimeoutMs",
    ),
    ("Kafka", "SocketKeepaliveEnable", SOCKET),
    ("Kafka", "SocketNagleDisable", SOCKET),
    ("Kafka", "SocketSendBufferBytes", SOCKET),
    ("Kafka", "SocketReceiveBufferBytes", SOCKET),
    ("Kafka", "SocketMaxFails", SOCKET),
    ("Kafka", "BrokerAddressFamily", SOCKET),
    ("Kafka", "BrokerAddressTtl", SOCKET),
    (
        "Kafka",
        "BatchNumMessages",
        "batches are bounded by Kafka.BatchSize and Kafka.LingerMs",
    ),
    (
        "Kafka",
        "MessageMaxBytes",
        "batches are bounded by Kafka.BatchSize",
    ),
    (
        "Kafka",
        "MessageCopyMaxBytes",
        "librdkafka's own memory handling does not exist here",
    ),
    (
        "Kafka",
        "ReceiveMessageMaxBytes",
        "answers are bounded by Kafka.FetchMaxBytes",
    ),
    (
        "Kafka",
        "CompressionLevel",
        "codecs run at their default level",
    ),
    (
        "Kafka",
        "QueueBufferingMaxMessages",
        "the queue is bounded by Kafka.QueueBufferingMaxKbytes",
    ),
    (
        "Kafka",
        "QueueBufferingBackpressureThreshold",
        "the queue is bounded by Kafka.QueueBufferingMaxKbytes",
    ),
    ("Kafka", "QueuedMinMessages", FETCH),
    ("Kafka", "QueuedMaxMessagesKbytes", FETCH),
    ("Kafka", "FetchMinBytes", FETCH),
    ("Kafka", "FetchWaitMaxMs", FETCH),
    ("Kafka", "FetchErrorBackoffMs", FETCH),
    ("Kafka", "FetchQueueBackoffMs", FETCH),
    (
        "Kafka",
        "FetchMessageMaxBytes",
        "use Kafka.MaxPartitionFetchBytes",
    ),
    (
        "Kafka",
        "ConsumeResultFields",
        "every field that is needed is read",
    ),
    ("Kafka", "CheckCrcs", "checksums are always verified"),
    ("Kafka", "EnablePartitionEof", "use --until-end"),
    (
        "Kafka",
        "AllowAutoCreateTopics",
        "topics are never created in passing",
    ),
    (
        "Kafka",
        "TopicMetadataRefreshIntervalMs",
        "use Kafka.MetadataMaxAgeMs",
    ),
    (
        "Kafka",
        "TopicMetadataRefreshFastIntervalMs",
        "use Kafka.MetadataMaxAgeMs",
    ),
    (
        "Kafka",
        "TopicMetadataRefreshSparse",
        "use Kafka.MetadataMaxAgeMs",
    ),
    (
        "Kafka",
        "TopicMetadataPropagationMaxMs",
        "use Kafka.MetadataMaxAgeMs",
    ),
    (
        "Kafka",
        "TopicBlacklist",
        "only Kafka.Topic is read and written",
    ),
    (
        "Kafka",
        "MaxPollRecords",
        "there are no polls: memory is bounded by Kafka.FetchMaxBytes",
    ),
    (
        "Kafka",
        "CoordinatorQueryIntervalMs",
        "the coordinator is looked up when it moves",
    ),
    (
        "Kafka",
        "GroupProtocolType",
        "members of this group are always consumers",
    ),
    (
        "Kafka",
        "TransactionTimeoutMs",
        "a transaction may take twice Kafka.MessageTimeoutMs",
    ),
    ("Kafka", "ApiVersionRequest", VERSIONS),
    ("Kafka", "ApiVersionRequestTimeoutMs", VERSIONS),
    ("Kafka", "ApiVersionFallbackMs", VERSIONS),
    ("Kafka", "BrokerVersionFallback", VERSIONS),
    (
        "Kafka",
        "CancellationDelayMaxMs",
        "a stop is bounded by ShutdownTimeoutMs",
    ),
    (
        "Kafka",
        "InternalTerminationSignal",
        "a stop is bounded by ShutdownTimeoutMs",
    ),
    ("Kafka", "PluginLibraryPaths", "there are no plugins"),
    ("Logging", "Console", NET_LOGGING),
    ("Logging", "Debug", NET_LOGGING),
    ("Logging", "EventLog", NET_LOGGING),
    ("Logging", "EventSource", NET_LOGGING),
    ("Logging", "IncludeScopes", NET_LOGGING),
    ("Logging", "ApplicationInsights", NET_LOGGING),
];

const COMMITS: &str =
    "offsets are committed only after their rows are durable, never by a timer alone";
const RETRIES: &str = "a batch is retried as Kafka.MessageTimeoutMs says, not a number of times";
const SOCKET: &str = "sockets are set up by the program itself";
const FETCH: &str = "fetching is bounded by Kafka.FetchMaxBytes and Kafka.MaxPartitionFetchBytes";
const VERSIONS: &str = "the protocol's versions are always agreed with the broker";
const NET_LOGGING: &str =
    "providers of .NET loggers are not known here: use Logging.Level and Logging.Format";

/// Why a key of another program has no effect; `None` when it is not known either.
pub(in crate::config) fn reason(section: &str, name: &str, value: &str) -> Option<&'static str> {
    let (_, known, reason) = FOREIGN.iter().find(|(in_section, known, _)| {
        in_section.eq_ignore_ascii_case(section) && known.eq_ignore_ascii_case(name)
    })?;
    let settled = *known == "Acks" && matches!(value.to_ascii_lowercase().as_str(), "all" | "-1");
    Some(if settled {
        "acks=all is always used"
    } else {
        reason
    })
}
