//! The configuration, as each room wants it.

use std::sync::Arc;

use crate::{
    config::{self, Config, IsolationLevel, SourceKind, is_placeholder},
    consumer,
    event::symbol,
    producer,
    sink::{self, Binding},
    source::{Destination, Source, alpha_vantage, replay, simulated},
    wire::{cluster, records::Codec},
};

use super::error::PipelineError;
use super::open_file_limit;
use super::options::SourceOptions;
use super::reachability::ONE_SHOT_LIMIT;

/// What one Fetch response may hold beyond `FetchMaxBytes`: a broker sends at least one whole batch, however large (KIP-74).
const LARGEST_BATCH: u64 = 64 << 20;

pub(super) fn cluster(config: &Config) -> cluster::Settings {
    let kafka = &config.kafka;
    cluster::Settings {
        bootstrap: kafka
            .bootstrap_servers
            .iter()
            .map(ToString::to_string)
            .collect(),
        client_id: kafka.client_id.as_str().into(),
        request_timeout: kafka.request_timeout,
        reconnect_backoff: kafka.reconnect_backoff,
        reconnect_backoff_max: kafka.reconnect_backoff_max,
        metadata_max_age: kafka.metadata_max_age,
        connections_max_idle: kafka.connections_max_idle,
        max_fetch_response_bytes: to_usize(kafka.fetch_max_bytes.saturating_add(LARGEST_BATCH)),
    }
}

/// `Kafka.BootstrapServers`, as tools take it.
pub(crate) fn bootstrap(config: &Config) -> String {
    let servers = config.kafka.bootstrap_servers.iter();
    servers
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

pub(crate) fn producer(config: &Config) -> producer::Settings {
    let kafka = &config.kafka;
    producer::Settings {
        topic: kafka.topic.as_str().into(),
        codec: match kafka.compression_type {
            config::CompressionType::None => Codec::None,
            config::CompressionType::Gzip => Codec::Gzip,
            config::CompressionType::Snappy => Codec::Snappy,
            config::CompressionType::Zstd => Codec::Zstd,
            config::CompressionType::Lz4 => Codec::Lz4,
        },
        partitioner: match kafka.partitioner {
            config::Partitioner::Murmur2Random => producer::Scheme::Murmur2,
            config::Partitioner::ConsistentRandom => producer::Scheme::Crc32,
        },
        linger: kafka.linger,
        batch_size: to_usize(kafka.batch_size),
        message_timeout: kafka.message_timeout,
        on_timeout: producer::OnTimeout::GiveUp,
        transactional_id: kafka.transactional_id.as_deref().map(Into::into),
        idempotent: kafka.enable_idempotence,
        max_in_flight: to_usize(kafka.max_in_flight),
        buffer: to_usize(kafka.queue_buffering_max_kbytes.saturating_mul(1024)),
        request_timeout: kafka.request_timeout,
        seed: rand::random(),
    }
}

/// `topic_id` is that of the topic that the output directory belongs to.
pub(super) fn consumer(config: &Config, topic_id: Option<uuid::Uuid>) -> consumer::Settings {
    use config::PartitionAssignmentStrategy as Strategy;
    let kafka = &config.kafka;
    consumer::Settings {
        group: kafka.group_id.as_str().into(),
        topic: kafka.topic.as_str().into(),
        topic_id,
        protocol: match kafka.group_protocol {
            config::GroupProtocol::Auto => consumer::GroupProtocol::Auto,
            config::GroupProtocol::Classic => consumer::GroupProtocol::Classic,
            config::GroupProtocol::Consumer => consumer::GroupProtocol::Consumer,
        },
        assignor: match kafka.partition_assignment_strategy {
            Strategy::Range => consumer::Assignor::Range,
            Strategy::RoundRobin => consumer::Assignor::RoundRobin,
            Strategy::Sticky => consumer::Assignor::Sticky,
            Strategy::CooperativeSticky => consumer::Assignor::CooperativeSticky,
        },
        group_instance_id: kafka.group_instance_id.as_deref().map(Into::into),
        rack: kafka.client_rack.as_deref().map(Into::into),
        session_timeout: kafka.session_timeout,
        heartbeat_interval: kafka.heartbeat_interval,
        rebalance_timeout: kafka.max_poll_interval,
        classic_only: CLASSIC_ONLY
            .into_iter()
            .filter(|path| config.origin(path) != config::Origin::Default)
            .collect(),
        isolation: isolation(kafka.isolation_level),
        fetch_max_bytes: to_usize(kafka.fetch_max_bytes),
        max_partition_fetch_bytes: to_usize(kafka.max_partition_fetch_bytes),
    }
}

/// What the broker decides under KIP-848.
const CLASSIC_ONLY: [&str; 3] = [
    "Kafka.SessionTimeoutMs",
    "Kafka.HeartbeatIntervalMs",
    "Kafka.PartitionAssignmentStrategy",
];

pub(crate) fn isolation(level: IsolationLevel) -> consumer::Isolation {
    match level {
        IsolationLevel::ReadCommitted => consumer::Isolation::ReadCommitted,
        IsolationLevel::ReadUncommitted => consumer::Isolation::ReadUncommitted,
    }
}

pub(crate) fn sink(config: &Config) -> Result<sink::Settings, PipelineError> {
    use config::Choice;
    let output = &config.output;
    Ok(sink::Settings {
        directory: output.directory.clone(),
        columns: output
            .columns
            .iter()
            .map(|column| {
                column
                    .name()
                    .parse()
                    .map_err(|error| PipelineError::Setting(format!("Output.Columns: {error}")))
            })
            .collect::<Result<_, _>>()?,
        file_date: match output.file_date {
            config::FileDate::Event => sink::FileDate::Event,
            config::FileDate::Processing => sink::FileDate::Processing,
        },
        instance: output.instance.clone(),
        max_open_files: open_file_limit::open_files(to_usize(output.max_open_files)),
        bad_records: match output.bad_records {
            config::BadRecords::DeadLetter => sink::BadRecords::DeadLetter,
            config::BadRecords::Fail => sink::BadRecords::Fail,
            config::BadRecords::Skip => sink::BadRecords::Skip,
        },
        roll: sink::Roll {
            bytes: Some(output.roll_megabytes * 1_000_000).filter(|bytes| *bytes > 0),
            age: Some(output.roll).filter(|age| !age.is_zero()),
        },
        publish: match output.publish {
            config::Publish::Append => sink::Publish::Append,
            config::Publish::Atomic => sink::Publish::Atomic,
        },
        compression: match output.compression {
            config::Compression::None => sink::Compression::None,
            config::Compression::Gzip => sink::Compression::Gzip,
            config::Compression::Zstd => sink::Compression::Zstd,
        },
    })
}

pub(super) fn binding(config: &Config, cluster_id: String, topic: &cluster::Topic) -> Binding {
    Binding {
        cluster_id,
        topic: config.kafka.topic.clone(),
        topic_id: topic.id,
        group: config.kafka.group_id.clone(),
    }
}

/// Where events go, as far as the brokers have said which topic it is.
pub(super) fn destination(
    config: &Config,
    cluster_id: Option<String>,
    topic: &cluster::Topic,
) -> Destination {
    Destination {
        topic: config.kafka.topic.clone(),
        topic_id: topic.id,
        cluster_id,
        bootstrap: cluster(config).bootstrap.join(","),
    }
}

/// The source that the configuration asks for. `one_shot` commands give up on an API that cannot be reached.
pub(crate) fn source(
    config: &Config,
    options: &SourceOptions,
    one_shot: bool,
) -> Result<Box<dyn Source>, PipelineError> {
    let kind = config.source.kind;
    flags_apply(config, options)?;
    let given = |path| config.origin(path) != config::Origin::Default;
    Ok(match kind {
        SourceKind::AlphaVantage => Box::new(alpha_vantage::AlphaVantage::new(alpha_vantage(
            config, options, one_shot,
        )?)?),
        SourceKind::Replay => Box::new(replay::Replay::new(replay::Settings {
            inputs: config
                .source
                .input
                .iter()
                .map(|path| path.to_string_lossy().into_owned())
                .collect(),
            symbols: symbol::upper_cased(config.alpha_vantage.symbols.iter().map(String::as_str)),
            interval: given("AlphaVantage.Interval")
                .then(|| interval(config))
                .transpose()?,
            daily: given("AlphaVantage.Function")
                && config.alpha_vantage.function == config::Function::Daily,
            adjusted: config.alpha_vantage.adjusted,
            speed: options.speed,
        })?),
        SourceKind::Simulated => Box::new(simulated::Simulated::new(simulated::Settings {
            symbols: config
                .simulated
                .symbols
                .iter()
                .map(|symbol| symbol.as_str().into())
                .collect(),
            rate: config.simulated.rate,
            seed: match config.simulated.seed {
                Some(seed) => simulated::Seed::Given(seed),
                None => {
                    let seed = rand::random();
                    tracing::info!(
                        seed,
                        "the simulated market has a random seed (Source.Simulated.Seed)"
                    );
                    simulated::Seed::Random {
                        seed,
                        now: chrono::Utc::now(),
                    }
                }
            },
        })?),
    })
}

/// Refuses flags that the source would pass over. A key that another layer sets may wait for a source that needs it.
fn flags_apply(config: &Config, options: &SourceOptions) -> Result<(), PipelineError> {
    let kind = config.source.kind;
    let given = |path| matches!(config.origin(path), config::Origin::Flag(_));
    let (replay, simulated) = (SourceKind::Replay, SourceKind::Simulated);
    for (wrong, problem) in [
        (
            options.months.is_some() && kind != SourceKind::AlphaVantage,
            "--from-month fills back from Alpha Vantage",
        ),
        (
            options.speed.is_some() && kind != replay,
            "--speed is for --source replay",
        ),
        (
            given("Source.Input") && kind != replay,
            "--input is for --source replay",
        ),
        (
            given("Source.Simulated.Rate") && kind != simulated,
            "--rate is for --source simulated",
        ),
        (
            given("Source.Simulated.Seed") && kind != simulated,
            "--seed is for --source simulated",
        ),
        (
            options.once && kind == simulated,
            "--once polls each symbol once, and a simulated market is not polled; use --count N to stop after N events",
        ),
    ] {
        if wrong {
            return Err(PipelineError::Setting(format!(
                "{problem}; see Source.Kind"
            )));
        }
    }
    Ok(())
}

fn interval(config: &Config) -> Result<alpha_vantage::Interval, PipelineError> {
    use config::Choice;
    named(
        "AlphaVantage.Interval",
        config.alpha_vantage.interval.name(),
    )
}

fn named<T>(setting: &str, name: &str) -> Result<T, PipelineError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    name.parse()
        .map_err(|error| PipelineError::Setting(format!("{setting}: {error}")))
}

pub(crate) fn alpha_vantage(
    config: &Config,
    options: &SourceOptions,
    one_shot: bool,
) -> Result<alpha_vantage::Settings, PipelineError> {
    use config::Choice;
    let from = &config.alpha_vantage;
    let key = from
        .api_key
        .as_ref()
        .ok_or_else(|| PipelineError::Setting(NO_KEY.to_owned()))?;
    let key = key.read_key().map_err(|error| {
        PipelineError::Setting(format!("AlphaVantage.ApiKey, ApiKeyFile: {error}"))
    })?;
    if is_placeholder(&key) {
        return Err(PipelineError::Setting(NO_KEY.to_owned()));
    }
    let symbols = symbol::upper_cased(from.symbols.iter().map(String::as_str));
    Ok(alpha_vantage::Settings {
        function: named("AlphaVantage.Function", from.function.name())?,
        interval: interval(config)?,
        output_size: named("AlphaVantage.OutputSize", from.output_size.name())?,
        extended_hours: from.extended_hours,
        adjusted: from.adjusted,
        entitlement: from
            .entitlement
            .map(|entitlement| entitlement.name().to_owned()),
        base_url: from.base_url.clone(),
        requests_per_second: from.requests_per_second,
        requests_per_minute: limit(from.requests_per_minute),
        requests_per_day: limit(from.requests_per_day),
        day_reset_zone: from.day_reset_time_zone,
        circuit_breaker_failures: u32::try_from(from.circuit_breaker_failures).unwrap_or(u32::MAX),
        circuit_breaker: from.circuit_breaker,
        state_directory: Some(config.state.directory.clone()),
        key_source: from
            .api_key
            .clone()
            .filter(|key| key.path().is_some())
            .map(|key| {
                let read = move || key.read_key().map_err(|error| error.to_string());
                alpha_vantage::KeySource(Arc::new(read))
            }),
        months: options.months.map(|(from, to)| alpha_vantage::Months {
            from,
            to,
            // Known when the brokers have said which topic it is.
            destination: String::new(),
            again: options.republish,
        }),
        timeout: from.timeout,
        max_retries: u32::try_from(from.max_retries).unwrap_or(u32::MAX),
        retry_backoff: from.retry_backoff,
        poll: from.poll_interval,
        once: options.once,
        unreachable_limit: one_shot.then_some(ONE_SHOT_LIMIT),
        ..alpha_vantage::Settings::new(key, symbols)
    })
}

fn limit(limit: config::RequestLimit) -> alpha_vantage::Limit {
    match limit {
        config::RequestLimit::Auto => alpha_vantage::Limit::Auto,
        config::RequestLimit::Unlimited => alpha_vantage::Limit::Unlimited,
        config::RequestLimit::Of(number) => alpha_vantage::Limit::Of(number),
    }
}

/// What to do without an API key.
const NO_KEY: &str = "AlphaVantage.ApiKey is not set (or is the placeholder of an example): get a free key at \
    https://www.alphavantage.co/support/#api-key, or try `stockflow produce --source simulated`";

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Shared by all who talk to the same cluster.
pub(crate) fn connect(config: &Config) -> Arc<cluster::Cluster> {
    cluster::Cluster::new(cluster(config))
}
