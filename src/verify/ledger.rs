//! Which offsets the directories hold between them: each once, or where not. Pure.
//!
//! A directory enters, batch by batch, the offsets that it answers for (with a row, a dead letter, or a reason why there
//! is none), those that it was told to skip, and those of which it does not know whether they count. Contiguous entries
//! become one, so memory is a matter of how often partitions changed hands, not of how much they hold.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uuid::Uuid;

use crate::sink::state::commit_metadata;
use crate::sink::{Batch, Committed, Gap, Reason, Replayed, Why};

/// A topic as a group has read it; a topic that was deleted and made again is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TopicKey {
    /// The id of the Kafka cluster.
    pub cluster_id: String,
    /// The topic's name.
    pub topic: String,
    /// The topic's id, where brokers tell it.
    pub topic_id: Option<Uuid>,
    /// Counts the topics of that name where brokers do not tell an id, from 0.
    pub identity: u32,
    /// The consumer group.
    pub group: String,
}

/// What there is of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows in CSV files.
    pub rows: u64,
    /// Dead letters, in files of their own.
    pub dead_letters: u64,
    /// Records without a value.
    pub tombstones: u64,
    /// Records that are no trades, passed over because the settings said so.
    pub skipped: u64,
    /// Offsets that have no record: markers, aborted transactions, compaction.
    pub holes: u64,
    /// Of the rows, those that were dead letters before.
    pub replayed: u64,
    /// Rows and dead letters in files that are not there any more; they are in none of the other figures.
    pub gone: u64,
}

impl Counts {
    /// Adds another's figures.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.dead_letters += other.dead_letters;
        self.tombstones += other.tombstones;
        self.skipped += other.skipped;
        self.holes += other.holes;
        self.replayed += other.replayed;
        self.gone += other.gone;
    }
}

/// Offsets `from` to before `next`, of one directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) from: i64,
    pub(super) next: i64,
    pub(super) directory: usize,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub(super) held: Vec<Claim>,
    pub(super) gaps: Vec<Absent>,
    pub(super) undecided: Vec<Claim>,
    pub(super) holes: Vec<Claim>,
    pub(super) replayed: Vec<Claim>,
    /// What the brokers said of offsets without a row: the first, and the one after the last.
    pub(super) rulings: BTreeMap<Ruling, BTreeMap<i64, i64>>,
    /// Where the group began, as far as a directory or a commit knows.
    pub(super) begins: Option<i64>,
    /// Where a directory stands that nothing else is known of.
    pub(super) stands: Option<i64>,
    /// What the brokers said of the partition, where they were asked.
    pub(super) log: Option<Log>,
    /// What there is of it.
    pub counts: Counts,
}

/// Offsets that a directory went past, the directories that may hold them, and why this one does not.
#[derive(Clone, Debug)]
pub(super) struct Absent {
    pub(super) claim: Claim,
    pub(super) directories: Vec<Uuid>,
    pub(super) reason: Reason,
}

/// A partition as its brokers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    /// The first offset that is there.
    pub(super) start: i64,
    /// The last stable offset.
    pub(super) end: i64,
    /// What the group has committed, and whose commit that is.
    pub(super) committed: Option<(i64, By)>,
}

/// Whose commit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Directory(Uuid),
    /// `group reset`, and where another program's commit stood before.
    Reset(Option<i64>),
    Program,
}

/// What the brokers say of offsets without a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ruling {
    /// There is no record.
    Hole,
    /// There are records.
    Record,
    /// They are not in the log any more.
    Gone,
}

/// All partitions.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By topic and partition.
    pub accounts: BTreeMap<(TopicKey, i32), Account>,
    /// The ids of the directories.
    pub(super) ids: BTreeSet<Uuid>,
    /// Where directories stand, the first of each partition.
    stands: BTreeMap<(TopicKey, i32), i64>,
}

pub(super) fn push(claims: &mut Vec<Claim>, directory: usize, from: i64, next: i64) {
    match claims.last_mut() {
        Some(last) if last.directory == directory && last.next == from => last.next = next,
        _ => claims.push(Claim {
            from,
            next,
            directory,
        }),
    }
}

impl Ledger {
    /// Offsets without a row of which the brokers can be asked, in order: holes, and gaps.
    pub fn questions(&self) -> BTreeMap<(TopicKey, i32), Vec<(i64, i64)>> {
        let questions = self.accounts.iter();
        questions
            .map(|(of, account)| (of.clone(), account.questions(&self.ids)))
            .filter(|(_, questions)| !questions.is_empty())
            .collect()
    }

    /// Enters what a batch of a directory says; the partition of which it contradicts itself, if there is one.
    pub(super) fn enter(&mut self, key: &TopicKey, directory: usize, batch: &Batch) -> Option<i32> {
        let mut wrong = None;
        for span in &batch.partitions {
            let account = self.accounts.entry((key.clone(), span.0)).or_default();
            push(&mut account.held, directory, span.1, span.2);
            let [rows, dead_letters, tombstones, skipped] = span.3;
            let holes = batch
                .passed
                .iter()
                .filter(|passed| passed.0 == span.0 && passed.3 == Why::Hole);
            let mut count = 0;
            for hole in holes {
                push(&mut account.holes, directory, hole.1, hole.2);
                count += u64::try_from(hole.2 - hole.1).unwrap_or_default();
            }
            account.counts.add(&Counts {
                rows,
                dead_letters,
                tombstones,
                skipped,
                holes: count,
                ..Counts::default()
            });
            if !is_whole(batch, span.0, span.1, span.2) {
                wrong = Some(span.0);
            }
        }
        for Replayed(partition, from, next) in &batch.replayed {
            let account = self.accounts.entry((key.clone(), *partition)).or_default();
            push(&mut account.replayed, directory, *from, *next);
            let count = u64::try_from(next - from).unwrap_or_default();
            account.counts.rows += count;
            account.counts.replayed += count;
            // They are among the dead letters of a batch before.
            account.counts.dead_letters = account.counts.dead_letters.saturating_sub(count);
            if !is_whole_replay(batch, *partition) {
                wrong = Some(*partition);
            }
        }
        for gap in &batch.gaps {
            self.enter_gap(key, directory, gap);
        }
        for gap in &batch.undecided {
            let account = self.accounts.entry((key.clone(), gap.0)).or_default();
            push(&mut account.undecided, directory, gap.1, gap.2);
        }
        wrong
    }

    /// Takes rows out of the figures whose file is not there.
    pub(super) fn leave_out(&mut self, key: &TopicKey, partition: i32, rows: u64, letters: bool) {
        if let Some(account) = self.accounts.get_mut(&(key.clone(), partition)) {
            let counts = &mut account.counts;
            let figure = if letters {
                &mut counts.dead_letters
            } else {
                &mut counts.rows
            };
            *figure = figure.saturating_sub(rows);
            counts.gone += rows;
        }
    }

    /// Enters where the group began a partition.
    pub(super) fn begins(&mut self, key: &TopicKey, partition: i32, begins: i64) {
        let account = self.accounts.entry((key.clone(), partition)).or_default();
        account.begins = Some(account.begins.map_or(begins, |known| known.min(begins)));
    }

    /// Enters where a directory stands, also where it has no batch.
    pub(super) fn stands(&mut self, key: &TopicKey, partition: i32, at: i64) {
        let stands = self.stands.entry((key.clone(), partition)).or_insert(at);
        *stands = at.min(*stands);
    }

    /// Enters offsets that a directory went past.
    pub(super) fn enter_gap(&mut self, key: &TopicKey, directory: usize, gap: &Gap) {
        let account = self.accounts.entry((key.clone(), gap.0)).or_default();
        account.gaps.push(Absent {
            claim: Claim {
                from: gap.1,
                next: gap.2,
                directory,
            },
            directories: gap.3.clone(),
            reason: gap.4,
        });
    }

    /// Enters what the brokers say: the first offset of a partition and its last stable one, and what the group has
    /// committed. The partition may be one that no directory knows.
    pub fn enter_log(
        &mut self,
        key: &TopicKey,
        partition: i32,
        start: i64,
        end: i64,
        committed: &Committed,
    ) {
        let stands = self.stands.get(&(key.clone(), partition)).copied();
        let account = self.accounts.entry((key.clone(), partition)).or_default();
        account.stands = stands;
        let text = &committed.metadata;
        let ours = commit_metadata::decode(text).map(|(author, _)| (author, true));
        let before = || commit_metadata::before_reset(text).map(|(author, _)| (author, false));
        let author = ours.or_else(before);
        // A commit for another topic of that name says nothing of this one.
        let foreign = author.is_some_and(|(author, _)| {
            author
                .topic
                .zip(key.topic_id)
                .is_some_and(|(theirs, ours)| theirs != ours)
        });
        let by = match author {
            Some((author, true)) => By::Directory(author.directory),
            _ if commit_metadata::is_reset(text) => {
                By::Reset(commit_metadata::program_before_reset(text))
            }
            _ => By::Program,
        };
        if let Some(begins) = author
            .filter(|_| !foreign)
            .and_then(|(author, _)| author.from)
        {
            account.begins = Some(account.begins.map_or(begins, |known| known.min(begins)));
        }
        account.log = Some(Log {
            start,
            end,
            committed: committed
                .offset
                .map(|offset| (offset, by))
                .filter(|_| !foreign),
        });
    }
}

/// The offsets of a partition that the batch has rows or dead letters of, as it names them.
fn rows_of(batch: &Batch, partition: i32) -> Vec<(i64, i64)> {
    let runs = batch.runs.iter().filter(|run| run.partition == partition);
    runs.flat_map(|run| {
        run.ranges()
            .map(|(first, last)| (first, last + 1))
            .collect::<Vec<_>>()
    })
    .collect()
}

/// Whether the replayed letters of a partition have a row each.
fn is_whole_replay(batch: &Batch, partition: i32) -> bool {
    let mut rows = rows_of(batch, partition);
    rows.sort_unstable();
    let mut rows = rows.into_iter().peekable();
    let letters = batch.replayed.iter().filter(|of| of.0 == partition);
    let covered = letters.clone().all(|Replayed(_, from, next)| {
        let mut at = *from;
        while at < *next {
            match rows.next_if(|row| row.0 == at && row.1 <= *next) {
                Some(row) => at = row.1,
                None => return false,
            }
        }
        true
    });
    covered && rows.next().is_none()
}

/// Whether rows, dead letters and reasons cover the span's offsets once each.
fn is_whole(batch: &Batch, partition: i32, from: i64, next: i64) -> bool {
    let mut ranges = rows_of(batch, partition);
    let passed = batch.passed.iter().filter(|passed| passed.0 == partition);
    ranges.extend(passed.map(|passed| (passed.1, passed.2)));
    ranges.sort_unstable();
    let mut at = from;
    ranges
        .iter()
        .all(|(first, end)| std::mem::replace(&mut at, *end) == *first)
        && at == next
}
