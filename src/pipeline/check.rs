//! `check`: tries everything that a run needs, one after the other, and says of each what is wrong and what to do.
//!
//! Nothing is left behind: no topic, no group, no file. The API key is tried with one request, which is counted.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::{
    PipelineError,
    options::{CheckOptions, Format, SourceOptions},
    settings,
};
use crate::{
    config::{Config, SourceKind},
    consumer,
    source::alpha_vantage::{AlphaVantage, Outlook},
    wire::cluster::{Cluster, ClusterError, Topic},
};

/// How long one question to the brokers may take: long enough for any that can be worked with.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    Failed,
    /// It could not be tried, and why is said.
    Skipped,
}

/// One check.
#[derive(Clone, Debug)]
struct Finding {
    check: &'static str,
    outcome: Outcome,
    detail: String,
}

/// What all checks found.
#[derive(Debug, Default)]
pub struct CheckReport {
    findings: Vec<Finding>,
    outlook: Option<Outlook>,
}

impl CheckReport {
    /// Whether no check failed.
    pub fn is_good(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.outcome != Outcome::Failed)
    }

    /// As it goes to standard output, with its line end.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => format!("{}\n", self.json()),
        }
    }

    fn add(&mut self, check: &'static str, outcome: Outcome, detail: impl Into<String>) {
        let detail = detail.into();
        self.findings.push(Finding {
            check,
            outcome,
            detail,
        });
    }

    fn note<E: std::fmt::Display>(
        &mut self,
        check: &'static str,
        result: Result<String, E>,
    ) -> bool {
        match result {
            Ok(detail) => self.add(check, Outcome::Ok, detail),
            Err(error) => self.add(check, Outcome::Failed, error.to_string()),
        }
        self.findings
            .last()
            .is_some_and(|finding| finding.outcome == Outcome::Ok)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for Finding {
            check,
            outcome,
            detail,
        } in &self.findings
        {
            let outcome = outcome.as_str();
            text.push_str(&format!("{outcome:<8} {check:<17} {detail}\n"));
        }
        let of = |outcome| {
            self.findings
                .iter()
                .filter(|finding| finding.outcome == outcome)
                .count()
        };
        let (failed, skipped) = (of(Outcome::Failed), of(Outcome::Skipped));
        text + &match (failed, skipped) {
            (0, 0) => "all is well\n".to_owned(),
            (failed, skipped) => format!("{failed} failed, {skipped} not tried\n"),
        }
    }

    fn json(&self) -> Value {
        let checks: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| {
                json!({
                    "check": finding.check,
                    "outcome": finding.outcome.as_str(),
                    "detail": finding.detail,
                })
            })
            .collect();
        let mut object = Map::new();
        object.insert("ok".into(), self.is_good().into());
        object.insert("checks".into(), checks.into());
        if let Some(outlook) = &self.outlook {
            object.insert(
                "api_budget".into(),
                json!({
                    "used_today": outlook.day.used,
                    "limit_per_day": outlook.day.limit,
                    "left_today": outlook.left(),
                    "limit_per_minute": outlook.minute,
                    "runs_out_at": outlook.runs_out.map(|at| at.to_rfc3339()),
                    "renewed_at": outlook.renewed.to_rfc3339(),
                    "paid_plan": outlook.paid,
                }),
            );
        }
        Value::Object(object)
    }
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// Tries everything that the configuration names; `offline` looks at the configuration alone.
pub async fn check(config: &Config, options: CheckOptions) -> CheckReport {
    let mut report = CheckReport::default();
    configuration(config, &mut report);
    let source_is_complete = match config.check_source() {
        Ok(()) => true,
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
    brokers(config, &mut report).await;
    directory(
        "output directory",
        "Output.Directory",
        &config.output.directory,
        &mut report,
    );
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

/// Connection, security, topic and group.
async fn brokers(config: &Config, report: &mut CheckReport) {
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
            return;
        }
    };
    if let Some(topic) = &topic {
        reached(config, &cluster, report);
        report.note("topic", describe(&kafka.topic, topic));
    }
    let found = in_time(cluster.coordinator(&kafka.group_id)).await;
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
}

fn reached(config: &Config, cluster: &Cluster, report: &mut CheckReport) {
    use crate::config::Choice as _;
    let servers: Vec<String> = config
        .kafka
        .bootstrap_servers
        .iter()
        .map(ToString::to_string)
        .collect();
    let id = cluster
        .cluster_id()
        .unwrap_or_else(|| "without a name".to_owned());
    let security = config.kafka.security_protocol.name();
    report.add(
        "brokers",
        Outcome::Ok,
        format!(
            "{} answers, cluster {id}, security {security}",
            servers.join(",")
        ),
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
            Ok(()) => Ok(format!("{shown} is not there yet and can be made")),
            Err(error) => Err(format!("{}: {error} ({setting})", existing.display())),
        },
    );
}

fn try_directory(path: &Path) -> std::io::Result<()> {
    if !path.is_dir() {
        return Err(std::io::Error::other("it is no directory"));
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
        let detail = format!(
            "not tried: no request is left before {}",
            outlook.renewed.to_rfc3339()
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
            report.add(
                "API key",
                Outcome::Ok,
                format!("one request was used to try it: {}", probe.finding),
            );
            report
                .findings
                .retain(|finding| finding.check != "API budget");
            report.tell_budget(probe.outlook);
        }
        Err(error) => report.add(
            "API key",
            Outcome::Failed,
            format!("one request was used to try it: {error}"),
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
            report.add("API budget", Outcome::Failed, error.to_string());
            None
        }
    }
}

impl CheckReport {
    fn tell_budget(&mut self, outlook: Outlook) {
        let day = match (outlook.left(), outlook.day.limit) {
            (Some(left), Some(limit)) => {
                let end = match outlook.runs_out {
                    Some(at) if left > 0 => format!(
                        "polled as configured it runs out at {}; polls are spread out to make it last",
                        at.to_rfc3339()
                    ),
                    Some(_) => "it is used up".to_owned(),
                    None => "it lasts until then as configured".to_owned(),
                };
                format!(
                    "{left} of {limit} requests are left today, new ones come at {}; {end}",
                    outlook.renewed.to_rfc3339()
                )
            }
            _ => format!(
                "{} requests were used today, there is no limit a day",
                outlook.day.used
            ),
        };
        let minute = match outlook.minute {
            Some(minute) => format!("{minute} a minute"),
            None => "no limit a minute".to_owned(),
        };
        let plan = match (outlook.paid, outlook.no_intraday_since) {
            (true, _) => "; the key is one of a paid plan",
            (false, Some(_)) => "; the key has no intraday data",
            (false, None) => "",
        };
        self.add("API budget", Outcome::Ok, format!("{day}; {minute}{plan}"));
        self.outlook = Some(outlook);
    }
}
