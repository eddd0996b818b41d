//! Where the group began a partition, as its commits say: whether that was right, and whether it can be begun again.
//!
//! Pure.

use crate::sink::state::commit_metadata::CommitAuthor;
use crate::sink::state::{Committed, Holder, commit_metadata};

/// With how many partitions the group met the topic, as the directory knows it and the commits say: where members that
/// began at once saw it grow, the least.
pub(in crate::sink) fn met<'c>(
    holder: Holder,
    known: Option<i32>,
    committed: impl IntoIterator<Item = &'c Committed>,
) -> Option<i32> {
    let said = committed.into_iter().filter_map(|committed| {
        committed.offset?;
        let text = &committed.metadata;
        let (commit_author, _) =
            commit_metadata::decode(text).or_else(|| commit_metadata::before_reset(text))?;
        commit_author
            .met
            .filter(|_| !holder.is_elsewhere(&commit_author))
    });
    said.chain(known).min()
}

/// Whether a partition that appeared after the group had begun, with `met` partitions, was begun at its end all the same, by a
/// member that took itself for the first: then whether it can be begun anew, because this directory has all that was read
/// of it, if anything was.
pub(in crate::sink) fn begun_amiss(
    holder: Holder,
    met: i32,
    partition: i32,
    committed: &Committed,
) -> Option<bool> {
    let (commit_author, chain) = holder.read(committed)?.1?;
    let amiss = (met..commit_author.met?).contains(&partition);
    let ours = commit_author.begun || commit_author.directory == holder.directory;
    amiss.then(|| is_unread(&commit_author, committed) || ours && chain.is_empty())
}

/// Where the group began the partition, as its commit says.
pub(in crate::sink) fn begun_at(holder: Holder, committed: &Committed) -> Option<i64> {
    let (commit_author, _) = holder.read(committed)?.1?;
    commit_author.from
}

/// Whether nobody has read anything of the partition since the group began it, whoever had it.
fn is_unread(commit_author: &CommitAuthor, committed: &Committed) -> bool {
    commit_author.begun && commit_author.from.is_some() && commit_author.from == committed.offset
}

/// Where the partition was begun, when it is one that the group met at its start, and nothing was read of it yet: whoever takes
/// it over may find out that it appeared later.
pub(in crate::sink) fn begun_unread(
    holder: Holder,
    partition: i32,
    committed: &Committed,
) -> Option<i64> {
    let (commit_author, _) = holder.read(committed)?.1?;
    let met = commit_author.met.is_some_and(|met| partition < met);
    commit_author
        .from
        .filter(|_| met && is_unread(&commit_author, committed))
}

/// Whether the claim counted by which this directory begins a partition again further back.
pub(in crate::sink) fn went_back(holder: Holder, claimed: u64, committed: &Committed) -> bool {
    let note = holder.read(committed).and_then(|(_, note)| note);
    match note.or_else(|| commit_metadata::before_reset(&committed.metadata)) {
        Some((commit_author, _)) if commit_author.directory == holder.directory => {
            commit_author.begun && commit_author.batch == claimed
        }
        // Before it this directory's last commit was a batch's.
        Some((_, chain)) => {
            let owner = chain.find(holder.directory);
            owner.is_some_and(|owner| owner.batch.is_none())
        }
        None => false,
    }
}
