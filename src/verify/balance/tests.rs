//! Accounts against counting, and what each reason for an absence comes to.

use proptest::prelude::*;

use super::super::ledger::{Log, push};
use super::*;

proptest! {
    /// Against counting each offset.
    #[test]
    fn gaps_and_doubles_are_what_counting_finds(claims in prop::collection::vec((0..3_usize, 0..20_i64, 1..6_i64), 1..8)) {
        let mut account = Account::default();
        for (directory, from, count) in &claims {
            push(&mut account.held, *directory, *from, from + count);
        }
        let times = |offset: i64| claims.iter().filter(|(_, from, count)| (*from..from + count).contains(&offset)).count();
        let (first, last) = account.range(&BTreeSet::new()).unwrap();
        let found = account.imbalances(&BTreeSet::new());
        for offset in first..last {
            let kind = |kind| found.iter().any(|i| i.kind == kind && (i.from..i.next).contains(&offset));
            prop_assert_eq!(kind(ImbalanceKind::Gap), times(offset) == 0, "{}", offset);
            prop_assert_eq!(kind(ImbalanceKind::Double), times(offset) > 1, "{}", offset);
        }
        let once = (first..last).filter(|offset| times(*offset) > 0).count();
        prop_assert_eq!(account.covered(), once as u64);
    }

    /// Whatever directories and brokers say, each offset of the range is held, or of exactly one kind; and what is held is
    /// never called absent.
    #[test]
    fn each_offset_is_accounted_for_once(
        held in prop::collection::vec((0..30_i64, 1..6_i64), 0..5),
        gaps in prop::collection::vec((0..30_i64, 1..6_i64, 0..5_usize, 0..3_u8), 0..5),
        begins in prop::option::of(0..10_i64),
        log in prop::option::of((0..10_i64, 10..40_i64, prop::option::of((0..40_i64, 0..3_u8)))),
        rulings in prop::collection::vec((0..40_i64, any::<bool>()), 0..20),
    ) {
        let id = Uuid::from_u128;
        let mut account = Account { begins, ..Account::default() };
        for (from, count) in &held {
            push(&mut account.held, 0, *from, from + count);
        }
        for (from, count, reason, ids) in &gaps {
            account.gaps.push(absent(*from, from + count, REASONS[*reason], (0..*ids).map(|n| id(n.into())).collect()));
        }
        account.log = log.map(|(start, end, committed)| Log {
            start,
            end,
            committed: committed.map(|(offset, by)| (offset, [By::Directory(id(1)), By::Reset(Some(offset / 2)), By::Program][usize::from(by)])),
        });
        let mut said = BTreeSet::new();
        for (offset, hole) in rulings {
            if said.insert(offset) {
                account.rule(offset, offset + 1, if hole { Ruling::Hole } else { Ruling::Record });
            }
        }
        let named = BTreeSet::from([id(0)]);
        let found = account.imbalances(&named);
        let Some((first, last)) = account.range(&named) else {
            prop_assert!(found.is_empty());
            return Ok(());
        };
        prop_assert!(log.is_none_or(|(_, end, _)| last >= end));
        for offset in first..last {
            let is_held = held.iter().any(|(from, count)| (*from..from + count).contains(&offset));
            let kinds = found.iter().filter(|of| of.kind != ImbalanceKind::Double && (of.from..of.next).contains(&offset)).count();
            let is_hole = !account.ruled(offset, offset + 1, Ruling::Hole).is_empty();
            prop_assert!(kinds <= 1 && (!is_held || kinds == 0), "{}", offset);
            prop_assert!(is_held || is_hole || kinds == 1, "{}", offset);
        }
    }
}

const REASONS: [Reason; 5] = [
    Reason::Untold,
    Reason::Before,
    Reason::Retention,
    Reason::Declared,
    Reason::Program,
];

fn absent(from: i64, next: i64, reason: Reason, directories: Vec<Uuid>) -> Absent {
    Absent {
        claim: Claim {
            from,
            next,
            directory: 0,
        },
        directories,
        reason,
    }
}

fn kinds(account: &Account, named: &[Uuid]) -> Vec<(ImbalanceKind, i64, i64)> {
    let found = account.imbalances(&named.iter().copied().collect());
    let mut kinds: Vec<_> = found.iter().map(|i| (i.kind, i.from, i.next)).collect();
    kinds.sort_unstable_by_key(|of| of.1);
    kinds
}

#[test]
fn what_was_not_read_yet_is_no_gap_before_what_is_undecided() {
    let mut account = Account::default();
    push(&mut account.undecided, 0, 12, 13);
    push(&mut account.undecided, 0, 15, 16);
    let undecided = |from| (ImbalanceKind::Undecided, from, from + 1);
    let gap = |from, next| (ImbalanceKind::Gap, from, next);
    assert_eq!(kinds(&account, &[]), [undecided(12), undecided(15)]);
    push(&mut account.held, 0, 0, 10);
    assert_eq!(kinds(&account, &[]), [undecided(12), undecided(15)]);
    push(&mut account.held, 0, 14, 20);
    assert_eq!(
        kinds(&account, &[]),
        [gap(10, 12), undecided(12), gap(13, 14)]
    );
}

#[test]
fn brokers_decide_about_offsets_without_a_row() {
    let mut account = Account::default();
    push(&mut account.held, 0, 0, 10);
    push(&mut account.holes, 0, 4, 8);
    push(&mut account.held, 0, 20, 30);
    assert_eq!(account.questions(&BTreeSet::new()), [(4, 8), (10, 20)]);
    account.rule(4, 6, Ruling::Gone);
    account.rule(6, 7, Ruling::Hole);
    account.rule(7, 8, Ruling::Record);
    account.rule(10, 15, Ruling::Hole);
    account.rule(15, 17, Ruling::Gone);
    account.rule(17, 20, Ruling::Record);
    assert_eq!(
        kinds(&account, &[]),
        [
            (ImbalanceKind::Lost, 7, 8),
            (ImbalanceKind::Gone, 15, 17),
            (ImbalanceKind::Gap, 17, 20),
        ]
    );
    // It was confirmed when it was read; nobody can look again.
    assert_eq!(account.holes_gone(), 2);
}

#[test]
fn a_quiet_partition_begins_where_its_directory_stands() {
    let id = Uuid::from_u128(9);
    let mut account = Account::default();
    let log = |end| {
        Some(Log {
            start: 0,
            end,
            committed: Some((100, By::Directory(id))),
        })
    };
    account.log = log(100);
    assert_eq!(kinds(&account, &[id]), []);
    account.log = log(110);
    assert_eq!(kinds(&account, &[id]), [(ImbalanceKind::Unread, 100, 110)]);
    // Of another's nothing is known.
    assert_eq!(
        kinds(&account, &[]),
        [
            (ImbalanceKind::Elsewhere(id), 0, 100),
            (ImbalanceKind::Unread, 100, 110)
        ]
    );
    account.stands = Some(40);
    assert_eq!(account.range(&[id].into()), Some((40, 110)));
}

#[test]
fn each_reason_is_told_apart() {
    let id = Uuid::from_u128(9);
    let mut account = Account::default();
    push(&mut account.held, 0, 0, 10);
    for (n, reason) in REASONS.into_iter().enumerate() {
        let from = 10 + 10 * n as i64;
        account
            .gaps
            .push(absent(from, from + 5, reason, Vec::new()));
        push(&mut account.held, 0, from + 5, from + 10);
    }
    account.gaps.push(absent(60, 65, Reason::Untold, vec![id]));
    account
        .gaps
        .push(absent(65, 70, Reason::Declared, vec![id]));
    let elsewhere = ImbalanceKind::Elsewhere(id);
    let found = |named: &[Uuid]| {
        let found = kinds(&account, named).into_iter();
        found
            .map(|(kind, from, _)| (from, kind))
            .collect::<Vec<_>>()
    };
    let told = [
        (10, ImbalanceKind::Untold),
        (20, ImbalanceKind::Gap),
        (30, ImbalanceKind::Retention),
        (40, ImbalanceKind::Declared),
        (50, ImbalanceKind::Program),
    ];
    assert_eq!(found(&[])[..5], told);
    assert_eq!(found(&[])[5..], [(60, elsewhere), (65, elsewhere)]);
    assert_eq!(
        found(&[id])[5..],
        [(60, ImbalanceKind::Gap), (65, ImbalanceKind::Declared)]
    );
}

#[test]
fn the_beginning_may_be_in_a_directory_that_is_not_named() {
    let id = Uuid::from_u128(9);
    let mut account = Account::default();
    account.gaps.push(absent(0, 100, Reason::Before, vec![id]));
    push(&mut account.held, 0, 100, 110);
    assert_eq!(
        kinds(&account, &[]),
        [(ImbalanceKind::Elsewhere(id), 0, 100)]
    );
    // That one began wherever it did.
    push(&mut account.held, 1, 40, 100);
    assert_eq!(kinds(&account, &[id]), []);
    assert_eq!(account.range(&[id].into()), Some((40, 110)));
    account.begins = Some(30);
    assert_eq!(kinds(&account, &[id]), [(ImbalanceKind::Gap, 30, 40)]);
}

#[test]
fn what_the_topic_has_beyond_was_not_read() {
    let id = Uuid::from_u128(9);
    let mut account = Account::default();
    push(&mut account.held, 0, 0, 10);
    let log = |committed| {
        Some(Log {
            start: 0,
            end: 30,
            committed,
        })
    };
    account.log = log(Some((10, By::Directory(id))));
    let unread = |from| (ImbalanceKind::Unread, from, 30);
    assert_eq!(kinds(&account, &[id]), [unread(10)]);
    for (by, kind) in [
        (By::Directory(id), ImbalanceKind::Elsewhere(id)),
        (By::Reset(None), ImbalanceKind::Declared),
        (By::Program, ImbalanceKind::Program),
    ] {
        account.log = log(Some((20, by)));
        assert_eq!(kinds(&account, &[id]), [(kind, 10, 20), unread(20)]);
    }
    // What another program had read before the reset is nobody's wish.
    account.log = log(Some((20, By::Reset(Some(15)))));
    let program = (ImbalanceKind::Program, 10, 15);
    let declared = |from| (ImbalanceKind::Declared, from, 20);
    assert_eq!(kinds(&account, &[id]), [program, declared(15), unread(20)]);
    account.log = log(Some((20, By::Reset(Some(5)))));
    assert_eq!(kinds(&account, &[id]), [declared(10), unread(20)]);
    // Only a marker.
    account.log = log(None);
    account.rule(10, 30, Ruling::Hole);
    assert_eq!(kinds(&account, &[id]), []);
}
