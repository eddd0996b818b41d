//! The poller against a server on loopback that answers from a script.

mod server;

use secrecy::SecretString;

use self::server::{Reply, Server};
use super::*;

const KEY: &str = "EXAMPLEKEY000001";

fn settings(server: &Server, symbols: &[&str]) -> Settings {
    Settings {
        base_url: format!("http://{}", server.address),
        requests_per_second: 1_000.0,
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
        (0, vec![ErrorClass::Retriable], 3)
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
        (200, "information_premium.json", ErrorClass::Stop),
        (200, "information_premium_outputsize.json", ErrorClass::Stop),
        (200, "information_daily_limit.json", ErrorClass::Stop),
        (200, "bulk_quotes_sample_notice.json", ErrorClass::Stop),
        (200, "error_invalid_symbol.json", ErrorClass::Symbol),
        (406, "detail_not_acceptable.json", ErrorClass::Stop),
        (404, "html_error.html", ErrorClass::Stop),
    ] {
        assert_eq!(
            against(vec![Reply::File(status, name)]).await,
            (0, vec![class], 1),
            "{name}"
        );
    }
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
        let early = tokio::time::timeout(Duration::from_millis(400), source.poll()).await;
        assert!(early.is_err() && server.asked().len() == 1, "{name}");
        let now = Instant::now();
        let Next::Wait(until) = source.schedule.next(now) else {
            panic!("{name}")
        };
        assert!(
            until > now + Duration::from_secs(wait) - Duration::from_secs(1),
            "{name}"
        );
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
        [SourceError::AlphaVantage {
            fault: Fault::TimedOut { .. },
            class: ErrorClass::Retriable,
            ..
        }]
    ));

    let server = Server::start(vec![Reply::Endless]).await;
    let (_, errors) = drain(Settings {
        body_limit: 1 << 20,
        ..settings(&server, &["IBM"])
    })
    .await;
    assert!(matches!(
        errors.as_slice(),
        [SourceError::AlphaVantage {
            fault: Fault::TooLarge { .. },
            ..
        }]
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
        poll: Duration::from_millis(1),
        ..settings(&server, &["IBM"])
    };
    let mut source = AlphaVantage::new(often).expect("good settings");
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
