//! A simulated day of many symbols against a service that keeps its limits and fails in every way: the budget holds,
//! every bar is published once and as it was when it was closed, and every fault is recovered from.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::service::{PlanOfKey, Service, day_of};
use super::{market, *};
use crate::event::{TradeEvent, TradeId};
use crate::source::market_hours::US;

/// A day: what came out of it.
struct Day {
    events: BTreeMap<uuid::Uuid, TradeEvent>,
    service: Service,
    /// Ends in an error that no polling on helps against.
    stopped: Option<SourceError>,
}

fn names(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("S{number}"))
        .chain(["NOPE".to_owned()])
        .collect()
}

/// Runs from `start` for so long, with a restart of the process every `restart`.
async fn live(
    start: &str,
    span: TimeDelta,
    restart: TimeDelta,
    plan: PlanOfKey,
    faulty: bool,
    change: impl Fn(Settings) -> Settings,
) -> Day {
    let start: DateTime<Utc> = start.parse().expect("a time");
    let now = Arc::new(parking_lot::Mutex::new(start));
    let service = Service::start(Arc::clone(&now), plan, faulty).await;
    let directory = tempfile::tempdir().expect("a directory");
    let mut events: BTreeMap<uuid::Uuid, TradeEvent> = BTreeMap::new();
    let (mut begin, mut stopped) = (start, None);
    while begin < start + span && stopped.is_none() {
        let settings = change(Settings {
            base_url: service.url.clone(),
            timeout: Duration::from_millis(400),
            body_limit: 1 << 20,
            state_directory: Some(directory.path().to_owned()),
            ..Settings::new(SecretString::from(KEY), Vec::new())
        });
        let mut source = AlphaVantage::with_clock(settings, Clock::Simulated(Arc::clone(&now)))
            .expect("good settings");
        let mut symbols_out = 0;
        while *now.lock() < (begin + restart).min(start + span) {
            match source.poll().await {
                Ok(Some(batch)) => {
                    for event in batch.events {
                        let TradeId::Uuid(id) = event.trade_id else {
                            panic!("no UUID")
                        };
                        if let Some(before) = events.insert(id, event.clone()) {
                            assert_eq!(
                                before, event,
                                "a bar that was handed out changed: it was not closed"
                            );
                        }
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(!format!("{error} {error:?}").contains(KEY));
                    match error.class() {
                        ErrorClass::Symbol => symbols_out += 1,
                        ErrorClass::Retriable => {}
                        _ => stopped = Some(error),
                    }
                }
            }
        }
        assert!(symbols_out <= 1, "only the one that is not known");
        begin = *now.lock();
    }
    let log = service.log.lock();
    assert!(
        log.over.is_empty(),
        "{} requests beyond the plan: {:?}",
        log.over.len(),
        log.over.first()
    );
    drop(log);
    Day {
        events,
        service,
        stopped,
    }
}

fn of<'a>(
    events: impl Iterator<Item = &'a TradeEvent>,
    symbol: &str,
) -> BTreeSet<(DateTime<Utc>, String, u64)> {
    events
        .filter(|event| event.symbol == symbol)
        .map(|event| {
            (
                event.timestamp.instant,
                event.price.to_string(),
                event.quantity,
            )
        })
        .collect()
}

fn shown(hundredths: u64) -> String {
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    crate::event::price::normalise(&text)
        .expect("a price")
        .to_string()
}

async fn paid_day(symbols: usize, interval: Interval, budget: Option<u32>) -> Day {
    let minutes = interval.length().num_minutes();
    let plan = PlanOfKey {
        minute: 75,
        day: budget.map_or(usize::MAX, |budget| budget as usize),
        intraday: true,
    };
    let list = names(symbols);
    let start = "2025-11-06T08:30:00Z";
    let day = live(
        start,
        TimeDelta::hours(24),
        TimeDelta::hours(7),
        plan,
        true,
        |settings| Settings {
            symbols: list.iter().map(|name| name.as_str().into()).collect(),
            interval,
            requests_per_minute: Limit::Of(75),
            requests_per_day: budget.map_or(Limit::Unlimited, Limit::Of),
            ..settings
        },
    )
    .await;
    assert!(day.stopped.is_none(), "{:?}", day.stopped);
    // Every bar of the day's session, as it was when it was closed, once.
    let session = US
        .session(NaiveDate::from_ymd_opt(2025, 11, 6).expect("a day"), true)
        .expect("a session");
    for (number, name) in list.iter().enumerate().take(symbols) {
        let truth: BTreeSet<_> =
            market::intraday(number, session.close + TimeDelta::seconds(1), minutes, 1200)
                .into_iter()
                .filter(|bar| bar.start >= session.open)
                .map(|bar| (bar.start, shown(bar.open), bar.volume))
                .collect();
        let mut got = of(day.events.values(), name);
        got.retain(|(start, ..)| (session.open..session.close).contains(start));
        let missing: Vec<_> = truth.difference(&got).map(|(start, ..)| start).collect();
        assert!(
            missing.is_empty(),
            "{name}: bars are missing: {missing:?}; it was asked for at {:?}",
            day.service.log.lock().asked.get(name)
        );
        assert_eq!(got.len(), truth.len(), "{name}");
    }
    day
}

#[tokio::test]
async fn a_day_of_fifty_symbols_on_a_paid_plan() {
    let day = paid_day(50, Interval::Min15, None).await;
    let log = day.service.log.lock();
    // Every kind of fault was met, and none cost a bar.
    assert!(
        log.faults.len() >= 14 && log.faults.contains_key("outage"),
        "{:?}",
        log.faults
    );
    println!(
        "{} requests, {} in vain, {} events, faults {:?}",
        log.times.len(),
        log.in_vain,
        day.events.len(),
        log.faults
    );
}

#[tokio::test]
async fn a_small_budget_lasts_the_day() {
    // 20 symbols, 400 requests: one every 50 minutes each, and the last one at the close.
    let day = paid_day(20, Interval::Min5, Some(500)).await;
    let log = day.service.log.lock();
    assert!(log.times.len() <= 1000);
    println!(
        "{} requests, {} in vain, {} events, faults {:?}",
        log.times.len(),
        log.in_vain,
        day.events.len(),
        log.faults
    );
}

#[tokio::test]
async fn a_service_that_is_well_is_not_asked_in_vain() {
    let plan = PlanOfKey {
        minute: 75,
        day: usize::MAX,
        intraday: true,
    };
    let list = names(10);
    let (start, span) = ("2025-11-06T08:30:00Z", TimeDelta::hours(24));
    let day = live(start, span, span, plan, false, |settings| Settings {
        symbols: list
            .iter()
            .take(10)
            .map(|name| name.as_str().into())
            .collect(),
        interval: Interval::Min15,
        requests_per_minute: Limit::Of(75),
        requests_per_day: Limit::Unlimited,
        ..settings
    })
    .await;
    let log = day.service.log.lock();
    // A session has 64 bars. Each is asked for once, and at the start what there is.
    assert!(log.times.len() <= 10 * 66, "{} requests", log.times.len());
    // Only bars that are not there because nobody traded were asked for in vain.
    let without_trades = 10 * 64 - 10 * 45;
    assert!(log.in_vain <= without_trades, "{} in vain", log.in_vain);
}

#[tokio::test]
async fn days_of_fifty_symbols_on_a_free_key() {
    let plan = PlanOfKey {
        minute: 5,
        day: 25,
        intraday: false,
    };
    let list = names(50);
    let start = "2025-11-05T13:00:00Z";
    let day = live(
        start,
        TimeDelta::days(6),
        TimeDelta::hours(31),
        plan,
        true,
        |settings| Settings {
            symbols: list.iter().map(|name| name.as_str().into()).collect(),
            ..settings
        },
    )
    .await;
    assert!(day.stopped.is_none(), "{:?}", day.stopped);
    // 25 requests a day for 51 symbols, and some of them fail: after six days each was asked for.
    let end: DateTime<Utc> = start.parse::<DateTime<Utc>>().expect("a time") + TimeDelta::days(6);
    for (number, name) in list.iter().enumerate().take(50) {
        let got = of(day.events.values(), name);
        assert!(got.len() >= 99, "{name}: {}", got.len());
        let truth: BTreeSet<_> = market::daily(number, end + TimeDelta::days(4), 110)
            .into_iter()
            .map(|(_, bar)| (shown(bar.open), bar.volume))
            .collect();
        assert!(
            got.iter()
                .all(|(_, price, volume)| truth.contains(&(price.clone(), *volume))),
            "{name}: a bar of half a day"
        );
    }
    let log = day.service.log.lock();
    let days: BTreeSet<_> = log.times.iter().map(|time| day_of(*time)).collect();
    println!(
        "{} requests in {} days, {} events, faults {:?}",
        log.times.len(),
        days.len(),
        day.events.len(),
        log.faults
    );
}

/// The whole of it, with a bar a minute: `scripts/simulated-day`.
#[tokio::test]
#[ignore = "takes minutes: scripts/simulated-day runs it"]
async fn a_day_of_fifty_symbols_and_minutes() {
    let day = paid_day(50, Interval::Min1, None).await;
    let log = day.service.log.lock();
    println!(
        "{} requests, {} in vain, {} events, faults {:?}",
        log.times.len(),
        log.in_vain,
        day.events.len(),
        log.faults
    );
}
