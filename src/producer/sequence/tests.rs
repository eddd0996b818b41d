//! Each rule by itself; the model tries them together.

use super::*;
use crate::wire::error::ErrorCode;
use std::time::Duration;

struct Line {
    sequence: PartitionSequence<char>,
    now: Instant,
}

const PRODUCER: ProducerEpoch = ProducerEpoch { id: 9, epoch: 0 };
const RECORDS: i32 = 10;

impl Line {
    /// With these batches queued, ten records each, that may take a second.
    fn of(batches: &str) -> Self {
        let now = Instant::now();
        let mut sequence = PartitionSequence::new(MAX_UNRESOLVED, Epochs::Ours);
        sequence.set_producer(PRODUCER);
        for batch in batches.chars() {
            sequence.push(batch, RECORDS, Some(now + Duration::from_secs(1)));
        }
        Self { sequence, now }
    }

    /// One whose epoch the broker knows: the first batch was acknowledged.
    fn known(batches: &str) -> Self {
        let mut line = Self::of(if batches.is_empty() { "a" } else { batches });
        let (_, ticket, _) = line.take().unwrap();
        assert_eq!(line.told(ticket, Verdict::Written(Some(0))).len(), 1);
        line
    }

    fn take(&mut self) -> Option<(char, u64, (i16, i32))> {
        let attempt = self.sequence.take(1, self.now)?;
        let numbers = (attempt.identity.epoch, attempt.identity.base_sequence);
        Some((*attempt.batch, attempt.ticket, numbers))
    }

    fn told(&mut self, ticket: u64, verdict: Verdict) -> Vec<(char, Result<Option<i64>, Failure>)> {
        let done = self.sequence.resolve(ticket, verdict, self.now);
        done.into_iter()
            .map(|done| (done.batch, done.result))
            .collect()
    }
}

fn unknown() -> Verdict {
    Verdict::Unknown("lost".into())
}

fn too_large() -> Verdict {
    Verdict::Refused(Refusal {
        code: ErrorCode::MESSAGE_TOO_LARGE,
        detail: None,
    })
}

#[test]
fn one_batch_until_the_broker_knows_the_epoch_then_five() {
    let mut line = Line::of("abcdefgh");
    let (_, ticket, numbers) = line.take().unwrap();
    assert_eq!(numbers, (0, 0));
    assert!(
        line.take().is_none(),
        "a broker without state would take any number"
    );
    line.told(ticket, Verdict::Written(Some(0)));
    let sent: Vec<_> = std::iter::from_fn(|| line.take()).collect();
    let numbers: Vec<_> = sent
        .iter()
        .map(|(batch, _, numbers)| (*batch, numbers.1))
        .collect();
    assert_eq!(
        numbers,
        [('b', 10), ('c', 20), ('d', 30), ('e', 40), ('f', 50)]
    );
    // One that is acknowledged behind one that is not still counts.
    assert!(line.told(sent[1].1, Verdict::Written(Some(20))).is_empty());
    assert!(line.take().is_none());
}

#[test]
fn a_lost_batch_comes_again_with_the_same_numbers_and_alone() {
    let mut line = Line::known("abc");
    let b = line.take().unwrap();
    let c = line.take().unwrap();
    line.told(b.1, unknown());
    assert!(line.take().is_none(), "c is still on its way");
    line.told(c.1, Verdict::OutOfOrder);
    let again = line.take().unwrap();
    assert_eq!((again.0, again.2), ('b', (0, 10)));
    assert!(line.take().is_none(), "one at a time after a failure");
    assert_eq!(
        line.told(again.1, Verdict::Written(None)),
        [('b', Ok(None))]
    );
    let c = line.take().unwrap();
    assert_eq!((c.0, c.2), ('c', (0, 20)), "an echo costs no epoch");
}

#[test]
fn outcomes_are_told_in_order() {
    let mut line = Line::known("abc");
    let b = line.take().unwrap();
    let c = line.take().unwrap();
    assert_eq!(line.told(c.1, Verdict::Written(Some(20))), []);
    let told = line.told(b.1, Verdict::Written(Some(10)));
    assert_eq!(told, [('b', Ok(Some(10))), ('c', Ok(Some(20)))]);
}

#[test]
fn what_was_never_sent_was_not_written_and_leaves_no_hole() {
    let mut line = Line::of("a");
    line.now += Duration::from_secs(2);
    let given_up = line.sequence.expire(line.now);
    let failure = given_up[0].result.clone().unwrap_err();
    assert!(!failure.possibly_written);
    line.sequence
        .push('b', RECORDS, Some(line.now + Duration::from_secs(1)));
    assert_eq!(line.take().unwrap().2, (0, 0));
}

#[test]
fn a_batch_given_up_in_doubt_costs_an_epoch_after_the_drain() {
    let mut line = Line::known("abcd");
    let b = line.take().unwrap();
    let c = line.take().unwrap();
    line.told(b.1, unknown());
    line.now += Duration::from_secs(2);
    let given_up = line.sequence.expire(line.now);
    assert!(given_up[0].result.clone().unwrap_err().possibly_written);
    assert!(
        line.take().is_none(),
        "c is not resolved under the old numbers yet"
    );
    line.told(c.1, Verdict::OutOfOrder);
    let again = line.take().unwrap();
    assert_eq!((again.0, again.2), ('c', (1, 0)));
    line.told(again.1, Verdict::Written(Some(10)));
    assert_eq!(line.take().unwrap().2, (1, 10));
}

#[test]
fn what_may_linger_behind_a_hole_is_in_doubt() {
    let mut line = Line::known("abc");
    let b = line.take().unwrap();
    let c = line.take().unwrap();
    line.told(b.1, too_large());
    line.told(c.1, unknown());
    let again = line.take().unwrap();
    assert_eq!(
        (again.0, again.2),
        ('c', (0, 20)),
        "the old numbers decide first"
    );
    let told = line.told(again.1, Verdict::OutOfOrder);
    assert!(told[0].1.clone().unwrap_err().possibly_written);
}

/// A broker that was started again does not know `b`; `c`, which could have proved it, is refused in doubt, and `d` will
/// not be sent under its old numbers. So `b` is not sent again under others: it may be there.
#[test]
fn what_nothing_is_left_to_prove_beside_a_batch_in_doubt_is_in_doubt() {
    let mut line = Line::known("abcd");
    let [b, c, d] = [(); 3].map(|()| line.take().unwrap());
    line.told(b.1, unknown());
    line.told(c.1, unknown());
    line.told(d.1, Verdict::NotWritten("too few replicas".into()));
    let again = line.take().unwrap();
    assert_eq!((again.0, again.2), ('b', (0, 10)));
    assert!(line.told(again.1, Verdict::OutOfOrder).is_empty());
    let again = line.take().unwrap();
    assert_eq!((again.0, again.2), ('c', (0, 20)));
    let told = line.told(again.1, too_large());
    let in_doubt: Vec<_> = told
        .into_iter()
        .map(|(batch, result)| (batch, result.unwrap_err().possibly_written))
        .collect();
    assert_eq!(in_doubt, [('b', true), ('c', true)]);
    let again = line.take().unwrap();
    assert_eq!((again.0, again.2), ('d', (1, 0)));
}

#[test]
fn a_batch_that_a_later_one_proves_written_is_no_failure() {
    let mut line = Line::known("abc");
    let b = line.take().unwrap();
    let c = line.take().unwrap();
    line.told(c.1, Verdict::Written(Some(20)));
    line.told(b.1, unknown());
    line.now += Duration::from_secs(2);
    let done = line.sequence.expire(line.now);
    let results: Vec<_> = done.into_iter().map(|done| done.result).collect();
    assert_eq!(results, [Ok(None), Ok(Some(20))]);
}

#[test]
fn a_broker_that_forgot_the_producer_costs_an_epoch_and_no_record() {
    let mut line = Line::known("ab");
    let b = line.take().unwrap();
    assert!(line.told(b.1, Verdict::OutOfOrder).is_empty());
    let again = line.take().unwrap();
    assert_eq!((again.0, again.2), ('b', (1, 0)));
}

#[test]
fn after_the_last_epoch_another_producer_id_is_asked_for() {
    let mut line = Line::of("");
    line.sequence = PartitionSequence::new(5, Epochs::Ours);
    line.sequence.set_producer(ProducerEpoch {
        id: 9,
        epoch: i16::MAX,
    });
    for batch in ['a', 'b'] {
        line.sequence
            .push(batch, RECORDS, Some(line.now + Duration::from_secs(1)));
    }
    let a = line.take().unwrap();
    assert_eq!(line.told(a.1, too_large()).len(), 1);
    assert!(line.take().is_none() && line.sequence.needs_producer());
    line.sequence
        .set_producer(ProducerEpoch { id: 10, epoch: 0 });
    assert_eq!(line.sequence.take(1, line.now).unwrap().identity.id, 10);
}

/// One at a time keeps them in order; what is in doubt goes out again, for as long as it takes, and nothing needs an id.
#[test]
fn without_numbers_batches_go_one_at_a_time_until_each_is_told() {
    let mut line = Line::of("");
    line.sequence = PartitionSequence::new(MAX_UNRESOLVED, Epochs::Without);
    for batch in "abc".chars() {
        line.sequence.push(batch, RECORDS, None);
    }
    assert!(!line.sequence.needs_producer());
    for _ in 0..3 {
        let a = line.take().unwrap();
        assert_eq!(a.0, 'a');
        assert!(line.take().is_none());
        assert!(line.told(a.1, unknown()).is_empty());
        line.now += Duration::from_secs(24 * 3600);
        assert!(line.sequence.expire(line.now).is_empty());
    }
    let a = line.take().unwrap();
    assert_eq!(
        line.told(a.1, Verdict::Written(Some(3))),
        [('a', Ok(Some(3)))]
    );
    // One that is refused stands in nobody's way.
    let b = line.take().unwrap();
    assert_eq!(line.told(b.1, too_large()).len(), 1);
    let c = line.take().unwrap();
    assert_eq!(c.0, 'c');
    assert_eq!(
        line.told(c.1, Verdict::Written(Some(4))),
        [('c', Ok(Some(4)))]
    );
    assert!(line.sequence.is_empty() && !line.sequence.needs_producer());
}

#[test]
fn a_new_leader_waits_for_the_old_ones_answers() {
    let mut line = Line::known("abc");
    let b = line.take().unwrap();
    assert!(line.sequence.take(2, line.now).is_none());
    line.told(b.1, Verdict::Written(Some(10)));
    assert!(line.sequence.take(2, line.now).is_some());
}

#[test]
fn a_pause_is_kept() {
    let mut line = Line::of("a");
    let a = line.take().unwrap();
    let later = line.now + Duration::from_millis(100);
    line.sequence.resolve(a.1, unknown(), later);
    assert!(line.take().is_none());
    assert_eq!(line.sequence.wake_at(line.now), Some(later));
    line.now = later;
    assert!(line.take().is_some());
}

/// The last attempt took until the batch's time was up.
#[test]
fn the_end_of_a_batch_hides_no_pause() {
    let mut line = Line::of("a");
    let a = line.take().unwrap();
    line.now += Duration::from_secs(2);
    let later = line.now + Duration::from_millis(100);
    line.sequence.resolve(a.1, unknown(), later);
    assert_eq!(line.sequence.wake_at(line.now), Some(later));
    assert_eq!(line.sequence.wake_at(later), None, "all of it is due");
}

#[test]
fn giving_up_says_what_may_have_been_written() {
    let mut line = Line::known("abc");
    line.take().unwrap();
    let doubts: Vec<_> = line
        .sequence
        .abandon()
        .into_iter()
        .map(|done| done.result.unwrap_err().possibly_written)
        .collect();
    assert_eq!(doubts, [true, false]);
}

#[test]
fn after_a_long_pause_one_batch_goes_alone_again() {
    let mut line = Line::known("");
    line.now += FORGOTTEN + Duration::from_secs(1);
    for batch in ['x', 'y'] {
        line.sequence
            .push(batch, RECORDS, Some(line.now + Duration::from_secs(1)));
    }
    let x = line.take().unwrap();
    assert!(line.take().is_none(), "the broker may take any number now");
    line.told(x.1, Verdict::Written(Some(10)));
    assert!(line.take().is_some());
}

#[test]
fn a_batch_that_is_too_large_becomes_two_in_its_place() {
    let mut line = Line::known("abcd");
    let b = line.take().unwrap();
    let c = line.take().unwrap();
    assert!(line.sequence.split(b.1, |_| Some([('1', 5), ('2', 5)])));
    assert!(line.take().is_none(), "c is still on its way");
    line.told(c.1, Verdict::OutOfOrder);
    let mut sent = Vec::new();
    while let Some((batch, ticket, numbers)) = line.take() {
        sent.push((batch, numbers));
        line.told(ticket, Verdict::Written(None));
    }
    let kept = [
        ('1', (0, 10)),
        ('2', (0, 15)),
        ('c', (0, 20)),
        ('d', (0, 30)),
    ];
    assert_eq!(sent, kept, "the halves share the numbers of the whole");
}

#[test]
fn halves_are_stamped_once() {
    let mut line = Line::known("ab");
    let b = line.take().unwrap();
    assert!(line.sequence.split(b.1, |_| Some([('1', 5), ('2', 5)])));
    for first in [true, false] {
        let attempt = line.sequence.take(1, line.now).unwrap();
        assert_eq!((*attempt.batch, attempt.first), ('1', first));
        let ticket = attempt.ticket;
        line.told(ticket, unknown());
    }
}

#[test]
fn what_may_have_been_written_is_not_split() {
    let mut line = Line::known("ab");
    let b = line.take().unwrap();
    line.told(b.1, unknown());
    let again = line.take().unwrap();
    assert!(!line.sequence.split(again.1, |_| Some([('1', 5), ('2', 5)])));
}

#[test]
fn in_a_transaction_a_lost_place_is_not_ours_to_mend() {
    let mut line = Line::known("ab");
    line.sequence.epochs = Epochs::Coordinators;
    let b = line.take().unwrap();
    let told = line.told(b.1, Verdict::OutOfOrder);
    assert!(told[0].1.is_err());
}

#[test]
fn a_new_transaction_begins_at_0_in_its_epoch_when_nothing_of_the_old_one_is_left() {
    let next = ProducerEpoch { id: 9, epoch: 1 };
    let mut line = Line::known("abc");
    let b = line.take().unwrap();
    line.sequence.renew(next);
    assert_eq!(line.take().unwrap().2, (0, 20), "`b` is on its way");
    let mut line = Line::known("abc");
    line.sequence.renew(PRODUCER);
    let b_again = line.take().unwrap();
    assert_eq!(b_again.2, b.2, "it is the same transaction");
    line.told(b_again.1, too_large());
    line.sequence.renew(next);
    let c = line.take().unwrap();
    assert_eq!((c.0, c.2), ('c', (1, 0)));
    assert!(
        line.take().is_none(),
        "the broker does not know the epoch yet"
    );
}

#[test]
fn without_a_deadline_a_batch_in_doubt_keeps_its_numbers_until_brokers_may_forget_them() {
    let mut line = Line::known("");
    line.sequence.push('x', RECORDS, None);
    line.sequence.push('y', RECORDS, None);
    let sent = line.now;
    loop {
        line.now += Duration::from_secs(600);
        if line.now >= sent + RECOGNISED {
            break;
        }
        assert!(line.sequence.expire(line.now).is_empty());
        let again = line.take().unwrap();
        assert_eq!((again.0, again.2), ('x', (0, 10)));
        line.told(again.1, unknown());
    }
    line.now += RECOGNISED;
    let given_up = line.sequence.expire(line.now);
    assert!(given_up[0].result.clone().unwrap_err().possibly_written);
    assert_eq!(given_up.len(), 1, "what was never sent has time");
}

#[test]
fn sequence_numbers_wrap_to_zero() {
    assert_eq!(advance(i32::MAX - 4, 5), 0);
    assert_eq!(advance(i32::MAX, 5), 4);
    assert_eq!(advance(10, 5), 15);
}
