//! The limits of a key, and of patience: what is waited for, for how long, and what is said of it.

use super::server::{Reply, Server};
use super::*;

#[tokio::test]
async fn limits_are_waited_for() {
    for (name, wait) in [("note_rate_minute.json", 60), ("information_burst.json", 2)] {
        let server = Server::start(vec![
            Reply::File(200, name),
            Reply::File(200, "intraday.csv"),
        ])
        .await;
        let mut source = AlphaVantage::new(settings(&server, &["IBM"])).expect("good settings");
        let early: Result<Result<Option<Batch>, _>, _> =
            tokio::time::timeout(Duration::from_millis(400), source.poll()).await;
        assert!(early.is_err() && server.asked().len() == 1, "{name}");
        let now = Utc::now();
        let until = source.ledger.known().spent.ready_at(&source.limits(), now);
        assert!(until > now + TimeDelta::seconds(wait - 1), "{name}");
    }
}

#[tokio::test]
async fn an_address_where_nobody_is_ends_after_its_limit() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = Server {
        address: listener.local_addr().expect("an address"),
        queries: Arc::default(),
    };
    drop(listener);
    let limited = Settings {
        unreachable_limit: Some(Duration::from_millis(300)),
        retry_backoff: Duration::from_millis(50),
        ..settings(&server, &["IBM", "MSFT"])
    };
    let begin = Instant::now();
    let (_, errors) = drain(limited).await;
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&begin.elapsed()));
    let [error] = errors.as_slice() else {
        panic!("{errors:?}")
    };
    assert_eq!(error.class(), ErrorClass::Stop);
    assert!(
        error.to_string().contains(&server.address.to_string())
            && error.to_string().contains("AlphaVantage.BaseUrl"),
        "{error}"
    );
}

#[tokio::test]
async fn a_used_up_budget_survives_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(vec![Reply::File(200, "daily.json")]).await;
    let two = || Settings {
        function: Function::Daily,
        requests_per_day: Limit::Of(2),
        state_directory: Some(directory.path().to_owned()),
        ..settings(&server, &["IBM"])
    };
    assert_eq!(drain(two()).await.0, 5);
    assert_eq!(drain(two()).await.0, 5);
    let (events, errors) = drain(two()).await;
    assert_eq!((events, server.asked().len()), (0, 2));
    assert!(
        errors[0]
            .to_string()
            .contains("AlphaVantage.RequestsPerDay"),
        "{errors:?}"
    );
    assert_eq!(errors[0].class(), ErrorClass::Stop);
    let outlook = AlphaVantage::outlook(two()).expect("good settings");
    assert_eq!((outlook.left(), outlook.day.used), (Some(0), 2));
    assert!(outlook.runs_out.is_some() && outlook.renewed > Utc::now());
    // A day's limit that the service names is kept as well.
    let server = Server::start(vec![Reply::File(200, "information_daily_limit.json")]).await;
    let place = || Settings {
        base_url: format!("http://{}", server.address),
        requests_per_day: Limit::Unlimited,
        ..two()
    };
    assert_eq!(drain(place()).await.1.len(), 1);
    assert_eq!(drain(place()).await.1.len(), 1);
    assert_eq!(server.asked().len(), 1, "a restart asks nothing");
    let outlook = AlphaVantage::outlook(place()).expect("good settings");
    assert!(
        outlook
            .blocked_until
            .is_some_and(|until| until > Utc::now())
    );
    assert_eq!(outlook.left(), Some(0));
    let probe = AlphaVantage::probe(place()).await.expect("good settings");
    assert!(probe.finding.is_err() && !probe.sent, "{probe:?}");
    assert_eq!(server.asked().len(), 1, "nor does a check");
}

#[tokio::test]
async fn a_free_key_gives_up_in_time_too_and_pays_nothing_for_what_never_went_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = Server {
        address: listener.local_addr().expect("an address"),
        queries: Arc::default(),
    };
    drop(listener);
    let free = || Settings {
        requests_per_minute: Limit::Auto,
        requests_per_day: Limit::Auto,
        state_directory: Some(directory.path().to_owned()),
        unreachable_limit: Some(Duration::from_millis(400)),
        retry_backoff: Duration::from_millis(10),
        ..settings(&server, &["IBM"])
    };
    let (_, errors) = drain(free()).await;
    assert!(
        matches!(
            errors.as_slice(),
            [SourceError::AlphaVantage {
                fault: Fault::Unreachable { sent: false, .. },
                class: ErrorClass::Stop,
                ..
            }]
        ),
        "{errors:?}"
    );
    let outlook = AlphaVantage::outlook(free()).expect("good settings");
    assert_eq!(outlook.day.used, 0);
}

#[tokio::test]
async fn a_wait_for_the_minute_ends_with_the_patience_for_the_service() {
    let server = Server::start(vec![Reply::Late]).await;
    let limited = Settings {
        requests_per_minute: Limit::Of(1),
        timeout: Duration::from_millis(50),
        unreachable_limit: Some(Duration::from_millis(400)),
        ..settings(&server, &["IBM"])
    };
    let begin = Instant::now();
    let (_, errors) = drain(limited).await;
    assert!(
        matches!(
            errors.as_slice(),
            [SourceError::AlphaVantage {
                fault: Fault::TimedOut { .. },
                class: ErrorClass::Stop,
                ..
            }]
        ),
        "{errors:?}"
    );
    assert_eq!(server.asked().len(), 1, "what was sent is counted");
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn patience_for_an_address_makes_no_more_tries_of_what_was_answered() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let server = Server {
        address: listener.local_addr().expect("an address"),
        queries: Arc::default(),
    };
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut peer, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let _ = peer.read(&mut [0; 4096]).await;
            let _ = peer.write_all(b"rubbish\r\n\r\n").await;
        }
    });
    let limited = Settings {
        max_retries: 0,
        unreachable_limit: Some(Duration::from_secs(5)),
        ..settings(&server, &["IBM"])
    };
    let (_, errors) = drain(limited).await;
    assert!(!errors.is_empty());
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
}

/// What was due in a minute, or when a service that failed is tried again, does not become due in days.
#[tokio::test]
async fn a_clock_that_is_set_by_days_stops_no_polls() {
    let noon = "2025-11-06T17:00:00Z".parse().expect("a time");
    // Trading days all.
    for days in [-3, 4] {
        for failing in [200, 500] {
            let script = [200, failing, failing, 200].map(|code| Reply::File(code, "intraday.csv"));
            let server = Server::start(script.to_vec()).await;
            let time = Arc::new(parking_lot::Mutex::new(noon));
            let polled = Settings {
                once: false,
                circuit_breaker_failures: 1,
                requests_per_day: Limit::Unlimited,
                ..settings(&server, &["IBM"])
            };
            let clock = Clock::Simulated(Arc::clone(&time));
            let mut source = AlphaVantage::with_clock(polled, clock).expect("good settings");
            let mut until = async |requests| {
                while server.asked().len() < requests {
                    let poll = source.poll();
                    let _ = tokio::time::timeout(Duration::from_millis(20), poll).await;
                }
                *time.lock()
            };
            let before = until(2).await;
            *time.lock() += TimeDelta::days(days);
            let after = until(6).await - TimeDelta::days(days);
            let took = after - before;
            assert!(took.abs() < TimeDelta::hours(2), "{days} {failing} {took}");
        }
    }
}
