//! The promise itself: whatever happens between a topic, a group coordinator and a directory, at the end the directory
//! holds each record exactly once.
//!
//! The model of the coordinator keeps offset and metadata by partition. Commits land, are lost, land for some
//! partitions only, or land late (but before their sender has been fenced); other members take partitions over, with
//! the outcome of a commit known or not. The process is killed, or loses power, at any step of any operation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::super::outputs::Limits;
use super::super::sim::SimFs;
use super::super::{
    Committed, DurableBatch, InputRecord, Recovery, Sink, SinkError, Start, Verdict,
};
use super::steps::{Step, step};
use super::truth::{self, DIRECTORY, FOREIGN, Kind, PARTITIONS, kind, value};
use super::{binding, settings};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_000_000, 0).unwrap()
}

struct World {
    fs: SimFs,
    sink: Option<Sink>,
    /// What the next end of the world is.
    power: bool,
    /// Arms the world again while it is reopened.
    rearm: Vec<u32>,
    coordinator: BTreeMap<i32, Committed>,
    late: BTreeMap<i32, Committed>,
    batch: Option<DurableBatch>,
    position: BTreeMap<i32, i64>,
    elsewhere: BTreeSet<(i32, i64)>,
}

type Outcome<T> = Result<T, SinkError>;

impl World {
    fn new(seed: u64, rearm: Vec<u32>, power: bool) -> Self {
        let fs = SimFs::new(seed);
        fs.put(Path::new(FOREIGN), b"mine\n");
        Self {
            fs,
            sink: None,
            power,
            rearm,
            coordinator: BTreeMap::new(),
            late: BTreeMap::new(),
            batch: None,
            position: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
        }
    }

    fn committed(&self) -> BTreeMap<i32, Committed> {
        (0..PARTITIONS)
            .map(|p| (p, self.coordinator.get(&p).cloned().unwrap_or_default()))
            .collect()
    }

    /// The sink, opened and recovered as often as the world ends meanwhile.
    fn sink(&mut self) -> &mut Sink {
        while self.sink.is_none() {
            // The former member is fenced here: what is still on its way lands now or never.
            self.coordinator.append(&mut self.late);
            self.batch = None;
            match self.open() {
                Ok(sink) => self.sink = Some(sink),
                Err(error) => {
                    assert!(self.fs.is_dead(), "{error}");
                    self.fs.restart(self.power);
                    self.fs.arm(self.rearm.pop());
                }
            }
        }
        self.sink.as_mut().unwrap()
    }

    fn open(&mut self) -> Outcome<Sink> {
        let limits = Limits {
            file: 200,
            all: 700,
        };
        let mut sink = Sink::open_on(
            Arc::new(self.fs.clone()),
            limits,
            settings(Path::new(DIRECTORY)),
            binding(),
        )?;
        sink.remember_member("member")?;
        sink.recover(&self.committed())?;
        self.begin(&mut sink)?;
        Ok(sink)
    }

    fn begin(&mut self, sink: &mut Sink) -> Outcome<()> {
        for (partition, committed) in self.committed() {
            let mut start = sink.start_position(partition, &committed)?;
            if let Start::Backwards(to) = start {
                sink.supersede(partition, to)?;
                start = sink.start_position(partition, &committed)?;
            }
            let offset = match start {
                Start::At(offset) => offset,
                Start::Backwards(to) => panic!("set back to {to} again"),
                Start::Reset => {
                    sink.start_at(partition, 0)?;
                    0
                }
            };
            self.position.insert(partition, offset);
        }
        Ok(())
    }

    /// Asks the coordinator while running.
    fn recover(&mut self) -> Outcome<Recovery> {
        let committed = self.committed();
        self.batch = None;
        self.sink().recover(&committed)
    }

    /// An error is the end of the world, or a mistake.
    fn died<T>(&mut self, outcome: Outcome<T>) -> Option<T> {
        match outcome {
            Ok(done) => Some(done),
            Err(error) => {
                assert!(self.fs.is_dead(), "{error}");
                self.end();
                None
            }
        }
    }

    fn end(&mut self) {
        self.sink = None;
        self.fs.restart(self.power);
        self.fs.arm(self.rearm.pop());
    }

    fn append(&mut self, partition: i32, count: i64) -> Outcome<()> {
        self.sink();
        let from = self.position[&partition];
        // A broker answers with whole batches: some records before the position come along.
        let offsets = (from - 2).max(0)..from + count;
        let values: Vec<_> = offsets
            .filter(|offset| kind(partition, *offset) != Kind::Hole)
            .map(|offset| (offset, value(partition, offset)))
            .collect();
        let records = values.iter().map(|(offset, value)| InputRecord {
            offset: *offset,
            key: None,
            value: value.as_ref().map(String::as_bytes),
        });
        self.sink()
            .append(partition, Some(1), records, from + count, now())?;
        self.position.insert(partition, from + count);
        Ok(())
    }

    fn flush(&mut self) -> Outcome<()> {
        if self.sink().pending_batch().is_none() {
            self.batch = self.sink().flush()?;
        }
        Ok(())
    }

    fn commit(&mut self, lands: u8, told: u8, late: u8) {
        self.sink();
        let Some(batch) = self.batch.clone() else {
            return;
        };
        let mut known = Vec::new();
        for durable in batch.offsets {
            let partition = durable.partition;
            let committed = Committed {
                offset: Some(durable.next),
                leader_epoch: durable.leader_epoch,
                metadata: durable.metadata,
            };
            let bit = |mask: u8| mask >> partition & 1 == 1;
            if bit(lands) {
                // One that came before it on the same lane cannot come after it.
                self.late.remove(&partition);
                self.coordinator.insert(partition, committed);
                if bit(told) {
                    known.push(partition);
                }
            } else if bit(late) {
                self.late.insert(partition, committed);
            }
        }
        self.sink().committed(batch.number, &known);
        if self.sink().pending_batch().is_none() {
            self.batch = None;
        }
    }

    fn lose(&mut self, partition: i32, count: i64, asked_late: bool) -> Outcome<()> {
        self.sink();
        self.coordinator.append(&mut self.late);
        let before = self.committed();
        let from = self
            .coordinator
            .get(&partition)
            .and_then(|committed| committed.offset)
            .unwrap_or(0);
        if count > 0 {
            self.elsewhere
                .extend((from..from + count).map(|offset| (partition, offset)));
            let committed = Committed {
                offset: Some(from + count),
                leader_epoch: None,
                metadata: "another".to_owned(),
            };
            self.coordinator.insert(partition, committed);
        }
        let committed = if asked_late { self.committed() } else { before };
        self.batch = None;
        self.sink().recover(&committed)?;
        let mut sink = self.sink.take().unwrap();
        self.begin(&mut sink)?;
        self.sink = Some(sink);
        Ok(())
    }

    /// Commits all there is, stops, and sets the offset back; the next start finds out.
    fn reset(&mut self, partition: i32, back: i64) -> Outcome<()> {
        self.sink();
        // A reset is refused while the group has members: what is on its way lands before.
        self.coordinator.append(&mut self.late);
        // What was pending before, and what has come since.
        for _ in 0..2 {
            self.flush()?;
            self.commit(7, 7, 0);
        }
        if self.sink().pending_batch().is_some() {
            return Ok(());
        }
        // Its outcome has to be known durably: nobody can tell a batch that counted from one that did not when the
        // offset was set to something else since.
        self.sink.take().unwrap().close()?;
        let offset = self
            .coordinator
            .get(&partition)
            .and_then(|committed| committed.offset);
        if let Some(offset) = offset {
            let target = (offset - back).max(0);
            self.elsewhere
                .retain(|at| at.0 != partition || at.1 < target);
            let committed = Committed {
                offset: Some(target),
                leader_epoch: None,
                metadata: "reset".to_owned(),
            };
            self.coordinator.insert(partition, committed);
        }
        self.sink();
        Ok(())
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append { partition, count } => {
                let done = self.append(partition, count);
                self.died(done);
            }
            Step::Flush => {
                let done = self.flush();
                self.died(done);
            }
            Step::Commit { lands, told, late } => self.commit(lands, told, late),
            Step::Recover => {
                self.sink();
                // While running, a commit is asked about when it cannot land any more.
                self.coordinator.append(&mut self.late);
                let done = self.recover();
                if self.died(done).is_some() {
                    let mut sink = self.sink.take().unwrap();
                    let done = self.begin(&mut sink);
                    self.sink = Some(sink);
                    self.died(done);
                }
            }
            Step::Lose {
                partition,
                count,
                asked_late,
            } => {
                let done = self.lose(partition, count, asked_late);
                self.died(done);
            }
            Step::Reset { partition, back } => {
                let done = self.reset(partition, back);
                self.died(done);
            }
            Step::Kill { power } => {
                let power = std::mem::replace(&mut self.power, power);
                self.end();
                self.power = power;
            }
            Step::Close => {
                self.sink();
                let done = self.sink.take().unwrap().close();
                if done.is_err() {
                    assert!(self.fs.is_dead());
                    self.end();
                }
            }
            Step::Arm { changes } => self.fs.arm(Some(changes)),
        }
    }

    /// Lets all be well, reads to the end, and looks at what there is.
    fn finish(mut self) {
        self.fs.arm(None);
        self.rearm.clear();
        if self.fs.is_dead() {
            self.end();
        }
        self.step(&Step::Recover);
        let behind = self.position.values().copied().max().unwrap_or(0) + 1;
        for partition in 0..PARTITIONS {
            let count = behind - self.position[&partition];
            self.append(partition, count).unwrap();
        }
        self.flush().unwrap();
        self.commit(7, 7, 0);
        assert_eq!(self.sink().pending_batch(), None);
        self.sink.take().unwrap().close().unwrap();
        truth::judge(&self.fs.files(), &self.elsewhere, behind);
        truth::prove(&self.fs, &self.elsewhere, behind);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_there_exactly_once(
        seed in any::<u64>(),
        power in any::<bool>(),
        rearm in prop::collection::vec(0..40_u32, 0..4),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(seed, rearm, power);
        for step in &steps {
            world.step(step);
        }
        world.finish();
    }
}

/// The end of the world at each step of the first batches, where everything is made for the first time.
#[test]
fn the_first_batches_end_at_any_step() {
    for seed in 0..8 {
        for changes in 0..45 {
            let mut world = World::new(seed, vec![changes / 3], seed % 4 != 0);
            world.step(&Step::Arm { changes });
            for (partition, lands) in [(0, 7), (1, 7), (2, 2)] {
                world.step(&Step::Append {
                    partition,
                    count: 7,
                });
                world.step(&Step::Append {
                    partition: 1,
                    count: 3,
                });
                world.step(&Step::Flush);
                world.step(&Step::Commit {
                    lands,
                    told: 1,
                    late: 0,
                });
                world.step(&Step::Recover);
            }
            world.finish();
        }
    }
}

/// A commit that counts on one of two partitions whose rows interleave costs the other's rows and nothing else.
#[test]
fn a_commit_that_counts_in_part_is_taken_apart() {
    for power in [false, true] {
        for changes in 0..60 {
            let mut world = World::new(u64::from(changes), vec![changes], power);
            for partition in [0, 1, 0, 1, 0] {
                world.step(&Step::Append {
                    partition,
                    count: 6,
                });
            }
            world.step(&Step::Flush);
            world.step(&Step::Commit {
                lands: 1,
                told: 0,
                late: 0,
            });
            world.step(&Step::Kill { power });
            world.finish();
        }
    }
}

/// Somebody else moved the offset while the outcome of a commit was unknown: the rows are kept aside.
#[test]
fn rows_that_nobody_can_judge_are_set_aside() {
    let mut world = World::new(7, Vec::new(), false);
    world.step(&Step::Append {
        partition: 0,
        count: 8,
    });
    world.step(&Step::Flush);
    world.step(&Step::Commit {
        lands: 1,
        told: 0,
        late: 0,
    });
    let metadata = String::new();
    world.coordinator.insert(
        0,
        Committed {
            offset: Some(20),
            leader_epoch: None,
            metadata,
        },
    );
    let recovery = world.recover().unwrap();
    assert_eq!(recovery.verdicts, [(0, Verdict::Undecided)].into());
    assert!(
        world
            .fs
            .files()
            .keys()
            .any(|path| path.starts_with("/out/.stockflow/undecided"))
    );
}
