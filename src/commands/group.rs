//! `group`: asks, plans or changes, and says what came of it, for people or as JSON.

use std::{collections::BTreeMap, fmt::Write, path::Path, sync::Arc};

use chrono::Utc;
use serde_json::{Value, json};

use super::options::{GroupAction, ResetTo};
use crate::pipeline::{Format, PipelineError, Reachability, settings};
use crate::{
    admin::{self, AdminError, Change, Described, Lag, Listed, Target},
    config::Config,
    wire::cluster::Cluster,
};

/// Does what `group` was asked to do; the text is for standard output.
///
/// # Errors
/// When the brokers cannot be reached for 30 s, there is no such group, it is active, or the broker refuses.
pub async fn group(
    config: &Config,
    action: &GroupAction,
    format: Format,
) -> Result<String, PipelineError> {
    let cluster = settings::connect(config);
    let reach = Reachability::new(&cluster, true);
    // Learns whether anybody is there at all, patiently; what follows gives up by itself.
    reach.ask(|| cluster.refresh_brokers()).await?;
    tokio::select! {
        text = act(config, &cluster, action, format) => text,
        lost = reach.watch() => Err(lost),
    }
}

async fn act(
    config: &Config,
    cluster: &Arc<Cluster>,
    action: &GroupAction,
    format: Format,
) -> Result<String, PipelineError> {
    let (group, topic) = (config.kafka.group_id.as_str(), config.kafka.topic.as_str());
    let (text, json) = match action {
        GroupAction::List => {
            let groups = admin::list(cluster).await?;
            (list_text(&groups), list_json(&groups))
        }
        GroupAction::Describe => {
            let described = describe(cluster, group).await?;
            let lags = admin::lag(cluster, &described).await?;
            let now = Utc::now().timestamp_millis();
            (
                describe_text(&described, &lags, now),
                describe_json(&described, &lags, now),
            )
        }
        GroupAction::Reset {
            to,
            partition,
            execute,
        } => {
            let described = describe(cluster, group).await?;
            let target = target(to, topic)?;
            let changes = admin::plan(cluster, group, topic, *partition, &target).await?;
            if *execute {
                admin::reset(cluster, &described, topic, &changes).await?;
            }
            (
                reset_text(topic, &changes, *execute),
                json!({ "group": group, "topic": topic, "executed": execute, "partitions": changes.iter().map(|change| json!({
                    "partition": change.partition, "from": change.from, "to": change.to,
                })).collect::<Vec<_>>() }),
            )
        }
        GroupAction::Delete => {
            admin::delete(cluster, group).await?;
            (
                format!("group {group} and its offsets are deleted\n"),
                json!({ "group": group, "deleted": true }),
            )
        }
    };
    Ok(match format {
        Format::Text => text,
        Format::Json => format!("{json}\n"),
    })
}

/// A coordinator that moves or loads is waited for, by trying again.
async fn describe(cluster: &Arc<Cluster>, group: &str) -> Result<Described, AdminError> {
    const TRIES: u32 = 30;
    let mut tries = 0;
    loop {
        match admin::describe(cluster, group).await {
            Err(error) if error.is_retriable() && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
            described => return described,
        }
    }
}

fn target(to: &ResetTo, topic: &str) -> Result<Target, PipelineError> {
    Ok(match to {
        ResetTo::Earliest => Target::Earliest,
        ResetTo::Latest => Target::Latest,
        ResetTo::Offset(offset) => Target::Offset(*offset),
        ResetTo::Since(time) => Target::Since(*time),
        ResetTo::Shift(by) => Target::Shift(*by),
        ResetTo::Ago(ago) => {
            let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            Target::Since(Utc::now().timestamp_millis().saturating_sub(ago))
        }
        ResetTo::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|source| PipelineError::Io {
                action: format!("read {}", path.display()),
                source,
            })?;
            Target::Each(offsets(path, &text, topic)?)
        }
    })
}

/// Lines of `topic,partition,offset`; those of other topics are passed over.
fn offsets(path: &Path, text: &str, topic: &str) -> Result<BTreeMap<i32, i64>, AdminError> {
    let mut offsets = BTreeMap::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let fields: Vec<&str> = line
            .split(',')
            .map(|field| field.trim().trim_matches('"'))
            .collect();
        let read = || {
            let [of, partition, offset] = fields.as_slice() else {
                return None;
            };
            let offset: i64 = offset.parse().ok().filter(|offset| *offset >= 0)?;
            Some((*of, partition.parse::<i32>().ok()?, offset))
        };
        let wrong = |why: &str| {
            AdminError::Target(format!(
                "{}, line {}: {why}; expected topic,partition,offset",
                path.display(),
                number + 1
            ))
        };
        let (of, partition, offset) = read().ok_or_else(|| wrong(&format!("{line:?}")))?;
        if of == topic && offsets.insert(partition, offset).is_some() {
            return Err(wrong(&format!("partition {partition} stands there twice")));
        }
    }
    if offsets.is_empty() {
        let path = path.display();
        return Err(AdminError::Target(format!(
            "{path} has no line for topic {topic}"
        )));
    }
    Ok(offsets)
}

/// Columns as wide as what stands in them.
fn table(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(at) {
                Some(known) => *known = width.max(*known),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn list_text(groups: &[Listed]) -> String {
    let mut rows = vec![cells(["GROUP", "TYPE", "STATE", "PROTOCOL"])];
    rows.extend(groups.iter().map(|group| {
        cells([
            &group.group,
            or_dash(&group.kind).to_lowercase().as_str(),
            or_dash(&group.state),
            or_dash(&group.protocol),
        ])
    }));
    table(&rows)
}

fn list_json(groups: &[Listed]) -> Value {
    let groups = groups.iter().map(|group| {
        json!({ "group": group.group, "type": group.kind.to_lowercase(), "state": group.state, "protocol": group.protocol })
    });
    json!({ "groups": groups.collect::<Vec<_>>() })
}

/// Who has a partition: member id and host.
fn reader<'d>(described: &'d Described, lag: &Lag) -> Option<(&'d str, &'d str)> {
    let member = described.members.iter().find(|member| {
        let partitions = member.partitions.get(&lag.topic);
        partitions.is_some_and(|partitions| partitions.contains(&lag.partition))
    })?;
    Some((&member.id, &member.host))
}

/// For how many seconds the first record that is not read has been waiting.
fn age(lag: &Lag, now: i64) -> Option<i64> {
    lag.waiting_since.map(|since| (now - since).max(0) / 1_000)
}

fn describe_text(described: &Described, lags: &[Lag], now: i64) -> String {
    let mut text = format!(
        "group {}: {}, {}, {} members{}, coordinator {}\n\n",
        described.group,
        described.kind.name(),
        described.state,
        described.members.len(),
        if described.assignor.is_empty() {
            String::new()
        } else {
            format!(", assigned by {}", described.assignor)
        },
        described.coordinator,
    );
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut rows = vec![cells([
        "TOPIC",
        "PARTITION",
        "COMMITTED",
        "END",
        "LAG",
        "AGE",
        "MEMBER",
        "HOST",
    ])];
    for lag in lags {
        let (member, host) = reader(described, lag).unwrap_or(("-", "-"));
        rows.push(cells([
            &lag.topic,
            &lag.partition.to_string(),
            &number(lag.committed),
            &lag.end.to_string(),
            &number(lag.records()),
            &age(lag, now).map_or_else(|| "-".to_owned(), |age| format!("{age} s")),
            member,
            host,
        ]));
    }
    text.push_str(&table(&rows));
    let idle = described
        .members
        .iter()
        .filter(|member| member.partitions.values().all(Vec::is_empty));
    for member in idle {
        let _ = writeln!(text, "{} on {} has no partition", member.id, member.host);
    }
    text
}

fn describe_json(described: &Described, lags: &[Lag], now: i64) -> Value {
    let members = described.members.iter().map(|member| {
        json!({
            "member": member.id, "instance": member.instance, "client": member.client_id, "host": member.host,
            "partitions": member.partitions,
        })
    });
    let partitions = lags.iter().map(|lag| {
        let (member, host) = reader(described, lag).unzip();
        json!({
            "topic": lag.topic, "partition": lag.partition, "committed": lag.committed, "start": lag.start, "end": lag.end,
            "lag": lag.records(), "age_seconds": age(lag, now), "member": member, "host": host,
        })
    });
    json!({
        "group": described.group, "type": described.kind.name(), "state": described.state, "assignor": described.assignor,
        "coordinator": described.coordinator, "members": members.collect::<Vec<_>>(),
        "lag": lags.iter().filter_map(Lag::records).sum::<i64>(),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

fn reset_text(topic: &str, changes: &[Change], executed: bool) -> String {
    let mut rows = vec![cells(["TOPIC", "PARTITION", "FROM", "TO"])];
    for change in changes {
        let from = change
            .from
            .map_or_else(|| "-".to_owned(), |from| from.to_string());
        rows.push(cells([
            topic,
            &change.partition.to_string(),
            &from,
            &change.to.to_string(),
        ]));
    }
    let mut text = table(&rows);
    text.push_str(if executed {
        "moved\n"
    } else {
        "nothing was changed: this is what --execute would do\n"
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kafkas_tool_exports() {
        let read = |text| offsets(Path::new("f"), text, "t").map_err(|error| error.to_string());
        assert_eq!(
            read("\"t\",0,5\nu,0,9\n\nt,1,7\n"),
            Ok(BTreeMap::from([(0, 5), (1, 7)]))
        );
        for (wrong, says) in [
            ("t,0", "line 1"),
            ("t,0,-1", "line 1"),
            ("t,0,1\nt,0,2", "line 2: partition 0 stands there twice"),
            ("u,0,1", "has no line for topic t"),
        ] {
            assert!(
                read(wrong).is_err_and(|error| error.contains(says)),
                "{wrong}"
            );
        }
    }
}
