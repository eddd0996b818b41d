//! Moving a group's offsets: where to is planned first, and done only to a group without members.

use std::{collections::BTreeMap, sync::Arc};

use super::{AdminError, Described, groups::refused};
use crate::{
    consumer::{self, Bound, Isolation},
    wire::{
        cluster::{Cluster, Lane},
        error::{ErrorCode, Remedy},
        messages::{
            OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, Request,
        },
    },
};

/// Where to move offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the first record that is there.
    Earliest,
    /// Behind the last record.
    Latest,
    /// To this offset.
    Offset(i64),
    /// To the first record that is not older than this, in milliseconds since 1970.
    Since(i64),
    /// So many records forwards, or backwards where negative.
    Shift(i64),
    /// Each partition to an offset of its own; the others stay.
    Each(BTreeMap<i32, i64>),
}

/// How a reset's metadata begins: not as a consumer's does, so that whoever reads on knows that somebody meant it. What was
/// committed before follows: by that a directory that was killed before it learnt of its commit knows that it counted.
const NOTE: &str = "stockflow group reset";
const BEFORE: &str = "stockflow group reset, before: ";

/// How it begins where that was another program's: the offset follows up to which that one has read.
const PROGRAM: &str = "stockflow group reset, another program before: ";

/// What stands before the list of former owners in a consumer's metadata.
const OWNERS: &str = " owners=";

/// The most bytes of metadata that brokers take by default.
const MOST_METADATA: usize = 4_096;

/// The metadata of a reset, where `before` was committed last, with `offset`. Pure.
fn note(before: &str, offset: Option<i64>) -> String {
    if before.starts_with(PROGRAM) {
        return before.to_owned();
    }
    let before = before.strip_prefix(BEFORE).unwrap_or(before);
    match fitting(before, MOST_METADATA - BEFORE.len()) {
        Some(text) => format!("{BEFORE}{text}"),
        None => match offset {
            Some(offset) if !before.starts_with(NOTE) && !before.starts_with("stockflow/") => {
                format!("{PROGRAM}{offset}")
            }
            _ => NOTE.to_owned(),
        },
    }
}

/// A consumer's metadata in so many bytes: of the list of former owners the latest are kept, and `+` says that there are
/// others, as it does in the list itself. Whoever was left out without that would take itself for one that never read. Pure.
fn fitting(text: &str, most: usize) -> Option<String> {
    if !text.starts_with("stockflow/") {
        return None;
    }
    if text.len() <= most {
        return Some(text.to_owned());
    }
    let (author, owners) = text.split_once(OWNERS)?;
    let mut kept = format!("{author}{OWNERS}");
    for owner in owners.split(',').filter(|owner| *owner != "+") {
        if kept.len() + owner.len() + ",+".len() > most {
            break;
        }
        kept.push_str(owner);
        kept.push(',');
    }
    kept.push('+');
    (kept.len() <= most).then_some(kept)
}

/// What is to become of a partition's offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The partition.
    pub partition: i32,
    /// What is committed now.
    pub from: Option<i64>,
    /// The metadata that is committed with it.
    pub metadata: String,
    /// What is to be committed: always within what is there.
    pub to: i64,
}

/// Plans a reset of the group's offsets of `topic`, or of one `partition` of it; changes nothing.
///
/// # Errors
/// When offsets cannot be read, or the target names a partition that there is not.
pub async fn plan(
    cluster: &Arc<Cluster>,
    group: &str,
    topic: &str,
    partition: Option<i32>,
    target: &Target,
) -> Result<Vec<Change>, AdminError> {
    let count = cluster.refresh_topic(topic).await?.partitions.len();
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let partitions: Vec<i32> = match (target, partition) {
        (Target::Each(offsets), _) => offsets.keys().copied().collect(),
        (_, Some(partition)) => vec![partition],
        (_, None) => (0..count).collect(),
    };
    if let Some(unknown) = partitions.iter().find(|of| !(0..count).contains(*of)) {
        return Err(AdminError::Target(format!(
            "topic {topic} has no partition {unknown}: it has {count}"
        )));
    }
    let all = Isolation::ReadUncommitted;
    let bound = |bound| consumer::list_offsets(cluster, topic, all, &partitions, bound);
    let starts = bound(Bound::Earliest).await?;
    let ends = bound(Bound::Latest).await?;
    let since = match target {
        Target::Since(time) => bound(Bound::Since(*time)).await?,
        _ => BTreeMap::new(),
    };
    let committed = consumer::committed(cluster, group, topic, &partitions).await?;
    let changes = partitions.iter().filter_map(|&partition| {
        let range = (*starts.get(&partition)?, *ends.get(&partition)?);
        let committed = committed.get(&partition);
        let from = committed.and_then(|committed| committed.offset);
        let since = since.get(&partition).copied();
        let wanted = wanted(target, partition, from, range, since);
        let to = within(wanted, range);
        // No record is as young as a time that is behind all of them.
        if to != wanted && !matches!(target, Target::Since(_)) {
            tracing::warn!(
                topic,
                partition,
                wanted,
                start = range.0,
                end = range.1,
                "this offset is not in the log, which is from {} to {}: {to} is taken",
                range.0,
                range.1
            );
        }
        Some(Change {
            partition,
            from,
            metadata: committed
                .map(|committed| committed.metadata.clone())
                .unwrap_or_default(),
            to,
        })
    });
    Ok(changes.collect())
}

/// Where one partition is to go, whether its log reaches there or not. Pure.
fn wanted(
    target: &Target,
    partition: i32,
    from: Option<i64>,
    (start, end): (i64, i64),
    since: Option<i64>,
) -> i64 {
    match target {
        Target::Earliest => start,
        Target::Latest => end,
        Target::Offset(offset) => *offset,
        // A time behind all records is the end.
        Target::Since(_) => since.unwrap_or(end),
        // What is not committed yet begins at the start.
        Target::Shift(by) => from.unwrap_or(start).saturating_add(*by),
        Target::Each(offsets) => offsets.get(&partition).copied().unwrap_or(start),
    }
}

/// The nearest offset that the log has. Pure.
fn within(wanted: i64, (start, end): (i64, i64)) -> i64 {
    wanted.clamp(start, end.max(start))
}

/// Carries a plan out. A running `consume` with that directory obeys it at its next start.
///
/// # Errors
/// [`AdminError::Active`] when the group has members; when the coordinator refuses.
pub async fn reset(
    cluster: &Cluster,
    described: &Described,
    topic: &str,
    changes: &[Change],
) -> Result<(), AdminError> {
    described.check_inactive()?;
    let group = described.group.as_str();
    let request = OffsetCommitRequest {
        group_id: group.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: changes
                .iter()
                .map(|change| OffsetCommitRequestPartition {
                    partition_index: change.partition,
                    committed_offset: change.to,
                    committed_metadata: Some(note(&change.metadata, change.from).into()),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = cluster
        .request(described.coordinator, Lane::Control, &request)
        .await?;
    for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        let Err(code) = ErrorCode::check(partition.error_code) else {
            continue;
        };
        // Somebody has joined since it was looked at.
        if [
            ErrorCode::UNKNOWN_MEMBER_ID,
            ErrorCode::ILLEGAL_GENERATION,
            ErrorCode::REBALANCE_IN_PROGRESS,
            ErrorCode::STALE_MEMBER_EPOCH,
        ]
        .contains(&code)
        {
            return Err(AdminError::Active {
                group: group.to_owned(),
                state: "joined meanwhile".to_owned(),
                members: 1,
            });
        }
        if code.remedy() != Remedy::None {
            return Err(refused(group, OffsetCommitRequest::NAME, code));
        }
        return Err(AdminError::NotMoved {
            group: group.to_owned(),
            topic: topic.to_owned(),
            partition: partition.partition_index,
            code,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn aims_as_asked() {
        let range = (10, 20);
        let aim = |target, from| within(wanted(&target, 1, from, range, Some(15)), range);
        assert_eq!(aim(Target::Earliest, Some(12)), 10);
        assert_eq!(aim(Target::Latest, None), 20);
        assert_eq!(aim(Target::Offset(13), None), 13);
        assert_eq!(aim(Target::Since(1), None), 15);
        assert_eq!(aim(Target::Shift(-1), Some(13)), 12);
        assert_eq!(aim(Target::Shift(3), None), 13);
        assert_eq!(aim(Target::Each([(1, 17)].into()), None), 17);
    }

    #[test]
    fn a_reset_names_what_was_committed_before_as_far_as_it_fits() {
        let from = |text: &str| note(text, Some(7));
        assert_eq!(note("", None), NOTE);
        for theirs in ["", "another program's"] {
            let said = from(theirs);
            assert_eq!(said, format!("{PROGRAM}7"));
            assert_eq!(note(&said, Some(9)), said, "a second reset keeps it");
        }
        assert_eq!(from(NOTE), NOTE);
        let ours = "stockflow/1 dir=x batch=1 owners=y/2";
        assert_eq!(from(ours), format!("{BEFORE}{ours}"));
        assert_eq!(from(&from(ours)), from(ours), "a second reset keeps it");
        let long = format!("stockflow/1 dir=x batch=1 owners={}", "y".repeat(4_080));
        let marked = format!("{BEFORE}stockflow/1 dir=x batch=1 owners=+");
        assert_eq!(from(&long), marked, "that there are others is said");
        let many = |count| format!("stockflow/1 dir=x batch=1 owners={}", "y/2,".repeat(count));
        for (count, end) in [(1_000, "y/2"), (1_020, ",+")] {
            let text = many(count);
            let text = text.trim_end_matches(',');
            for text in [text.to_owned(), format!("{text},+")] {
                let said = from(&text);
                assert!(said.len() <= MOST_METADATA, "{}", said.len());
                let cut = count == 1_020 || text.ends_with('+');
                assert!(said.ends_with(if cut { ",+" } else { end }), "{said}");
                assert!(said.len() > MOST_METADATA - 60 && !said.contains("+,"));
                assert_eq!(from(&said), said, "a second reset keeps it");
            }
        }
        assert_eq!(from(&format!("stockflow/{}", "y".repeat(4_090))), NOTE);
    }

    proptest! {
        #[test]
        fn never_leaves_what_is_there(by: i64, from in prop::option::of(any::<i64>()), start in 0..100i64, len in 0..100i64, since: i64) {
            for target in [Target::Offset(by), Target::Shift(by), Target::Since(by), Target::Each([(0, by)].into())] {
                let range = (start, start + len);
                let to = within(wanted(&target, 0, from, range, Some(since)), range);
                prop_assert!((start..=start + len).contains(&to));
            }
        }
    }
}
