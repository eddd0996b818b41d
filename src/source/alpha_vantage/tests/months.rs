//! Months that are filled back are those of which bars came, and nothing else is taken for them.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::server::{Reply, Server};
use super::*;

fn fill(server: &Server, directory: &std::path::Path, from: &str, to: &str) -> Settings {
    Settings {
        state_directory: Some(directory.to_owned()),
        months: Some(Months {
            from: from.parse().expect("a month"),
            to: to.parse().expect("a month"),
            destination: "a topic".to_owned(),
            again: false,
        }),
        ..settings(server, &["IBM"])
    }
}

/// Runs to the end, all of it acknowledged: how many events, and how many months without.
async fn run(settings: Settings, now: &str) -> (usize, usize) {
    let mut source = AlphaVantage::with_clock(settings, clock(now)).expect("good settings");
    let mut events = 0;
    while let Some(batch) = source.poll().await.expect("no error") {
        events += batch.events.len();
        source.settled().await;
    }
    source.settled().await;
    (events, source.empty_months)
}

#[tokio::test]
async fn a_month_without_bars_of_its_own_is_asked_for_again() {
    for (name, from) in [
        // Bars of 2025-11, whatever is asked for.
        ("intraday_full_day.json", "2024-01"),
        ("intraday_empty.json", "2025-11"),
        ("empty_object.json", "2025-11"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let server = Server::start(vec![Reply::File(200, name)]).await;
        for round in 1..3 {
            let settings = fill(&server, directory.path(), from, from);
            let outcome = run(settings, "2026-01-15T12:00:00Z").await;
            assert_eq!(outcome, (0, 1), "{name}");
            assert_eq!(server.asked().len(), round, "{name}");
        }
    }
}

#[tokio::test]
async fn of_two_months_the_one_that_came_is_filled() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(vec![Reply::File(200, "intraday_full_day.json")]).await;
    let settings = || fill(&server, directory.path(), "2025-10", "2025-11");
    let (_, without) = run(settings(), "2026-01-15T12:00:00Z").await;
    assert_eq!((without, server.asked().len()), (1, 2));
    run(settings(), "2026-01-15T12:00:00Z").await;
    let asked = server.asked();
    assert!(
        asked.len() == 3 && asked[2].contains("month=2025-10"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn months_out_of_reach_of_a_free_key_cost_one_request_a_run_until_its_plan_has_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let refusal = Reply::File(200, "information_premium_outputsize.json");
    let daily = Reply::File(200, "daily.json");
    let server = Server::start(vec![
        Reply::File(200, "information_premium.json"),
        refusal.clone(),
        refusal.clone(),
        refusal.clone(),
        daily.clone(),
        refusal,
        daily.clone(),
        daily,
    ])
    .await;
    let now = "2026-01-15T12:00:00Z";
    let free = |from, to| fill(&server, directory.path(), from, to);
    // Two requests show what the key gets; the months are out of its reach.
    assert_eq!(run(free("2024-01", "2024-03"), now).await, (0, 0));
    assert_eq!(server.asked().len(), 2);
    assert_eq!(run(free("2024-01", "2024-03"), now).await, (0, 0));
    assert_eq!(server.asked().len(), 3, "the plan may have changed");
    // What is within reach is asked for; of 2025-10 its last day alone comes, so it is not filled.
    assert_eq!(run(free("2024-01", "2025-11"), now).await, (5, 0));
    assert_eq!(server.asked().len(), 5);
    assert_eq!(run(free("2025-11", "2025-11"), now).await, (0, 0));
    assert_eq!(server.asked().len(), 5, "all of 2025-11 came");
    assert_eq!(run(free("2024-01", "2025-10"), now).await, (1, 0));
    assert_eq!(server.asked().len(), 7, "the others are asked for again");
    // The plan is bought.
    assert_eq!(run(free("2024-01", "2025-10"), now).await, (1, 0));
    let asked = server.asked();
    assert!(
        asked.len() == 8 && asked[7].contains("outputsize=full"),
        "{asked:?}"
    );
    assert_eq!(run(free("2025-10", "2025-11"), now).await, (0, 0));
    assert_eq!(server.asked().len(), 8, "filled");
}

#[tokio::test]
async fn a_refusal_is_put_to_the_test_again_and_wrong_notes_of_former_versions_hide_nothing() {
    let now = "2026-01-15T12:00:00Z";
    for (paid, again, requested) in [
        (false, false, false),
        (true, false, true),
        (false, true, true),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let server = Server::start(vec![Reply::File(200, "daily.json")]).await;
        let mut settings = fill(&server, directory.path(), "2025-10", "2025-10");
        settings.function = Function::Daily;
        if let Some(months) = &mut settings.months {
            months.again = again;
        }
        let mut source =
            AlphaVantage::with_clock(settings.clone(), clock(now)).expect("good settings");
        source.ledger.acquire().await;
        source.ledger.update(|known| {
            known.paid = paid;
            let at = now.parse().expect("a time");
            known
                .refused
                .insert(react::full_of(Function::Daily).to_owned(), at);
            let wrong = ["IBM 2025-10".to_owned()].into();
            known
                .filled
                .insert("a topic daily compact".to_owned(), wrong);
        });
        source.ledger.release();
        assert_eq!(run(settings, now).await, (1, 0), "asked for");
        let asked = server.asked();
        assert_eq!(asked[0].contains("outputsize=full"), requested, "{asked:?}");
    }
}

#[tokio::test]
async fn a_topic_made_anew_is_filled_again_and_other_brokers_of_its_cluster_are_not_others() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(vec![Reply::File(200, "intraday_full_day.json")]).await;
    let to = |topic_id: Option<u128>, cluster_id: Option<&str>, bootstrap: &str| Destination {
        topic: "trades".to_owned(),
        topic_id: topic_id.map(uuid::Uuid::from_u128),
        cluster_id: cluster_id.map(str::to_owned),
        bootstrap: bootstrap.to_owned(),
    };
    let mut asked = 0;
    for (destination, requests, why) in [
        (to(None, None, "a:1"), 1, "nothing is known"),
        (to(None, None, "a:1"), 0, "filled"),
        (
            to(Some(1), Some("x"), "a:1"),
            0,
            "what was kept before ids were known counts",
        ),
        (to(Some(1), Some("x"), "a:1,b:1"), 0, "the same cluster"),
        (to(Some(2), Some("x"), "a:1"), 1, "the topic was made anew"),
        (to(Some(1), Some("y"), "a:1"), 1, "another cluster"),
        (to(Some(2), Some("x"), "b:1"), 0, "filled"),
    ] {
        let settings = fill(&server, directory.path(), "2025-11", "2025-11");
        let now = clock("2026-01-15T12:00:00Z");
        let mut source = AlphaVantage::with_clock(settings, now).expect("good settings");
        source.goes_to(&destination);
        while source.poll().await.expect("no error").is_some() {}
        source.settled().await;
        asked += requests;
        assert_eq!(server.asked().len(), asked, "{why}: {destination:?}");
    }
}

#[tokio::test]
async fn an_answer_waits_for_the_ledger_and_a_cancelled_poll_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    // However long this machine stalls, no answer comes before it is let go.
    let gate = Arc::new(Semaphore::new(0));
    let reply = Reply::Held(Arc::clone(&gate), "intraday_full_day.json");
    let server = Server::start(vec![reply]).await;
    let settings = || Settings {
        timeout: Duration::from_secs(120),
        state_directory: Some(directory.path().to_owned()),
        ..settings(&server, &["IBM"])
    };
    let mut source = AlphaVantage::new(settings()).expect("good settings");
    let mut other = AlphaVantage::new(settings()).expect("good settings");
    other.ledger.acquire().await;
    let short = Duration::from_millis(150);
    for _ in 0..3 {
        let polled = tokio::time::timeout(short, source.poll()).await;
        assert!(
            polled.is_err() && server.asked().is_empty(),
            "not counted, so not sent"
        );
    }
    other.ledger.release();
    let limit = tokio::time::Instant::now() + Duration::from_secs(100);
    let in_time = || assert!(tokio::time::Instant::now() < limit, "within 100 s");
    // The request goes out; its answer meets a ledger that is held again.
    while source.in_flight.is_none() || server.asked().is_empty() {
        let polled = tokio::time::timeout(short, source.poll()).await;
        assert!(polled.is_err(), "nothing was answered yet");
        in_time();
    }
    other.ledger.acquire().await;
    gate.add_permits(1);
    while source.answered.is_none() {
        let polled = tokio::time::timeout(short, source.poll()).await;
        assert!(polled.is_err(), "no event without an entry");
        in_time();
    }
    for _ in 0..3 {
        let polled = tokio::time::timeout(short, source.poll()).await;
        assert!(
            polled.is_err() && source.answered.is_some(),
            "the answer waits"
        );
    }
    other.ledger.release();
    let batch = source.poll().await.expect("no error").expect("a batch");
    assert_eq!(batch.events.len(), 960);
    assert_eq!(server.asked().len(), 1, "asked once");
    assert_eq!(
        source
            .ledger
            .known()
            .spent
            .used_today(chrono_tz::America::New_York, Utc::now()),
        1
    );
}

#[tokio::test]
async fn an_output_size_that_is_asked_for_is_tried_by_each_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(vec![
        Reply::File(200, "information_premium_outputsize.json"),
        Reply::File(200, "daily.json"),
    ])
    .await;
    for sent in [2, 3] {
        let full = Settings {
            state_directory: Some(directory.path().to_owned()),
            function: Function::Daily,
            output_size: OutputSize::Full,
            ..settings(&server, &["IBM"])
        };
        let (events, errors) = drain(full).await;
        assert_eq!((events, errors.len()), (5, 0));
        let asked = server.asked();
        assert_eq!(asked.len(), sent);
        assert_eq!(asked[sent - 1].contains("outputsize=full"), sent == 3);
    }
}
