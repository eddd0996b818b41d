//! A budget against the limits, damage, and clocks that go wrong.

use proptest::prelude::*;

use super::super::limits::Limit;
use super::*;

const NEW_YORK: Tz = chrono_tz::America::New_York;

fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

#[test]
fn the_next_day_begins_at_midnight_there() {
    let wait = |now: &str| (next_day(NEW_YORK, time(now)) - time(now)).num_seconds();
    assert_eq!(wait("2025-11-07T04:59:00Z"), 60 + 60);
    assert_eq!(wait("2025-11-07T05:00:00Z"), 24 * 3600 + 60);
    // The day on which the clocks go back has 25 hours, the one on which they go forward 23.
    assert_eq!(wait("2025-11-02T04:00:00Z"), 25 * 3600 + 60);
    assert_eq!(wait("2026-03-08T05:00:00Z"), 23 * 3600 + 60);
}

#[test]
fn a_wait_says_what_it_is_for() {
    let limits = Limits::new(1.0, Limit::Of(2), Limit::Of(3), false, NEW_YORK);
    let now = time("2025-11-07T12:00:00Z");
    let mut spent = Spent::default();
    let held = |spent: &Spent, now| {
        let hold = spent.held(&limits, now)?;
        Some((hold.cause, (hold.until - now).num_milliseconds()))
    };
    assert_eq!(held(&spent, now), None);
    spent.spend(&limits, now);
    assert_eq!(held(&spent, now), Some((Cause::Second, 1_050)));
    let later = now + TimeDelta::seconds(2);
    assert_eq!(held(&spent, later), None);
    spent.spend(&limits, later);
    assert_eq!(held(&spent, later), Some((Cause::Minute, 61_000)));
    spent.refund();
    assert_eq!(held(&spent, later), None, "one that never went out");
    spent.shut(later + TimeDelta::seconds(9), later);
    assert_eq!(held(&spent, later), Some((Cause::Service, 9_000)));
    spent.spend(&limits, later);
    spent.spend(&limits, later);
    let (cause, _) = held(&spent, later).expect("a wait");
    assert_eq!(cause, Cause::Day);
}

#[test]
fn a_clock_that_is_set_back_frees_nothing() {
    let limits = Limits::new(1.0, Limit::Unlimited, Limit::Of(1), false, NEW_YORK);
    let mut spent = Spent::default();
    spent.spend(&limits, time("2025-11-07T12:00:00Z"));
    let before = time("2025-11-06T12:00:00Z");
    assert_eq!(spent.left_today(&limits, before), Some(0));
    assert_eq!(
        spent.ready_at(&limits, before),
        time("2025-11-08T05:01:00Z")
    );
}

#[test]
fn damage_and_a_clock_that_was_ahead_hold_nothing() {
    let limits = Limits::new(1.0, Limit::Of(5), Limit::Of(25), false, NEW_YORK);
    let now = time("2026-11-24T12:00:00Z");
    for text in [
        r#"{"day":"2026-11-24","used":1,"recent":["+262142-12-31T23:59:59Z"]}"#,
        r#"{"day":"+262142-12-31","used":30}"#,
        r#"{"day":"-262143-01-01","used":30,"recent":["-262143-01-01T00:00:00Z"]}"#,
        r#"{"day":"2036-11-24","used":30,"recent":["2036-11-24T12:00:00Z"],"shut_until":"2036-11-24T12:00:00Z"}"#,
    ] {
        let mut spent: Spent = serde_json::from_str(text).expect("JSON");
        assert_eq!(spent.held(&limits, now), None, "{text}");
        assert_eq!(
            spent.is_ahead(NEW_YORK, now),
            !text.contains("-262143"),
            "{text}"
        );
        spent.spend(&limits, now);
        spent.shut(now + TimeDelta::seconds(9), now);
        assert!(!spent.is_ahead(NEW_YORK, now), "{text}");
        assert_eq!(spent.shut_until(now), Some(now + TimeDelta::seconds(9)));
    }
}

proptest! {
    #[test]
    fn no_date_of_a_file_panics_or_holds_for_longer_than_a_day_and_the_reset(
        days in prop::collection::vec(prop_oneof![-96_000_000_i32..96_000_000, 20_750..20_800_i32], 5),
        near in prop::collection::vec(-200_000_i64..200_000, 4), used: u32, minute in 0_u32..4,
    ) {
        let limits = Limits::new(1.0, Limit::Of(minute), Limit::Of(25), false, NEW_YORK);
        let now = time("2026-11-24T12:00:00Z");
        let day = |days: i32| {
            let days = TimeDelta::days(days.into());
            NaiveDate::default().checked_add_signed(days).unwrap_or(NaiveDate::MAX)
        };
        let at = |days| day(days).and_time(NaiveTime::MIN).and_utc();
        let mut spent = Spent {
            day: day(days[0]),
            used,
            recent: days[1..4].iter().map(|days| at(*days)).collect(),
            shut_until: Some(at(days[4])),
        };
        spent.recent.extend(near.into_iter().map(|near| now + TimeDelta::seconds(near)));
        for _ in 0..3 {
            let ready = spent.ready_at(&limits, now);
            prop_assert!(ready <= next_day(NEW_YORK, now + TimeDelta::days(1)), "{ready}");
            let _ = (spent.is_ahead(NEW_YORK, now), spent.left_today(&limits, now));
            spent.spend(&limits, now);
        }
    }

    #[test]
    fn no_window_ever_holds_more_than_its_limit(
        minute in 1_u32..8, day in 1_u32..40, per_second in prop::sample::select(vec![0.2, 1.0, 3.0]),
        waits in prop::collection::vec(0_i64..5_000_000, 1..120), restarts in 1_usize..10,
    ) {
        let limits = Limits::new(per_second, Limit::Of(minute), Limit::Of(day), false, NEW_YORK);
        let mut spent = Spent::default();
        let mut now = time("2025-11-01T20:00:00Z");
        let mut sent: Vec<DateTime<Utc>> = Vec::new();
        for (number, wait) in waits.into_iter().enumerate() {
            now = spent.ready_at(&limits, now + TimeDelta::milliseconds(wait));
            prop_assert!(spent.ready_at(&limits, now) <= now, "it is ready when it said so");
            spent.spend(&limits, now);
            sent.push(now);
            if number % restarts == 0 {
                let json = serde_json::to_string(&spent).expect("JSON");
                let again: Spent = serde_json::from_str(&json).expect("JSON");
                prop_assert_eq!(&again, &spent);
                spent = again;
            }
        }
        for (place, at) in sent.iter().enumerate() {
            let within = |span: TimeDelta| sent[..=place].iter().filter(|other| **other > *at - span).count();
            prop_assert!(within(TimeDelta::minutes(1)) <= minute as usize);
            prop_assert!(within(TimeDelta::microseconds((1e6 / per_second) as i64)) <= 1);
            let today = |time: &&DateTime<Utc>| day_of(NEW_YORK, **time) == day_of(NEW_YORK, *at);
            prop_assert!(sent.iter().filter(today).count() <= day as usize);
        }
    }
}
