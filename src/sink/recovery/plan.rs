//! Decides, from the checkpoint and what Kafka says was committed, which rows stay and where each partition goes on.
//!
//! Pure. The rules:
//! - The pending batch counts on a partition only if the commit there names exactly this directory and this batch.
//! - Where it does not count its rows are taken out; they will be read again from the offset at which they began.
//! - Where another directory has gone on since, the chain of owners in its commits says which of our batches was the last
//!   that counted. Where there is none (another program's commits, a chain that was cut), nobody can tell whether the
//!   batch counted: its rows are taken out too, but set aside.
//! - A commit of a batch of this directory never moves a position: the checkpoint knows better (a commit of an abandoned
//!   batch, or of an older one, may have landed late). A take-over does, forwards: nothing of it is in the checkpoint
//!   before its first batch.
//! - A commit that was made for another topic of the same name is no commit.
//! - A batch in this directory's name that this directory never made is a copy's: two directories that say they are one
//!   would double rows, and nobody could tell.

use crate::sink::Committed;
use crate::sink::state::Holder;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::state::{
    Batch, Checkpoint, Extent, FileState, Gap, Moved, Pending, Position, Reason, State,
    commit_metadata,
};
pub(in crate::sink) use begun::{begun_amiss, begun_at, begun_unread, met, went_back};

/// What became of the pending batch on a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its commit counted; its rows stay.
    Counted,
    /// Its commit did not count; its rows are taken out and read again.
    Abandoned,
    /// Another program has moved the offset since, so nobody can tell; its rows are set aside.
    Undecided,
}

/// Judges the pending batch on each of its partitions; on a partition whose committed offset is missing: that partition.
pub(crate) fn judge(
    pending: &Pending,
    holder: Holder,
    committed: &BTreeMap<i32, Committed>,
) -> Result<BTreeMap<i32, Verdict>, i32> {
    let judge = |(&partition, moved): (&i32, &Moved)| {
        if pending.counted.contains(&partition) {
            return Ok((partition, Verdict::Counted));
        }
        let committed = committed.get(&partition).ok_or(partition)?;
        let Some((offset, note)) = holder.read(committed) else {
            return Ok((partition, Verdict::Abandoned));
        };
        let counted = match note {
            Some((commit_author, _)) if commit_author.directory == holder.directory => {
                Some(commit_author.is_of(holder.directory, pending.number))
            }
            // Others have gone on since: their chain says where we left.
            Some((_, chain)) => chain
                .find(holder.directory)
                .map(|owner| owner.batch == Some(pending.number)),
            // Somebody has set the offset since, and says what was committed before.
            None => commit_metadata::before_reset(&committed.metadata)
                .filter(|(commit_author, _)| commit_author.directory == holder.directory)
                .map(|(commit_author, _)| commit_author.is_of(holder.directory, pending.number)),
        };
        let verdict = match counted {
            Some(true) => Verdict::Counted,
            Some(false) => Verdict::Abandoned,
            None if offset == moved.from => Verdict::Abandoned,
            None => Verdict::Undecided,
        };
        Ok((partition, verdict))
    };
    pending.partitions.iter().map(judge).collect()
}

/// What has to be done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) enum FilePlan {
    /// It stays, cut to this length.
    Keep(FileState),
    /// Nothing of it counts.
    Remove,
    /// It is cut, and these ranges of the bytes behind the cut are appended again.
    Rewrite {
        cut: u64,
        keep: Vec<Range<u64>>,
        /// As the batch left it.
        file: FileState,
    },
}

/// What has to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sink) struct Plan {
    pub(in crate::sink) files: BTreeMap<String, FilePlan>,
    /// Places of files of which nothing counts.
    pub(in crate::sink) remove: BTreeSet<String>,
    /// Rows to be set aside: file, partition, bytes.
    pub(in crate::sink) aside: Vec<(String, i32, Range<u64>)>,
    /// Offsets that the directory went past before rows that do not count.
    pub(in crate::sink) gaps: Vec<Gap>,
    /// What remains of the pending batch, with its runs where they will be.
    pub(in crate::sink) batch: Option<Batch>,
    /// The partitions' positions from now on.
    pub(in crate::sink) partitions: BTreeMap<i32, Position>,
    /// Whether bytes that a checkpoint once covered go away: then the plan has to be durable before it is carried out.
    pub(in crate::sink) destructive: bool,
}

/// Plans what the verdicts mean for the files. `batch` is the pending batch's line of the index.
pub(in crate::sink) fn plan(
    checkpoint: &Checkpoint,
    batch: Option<&Batch>,
    verdicts: &BTreeMap<i32, Verdict>,
) -> Plan {
    let State {
        files, partitions, ..
    } = &checkpoint.counting;
    let mut plan = Plan {
        partitions: partitions.clone(),
        ..Plan::default()
    };
    for (name, file) in files.iter().filter(|(_, file)| !file.gone) {
        plan.files.insert(name.clone(), FilePlan::Keep(*file));
    }
    let lost = |partition: i32| {
        verdicts
            .get(&partition)
            .is_none_or(|verdict| *verdict != Verdict::Counted)
    };
    if let (Some(pending), Some(batch)) = (&checkpoint.pending, batch) {
        let mut kept_runs = Vec::new();
        for (name, file) in &pending.files {
            let runs = batch
                .runs
                .iter()
                .filter(|run| batch.files.get(run.file) == Some(name));
            let target = plan_file(*file, files.get(name), runs, &lost, &mut kept_runs);
            plan.destructive |= !matches!(target, FilePlan::Keep(kept) if kept == *file);
            match target {
                FilePlan::Remove => {
                    plan.remove.insert(file.form.place(name));
                }
                target => {
                    plan.files.insert(name.clone(), target);
                }
            }
        }
        for run in &batch.runs {
            if let (Some(Verdict::Undecided), Some(name)) =
                (verdicts.get(&run.partition), batch.files.get(run.file))
            {
                plan.aside
                    .push((name.clone(), run.partition, run.start..run.start + run.len));
            }
        }
        for (partition, moved) in &pending.partitions {
            if lost(*partition) {
                plan.destructive = true;
                plan.partitions.entry(*partition).or_insert(Position {
                    next: moved.from,
                    epoch: None,
                });
            } else {
                plan.partitions.insert(*partition, moved.to);
            }
        }
        let mut remains = batch.clone();
        remains.runs = kept_runs;
        remains.partitions.retain(|span| !lost(span.0));
        let gaps = std::mem::take(&mut remains.gaps).into_iter();
        (plan.gaps, remains.gaps) = gaps.partition(|gap| lost(gap.0));
        remains.passed.retain(|passed| !lost(passed.0));
        let undecided = |partition: i32| verdicts.get(&partition) == Some(&Verdict::Undecided);
        let undecided = pending.partitions.iter().filter(|(p, _)| undecided(**p));
        remains.undecided = undecided
            .map(|(partition, moved)| {
                Gap(
                    *partition,
                    moved.from,
                    moved.to.next,
                    Vec::new(),
                    Reason::default(),
                )
            })
            .collect();
        plan.batch = (!remains.says_nothing()).then_some(remains);
    }
    let known: BTreeSet<_> = checkpoint
        .files()
        .map(|(name, state)| state.form.place(name))
        .collect();
    let loose = checkpoint.loose.iter();
    plan.remove
        .extend(loose.filter(|place| !known.contains(*place)).cloned());
    plan
}

/// One file that the pending batch wrote to; adds the runs that stay, where they will be, to `kept`.
fn plan_file<'a>(
    file: FileState,
    base: Option<&FileState>,
    runs: impl Iterator<Item = &'a Extent>,
    lost: &impl Fn(i32) -> bool,
    kept: &mut Vec<Extent>,
) -> FilePlan {
    let (mut cut, mut end, mut any) = (None, 0, false);
    let mut keep: Vec<Range<u64>> = Vec::new();
    for run in runs {
        if lost(run.partition) {
            if cut.is_none() {
                (cut, end) = (Some(run.start), run.start);
            }
            continue;
        }
        any = true;
        if cut.is_none() {
            kept.push(run.clone());
        } else {
            kept.push(Extent {
                start: end,
                ..run.clone()
            });
            keep.push(run.start..run.start + run.len);
            end += run.len;
        }
    }
    match (cut, base) {
        (None, _) => FilePlan::Keep(file),
        // What has been ended stays so: the next part may hold rows that count.
        (Some(_), Some(base)) if !any => FilePlan::Keep(FileState {
            closing: file.closing,
            ..*base
        }),
        (Some(_), None) if !any => FilePlan::Remove,
        (Some(cut), _) => FilePlan::Rewrite { cut, keep, file },
    }
}

/// Where a partition is to be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From this offset on.
    At(i64),
    /// Neither the group nor the directory knows: as `Kafka.AutoOffsetReset` says; then tell the sink with `start_at`.
    Reset,
    /// The group's offset was set back to here, and the directory holds rows from there on: they are to be superseded,
    /// and then the sink asked again.
    Backwards(i64),
    /// The group's offset lies beyond the log's end, and nobody has read up to there: where the directory ends, if that is
    /// in the log; else as for [`Reset`](Self::Reset).
    Beyond(Option<i64>),
}

/// Why a start is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink) enum StartRule {
    /// Nothing special.
    At(i64),
    /// Nobody knows.
    Reset,
    /// The group's offset is gone (expired, or the group was deleted).
    Forgotten(i64),
    /// The group's offset was moved forwards by somebody else: (from, to) are not in this directory. Whether it was
    /// another directory of this group, which then has them.
    Forwards(i64, i64, bool),
    /// The group's offset was set back to here, behind what the directory holds.
    Backwards(i64),
    /// The group's offset lies beyond the log's end: where the directory ends, if that is in the log.
    Beyond(Option<i64>),
}

/// Decides where a partition goes on whose committed offset lies beyond the log's end, which is from `first` to `end`. `None`
/// where this directory or another one has read up to there: then the log has lost records, and whoever reads on there is
/// told where the branches part.
pub(in crate::sink) fn beyond(
    holder: Holder,
    held: Option<i64>,
    committed: &Committed,
    (first, end): (i64, i64),
) -> Option<StartRule> {
    let (offset, note) = holder.read(committed)?;
    let was_read = note.is_some_and(|(commit_author, chain)| {
        commit_author.directory != holder.directory || !commit_author.begun || !chain.is_empty()
    });
    let holds_more = held.is_some_and(|held| held > end);
    if offset <= end || was_read || holds_more {
        return None;
    }
    Some(StartRule::Beyond(held.filter(|held| *held >= first)))
}

/// Decides where a partition goes on. `held` is what the directory holds.
pub(in crate::sink) fn start(
    holder: Holder,
    held: Option<i64>,
    committed: &Committed,
) -> StartRule {
    let read = holder.read(committed);
    let offset = read.as_ref().map(|(offset, _)| *offset);
    let anyone = read
        .and_then(|(_, note)| note)
        .map(|(commit_author, _)| commit_author);
    let commit_author = anyone.filter(|commit_author| commit_author.directory == holder.directory);
    match (offset, held) {
        (None, None) => StartRule::Reset,
        (None, Some(held)) => StartRule::Forgotten(held),
        (Some(offset), None) => StartRule::At(offset),
        // Taken over further on, and stopped before the first row: what lies between is in another directory.
        (Some(offset), Some(held))
            if commit_author.is_some_and(|commit_author| commit_author.begun && offset > held) =>
        {
            StartRule::Forwards(held, offset, true)
        }
        (Some(_), Some(held)) if commit_author.is_some() => StartRule::At(held),
        (Some(offset), Some(held)) if offset < held => StartRule::Backwards(offset),
        (Some(offset), Some(held)) if offset > held => {
            StartRule::Forwards(held, offset, anyone.is_some())
        }
        (Some(_), Some(held)) => StartRule::At(held),
    }
}

mod begun;
#[cfg(test)]
mod tests;
