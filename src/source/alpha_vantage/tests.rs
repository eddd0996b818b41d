//! The poller against a server on loopback that answers from a script.

mod day;
mod market;
mod server;
mod service;

use secrecy::SecretString;

use self::server::{Reply, Server};
use std::sync::Arc;

use super::*;
use crate::source::{Batch, ErrorClass};

const KEY: &str = "EXAMPLEKEY000001";

fn settings(server: &Server, symbols: &[&str]) -> Settings {
    Settings {
        base_url: format!("http://{}", server.address),
        requests_per_second: 1_000.0,
        requests_per_minute: Limit::Unlimited,
        requests_per_day: Limit::Unlimited,
        max_retries: 2,
        retry_backoff: Duration::from_millis(1),
        once: true,
        ..Settings::new(
            SecretString::from(KEY),
            symbols.iter().copied().map(CompactString::from).collect(),
        )
    }
}

/// Everything until the end: how many events, and the errors.
async fn drain(settings: Settings) -> (usize, Vec<SourceError>) {
    let mut source = AlphaVantage::new(settings).expect("good settings");
    assert!(!format!("{source:?}").contains(KEY));
    let (mut events, mut errors) = (0, Vec::new());
    loop {
        match source.poll().await {
            Ok(Some(batch)) => events += batch.events.len(),
            Ok(None) => break,
            Err(error) => {
                assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
                errors.push(error);
            }
        }
    }
    assert!(
        matches!(source.poll().await, Ok(None)),
        "the end stays the end"
    );
    (events, errors)
}

fn clock(now: &str) -> Clock {
    let now = now.parse().expect("a time");
    Clock::Simulated(Arc::new(parking_lot::Mutex::new(now)))
}

async fn against(script: Vec<Reply>) -> (usize, Vec<ErrorClass>, usize) {
    let server = Server::start(script).await;
    let (events, errors) = drain(settings(&server, &["IBM"])).await;
    (
        events,
        errors.iter().map(SourceError::class).collect(),
        server.asked().len(),
    )
}

#[tokio::test]
async fn a_good_body_and_what_is_asked_for() {
    let server = Server::start(vec![Reply::File(200, "intraday_full_day.json")]).await;
    let (events, errors) = drain(settings(&server, &["IBM", "BRK.B"])).await;
    assert_eq!((events, errors.len()), (1920, 0));
    assert_eq!(
        server.asked(),
        [
            format!("function=TIME_SERIES_INTRADAY&symbol=IBM&interval=1min&apikey={KEY}"),
            format!("function=TIME_SERIES_INTRADAY&symbol=BRK.B&interval=1min&apikey={KEY}"),
        ]
    );
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let good = || Reply::File(200, "intraday.csv");
    for bad in [
        Reply::File(503, "html_error.html"),
        Reply::File(200, "html_error.html"),
        Reply::File(500, "empty_object.json"),
        Reply::File(200, "notice_as_csv_row.csv"),
        Reply::File(200, "global_quote.json"),
        Reply::Redirect("http://127.0.0.1:1/query".to_owned()),
    ] {
        assert_eq!(against(vec![bad, good()]).await, (100, vec![], 2));
    }
    assert_eq!(
        against(vec![Reply::File(200, "html_error.html")]).await,
        (0, vec![ErrorClass::Retriable, ErrorClass::Stop], 3)
    );
}

#[tokio::test]
async fn good_bars_of_a_broken_body_come_before_the_next_try() {
    assert_eq!(
        against(vec![
            Reply::File(200, "truncated.json"),
            Reply::File(200, "intraday.csv")
        ])
        .await,
        (149, vec![], 2)
    );
    let (events, errors, asked) =
        against(vec![Reply::CutOff, Reply::File(200, "intraday.csv")]).await;
    assert!(events > 140 && errors.is_empty() && asked == 2, "{events}");
}

#[tokio::test]
async fn what_is_permanent_is_not_tried_again() {
    for (status, name, class) in [
        (200, "error_invalid_apikey.json", ErrorClass::WrongKey),
        (200, "information_demo_key.json", ErrorClass::WrongKey),
        (200, "information_premium_outputsize.json", ErrorClass::Stop),
        (200, "information_daily_limit.json", ErrorClass::Stop),
        (200, "bulk_quotes_sample_notice.json", ErrorClass::Stop),
        (406, "detail_not_acceptable.json", ErrorClass::Stop),
        (404, "html_error.html", ErrorClass::Stop),
    ] {
        assert_eq!(
            against(vec![Reply::File(status, name)]).await,
            (0, vec![class], 1),
            "{name}"
        );
    }
    assert_eq!(
        against(vec![Reply::File(200, "error_invalid_symbol.json")]).await,
        (0, vec![ErrorClass::Symbol, ErrorClass::Stop], 1),
        "no symbol is left"
    );
    for name in [
        "empty_object.json",
        "global_quote_empty.json",
        "intraday_empty.json",
    ] {
        assert_eq!(
            against(vec![Reply::File(200, name)]).await,
            (0, vec![], 1),
            "{name}"
        );
    }
}

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
async fn a_refused_output_size_is_lowered() {
    let server = Server::start(vec![
        Reply::File(200, "information_premium_outputsize.json"),
        Reply::File(200, "intraday.csv"),
    ])
    .await;
    let full = Settings {
        output_size: OutputSize::Full,
        ..settings(&server, &["IBM"])
    };
    let (events, errors) = drain(full).await;
    assert_eq!((events, errors.len()), (100, 0));
    let asked = server.asked();
    assert!(asked[0].contains("outputsize=full") && !asked[1].contains("outputsize"));
}

#[tokio::test]
async fn one_bad_symbol_stops_no_other() {
    let server = Server::start(vec![
        Reply::File(200, "error_invalid_symbol.json"),
        Reply::File(200, "intraday.csv"),
    ])
    .await;
    let (events, errors) = drain(settings(&server, &["NOPE", "IBM"])).await;
    assert_eq!(events, 100);
    assert!(
        matches!(errors.as_slice(), [SourceError::AlphaVantage { symbol, class: ErrorClass::Symbol, .. }] if symbol == "NOPE")
    );

    let server = Server::start(vec![Reply::File(200, "error_invalid_symbol.json")]).await;
    let (_, errors) = drain(Settings {
        once: false,
        ..settings(&server, &["A", "B"])
    })
    .await;
    assert!(matches!(
        errors.as_slice(),
        [_, _, SourceError::NoSymbolLeft]
    ));
}

#[tokio::test]
async fn no_answer_and_endless_answers_end() {
    let server = Server::start(vec![Reply::Late]).await;
    let hasty = Settings {
        timeout: Duration::from_millis(50),
        max_retries: 1,
        ..settings(&server, &["IBM"])
    };
    let (_, errors) = drain(hasty).await;
    assert!(matches!(
        errors.as_slice(),
        [
            SourceError::AlphaVantage {
                fault: Fault::TimedOut { .. },
                class: ErrorClass::Retriable,
                ..
            },
            SourceError::Incomplete { .. }
        ]
    ));

    let server = Server::start(vec![Reply::Endless]).await;
    let (_, errors) = drain(Settings {
        body_limit: 1 << 20,
        ..settings(&server, &["IBM"])
    })
    .await;
    assert!(matches!(
        errors.as_slice(),
        [
            SourceError::AlphaVantage {
                fault: Fault::TooLarge { .. },
                ..
            },
            SourceError::Incomplete { .. }
        ]
    ));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn the_key_follows_no_redirect() {
    let other = Server::start(vec![Reply::File(200, "intraday.csv")]).await;
    let target = format!("http://{}/query?apikey={KEY}", other.address);
    let server = Server::start(vec![Reply::Redirect(target)]).await;
    let (events, errors) = drain(settings(&server, &["IBM"])).await;
    assert_eq!((events, other.asked().len()), (0, 0));
    assert!(
        errors[0]
            .to_string()
            .contains(&format!("http://{},", other.address)),
        "{}",
        errors[0]
    );
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
async fn a_cancelled_poll_neither_loses_a_bar_nor_asks_twice() {
    let server = Server::start(vec![Reply::File(200, "intraday_full_day.json")]).await;
    let mut source = AlphaVantage::new(settings(&server, &["IBM"])).expect("good settings");
    let mut events = 0;
    loop {
        match tokio::time::timeout(Duration::from_micros(100), source.poll()).await {
            Ok(Ok(Some(batch))) => events += batch.events.len(),
            Ok(end) => {
                assert!(matches!(end, Ok(None)));
                break;
            }
            Err(_) => {}
        }
    }
    assert_eq!((events, server.asked().len()), (960, 1));
}

#[tokio::test]
async fn a_bad_bar_is_counted_once() {
    let server = Server::start(vec![Reply::File(200, "bars_with_bad_values.json")]).await;
    let often = Settings {
        once: false,
        ..settings(&server, &["IBM"])
    };
    let clock = clock("2025-11-06T21:00:30Z");
    let mut source = AlphaVantage::with_clock(often, clock).expect("good settings");
    let mut bad = Vec::new();
    for _ in 0..3 {
        let batch = source.poll().await.expect("no error").expect("no end");
        assert_eq!(batch.events.len(), 16);
        bad.push(batch.bad.total());
    }
    assert_eq!(bad, [4, 0, 0]);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let server = Server {
        address: ([127, 0, 0, 1], 1).into(),
        queries: Arc::default(),
    };
    let good = || settings(&server, &["IBM"]);
    for bad in [
        Settings {
            symbols: vec![],
            ..good()
        },
        Settings {
            symbols: vec!["A B".into()],
            ..good()
        },
        Settings {
            base_url: "ftp://host".to_owned(),
            ..good()
        },
        Settings {
            base_url: "host".to_owned(),
            ..good()
        },
        Settings {
            requests_per_second: 0.0,
            ..good()
        },
        Settings {
            requests_per_second: f64::NAN,
            ..good()
        },
        Settings {
            requests_per_second: -1.0,
            ..good()
        },
    ] {
        assert_eq!(
            AlphaVantage::new(bad).expect_err("an error").class(),
            ErrorClass::Configuration
        );
    }
    assert!(
        AlphaVantage::new(Settings {
            base_url: "https://www.alphavantage.co/query".to_owned(),
            ..good()
        })
        .is_ok()
    );
}

#[tokio::test]
async fn a_free_key_goes_on_with_daily_bars_and_need_not_learn_it_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(vec![
        Reply::File(200, "information_premium.json"),
        Reply::File(200, "daily.json"),
    ])
    .await;
    let kept = || Settings {
        state_directory: Some(directory.path().to_owned()),
        ..settings(&server, &["IBM", "MSFT"])
    };
    let (events, errors) = drain(kept()).await;
    assert_eq!((events, errors.len()), (10, 0), "{errors:?}");
    let functions = || -> Vec<String> {
        let asked = server.asked();
        asked
            .iter()
            .map(|query| {
                query
                    .split('&')
                    .next()
                    .unwrap_or_default()
                    .replace("function=TIME_SERIES_", "")
            })
            .collect()
    };
    assert_eq!(functions(), ["INTRADAY", "DAILY", "DAILY"]);
    let (events, _) = drain(kept()).await;
    assert_eq!(events, 10);
    assert_eq!(functions()[3..], ["DAILY", "DAILY"]);
    // Asked for by name, it is asked again.
    let by_name = Settings {
        function: Function::Intraday,
        max_retries: 0,
        ..kept()
    };
    let (events, _) = drain(by_name).await;
    assert_eq!(
        (events, functions()[5..].to_vec()),
        (0, vec!["INTRADAY".to_owned(); 2])
    );
}

#[tokio::test]
async fn a_function_is_never_mixed_with_another() {
    let server = Server::start(vec![
        Reply::File(200, "intraday.csv"),
        Reply::File(200, "information_premium.json"),
    ])
    .await;
    let (events, errors) = drain(settings(&server, &["IBM", "MSFT"])).await;
    assert_eq!(events, 100);
    let [error] = errors.as_slice() else {
        panic!("{errors:?}")
    };
    assert!(error.to_string().contains("not mixed in"), "{error}");
    assert_eq!(error.class(), ErrorClass::Stop);
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
}

#[tokio::test]
async fn quotes_one_by_one_and_in_bulk() {
    let server = Server::start(vec![Reply::File(200, "global_quote.json")]).await;
    let quote = Settings {
        function: Function::Quote,
        ..settings(&server, &["IBM"])
    };
    assert_eq!(drain(quote).await.0, 1);
    assert_eq!(
        server.asked(),
        [format!("function=GLOBAL_QUOTE&symbol=IBM&apikey={KEY}")]
    );

    let server = Server::start(vec![Reply::File(200, "bulk_quotes.json")]).await;
    let names: Vec<String> = (0..98)
        .map(|number| format!("S{number}"))
        .chain(["BRK.B".into(), "IBM".into(), "MSFT".into()])
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let bulk = || Settings {
        function: Function::BulkQuotes,
        ..settings(&server, &names)
    };
    assert_eq!(
        drain(bulk()).await.0,
        3,
        "the 101st is asked for in a second request"
    );
    let asked = server.asked();
    assert!(
        asked.len() == 2
            && asked[0].contains("symbol=S0%2CS1%2C")
            && asked[1].contains("symbol=MSFT&"),
        "{asked:?}"
    );

    // A chunk with a wrong symbol is halved until that one is found.
    let server = Server::start(vec![
        Reply::File(200, "error_invalid_symbol.json"),
        Reply::File(200, "bulk_quotes.json"),
        Reply::File(200, "error_invalid_symbol.json"),
    ])
    .await;
    let bulk = Settings {
        function: Function::BulkQuotes,
        ..settings(&server, &["IBM", "NOPE"])
    };
    let (events, errors) = drain(bulk).await;
    assert_eq!(events, 1);
    assert!(
        matches!(errors.as_slice(), [SourceError::AlphaVantage { symbol, class: ErrorClass::Symbol, .. }] if symbol == "NOPE"),
        "{errors:?}"
    );
}

#[tokio::test]
async fn months_are_filled_back_and_not_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(vec![Reply::File(200, "intraday_full_day.json")]).await;
    let months = |destination: &str| Settings {
        state_directory: Some(directory.path().to_owned()),
        months: Some(Months {
            from: "2025-10".parse().expect("a month"),
            to: "2025-11".parse().expect("a month"),
            destination: destination.to_owned(),
            again: false,
        }),
        ..settings(&server, &["IBM"])
    };
    let fill = async |destination: &str, acknowledged: bool| {
        let clock = clock("2026-01-15T12:00:00Z");
        let mut source =
            AlphaVantage::with_clock(months(destination), clock).expect("good settings");
        let mut events = 0;
        while let Some(batch) = source.poll().await.expect("no error") {
            events += batch.events.len();
            if acknowledged {
                source.settled();
            }
        }
        events
    };
    assert_eq!(fill("a", false).await, 1920);
    let asked = server.asked();
    assert!(
        asked[0].contains("month=2025-10&outputsize=full") && asked[1].contains("month=2025-11"),
        "{asked:?}"
    );
    assert_eq!(
        fill("a", true).await,
        1920,
        "what was not acknowledged is asked for again"
    );
    assert_eq!(fill("a", true).await, 0);
    assert_eq!(server.asked().len(), 4);
    assert_eq!(fill("b", true).await, 1920, "another topic");
}

#[tokio::test]
async fn the_key_is_read_again_when_its_file_is_replaced() {
    let server = Server::start(vec![Reply::File(200, "intraday.csv")]).await;
    let keys = Arc::new(parking_lot::Mutex::new(vec!["SECOND", "FIRST", "FIRST"]));
    let source = move || {
        keys.lock()
            .pop()
            .map(SecretString::from)
            .ok_or_else(|| "no file".to_owned())
    };
    let rotating = Settings {
        key_source: Some(KeySource(Arc::new(source))),
        ..settings(&server, &["A", "B", "C", "D"])
    };
    assert_eq!(drain(rotating).await.0, 400);
    let sent: Vec<_> = server
        .asked()
        .iter()
        .map(|query| query.rsplit('=').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(sent, ["FIRST", "FIRST", "SECOND", "SECOND"]);
}

#[tokio::test]
async fn one_request_tells_what_a_key_may() {
    let server = Server::start(vec![Reply::File(200, "information_premium.json")]).await;
    let probe = AlphaVantage::probe(settings(&server, &["IBM", "MSFT"]))
        .await
        .expect("a usable key");
    assert!(
        probe.finding.contains("no intraday data"),
        "{}",
        probe.finding
    );
    let server = Server::start(vec![Reply::File(200, "intraday.csv")]).await;
    let probe = AlphaVantage::probe(settings(&server, &["IBM"]))
        .await
        .expect("a usable key");
    assert!(
        probe.finding.contains("100 events of intraday/1min") && probe.outlook.paid,
        "{}",
        probe.finding
    );
    let server = Server::start(vec![Reply::File(200, "error_invalid_apikey.json")]).await;
    let error = AlphaVantage::probe(settings(&server, &["IBM"]))
        .await
        .expect_err("a refused key");
    assert_eq!(
        (error.class(), server.asked().len()),
        (ErrorClass::WrongKey, 1)
    );
    let server = Server::start(vec![Reply::File(503, "html_error.html")]).await;
    AlphaVantage::probe(settings(&server, &["IBM"]))
        .await
        .expect_err("no data");
    assert_eq!(server.asked().len(), 1, "one request, whatever it brings");
}
