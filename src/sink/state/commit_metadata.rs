//! What a commit carries beside its offset, so that recovery can tell whose it is, on this host and on others:
//!
//! ```text
//! stockflow/2 dir=UUID batch=N topic=UUID met=N from=N owners=UUID/N,UUID/-,+
//! stockflow/1 dir=UUID batch=N met=N from=N owners=UUID/N,UUID/-,+
//! ```
//!
//! - The first form is written where the brokers give topics an id, the second where they do not; both are read.
//! - `dir` is the directory that committed, `batch` the batch it was made for; `begun=N` stands in its place where the
//!   directory took the partition over and has committed nothing of its own yet (N is its next batch).
//! - `topic` is the topic's id: a commit names its topic by name, so one that was meant for a topic that was deleted can
//!   land on the one that was made anew, and means nothing there.
//! - `met` is how many partitions the topic had when the group met it: those from there on appeared later, and are read
//!   from their beginning. It is 0 for a topic that was recreated, and left out where it is not known.
//! - `from` is the offset at which the group began the partition, left out where that is not known: `verify` speaks of what
//!   lies from there on.
//! - `owners` is the chain of directories that had the partition before, the latest first, each with the last of its
//!   batches that counted (`-` for none). A host that comes back after others have gone on finds itself there, and knows
//!   whether its pending batch counted. Each directory is in it once at most: who takes over again leaves the chain.
//! - `+` at the end says that owners are missing: the text is bounded by what brokers take (`offset.metadata.max.bytes`),
//!   or another program has committed in between.
//!
//! `stockflow group reset` writes `stockflow group reset, before: ` and the text that stood there; where that was another
//! program's, `stockflow group reset, another program before: ` and the offset that stood there.
//!
//! Why a take-over is committed before the first row: otherwise a host that died with rows in doubt could be followed
//! by one that knows nothing of it, and nobody could tell later whose rows those are.

use uuid::Uuid;

/// The most bytes that brokers take by default.
const MOST_BYTES: usize = 4_096;

/// The directory and batch that a commit was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitAuthor {
    pub(crate) directory: Uuid,
    /// The batch, or the next one where none was committed since the partition was taken over.
    pub(crate) batch: u64,
    /// Whether it is the next one.
    pub(crate) begun: bool,
    /// The topic's id, where the brokers have such.
    pub(crate) topic: Option<Uuid>,
    /// How many partitions the topic had when the group met it, where that is known.
    pub(crate) met: Option<i32>,
    /// The offset at which the group began the partition, where that is known.
    pub(crate) from: Option<i64>,
}

impl CommitAuthor {
    /// Whether the commit was made for exactly this batch.
    pub(crate) fn is_of(self, directory: Uuid, batch: u64) -> bool {
        self.directory == directory && !self.begun && self.batch == batch
    }
}

/// A directory that had a partition before, and the last of its batches that counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) directory: Uuid,
    pub(crate) batch: Option<u64>,
}

/// The directories that had a partition before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnershipHistory {
    /// The latest first.
    owners: Vec<Owner>,
    /// Whether there were others.
    shortened: bool,
}

impl OwnershipHistory {
    pub(crate) fn find(&self, directory: Uuid) -> Option<Owner> {
        self.owners
            .iter()
            .find(|owner| owner.directory == directory)
            .copied()
    }

    /// Whether nobody had the partition before, as far as is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.owners.is_empty() && !self.shortened
    }

    /// The chain that `directory` has to carry on, after what was committed last.
    pub(crate) fn carried_on(directory: Uuid, before: &Before) -> Self {
        let (commit_author, mut chain) = match before {
            Before::Nobody | Before::Reset(None) => return Self::default(),
            // Who was before it, nobody knows.
            Before::Program => {
                return Self {
                    owners: Vec::new(),
                    shortened: true,
                };
            }
            Before::Ours(commit_author, chain) | Before::Reset(Some((commit_author, chain))) => {
                (*commit_author, chain.clone())
            }
        };
        chain
            .owners
            .retain(|owner| ![directory, commit_author.directory].contains(&owner.directory));
        if commit_author.directory != directory {
            let owner = Owner {
                directory: commit_author.directory,
                batch: (!commit_author.begun).then_some(commit_author.batch),
            };
            chain.owners.insert(0, owner);
        }
        chain
    }
}

/// What was committed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing.
    Nobody,
    /// A directory's commit.
    Ours(CommitAuthor, OwnershipHistory),
    /// `stockflow group reset` has set the offset; what stood there before, where that was a directory's.
    Reset(Option<(CommitAuthor, OwnershipHistory)>),
    /// Another program's.
    Program,
}

impl Before {
    pub(crate) fn read(text: &str) -> Self {
        match decode(text) {
            Some((commit_author, chain)) => Self::Ours(commit_author, chain),
            None if is_reset(text) => Self::Reset(before_reset(text)),
            None => Self::Program,
        }
    }

    /// The last directory that committed.
    pub(crate) fn commit_author(&self) -> Option<CommitAuthor> {
        match self {
            Self::Ours(commit_author, _) | Self::Reset(Some((commit_author, _))) => {
                Some(*commit_author)
            }
            Self::Nobody | Self::Reset(None) | Self::Program => None,
        }
    }

    /// Who has had the partition since `directory` had it, the latest first; the nil id stands for those that are not known.
    pub(crate) fn since(&self, directory: Uuid) -> Vec<Uuid> {
        let (Self::Ours(commit_author, chain) | Self::Reset(Some((commit_author, chain)))) = self
        else {
            return Vec::new();
        };
        // In its own claim it stands in front of those that had the partition before it took it over.
        let claimed = commit_author.directory == directory && commit_author.begun;
        if commit_author.directory == directory && !claimed {
            return Vec::new();
        }
        let ids = chain.owners.iter().map(|owner| owner.directory);
        let known: Vec<Uuid> = (!claimed)
            .then_some(commit_author.directory)
            .into_iter()
            .chain(ids.take_while(|id| *id != directory))
            .collect();
        let unknown = chain.shortened && chain.find(directory).is_none();
        known.into_iter().chain(unknown.then(Uuid::nil)).collect()
    }
}

/// The text of a commit.
pub(crate) fn encode(commit_author: CommitAuthor, chain: &OwnershipHistory) -> String {
    let what = if commit_author.begun {
        "begun"
    } else {
        "batch"
    };
    let version = if commit_author.topic.is_some() { 2 } else { 1 };
    let mut text = format!(
        "stockflow/{version} dir={} {what}={}",
        commit_author.directory, commit_author.batch
    );
    if let Some(topic) = commit_author.topic {
        text.push_str(" topic=");
        text.push_str(&topic.to_string());
    }
    if let Some(met) = commit_author.met {
        text.push_str(" met=");
        text.push_str(&met.to_string());
    }
    if let Some(from) = commit_author.from {
        text.push_str(" from=");
        text.push_str(&from.to_string());
    }
    let (mut list, mut shortened) = (String::new(), chain.shortened);
    for owner in &chain.owners {
        let batch = owner
            .batch
            .map_or_else(|| "-".to_owned(), |batch| batch.to_string());
        let entry = format!("{}/{batch},", owner.directory.simple());
        // Room for ` owners=` and `+`.
        if text.len() + list.len() + entry.len() + 9 > MOST_BYTES {
            shortened = true;
            break;
        }
        list.push_str(&entry);
    }
    if shortened {
        list.push('+');
    }
    let list = list.trim_end_matches(',');
    if !list.is_empty() {
        text.push_str(" owners=");
        text.push_str(list);
    }
    text
}

/// `None` when the commit is another program's.
pub(crate) fn decode(text: &str) -> Option<(CommitAuthor, OwnershipHistory)> {
    let (version, words) = text.strip_prefix("stockflow/")?.split_once(" dir=")?;
    let mut words = words.split(' ');
    let directory = words.next()?.parse().ok()?;
    let (what, number) = words.next()?.split_once('=')?;
    let begun = match what {
        "batch" => false,
        "begun" => true,
        _ => return None,
    };
    let batch = number.parse().ok()?;
    let topic = match version {
        "1" => None,
        "2" => Some(words.next()?.strip_prefix("topic=")?.parse().ok()?),
        _ => return None,
    };
    let mut next = words.next();
    let met = match next.and_then(|word| word.strip_prefix("met=")) {
        Some(met) => {
            next = words.next();
            Some(met.parse().ok().filter(|met| *met >= 0)?)
        }
        None => None,
    };
    let from = match next.and_then(|word| word.strip_prefix("from=")) {
        Some(from) => {
            next = words.next();
            Some(from.parse().ok().filter(|from| *from >= 0)?)
        }
        None => None,
    };
    let commit_author = CommitAuthor {
        directory,
        batch,
        begun,
        topic,
        met,
        from,
    };
    let mut chain = OwnershipHistory::default();
    if let Some(list) = next {
        for entry in list.strip_prefix("owners=")?.split(',') {
            if entry == "+" {
                chain.shortened = true;
                continue;
            }
            let (directory, batch) = entry.split_once('/')?;
            chain.owners.push(Owner {
                directory: directory.parse().ok()?,
                batch: match batch {
                    "-" => None,
                    batch => Some(batch.parse().ok()?),
                },
            });
        }
    }
    words.next().is_none().then_some((commit_author, chain))
}

/// What was committed before `group reset` set the offset, where it says so.
pub(crate) fn before_reset(text: &str) -> Option<(CommitAuthor, OwnershipHistory)> {
    decode(text.strip_prefix("stockflow group reset, before: ")?)
}

/// The offset that another program had committed before `group reset` set it, where it says so.
pub(crate) fn program_before_reset(text: &str) -> Option<i64> {
    let offset = text.strip_prefix("stockflow group reset, another program before: ")?;
    offset.parse().ok()
}

/// Whether `group reset` set the offset: somebody meant it.
pub(crate) fn is_reset(text: &str) -> bool {
    text.starts_with("stockflow group reset")
}

/// The same text without its chain, for a broker that finds it too long.
pub fn shortened(text: &str) -> String {
    match decode(text) {
        Some((commit_author, _)) => {
            let chain = OwnershipHistory {
                owners: Vec::new(),
                shortened: true,
            };
            encode(commit_author, &chain)
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn commit_author(directory: u128, batch: u64, begun: bool) -> CommitAuthor {
        CommitAuthor {
            directory: Uuid::from_u128(directory),
            batch,
            begun,
            topic: None,
            met: None,
            from: None,
        }
    }

    #[test]
    fn only_our_own_form_is_ours() {
        let ours = commit_author(7, u64::MAX, false);
        let text = encode(ours, &OwnershipHistory::default());
        assert_eq!(
            text,
            "stockflow/1 dir=00000000-0000-0000-0000-000000000007 batch=18446744073709551615"
        );
        assert_eq!(decode(&text), Some((ours, OwnershipHistory::default())));
        for foreign in [
            "",
            "x",
            "stockflow/1 dir=7 batch=x",
            "stockflow/2 dir=00000000-0000-0000-0000-000000000007 batch=1",
            "stockflow/2 dir=00000000-0000-0000-0000-000000000007 batch=1 owners=+",
            "stockflow/3 dir=00000000-0000-0000-0000-000000000007 batch=1",
            "stockflow/1 dir=00000000-0000-0000-0000-000000000007 batch=1 owners=x",
            "stockflow/1 dir=00000000-0000-0000-0000-000000000007 batch=1 met=-1",
            "stockflow/1 dir=00000000-0000-0000-0000-000000000007 batch=1 met=1 met=1",
            "stockflow/1 dir=00000000-0000-0000-0000-000000000007 batch=1 from=-1",
            "stockflow/1 dir=00000000-0000-0000-0000-000000000007 batch=1 from=1 met=1",
            "stockflow/1 dir=00000000-0000-0000-0000-000000000007 batch=1 owners=+ more",
        ] {
            assert_eq!(decode(foreign), None);
        }
    }

    #[test]
    fn a_topic_with_an_id_is_named() {
        let ours = CommitAuthor {
            topic: Some(Uuid::from_u128(9)),
            met: Some(4),
            from: Some(12),
            ..commit_author(7, 3, true)
        };
        let chain = OwnershipHistory::carried_on(Uuid::from_u128(7), &Before::Program);
        let text = encode(ours, &chain);
        assert_eq!(
            text,
            "stockflow/2 dir=00000000-0000-0000-0000-000000000007 begun=3 \
             topic=00000000-0000-0000-0000-000000000009 met=4 from=12 owners=+"
        );
        assert_eq!(decode(&text), Some((ours, chain)));
    }

    #[test]
    fn a_host_that_comes_back_finds_itself() {
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        let first = encode(commit_author(1, 5, false), &OwnershipHistory::default());
        let chain = OwnershipHistory::carried_on(b, &Before::read(&first));
        let taken = encode(commit_author(2, 0, true), &chain);
        let chain = OwnershipHistory::carried_on(c, &Before::read(&taken));
        assert_eq!(
            chain.find(a),
            Some(Owner {
                directory: a,
                batch: Some(5)
            })
        );
        assert_eq!(
            chain.find(b),
            Some(Owner {
                directory: b,
                batch: None
            })
        );
        let third = encode(commit_author(3, 9, false), &chain);
        let chain = OwnershipHistory::carried_on(a, &Before::read(&third));
        assert_eq!(chain.find(a), None, "who takes over again leaves the chain");
        assert!(chain.find(b).is_some() && chain.find(c).is_some() && !chain.shortened);
        assert!(OwnershipHistory::carried_on(a, &Before::read("another program's")).shortened);
        assert!(!OwnershipHistory::carried_on(a, &Before::Nobody).shortened);
    }

    proptest! {
        #[test]
        fn texts_come_back_and_fit(batch: u64, begun: bool, topic in any::<Option<u128>>(), met in prop::option::of(0..i32::MAX), from in prop::option::of(0..i64::MAX), owners in prop::collection::vec((any::<u128>(), any::<Option<u64>>()), 0..200), cut: bool) {
            let chain = OwnershipHistory {
                owners: owners.iter().map(|(directory, batch)| Owner { directory: Uuid::from_u128(*directory), batch: *batch }).collect(),
                shortened: cut,
            };
            let commit_author = CommitAuthor { topic: topic.map(Uuid::from_u128), met, from, ..commit_author(9, batch, begun) };
            let text = encode(commit_author, &chain);
            prop_assert!(text.len() <= MOST_BYTES);
            let (back, read) = decode(&text).expect("ours");
            prop_assert_eq!(back, commit_author);
            prop_assert!(chain.owners.starts_with(&read.owners));
            prop_assert_eq!(read.shortened, cut || read.owners.len() < chain.owners.len());
            prop_assert!(decode(&shortened(&text)).is_some_and(|(back, read)| back == commit_author && read.shortened));
        }
    }
}
