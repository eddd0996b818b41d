//! Proves that output directories hold every record once; asks the group only where an index cannot know.

mod missing_offsets;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use super::options::VerifyOptions;
use crate::config::{Config, Origin};
use crate::pipeline::{PipelineError, as_sink, settings};
use crate::verify::{Examination, PendingBatch, Report};
use crate::wire::cluster::Cluster;
use crate::{consumer, verify};

/// How long the brokers are asked about a batch whose commit is in doubt.
const ASK: Duration = Duration::from_secs(10);

/// Looks into the directories.
///
/// # Errors
/// When a directory is of another topic or group than was named, or its state is damaged or cannot be read.
pub async fn verify(config: &Config, options: &VerifyOptions) -> Result<Report, PipelineError> {
    let directories = each_once(&options.directories);
    let looked = tokio::task::spawn_blocking(move || verify::examine(&directories)).await;
    let mut examination = looked.map_err(|error| PipelineError::Internal(error.to_string()))??;
    expected(config, &examination)?;
    let pending = std::mem::take(&mut examination.pending);
    if options.offline {
        for batch in &pending {
            let directory = examination.directories.get(batch.directory);
            let doubt = said(directory, "brokers were not asked (--offline)");
            examination.doubts.push(doubt);
        }
    } else if !pending.is_empty() {
        let cluster = settings::connect(config);
        for batch in pending {
            let directory = examination.directories.get(batch.directory);
            if let Some(doubt) = doubt(&cluster, &batch, directory).await {
                examination.doubts.push(doubt);
            }
        }
    }
    // Asked only when they are named: a directory is proven without any broker, too.
    let named = !matches!(config.origin("Kafka.BootstrapServers"), Origin::Default);
    if named && !options.offline {
        let isolation = settings::isolation(config.kafka.isolation_level);
        missing_offsets::ask(&settings::connect(config), isolation, &mut examination).await;
    } else {
        let unseen = "no broker was asked (name them with -b), so it was not checked what lies beyond these ranges, nor whether there is really no record where the index says so";
        examination.unseen.push(unseen.to_owned());
    }
    Ok(Report::new(&examination))
}

/// The directories, without those that are named a second time.
fn each_once(named: &[PathBuf]) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let mut directories = named.to_vec();
    directories.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    directories
}

/// Holds the directories to the topic and the group that flags name.
fn expected(config: &Config, examination: &Examination) -> Result<(), PipelineError> {
    let named = |path: &str| matches!(config.origin(path), Origin::Flag(_));
    for (key, _) in examination.ledger.accounts.keys() {
        for (what, path, held, wanted) in [
            ("topic", "Kafka.Topic", &key.topic, &config.kafka.topic),
            ("group", "Kafka.GroupId", &key.group, &config.kafka.group_id),
        ] {
            if named(path) && held != wanted {
                return Err(PipelineError::Setting(format!(
                    "a directory holds the {what} {held}, and {wanted} was asked for; leave the flag out, or name the directory of {wanted}"
                )));
            }
        }
    }
    Ok(())
}

/// Asks the group whether a batch counts; why it cannot be said that it does.
async fn doubt(
    cluster: &Arc<Cluster>,
    batch: &PendingBatch,
    directory: Option<&PathBuf>,
) -> Option<String> {
    let key = &batch.key;
    let ask = async {
        let _ = cluster.refresh_topic(&key.topic).await;
        consumer::committed(cluster, &key.group, &key.topic, &batch.partitions).await
    };
    let answer = tokio::time::timeout(ASK, ask).await;
    let why = match answer {
        Ok(Ok(_)) if cluster.cluster_id().as_ref() != Some(&key.cluster_id) => {
            format!(
                "the brokers asked are not of its cluster {}",
                key.cluster_id
            )
        }
        Ok(Ok(committed)) => {
            let committed = committed
                .into_iter()
                .map(|(p, committed)| (p, as_sink(committed)));
            if batch.counted(&committed.collect()) {
                return None;
            }
            format!("group {} has not committed it", key.group)
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!(
            "no broker answered within {} s (-b names them)",
            ASK.as_secs()
        ),
    };
    Some(said(directory, &why))
}

fn said(directory: Option<&PathBuf>, why: &str) -> String {
    let directory = directory.map_or_else(String::new, |path| format!("{}: ", path.display()));
    format!(
        "{directory}it is not known whether the last batch took effect: {why}; run `stockflow consume` once, which finds out"
    )
}
