//! Rules that hold between keys, checked before any socket opens.

use super::Origin;
use super::choice::SourceKind;
use super::error::Problem;
use super::read::Entry;
use super::secret::is_placeholder;
use super::sections::{AlphaVantage, Kafka, Source};

/// Where a key's value comes from.
pub(super) fn origin_of(entries: &[Entry], path: &str) -> Origin {
    let entry = entries
        .iter()
        .find(|entry| entry.key.path().eq_ignore_ascii_case(path));
    entry.map_or(Origin::Default, |entry| entry.origin.clone())
}

/// What is wrong between the keys of the Kafka section.
pub(super) fn kafka(kafka: &Kafka, entries: &[Entry]) -> Vec<Problem> {
    let ms = |duration: std::time::Duration| duration.as_millis();
    let mut problems = Vec::new();
    let mut require = |holds: bool, key: &str, other: &str, reason: String| {
        if !holds {
            // The one that somebody set is the one to look at.
            let (key, origin) = match origin_of(entries, key) {
                Origin::Default => (other, origin_of(entries, other)),
                origin => (key, origin),
            };
            problems.push(Problem::Invalid {
                key: key.to_owned(),
                origin,
                reason,
            });
        }
    };
    require(
        kafka.heartbeat_interval < kafka.session_timeout,
        "Kafka.HeartbeatIntervalMs",
        "Kafka.SessionTimeoutMs",
        format!(
            "HeartbeatIntervalMs ({}) must be less than SessionTimeoutMs ({}); a third of it is usual",
            ms(kafka.heartbeat_interval),
            ms(kafka.session_timeout)
        ),
    );
    require(
        kafka.session_timeout <= kafka.max_poll_interval,
        "Kafka.MaxPollIntervalMs",
        "Kafka.SessionTimeoutMs",
        format!(
            "SessionTimeoutMs ({}) must not be more than MaxPollIntervalMs ({})",
            ms(kafka.session_timeout),
            ms(kafka.max_poll_interval)
        ),
    );
    require(
        kafka.reconnect_backoff <= kafka.reconnect_backoff_max,
        "Kafka.ReconnectBackoffMs",
        "Kafka.ReconnectBackoffMaxMs",
        format!(
            "ReconnectBackoffMs ({}) must not be more than ReconnectBackoffMaxMs ({})",
            ms(kafka.reconnect_backoff),
            ms(kafka.reconnect_backoff_max)
        ),
    );
    require(
        kafka.linger < kafka.message_timeout,
        "Kafka.LingerMs",
        "Kafka.MessageTimeoutMs",
        format!(
            "LingerMs ({}) must be less than MessageTimeoutMs ({})",
            ms(kafka.linger),
            ms(kafka.message_timeout)
        ),
    );
    require(
        kafka.batch_size <= kafka.queue_buffering_max_kbytes.saturating_mul(1024),
        "Kafka.BatchSize",
        "Kafka.QueueBufferingMaxKbytes",
        format!(
            "BatchSize ({} bytes) must fit into QueueBufferingMaxKbytes ({} KiB)",
            kafka.batch_size, kafka.queue_buffering_max_kbytes
        ),
    );
    problems
}

/// What the chosen source lacks before it can start.
pub(super) fn source(
    source: &Source,
    alpha_vantage: &AlphaVantage,
    entries: &[Entry],
) -> Vec<Problem> {
    let needed = |key: &str, reason: &str| Problem::Needed {
        key: key.to_owned(),
        origin: origin_of(entries, key),
        reason: reason.to_owned(),
    };
    let mut problems = Vec::new();
    match source.kind {
        SourceKind::Simulated => {}
        SourceKind::Replay => {
            if source.input.is_empty() {
                problems.push(needed(
                    "Source.Input",
                    "a replay needs files: --input FILE..., or - for standard input",
                ));
            }
        }
        SourceKind::AlphaVantage => {
            match alpha_vantage.api_key.as_ref().map(|key| key.read()) {
                None => problems.push(needed(
                    "AlphaVantage.ApiKey",
                    concat!(
                        "not set; a free key is at https://www.alphavantage.co/support/#api-key, and goes into AlphaVantage__ApiKey ",
                        "or a file named by AlphaVantage.ApiKeyFile; --source simulated needs none"
                    ),
                )),
                Some(Ok(key)) if is_placeholder(&key) => problems.push(needed(
                    "AlphaVantage.ApiKey",
                    concat!(
                        "YOUR_API_KEY_HERE is a placeholder; a free key is at https://www.alphavantage.co/support/#api-key; ",
                        "--source simulated needs none"
                    ),
                )),
                Some(Ok(_)) => {}
                Some(Err(error)) => problems.push(needed("AlphaVantage.ApiKey", &error.to_string())),
            }
            if alpha_vantage.symbols.is_empty() {
                problems.push(needed(
                    "AlphaVantage.Symbols",
                    "not set; name what to ask for: --symbol IBM, or several: --symbol IBM,AAPL",
                ));
            }
        }
    }
    problems
}
