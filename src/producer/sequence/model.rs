//! Random schedules against a model of brokers: whatever is lost, repeated, delayed or moved, an accepted batch is in the
//! log once and in order.
//!
//! The model is as unkind as the protocol allows: requests of a broken connection stay under way and may arrive at any
//! later time (in their own order), answers are lost, errors come before or after the append, a broker that
//! has no state takes any sequence number, and it remembers five batches.

use super::*;
use crate::wire::error::ErrorCode;
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

/// What arrives at a broker.
#[derive(Clone, Debug)]
struct Sent {
    ticket: u64,
    identity: ProducerIdentity,
    /// The batch's number, and how many records it has.
    batch: u32,
    count: i32,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Written(i64),
    OutOfOrder,
    Fenced,
}

/// The partition's log, the same on every leader, and what it implies about the producer.
#[derive(Debug, Default)]
struct Log {
    batches: Vec<Sent>,
    epoch: i16,
}

impl Log {
    fn append(&mut self, sent: &Sent) -> Answer {
        let identity = sent.identity;
        if identity.epoch < self.epoch {
            return Answer::Fenced;
        }
        let remembered = self.batches.len().saturating_sub(MAX_UNRESOLVED);
        for (offset, old) in self.batches.iter().enumerate().skip(remembered) {
            if old.identity == identity {
                return Answer::Written(offset as i64);
            }
        }
        let expected = match self.batches.last() {
            None => identity.base_sequence,
            Some(_) if identity.epoch > self.epoch => 0,
            Some(last) => advance(last.identity.base_sequence, last.count),
        };
        if identity.base_sequence != expected {
            return Answer::OutOfOrder;
        }
        self.epoch = identity.epoch;
        self.batches.push(sent.clone());
        Answer::Written(self.batches.len() as i64 - 1)
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(i32),
    Take,
    /// The oldest request on the connection to a leader, this one or the one before, arrives and is answered.
    Arrive(Leader, Fault),
    /// Both connections break: nothing more is heard of what is on them.
    Break,
    /// The oldest request of a connection that broke before arrives after all.
    Ghost(u8),
    MoveLeader,
    Pass(u16),
}

/// The partition is led by one of two brokers.
type Leader = usize;

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// Appended, but the answer is an error that leaves it open.
    ErrorAfterAppend,
    /// Not appended, and the answer is an error that leaves it open.
    ErrorBeforeAppend,
    /// Not appended, and the answer says so.
    NotEnoughReplicas,
    TooLarge,
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        12 => Just(Fault::None),
        2 => Just(Fault::ErrorAfterAppend),
        2 => Just(Fault::ErrorBeforeAppend),
        2 => Just(Fault::NotEnoughReplicas),
        1 => Just(Fault::TooLarge),
    ];
    prop_oneof![
        6 => (1..4).prop_map(Step::Push),
        10 => Just(Step::Take),
        10 => (0..2_usize, fault).prop_map(|(leader, fault)| Step::Arrive(leader, fault)),
        1 => Just(Step::Break),
        3 => any::<u8>().prop_map(Step::Ghost),
        1 => Just(Step::MoveLeader),
        2 => (0..400_u16).prop_map(Step::Pass),
    ]
}

/// Both sides and the network between them.
struct World {
    engine: PartitionSequence<(u32, i32)>,
    log: Log,
    open: [VecDeque<Sent>; 2],
    broken: Vec<VecDeque<Sent>>,
    leader: Leader,
    now: Instant,
    pushed: u32,
    completions: Vec<Completion<(u32, i32)>>,
}

/// Batches are given up after this long; steps of time are shorter and longer than it.
const TIMEOUT: Duration = Duration::from_millis(1_000);
const PAUSE: Duration = Duration::from_millis(50);

impl World {
    fn new(window: usize, epoch: i16) -> Self {
        let mut engine = PartitionSequence::new(window);
        engine.set_producer(ProducerEpoch { id: 1, epoch });
        Self {
            engine,
            log: Log::default(),
            open: Default::default(),
            broken: Vec::new(),
            leader: 0,
            now: Instant::now(),
            pushed: 0,
            completions: Vec::new(),
        }
    }

    fn resolve(&mut self, ticket: u64, verdict: Verdict) {
        let done = self.engine.resolve(ticket, verdict, self.now + PAUSE);
        self.completions.extend(done);
    }

    fn take(&mut self) {
        self.completions.extend(self.engine.expire(self.now));
        let Some(attempt) = self.engine.take(self.leader as i32, self.now) else {
            return;
        };
        let (batch, count) = *attempt.batch;
        let (ticket, identity) = (attempt.ticket, attempt.identity);
        self.open[self.leader].push_back(Sent {
            ticket,
            identity,
            batch,
            count,
        });
    }

    fn arrive(&mut self, leader: Leader, fault: Fault) {
        let Some(sent) = self.open[leader].pop_front() else {
            return;
        };
        let unknown = || Verdict::Unknown("model".into());
        let verdict = match fault {
            Fault::None => match self.log.append(&sent) {
                Answer::Written(offset) => Verdict::Written(Some(offset)),
                Answer::OutOfOrder => Verdict::OutOfOrder,
                Answer::Fenced => panic!("a live request was fenced: {sent:?}"),
            },
            Fault::ErrorAfterAppend => match self.log.append(&sent) {
                Answer::Written(_) => unknown(),
                Answer::OutOfOrder => Verdict::OutOfOrder,
                Answer::Fenced => panic!("a live request was fenced: {sent:?}"),
            },
            Fault::ErrorBeforeAppend => unknown(),
            Fault::NotEnoughReplicas => Verdict::NotWritten("model".into()),
            Fault::TooLarge => Verdict::Refused(Refusal {
                code: ErrorCode::MESSAGE_TOO_LARGE,
                detail: None,
            }),
        };
        self.resolve(sent.ticket, verdict);
    }

    fn break_connection(&mut self) {
        for lost in std::mem::take(&mut self.open) {
            for sent in &lost {
                self.resolve(sent.ticket, Verdict::Unknown("model".into()));
            }
            self.broken.push(lost);
        }
    }

    fn ghost(&mut self, which: u8) {
        self.broken.retain(|connection| !connection.is_empty());
        if self.broken.is_empty() {
            return;
        }
        let index = usize::from(which) % self.broken.len();
        if let Some(sent) = self.broken[index].pop_front() {
            self.log.append(&sent);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push(count) => {
                self.engine
                    .push((self.pushed, count), count, self.now + TIMEOUT);
                self.pushed += 1;
            }
            Step::Take => self.take(),
            Step::Arrive(leader, fault) => self.arrive(leader, fault),
            Step::Break => self.break_connection(),
            Step::Ghost(which) => self.ghost(which),
            Step::MoveLeader => self.leader = 1 - self.leader,
            Step::Pass(ms) => self.now += Duration::from_millis(u64::from(ms)),
        }
        if self.engine.needs_producer() {
            self.engine.set_producer(ProducerEpoch { id: 2, epoch: 0 });
        }
    }

    /// The network is well again: everything must come to an end.
    fn finish(&mut self) {
        for _ in 0..10 * self.pushed + 50 {
            self.step(Step::Take);
            self.step(Step::Arrive(0, Fault::None));
            self.step(Step::Arrive(1, Fault::None));
            self.now += PAUSE / 10;
        }
        assert!(self.engine.is_empty(), "stuck: {:?}", self.engine);
        // And now whatever still lingers arrives.
        while self.broken.iter().any(|connection| !connection.is_empty()) {
            self.ghost(0);
        }
    }

    fn check(&self) {
        let told: Vec<u32> = self.completions.iter().map(|done| done.batch.0).collect();
        let all: Vec<u32> = (0..self.pushed).collect();
        assert_eq!(told, all, "each outcome is told once, in order");

        let logged: Vec<u32> = self.log.batches.iter().map(|sent| sent.batch).collect();
        assert!(
            logged.windows(2).all(|pair| pair[0] < pair[1]),
            "doubled or out of order: {logged:?}"
        );
        for done in &self.completions {
            let batch = done.batch.0;
            let found = logged.iter().position(|&other| other == batch);
            match &done.result {
                Ok(Some(offset)) => assert_eq!(
                    found,
                    Some(*offset as usize),
                    "batch {batch} was acknowledged"
                ),
                Ok(None) => assert!(found.is_some(), "batch {batch} was acknowledged"),
                Err(failure) if !failure.possibly_written => {
                    assert_eq!(
                        found, None,
                        "batch {batch} was said not to be written: {failure:?}"
                    );
                }
                Err(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn each_batch_once_and_in_order(window in 1..=5_usize, steps in vec(step(), 1..200)) {
        let mut world = World::new(window, 0);
        for step in steps {
            world.step(step);
        }
        world.finish();
        world.check();
    }
}
