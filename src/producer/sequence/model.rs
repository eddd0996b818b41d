//! Random schedules against a model of brokers: whatever is lost, repeated, delayed or moved, an accepted batch is in the
//! log once and in order.
//!
//! The model is as unkind as the protocol allows: requests of a broken connection stay under way and may arrive at any
//! later time (in their own order), answers are lost, errors come before or after the append, a broker that
//! has no state takes any sequence number, it remembers five batches (one when it was started again), and it forgets a
//! producer that is silent for long.

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
    /// The numbers of its records.
    records: Vec<u32>,
}

impl Sent {
    fn count(&self) -> i32 {
        self.records.len() as i32
    }
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
    producer: i64,
    /// Batches before this are not remembered: the producer was silent for too long after them.
    forgotten: usize,
    /// Batches before this are in the log, and not known as this producer's: the leader was started again, and its
    /// snapshot has the last one.
    restarted: usize,
}

impl Log {
    fn offset_of(&self, place: usize) -> i64 {
        self.batches
            .iter()
            .take(place)
            .map(|batch| i64::from(batch.count()))
            .sum()
    }

    fn append(&mut self, sent: &Sent) -> Answer {
        let identity = sent.identity;
        let known = self.batches.len() > self.forgotten && self.producer == identity.id;
        if known && identity.epoch < self.epoch {
            return Answer::Fenced;
        }
        let remembered = self
            .batches
            .len()
            .saturating_sub(MAX_UNRESOLVED)
            .max(self.forgotten)
            .max(self.restarted);
        for (place, old) in self.batches.iter().enumerate().skip(remembered) {
            if old.identity == identity && old.count() == sent.count() {
                return Answer::Written(self.offset_of(place));
            }
        }
        let expected = match self.batches.last() {
            Some(_) if known && identity.epoch > self.epoch => 0,
            Some(last) if known => advance(last.identity.base_sequence, last.count()),
            _ => identity.base_sequence,
        };
        if identity.base_sequence != expected {
            return Answer::OutOfOrder;
        }
        self.epoch = identity.epoch;
        self.producer = identity.id;
        self.batches.push(sent.clone());
        Answer::Written(self.offset_of(self.batches.len() - 1))
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
    /// The leader is started again.
    Restart,
    Pass(u16),
    /// Nothing for so long that the broker forgets the producer, once nothing is on its way.
    Silence,
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
        1 => Just(Step::Restart),
        2 => (0..400_u16).prop_map(Step::Pass),
        1 => Just(Step::Silence),
    ]
}

/// Both sides and the network between them.
struct World {
    engine: PartitionSequence<Vec<u32>>,
    /// How long a batch may take, if there is a limit.
    timeout: Option<Duration>,
    log: Log,
    open: [VecDeque<Sent>; 2],
    broken: Vec<VecDeque<Sent>>,
    leader: Leader,
    now: Instant,
    pushed: u32,
    completions: Vec<Completion<Vec<u32>>>,
}

/// Batches are given up after this long; steps of time are shorter and longer than it.
const TIMEOUT: Duration = Duration::from_millis(1_000);
const PAUSE: Duration = Duration::from_millis(50);

impl World {
    fn new(window: usize, epoch: i16, timeout: Option<Duration>) -> Self {
        let mut engine = PartitionSequence::new(window, Epochs::Ours);
        engine.set_producer(ProducerEpoch { id: 1, epoch });
        Self {
            engine,
            timeout,
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
            // With nothing on its way, nobody but the clock can bring it forward.
            let alone = self.open.iter().all(VecDeque::is_empty);
            let waits = !self.engine.is_empty() && !self.engine.needs_producer();
            assert!(
                !(alone && waits) || self.engine.wake_at(self.now).is_some(),
                "waits for nothing: {:?}",
                self.engine
            );
            return;
        };
        let records = attempt.batch.clone();
        let (ticket, identity) = (attempt.ticket, attempt.identity);
        self.open[self.leader].push_back(Sent {
            ticket,
            identity,
            records,
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
            Fault::TooLarge if self.engine.split(sent.ticket, |records| halves(records)) => return,
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
                let records = (self.pushed..).take(count as usize).collect();
                let deadline = self.timeout.map(|timeout| self.now + timeout);
                self.engine.push(records, count, deadline);
                self.pushed += count as u32;
            }
            Step::Take => self.take(),
            Step::Arrive(leader, fault) => self.arrive(leader, fault),
            Step::Break => self.break_connection(),
            Step::Ghost(which) => self.ghost(which),
            Step::MoveLeader => self.leader = 1 - self.leader,
            Step::Restart => self.log.restarted = self.log.batches.len().saturating_sub(1),
            Step::Pass(ms) => self.now += Duration::from_millis(u64::from(ms)),
            Step::Silence => {
                let under_way = self
                    .open
                    .iter()
                    .chain(&self.broken)
                    .any(|of| !of.is_empty());
                if self.engine.is_empty() && !under_way {
                    self.now += FORGOTTEN * 2;
                    self.log.forgotten = self.log.batches.len();
                }
            }
        }
        if self.engine.needs_producer() {
            self.engine.set_producer(ProducerEpoch { id: 2, epoch: 0 });
        }
    }

    fn live(mut self, steps: Vec<Step>) -> Self {
        for step in steps {
            self.step(step);
        }
        self.finish();
        self.check();
        self
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
        let told: Vec<u32> = self
            .completions
            .iter()
            .flat_map(|done| done.batch.clone())
            .collect();
        let all: Vec<u32> = (0..self.pushed).collect();
        assert_eq!(told, all, "each outcome is told once, in order");

        let logged: Vec<u32> = self
            .log
            .batches
            .iter()
            .flat_map(|sent| sent.records.clone())
            .collect();
        assert!(
            logged.windows(2).all(|pair| pair[0] < pair[1]),
            "doubled or out of order: {logged:?}"
        );
        for done in &self.completions {
            let records = &done.batch;
            let found = logged.iter().position(|other| *other == records[0]);
            match &done.result {
                Ok(Some(offset)) => assert_eq!(
                    found,
                    Some(*offset as usize),
                    "{records:?} were acknowledged"
                ),
                Ok(None) => assert!(found.is_some(), "{records:?} were acknowledged"),
                Err(failure) if !failure.possibly_written => {
                    assert_eq!(
                        found, None,
                        "{records:?} were said not to be written: {failure:?}"
                    );
                }
                Err(_) => {}
            }
        }
    }
}

/// The halves of a batch, if it has any.
fn halves(records: &[u32]) -> Option<[(Vec<u32>, i32); 2]> {
    let (first, second) = records.split_at(records.len() / 2);
    let part = |records: &[u32]| (records.to_vec(), records.len() as i32);
    (!first.is_empty()).then(|| [part(first), part(second)])
}

proptest! {
    #![proptest_config(ProptestConfig {
        // More, when PROPTEST_CASES says so.
        cases: ProptestConfig::default().cases.max(2_000),
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_batch_once_and_in_order(window in 1..=5_usize, steps in vec(step(), 1..200)) {
        World::new(window, 0, Some(TIMEOUT)).live(steps);
    }

    /// However long nothing is acknowledged, and whatever arrives how late: nothing is given up but what a broker refuses.
    #[test]
    fn without_a_time_limit_everything_is_written_once(window in 1..=5_usize, steps in vec(step(), 1..200)) {
        let world = World::new(window, 0, None).live(steps);
        // Beside a batch that is refused for good there is a hole, and the producer ends.
        let failures: Vec<_> = world.completions.iter().filter_map(|done| done.result.as_ref().err()).collect();
        let refused = failures.iter().any(|failure| failure.refusal.is_some());
        prop_assert!(failures.is_empty() || refused, "{failures:?}");
    }
}
