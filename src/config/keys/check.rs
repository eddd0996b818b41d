//! Rules that hold between keys, checked before any socket opens.

use super::super::Origin;
use super::super::error::Problem;
use super::super::values::{Secret, SourceKind, is_placeholder};
use super::read::Entry;
use super::sections::{AlphaVantage, Source};

fn entry<'a>(entries: &'a [Entry], path: &str) -> Option<&'a Entry> {
    entries
        .iter()
        .find(|entry| entry.key.path().eq_ignore_ascii_case(path))
}

/// Where a key's value comes from.
pub(in crate::config) fn origin_of(entries: &[Entry], path: &str) -> Origin {
    entry(entries, path).map_or(Origin::Default, |entry| entry.origin.clone())
}

/// A key whose number must be less than another's, or at most as large.
struct Rule {
    lesser: &'static str,
    greater: &'static str,
    /// What one of the greater's units is in the lesser's.
    scale: u64,
    or_equal: bool,
}

const RULES: &[Rule] = &[
    Rule::new("Kafka.HeartbeatIntervalMs", "Kafka.SessionTimeoutMs", false),
    Rule::new("Kafka.SessionTimeoutMs", "Kafka.MaxPollIntervalMs", true),
    Rule::new(
        "Kafka.ReconnectBackoffMs",
        "Kafka.ReconnectBackoffMaxMs",
        true,
    ),
    Rule::new("Kafka.LingerMs", "Kafka.MessageTimeoutMs", false),
    Rule {
        scale: 1024,
        ..Rule::new("Kafka.BatchSize", "Kafka.QueueBufferingMaxKbytes", true)
    },
];

impl Rule {
    const fn new(lesser: &'static str, greater: &'static str, or_equal: bool) -> Self {
        Self {
            lesser,
            greater,
            scale: 1,
            or_equal,
        }
    }

    /// The problem, unless the rule holds or one of the two has a problem of its own.
    fn check(&self, entries: &[Entry]) -> Option<Problem> {
        let lesser = entry(entries, self.lesser)?;
        let greater = entry(entries, self.greater)?;
        let (less, most) = (
            lesser.value.as_u64()?,
            greater.value.as_u64()?.saturating_mul(self.scale),
        );
        if less < most || (self.or_equal && less == most) {
            return None;
        }
        // The one that somebody set is the one to look at.
        let culprit = if lesser.origin == Origin::Default {
            greater
        } else {
            lesser
        };
        Some(Problem::Invalid {
            key: culprit.key.path(),
            origin: culprit.origin.clone(),
            reason: format!(
                "{} ({}) must be {} {} ({})",
                lesser.key.name,
                lesser.value,
                if self.or_equal {
                    "at most"
                } else {
                    "less than"
                },
                greater.key.name,
                greater.value
            ),
        })
    }
}

/// What is wrong between keys that are each right.
pub(in crate::config) fn between(entries: &[Entry]) -> impl Iterator<Item = Problem> {
    let rules = RULES.iter().filter_map(|rule| rule.check(entries));
    rules.chain(transactions_need_numbers(entries))
}

/// A transaction is made of numbered batches.
fn transactions_need_numbers(entries: &[Entry]) -> Option<Problem> {
    let id = entry(entries, "Kafka.TransactionalId")?;
    let numbered = entry(entries, "Kafka.EnableIdempotence")?;
    (id.value.is_string() && numbered.value.as_bool() == Some(false)).then(|| Problem::Invalid {
        key: numbered.key.path(),
        origin: numbered.origin.clone(),
        reason: "false excludes Kafka.TransactionalId, which is set: transactions need InitProducerId and numbered batches. \
                 Take out one of the two"
            .to_owned(),
    })
}

/// What the chosen source lacks before it can start.
pub(in crate::config) fn source(
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
                    "a replay needs files: --set Source.Input=FILE, or - for standard input",
                ));
            }
        }
        SourceKind::AlphaVantage => {
            match alpha_vantage.api_key.as_ref().map(|key| key.read_key()) {
                None => problems.push(needed(
                    "AlphaVantage.ApiKey",
                    concat!(
                        "not set; a free key is at https://www.alphavantage.co/support/#api-key, and goes into AlphaVantage__ApiKey ",
                        "or a file named by AlphaVantage.ApiKeyFile; `stockflow produce --source simulated` needs none"
                    ),
                )),
                Some(Ok(key)) if is_placeholder(&key) => problems.push(needed(
                    "AlphaVantage.ApiKey",
                    concat!(
                        "YOUR_API_KEY_HERE is a placeholder; a free key is at https://www.alphavantage.co/support/#api-key; ",
                        "`stockflow produce --source simulated` needs none"
                    ),
                )),
                Some(Ok(_)) => {}
                Some(Err(error)) => problems.push(Problem::Needed {
                    key: match alpha_vantage.api_key.as_ref().and_then(Secret::path) {
                        Some(_) => "AlphaVantage.ApiKeyFile".to_owned(),
                        None => "AlphaVantage.ApiKey".to_owned(),
                    },
                    origin: origin_of(entries, "AlphaVantage.ApiKey"),
                    reason: error.to_string(),
                }),
            }
            if alpha_vantage.symbols.is_empty() {
                problems.push(needed(
                    "AlphaVantage.Symbols",
                    "not set; name what to ask for: --set AlphaVantage.Symbols=IBM, or several: --set AlphaVantage.Symbols=IBM,AAPL",
                ));
            }
        }
    }
    problems
}
