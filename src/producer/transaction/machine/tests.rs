//! The machine against a coordinator and partitions as Kafka has them: each batch is in the transaction in which it was
//! sent, and no broker ever has reason to refuse one, whatever answers are lost and whenever the brokers go back a version.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A batch of the partition is sent, if it may be.
    Send(i32),
    /// As `Send`, but the partition's leader refuses it after the partition was added.
    Refused(i32),
    /// The transaction is ended; so many answers are lost before.
    End(bool, u8),
    /// As `End`, but whoever asks gives up before there is an answer.
    Abandon(bool, bool),
    /// The brokers agree on another level.
    Level(i16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3).prop_map(Step::Send),
        1 => (0..3).prop_map(Step::Refused),
        3 => (any::<bool>(), 0..3_u8).prop_map(|(commits, lost)| Step::End(commits, lost)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(commits, arrives)| Step::Abandon(commits, arrives)),
        1 => (0..3_i16).prop_map(Step::Level),
    ]
}

/// The coordinator's side, as `TransactionCoordinator` decides.
#[derive(Debug)]
struct Coordinator {
    producer: ProducerEpoch,
    ongoing: BTreeSet<i32>,
    /// How the last transaction ended, and whether in the second version.
    last: Option<(bool, bool)>,
    /// Committed and aborted transactions: the numbers of their batches.
    ended: Vec<(bool, Vec<u32>)>,
    /// Batches of the ongoing one.
    batches: Vec<u32>,
}

impl Coordinator {
    /// The answer to EndTxn, with the epoch that it gives.
    fn end(&mut self, asked: ProducerEpoch, commits: bool, raises: bool) -> ProducerEpoch {
        let again = match self.last {
            Some((_, true)) => {
                let next = next_of(asked);
                self.producer == next
            }
            _ => self.producer == asked,
        };
        if self.ongoing.is_empty() {
            let (committed, _) = self.last.expect("nothing was ever begun");
            assert!(again, "{asked:?} is fenced by {:?}", self.producer);
            assert_eq!(committed, commits, "INVALID_TXN_STATE");
            return self.producer;
        }
        assert_eq!(asked, self.producer, "fenced");
        self.ongoing.clear();
        let batches = std::mem::take(&mut self.batches);
        self.ended.push((commits, batches));
        self.last = Some((commits, raises));
        if raises {
            self.producer = next_of(asked);
        }
        self.producer
    }
}

/// Epochs end before the largest one; then there is another producer id.
fn next_of(producer: ProducerEpoch) -> ProducerEpoch {
    match producer.epoch {
        i16::MAX => unreachable!("no client has it"),
        epoch if epoch == i16::MAX - 1 => ProducerEpoch {
            id: producer.id + 1,
            epoch: 0,
        },
        epoch => ProducerEpoch {
            id: producer.id,
            epoch: epoch + 1,
        },
    }
}

struct World {
    machine: Machine,
    coordinator: Coordinator,
    level: i16,
    /// Ours and the leaders' next numbers of each partition, with the epoch that they are of.
    ours: BTreeMap<i32, (ProducerEpoch, u32)>,
    theirs: BTreeMap<i32, (ProducerEpoch, u32)>,
    sent: u32,
    /// What the transactions should hold.
    present: Vec<u32>,
    expected: Vec<(bool, Vec<u32>)>,
    abandoned: Option<bool>,
}

impl World {
    fn send(&mut self, partition: i32, written: bool) {
        let turn = self.machine.turn(partition);
        if turn == Turn::Wait {
            assert!(self.abandoned.is_some());
            return;
        }
        if turn == Turn::Add {
            assert_eq!(self.machine.producer(), self.coordinator.producer, "fenced");
            self.coordinator.ongoing.insert(partition);
            self.machine.takes_part(&[partition]);
            assert_eq!(self.machine.turn(partition), Turn::Send);
        }
        let producer = self.machine.producer();
        assert_eq!(producer, self.coordinator.producer, "fenced");
        if self.machine.protocol() == Protocol::Second {
            self.machine.takes_part(&[partition]);
            self.coordinator.ongoing.insert(partition);
        }
        assert!(
            self.coordinator.ongoing.contains(&partition),
            "INVALID_TXN_STATE"
        );
        if !written {
            return;
        }
        let of_epoch = |of: Option<&(ProducerEpoch, u32)>| match of {
            Some((epoch, next)) if *epoch == producer => *next,
            _ => 0,
        };
        let number = of_epoch(self.ours.get(&partition));
        assert_eq!(
            number,
            of_epoch(self.theirs.get(&partition)),
            "out of order"
        );
        self.ours.insert(partition, (producer, number + 1));
        self.theirs.insert(partition, (producer, number + 1));
        self.coordinator.batches.push(self.sent);
        self.present.push(self.sent);
        self.sent += 1;
    }

    /// Asks once; the answer.
    fn ask(&mut self, commits: bool) -> ProducerEpoch {
        let raises = self.machine.protocol() == Protocol::Second;
        let asked = self.machine.producer();
        self.coordinator.end(asked, commits, raises)
    }

    fn end(&mut self, commits: bool, lost: u8) {
        // Who gave up committing may only go on doing so.
        let commits = self.abandoned.unwrap_or(commits);
        if !self.machine.end(commits) {
            assert!(self.present.is_empty() && self.coordinator.ongoing.is_empty());
            return;
        }
        assert!(!self.machine.end(!commits), "both ways at a time");
        for _ in 0..lost {
            self.ask(commits);
        }
        let answer = self.ask(commits);
        let raised = self.machine.protocol() == Protocol::Second;
        self.machine.ended(raised.then_some(answer), self.level);
        self.abandoned = None;
        self.expected
            .push((commits, std::mem::take(&mut self.present)));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send(partition) => self.send(partition, true),
            Step::Refused(partition) => self.send(partition, false),
            Step::End(commits, lost) => self.end(commits, lost),
            Step::Abandon(commits, arrives) => {
                let commits = self.abandoned.unwrap_or(commits);
                if self.machine.end(commits) {
                    self.abandoned = Some(commits);
                    if arrives {
                        self.ask(commits);
                    }
                }
            }
            Step::Level(level) => self.level = level,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn each_batch_is_in_its_transaction(
        level in 0..3_i16,
        near_the_end: bool,
        steps in vec(step(), 1..60),
    ) {
        let epoch = if near_the_end { i16::MAX - 4 } else { 0 };
        let producer = ProducerEpoch { id: 7, epoch };
        let mut world = World {
            machine: Machine::new(producer, level),
            coordinator: Coordinator {
                producer,
                ongoing: BTreeSet::new(),
                last: None,
                ended: Vec::new(),
                batches: Vec::new(),
            },
            level,
            ours: BTreeMap::new(),
            theirs: BTreeMap::new(),
            sent: 0,
            present: Vec::new(),
            expected: Vec::new(),
            abandoned: None,
        };
        for step in steps {
            world.step(step);
        }
        world.end(true, 1);
        prop_assert_eq!(&world.coordinator.ended, &world.expected);
    }
}

#[test]
fn what_the_brokers_have_agreed_on_decides() {
    let producer = ProducerEpoch { id: 7, epoch: 3 };
    let next = ProducerEpoch { id: 7, epoch: 4 };
    let mut first = Machine::new(producer, 1);
    assert_eq!(
        (first.protocol(), first.turn(0)),
        (Protocol::First, Turn::Add)
    );
    // Upgraded meanwhile: it stays as it is.
    first.takes_part(&[0]);
    assert!(first.end(true));
    first.ended(None, 2);
    assert_eq!(
        (first.protocol(), first.producer()),
        (Protocol::First, producer)
    );

    let mut second = Machine::new(producer, 2);
    assert_eq!(
        (second.protocol(), second.turn(0)),
        (Protocol::Second, Turn::Send)
    );
    assert!(!second.end(true), "there is nothing to end");
    second.takes_part(&[0]);
    assert!(second.end(true));
    second.ended(Some(next), 1);
    assert_eq!(
        (second.protocol(), second.producer()),
        (Protocol::First, next)
    );
}
