//! Where a partition that was assigned is read from, and the claim by which others can tell later whose rows are whose.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::super::error::SinkError;
use super::super::state::{
    Before, CommitAuthor, Committed, Gap, OwnershipHistory, Position, Reason, commit_metadata,
};
use super::super::{Appended, FormerOwners, Progress, Sink};
use super::plan::{self, Start, StartRule};

impl Sink {
    /// Decides where an assigned partition is to be read from, and begins it there.
    ///
    /// The caller has flushed the partition and knows the outcome of its commit, or has called [`recover`](Self::recover).
    ///
    /// # Errors
    /// [`SinkError::Copied`] when another directory says it is this one.
    pub fn start_position(
        &mut self,
        partition: i32,
        committed: &Committed,
    ) -> Result<Start, SinkError> {
        self.start_in(partition, committed, None)
    }

    /// As [`start_position`](Self::start_position); `log` is where the log begins and ends, and is given where the committed
    /// offset lies beyond that for certain.
    ///
    /// # Errors
    /// As there.
    pub fn start_in(
        &mut self,
        partition: i32,
        committed: &Committed,
        log: Option<(i64, i64)>,
    ) -> Result<Start, SinkError> {
        self.ready()?;
        self.settled(partition)?;
        self.is_no_copy(partition, committed)?;
        let holder = self.checkpoint.holder();
        if let Some(to) = self.went_back(partition, committed) {
            return Ok(Start::Backwards(to));
        }
        // Carried on, whoever had the partition before.
        self.checkpoint.met = plan::met(holder, self.checkpoint.met, [committed]);
        let before = holder.before(committed);
        // So far another program had read when the offset was set.
        let stood = commit_metadata::program_before_reset(&committed.metadata);
        let tenancy = FormerOwners {
            chain: OwnershipHistory::carried_on(holder.directory, &before),
            ours: holder.is_ours(committed),
            met: before
                .commit_author()
                .and_then(|commit_author| commit_author.met),
        };
        self.tenancies.insert(partition, tenancy);
        if let (Some(begins), Some(known)) = (
            before
                .commit_author()
                .and_then(|commit_author| commit_author.from),
            self.checkpoint.begins.get_mut(&partition),
        ) {
            *known = begins.min(*known);
        }
        let begun = self
            .progress
            .get(&partition)
            .map(|progress| progress.position.next);
        // A partition that was begun but of which nothing came yet is where it was begun.
        let held = self.checkpoint.reached(partition).or(begun);
        let topic = &self.checkpoint.topic;
        let beyond = log.and_then(|log| plan::beyond(holder, held, committed, log));
        let rule = beyond.unwrap_or_else(|| plan::start(holder, held, committed));
        let offset = match rule {
            StartRule::Reset => return Ok(Start::Reset),
            StartRule::Beyond(to) => {
                // What is committed is to be put right, also where it is this directory's own claim.
                self.is_committed_elsewhere(partition);
                if let Some(to) = to {
                    self.begin(partition, to);
                }
                return Ok(Start::Beyond(to));
            }
            StartRule::Backwards(to) => return Ok(Start::Backwards(to)),
            StartRule::At(offset) => {
                if held.is_none() {
                    self.began(partition, offset, &before, stood);
                }
                offset
            }
            StartRule::Forgotten(held) => {
                tracing::warn!(
                    topic,
                    partition,
                    offset = held,
                    "the group has no committed offset any more; going on where the directory ends"
                );
                held
            }
            StartRule::Forwards(held, offset, in_another_directory) => {
                if in_another_directory {
                    tracing::debug!(
                        topic,
                        partition,
                        from = held,
                        to = offset,
                        "another directory of this group has the records between"
                    );
                } else {
                    let who = match before {
                        Before::Reset(_) => "`stockflow group reset`",
                        _ => "another program",
                    };
                    tracing::warn!(
                        topic,
                        partition,
                        from = held,
                        to = offset,
                        "the group's offset was moved forwards by {who}; the records between are not in this directory"
                    );
                }
                let directories = before.since(holder.directory);
                let reason = match before {
                    Before::Ours(..) => Reason::Untold,
                    Before::Reset(_) | Before::Nobody => Reason::Declared,
                    Before::Program => Reason::Program,
                };
                let stood = stood.unwrap_or(held).clamp(held, offset);
                if held < stood {
                    self.pass_by(Gap(partition, held, stood, Vec::new(), Reason::Program));
                }
                if stood < offset {
                    self.pass_by(Gap(partition, stood, offset, directories, reason));
                }
                offset
            }
        };
        self.begin(partition, offset);
        Ok(Start::At(offset))
    }

    /// The directory's first start in a group that has read before: what it does not hold, and who may.
    fn began(&mut self, partition: i32, offset: i64, before: &Before, stood: Option<i64>) {
        let begins = before
            .commit_author()
            .and_then(|commit_author| commit_author.from);
        let (reason, begins) = match before {
            Before::Ours(..) | Before::Reset(Some(_)) if begins.is_none() => {
                (Reason::Before, begins)
            }
            Before::Ours(..) => (Reason::Untold, begins),
            // Another program began it.
            Before::Reset(None) if stood.is_some() => (Reason::Declared, None),
            // The group begins where somebody has set it.
            Before::Nobody | Before::Reset(None) => (Reason::Declared, Some(offset)),
            Before::Reset(Some(_)) => (Reason::Declared, begins),
            Before::Program => (Reason::Program, None),
        };
        // Where it was set back to before its beginning, it begins there.
        let begins = begins.map(|begins| begins.min(offset));
        if let Some(begins) = begins {
            self.checkpoint.begins.insert(partition, begins);
            self.unsaved = true;
        }
        let from = begins.unwrap_or_default();
        let directories = match before {
            Before::Program => Vec::new(),
            _ => before.since(self.checkpoint.directory),
        };
        let stood = stood.unwrap_or(from).clamp(from, offset);
        if from < stood {
            self.pass_by(Gap(partition, from, stood, Vec::new(), Reason::Program));
        }
        if stood < offset {
            self.pass_by(Gap(partition, stood, offset, directories, reason));
        }
    }

    /// Notes offsets that the directory goes past.
    fn pass_by(&mut self, gap: Gap) {
        self.checkpoint.gaps.push((self.checkpoint.identity, gap));
        self.unsaved = true;
    }

    /// How many partitions the topic had when the group met it: one of those that has no offset begins where
    /// `Kafka.AutoOffsetReset` says, and one that appeared later at its beginning. The commits of `all` partitions tell;
    /// where nobody has committed anything, the group meets the topic now, with `count`.
    pub fn met(&mut self, all: &BTreeMap<i32, Committed>, count: i32) -> i32 {
        let holder = self.checkpoint.holder();
        let met = plan::met(holder, self.checkpoint.met, all.values());
        let met = met.unwrap_or_else(|| {
            // Another program's group, or one of another topic of that name: what has no offset appeared since.
            let met_before = all.values().any(|committed| committed.offset.is_some());
            if met_before { 0 } else { count }
        });
        if self.checkpoint.met != Some(met) {
            self.checkpoint.met = Some(met);
            self.unsaved = true;
        }
        met
    }

    /// What the group has committed as this member starts: where that is nothing, the group meets the topic now, with `count`
    /// partitions. Members that start at once may do so with different counts; the least is what counts, and partitions from
    /// there on appeared later. Says whether the group begins now.
    pub fn first_meets(&mut self, all: &BTreeMap<i32, Committed>, count: i32) -> bool {
        let holder = self.checkpoint.holder();
        let is_first = self.checkpoint.met.is_none()
            && all
                .values()
                .all(|committed| holder.before(committed) == Before::Nobody);
        if is_first {
            self.checkpoint.met = Some(count);
            self.unsaved = true;
        }
        is_first
    }

    /// Lets a partition be [claimed](Self::claim) again, because what is committed for it is no place to go on from.
    pub fn is_committed_elsewhere(&mut self, partition: i32) {
        if let Some(tenancy) = self.tenancies.get_mut(&partition) {
            tenancy.ours = false;
        }
    }

    /// What has to be committed, at the offset where the partition was begun and before the first of its rows is taken in,
    /// so that others can tell later whose rows are whose; `None` where the last commit is this directory's already.
    ///
    /// # Errors
    /// When the checkpoint cannot be written.
    pub fn claim(&mut self, partition: i32) -> Result<Option<String>, SinkError> {
        let known = self.checkpoint.met;
        let Some(tenancy) = self
            .tenancies
            .get_mut(&partition)
            .filter(|tenancy| !tenancy.ours)
        else {
            return Ok(None);
        };
        tenancy.met = tenancy.met.or(known);
        let chain = tenancy.chain.clone();
        let commit_author = CommitAuthor {
            directory: self.checkpoint.directory,
            batch: self.checkpoint.next_batch,
            begun: true,
            topic: self.checkpoint.topic_id,
            met: self.met_by(partition),
            from: self.begins(partition),
        };
        let claim = commit_metadata::encode(commit_author, &chain);
        // A claim takes the place of the commit by which a later start could tell that the last batch counted, and what lies
        // between that and the beginning.
        if self.unsaved {
            let saved = self.save();
            self.guard(saved)?;
        }
        Ok(Some(claim))
    }

    /// Whether the directory holds something of the partition from this offset on: [`supersede`](Self::supersede) moves
    /// it, before reading goes on there.
    pub fn holds_beyond(&self, partition: i32, offset: i64) -> bool {
        let held = self.checkpoint.reached(partition);
        held.is_some_and(|held| held > offset)
    }

    /// Whether the directory has read the partition beyond this offset, and not only gone past it.
    pub fn has_read_beyond(&self, partition: i32, offset: i64) -> bool {
        let durable = self.checkpoint.durable(partition);
        durable.is_some_and(|durable| durable.next > offset)
    }

    /// The leader epoch of the record before `offset`, where the directory ends there and knows it (KIP-320).
    pub fn leader_epoch(&self, partition: i32, offset: i64) -> Option<i32> {
        let held = self.checkpoint.durable(partition)?;
        held.epoch.filter(|_| held.next == offset)
    }

    /// Begins a partition for which [`start_position`](Self::start_position) said [`Start::Reset`], or [`Start::Beyond`] without
    /// an offset, at the offset that `Kafka.AutoOffsetReset` leads to.
    ///
    /// # Errors
    /// [`SinkError::OutOfOrder`] when rows of the partition wait to be flushed or committed, or when it
    /// [`holds_beyond`](Self::holds_beyond) the offset.
    pub fn start_at(&mut self, partition: i32, offset: i64) -> Result<(), SinkError> {
        self.ready()?;
        self.settled(partition)?;
        let begun = self.progress.get(&partition);
        let begun = begun.map(|progress| progress.position.next);
        let held = self.checkpoint.reached(partition).or(begun);
        match held.map(|held| (held, offset.cmp(&held))) {
            // What was begun without a row is begun elsewhere.
            Some((held, Ordering::Less)) if self.holds_beyond(partition, offset) => {
                return Err(SinkError::OutOfOrder(format!(
                    "partition {partition} is begun at {offset}, and the directory holds it up to {held}"
                )));
            }
            // What lies between is not on the topic any more. Nobody commits anything now by which a later start could tell.
            Some((held, Ordering::Greater)) => {
                self.pass_by(Gap(partition, held, offset, Vec::new(), Reason::Retention));
                let saved = self.save();
                self.guard(saved)?;
            }
            Some(_) => {}
            None => {
                self.checkpoint.begins.insert(partition, offset);
                self.unsaved = true;
            }
        }
        self.begin(partition, offset);
        Ok(())
    }

    fn begin(&mut self, partition: i32, offset: i64) {
        if let Some(letters) = &mut self.letters {
            letters.begin(partition, offset);
        }
        let position = Position {
            next: offset,
            epoch: None,
        };
        self.progress.insert(
            partition,
            Progress {
                from: offset,
                position,
                counts: Appended::default(),
            },
        );
    }

    /// Whether nothing of the partition waits for a flush or for the outcome of a commit.
    fn settled(&self, partition: i32) -> Result<(), SinkError> {
        let unflushed = self
            .progress
            .get(&partition)
            .is_some_and(|progress| progress.position.next != progress.from);
        let pending = self.checkpoint.pending.as_ref();
        let in_doubt = pending.is_some_and(|pending| {
            pending.partitions.contains_key(&partition) && !pending.counted.contains(&partition)
        });
        if unflushed || in_doubt {
            let why = if unflushed {
                "rows that are not flushed"
            } else {
                "a commit whose outcome is not known"
            };
            return Err(SinkError::OutOfOrder(format!(
                "partition {partition} is begun while it has {why}"
            )));
        }
        Ok(())
    }
}
