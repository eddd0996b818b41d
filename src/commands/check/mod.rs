//! `check`: tries everything that a run needs, one after the other, and says of each what is wrong and what to do.
//!
//! Nothing is left behind: no topic, no group, no file. The API key is tried with one request, which is counted.

mod report;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use super::options::CheckOptions;
use crate::config::{Config, SourceKind};
use crate::pipeline::{PipelineError, SourceOptions, settings};
use crate::sink::SinkError;
use crate::source::alpha_vantage::{AlphaVantage, Outlook};
use crate::wire::cluster::{Cluster, ClusterError, Topic};
use crate::{consumer, dedup, sink};
use report::{BUDGET, Outcome};

pub use report::CheckReport;

/// How long one question to the brokers may take: long enough for any that can be worked with.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two questions for a coordinator.
const PAUSE: Duration = Duration::from_millis(200);

/// How often a coordinator is asked for again: within [`PATIENCE`], so that the last answer is the one that is shown.
const TRIES: u32 = 40;

/// The check of the directory that files are written to.
const OUTPUT: &str = "output directory";

/// Tries everything that the configuration names; `offline` looks at the configuration alone.
pub async fn check(config: &Config, options: CheckOptions) -> CheckReport {
    let mut report = CheckReport::default();
    configuration(config, &mut report);
    let source_is_complete = match config.check_source() {
        Ok(()) => true,
        Err(_) if !config.names_source() => {
            let detail = "neither Source.Kind nor AlphaVantage.ApiKey and Symbols are set: `consume` needs none of them, `produce` and `run` do";
            report.add("source", Outcome::NotSetUp, detail);
            false
        }
        Err(error) => {
            report.add("source", Outcome::Failed, error.to_string());
            false
        }
    };
    if options.offline {
        if source_is_complete {
            source_offline(config, &mut report);
        }
        return report;
    }
    let cluster_id = brokers(config, &mut report).await;
    output(config, cluster_id.as_deref(), &mut report);
    directory(
        "state directory",
        "State.Directory",
        &config.state.directory,
        &mut report,
    );
    if source_is_complete {
        source(config, &mut report).await;
    }
    report
}

fn configuration(config: &Config, report: &mut CheckReport) {
    let set = config
        .entries()
        .iter()
        .filter(|entry| entry.origin != crate::config::Origin::Default)
        .count();
    let warnings = match config.warnings() {
        [] => String::new(),
        warnings => format!("; {}", warnings.join("; ")),
    };
    report.add(
        "configuration",
        Outcome::Ok,
        format!("{set} keys are set, the others have their defaults{warnings}"),
    );
}

/// Connection, security, topic and group; the cluster's id, where a broker has said it.
async fn brokers(config: &Config, report: &mut CheckReport) -> Option<String> {
    let kafka = &config.kafka;
    let cluster = settings::connect(config);
    let topic = match in_time(cluster.refresh_topic(&kafka.topic)).await {
        Ok(topic) => Some(topic),
        Err(Trouble::Cluster(
            error @ (ClusterError::UnknownTopic { .. } | ClusterError::Topic { .. }),
        )) => {
            reached(config, &cluster, report);
            report.add("topic", Outcome::Failed, error.to_string());
            None
        }
        Err(trouble) => {
            let setting = "Kafka.BootstrapServers says where the brokers are; without a Kafka, `stockflow demo` shows how all works";
            report.add("brokers", Outcome::Failed, format!("{trouble} ({setting})"));
            for check in ["topic", "group"] {
                report.add(check, Outcome::Skipped, "no broker can be asked");
            }
            return None;
        }
    };
    if let Some(topic) = &topic {
        reached(config, &cluster, report);
        let fine = describe(&kafka.topic, topic);
        let refused = looks_up(config) && is_compacted(&cluster, &kafka.topic).await;
        report.note(
            "topic",
            match refused {
                true => Err(dedup::refusal(&kafka.topic)),
                false => fine,
            },
        );
    }
    if config.names_source() {
        let publishing = match kafka.enable_idempotence {
            false => Ok("at least once (Kafka.EnableIdempotence=false): an event whose acknowledgement is lost can be there twice".to_owned()),
            true => in_time(cluster.has_producer_ids())
                .await
                .map(|()| "exactly once: the brokers give producer ids".to_owned()),
        };
        report.note("publishing", publishing);
    }
    let found = in_time(coordinator(&cluster, &kafka.group_id)).await;
    let coordinated = report.note(
        "group",
        found.map(|node| format!("{}: broker {node} coordinates it", kafka.group_id)),
    );
    if let Some(topic) = topic.filter(|_| coordinated) {
        let partitions: Vec<i32> = (0..).take(topic.partitions.len()).collect();
        let asked = consumer::committed(&cluster, &kafka.group_id, &kafka.topic, &partitions);
        let committed = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(committed)) => {
                let some = committed
                    .values()
                    .filter(|committed| committed.offset.is_some())
                    .count();
                Ok(format!(
                    "committed for {some} of {} partitions",
                    partitions.len()
                ))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        report.note("offsets", committed);
    }
    cluster.cluster_id()
}

/// The group's coordinator, as soon as there is one: a fresh Kafka first creates the topic __consumer_offsets.
async fn coordinator(cluster: &Cluster, group: &str) -> Result<i32, ClusterError> {
    for _ in 0..TRIES {
        match cluster.coordinator(group).await {
            Err(error) if error.is_retriable() => tokio::time::sleep(PAUSE).await,
            found => return found,
        }
    }
    cluster.coordinator(group).await
}

/// Whether `produce` would look up in the topic what was published: a source whose events are new each time does not.
fn looks_up(config: &Config) -> bool {
    if !config.names_source() {
        return false;
    }
    config.source.kind == SourceKind::AlphaVantage
        || settings::source(config, &SourceOptions::default(), true)
            .is_ok_and(|source| source.may_repeat())
}

/// As `produce` sees it; brokers that have no answer count as no.
async fn is_compacted(cluster: &Cluster, topic: &str) -> bool {
    in_time(dedup::is_compacted(cluster, topic))
        .await
        .unwrap_or(false)
}

fn reached(config: &Config, cluster: &Cluster, report: &mut CheckReport) {
    use crate::config::Choice as _;
    let servers = settings::bootstrap(config);
    let id = cluster
        .cluster_id()
        .unwrap_or_else(|| "without a name".to_owned());
    let security = config.kafka.security_protocol.name();
    report.add(
        "brokers",
        Outcome::Ok,
        format!("{} answers, cluster {id}, security {security}", servers),
    );
}

fn describe(name: &str, topic: &Topic) -> Result<String, String> {
    let partitions = topic.partitions.len();
    let leaderless = topic
        .partitions
        .iter()
        .filter(|partition| partition.leader.is_none())
        .count();
    if leaderless > 0 {
        return Err(format!(
            "{name}: {leaderless} of {partitions} partitions have no leader; is a broker down?"
        ));
    }
    Ok(format!(
        "{name}: {partitions} partitions, each with a leader"
    ))
}

/// Why a broker gave no answer.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silence,
}

async fn in_time<T>(question: impl Future<Output = Result<T, ClusterError>>) -> Result<T, Trouble> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Trouble::Silence),
    }
}

/// Whether a run can write its files: the directory is free, and belongs to this cluster, topic and group or to nobody.
fn output(config: &Config, cluster_id: Option<&str>, report: &mut CheckReport) {
    let (kafka, path) = (&config.kafka, &config.output.directory);
    match sink::peek(path, cluster_id, &kafka.topic, &kafka.group_id) {
        Ok(()) => directory(OUTPUT, "Output.Directory", path, report),
        // A healthy consumer is not a fault; whoever wants to start a second one reads where it cannot.
        Err(SinkError::Locked { holder, .. }) => {
            let holder = holder.map_or_else(String::new, |id| format!(" (process id {id})"));
            report.add(
                OUTPUT,
                Outcome::Ok,
                format!(
                    "{}: a running stockflow process{holder} writes into it; another consumer needs another directory (--out)",
                    path.display()
                ),
            );
        }
        Err(error) => report.add(
            OUTPUT,
            Outcome::Failed,
            format!("{error} (Output.Directory)"),
        ),
    }
}

/// Whether files can be made in a directory, or in the one in which it will be made.
fn directory(check: &'static str, setting: &str, path: &Path, report: &mut CheckReport) {
    let shown = path.display();
    let existing = path
        .ancestors()
        .map(|path| {
            if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            }
        })
        .find(|path| path.exists());
    let Some(existing) = existing else {
        return report.add(
            check,
            Outcome::Failed,
            format!("{shown}: no directory above it exists ({setting})"),
        );
    };
    let result = try_directory(existing);
    let there = existing == path;
    report.note(
        check,
        match result {
            Ok(()) if there => Ok(format!("{shown} can be written")),
            Ok(()) => Ok(format!("{shown} does not exist yet and can be created")),
            Err(error) => Err(format!("{}: {error} ({setting})", existing.display())),
        },
    );
}

fn try_directory(path: &Path) -> std::io::Result<()> {
    if !path.is_dir() {
        return Err(std::io::Error::other("it is not a directory"));
    }
    let name = format!(".stockflow-check-{}", std::process::id());
    let probe: PathBuf = path.join(name);
    File::options().write(true).create_new(true).open(&probe)?;
    std::fs::remove_file(&probe)
}

/// Whether the source can be had: one request to Alpha Vantage, or a look at the files.
async fn source(config: &Config, report: &mut CheckReport) {
    if config.source.kind != SourceKind::AlphaVantage {
        return source_offline(config, report);
    }
    let Some(outlook) = budget(config, report) else {
        return;
    };
    if outlook.left() == Some(0) {
        let until = outlook.blocked_until.unwrap_or(outlook.renewed);
        let detail = format!(
            "not tried, and nothing was sent: no request can be sent before {}",
            until.to_rfc3339()
        );
        return report.add("API key", Outcome::Skipped, detail);
    }
    let asked = match settings::alpha_vantage(config, &SourceOptions::default(), true) {
        Ok(settings) => AlphaVantage::probe(settings)
            .await
            .map_err(PipelineError::from),
        Err(error) => Err(error),
    };
    match asked {
        Ok(probe) => {
            let used = if probe.sent {
                "one request was used to try it"
            } else {
                "no request was sent"
            };
            let (outcome, said) = match probe.finding {
                Ok(finding) => (Outcome::Ok, finding),
                Err(error) => (Outcome::Failed, error.to_string()),
            };
            report.add("API key", outcome, format!("{used}: {said}"));
            report.tell_budget(probe.outlook);
        }
        Err(error) => report.add(
            "API key",
            Outcome::Failed,
            format!("no request was sent: {error}"),
        ),
    }
}

/// What can be said of the source without any connection.
fn source_offline(config: &Config, report: &mut CheckReport) {
    if config.source.kind == SourceKind::AlphaVantage {
        budget(config, report);
        return;
    }
    let made = settings::source(config, &SourceOptions::default(), true);
    report.note(
        "source",
        made.map(|_| format!("{:?} can begin", config.source.kind)),
    );
}

/// What is left of the key's budget, as far as it is known here.
fn budget(config: &Config, report: &mut CheckReport) -> Option<Outlook> {
    let looked = settings::alpha_vantage(config, &SourceOptions::default(), true)
        .and_then(|settings| Ok(AlphaVantage::outlook(settings)?));
    match looked {
        Ok(outlook) => {
            report.tell_budget(outlook.clone());
            Some(outlook)
        }
        Err(error) => {
            report.add(BUDGET, Outcome::Failed, error.to_string());
            None
        }
    }
}
