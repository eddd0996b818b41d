//! A consumer that writes into a simulated file system, and a coordinator that it commits to.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::files::open_files::Limits;
use super::super::{
    Committed, DurableBatch, InputRecord, Packing, Recovery, Settings, Sink, SinkError, Start,
};
use super::steps::{Files, Step};
use super::truth::{FOREIGN, Kind, PARTITIONS, kind, value};
use super::{binding, truth};
use crate::durable::sim::SimFs;

/// When the world begins, in seconds since 1970: in the night of 2026-02-02.
const BEGINNING: i64 = 1_770_000_000;

pub(super) struct World {
    pub(super) fs: SimFs,
    settings: Settings,
    now: DateTime<Utc>,
    /// Files that are to be compressed, when there is time.
    packing: Option<Packing>,
    sink: Option<Sink>,
    /// What the next end of the world is.
    power: bool,
    /// Arms the world again while it is reopened.
    rearm: Vec<u32>,
    pub(super) coordinator: BTreeMap<i32, Committed>,
    late: BTreeMap<i32, Committed>,
    batch: Option<DurableBatch>,
    position: BTreeMap<i32, i64>,
    elsewhere: BTreeSet<(i32, i64)>,
}

type Outcome<T> = Result<T, SinkError>;

impl World {
    pub(super) fn new(seed: u64, rearm: Vec<u32>, power: bool, files: &Files) -> Self {
        let fs = SimFs::new(seed);
        fs.put(Path::new(FOREIGN), b"mine\n");
        Self {
            fs,
            settings: files.settings(),
            now: DateTime::from_timestamp(BEGINNING, 0).unwrap(),
            packing: None,
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
                Err(error) => self.fail(&error),
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
            self.settings.clone(),
            binding(),
        )?;
        sink.remember_member("member")?;
        sink.recover(&self.committed())?;
        self.begin(&mut sink)?;
        self.packing = None;
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
                Start::Beyond(_) => panic!("nobody said where the log ends"),
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
    pub(super) fn recover(&mut self) -> Outcome<Recovery> {
        let committed = self.committed();
        self.batch = None;
        self.sink().recover(&committed)
    }

    /// An error is the end of the world, a full disk, or a mistake.
    fn died<T>(&mut self, outcome: Outcome<T>) -> Option<T> {
        match outcome {
            Ok(done) => Some(done),
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    fn fail(&mut self, error: &SinkError) {
        if (self.fs.is_full() || self.fs.sync_failed()) && !self.fs.is_dead() {
            // The process ends with that error; somebody makes room, and starts it again.
            if let Some(sink) = self.sink.take() {
                sink.close().expect("what failed is given up");
            }
            self.packing = None;
            self.fs.fill(None);
            self.fs.fail_sync(None);
            return;
        }
        assert!(self.fs.is_dead(), "{error}");
        self.end();
    }

    fn end(&mut self) {
        self.sink = None;
        self.packing = None;
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
        let now = self.now;
        let records = values.iter().map(|(offset, value)| InputRecord {
            offset: *offset,
            key: None,
            value: value.as_ref().map(String::as_bytes),
            headers: Default::default(),
            too_large: None,
        });
        self.sink()
            .append(partition, Some(1), records, from + count, now)?;
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

    /// Time passes; files whose time has come are ended, and closed.
    fn tend(&mut self, minutes: i64) -> Outcome<()> {
        self.now += TimeDelta::minutes(minutes);
        let now = self.now;
        let tended = self.sink().tend(now)?;
        self.packing = self.packing.take().or(tended.packing);
        if tended.flush {
            self.flush()?;
        }
        Ok(())
    }

    /// What was to be compressed some time ago is, or as much of it as there is time for.
    fn pack(&mut self, chunks: u32) -> Outcome<()> {
        // What an earlier process was about to compress is found anew by the next.
        self.sink();
        let Some(packing) = self.packing.take() else {
            return Ok(());
        };
        let left = Cell::new(chunks);
        let packed = packing.run(|| left.replace(left.get().saturating_sub(1)) == 0);
        self.sink().packed(packed)
    }

    /// The process ends in peace.
    fn close_files(&mut self) -> Outcome<()> {
        self.sink().end_files()?;
        loop {
            self.packing = None;
            self.tend(0)?;
            if self.packing.is_none() {
                return Ok(());
            }
            self.pack(u32::MAX)?;
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

    pub(super) fn step(&mut self, step: &Step) {
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
            Step::Tend { minutes } => {
                let done = self.tend(minutes);
                self.died(done);
            }
            Step::Pack { chunks } => {
                let done = self.pack(chunks);
                self.died(done);
            }
            Step::CloseFiles => {
                let done = self.close_files();
                self.died(done);
            }
            Step::Close => {
                self.sink();
                let done = self.sink.take().unwrap().close();
                self.died(done);
            }
            Step::Arm { changes } => self.fs.arm(Some(changes)),
            Step::Fill { writes } => self.fs.fill(Some(writes)),
            Step::FailSync { syncs } => self.fs.fail_sync(Some(syncs)),
        }
    }

    /// Lets all be well, reads to the end, and looks at what there is.
    pub(super) fn finish(mut self) {
        self.fs.arm(None);
        self.fs.fill(None);
        self.fs.fail_sync(None);
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
        self.close_files().unwrap();
        truth::are_closed(&self.settings, &self.fs.files());
        self.sink.take().unwrap().close().unwrap();
        truth::judge(&self.fs.files(), &self.elsewhere, behind);
        truth::prove(&self.fs, &self.elsewhere, behind);
    }
}
