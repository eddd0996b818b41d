//! What becomes of an answer: its bars, another try, a symbol that is dropped, an end.

use std::collections::BTreeSet;

use super::server::{Reply, Server};
use super::*;

#[tokio::test]
async fn a_good_body_and_what_is_asked_for() {
    let server = Server::start(vec![Reply::File(200, "intraday_full_day.json")]).await;
    let (events, errors) = drain(settings(&server, &["IBM", "BRK.B"])).await;
    assert_eq!((events, errors.len()), (1920, 0));
    assert_eq!(
        server.asked(),
        [
            format!(
                "function=TIME_SERIES_INTRADAY&symbol=IBM&interval=1min&adjusted=false&apikey={KEY}"
            ),
            format!(
                "function=TIME_SERIES_INTRADAY&symbol=BRK.B&interval=1min&adjusted=false&apikey={KEY}"
            ),
        ]
    );
}

/// The service adjusts intraday prices unless it is told not to, and adjusted ones change with each split.
#[tokio::test]
async fn adjusted_prices_are_asked_for_by_name_alone() {
    let server = Server::start(vec![Reply::File(200, "intraday.csv")]).await;
    let adjusted = Settings {
        adjusted: true,
        ..settings(&server, &["IBM"])
    };
    let (events, errors) = drain(adjusted).await;
    assert_eq!((events, errors.len()), (100, 0));
    assert_eq!(
        server.asked(),
        [format!(
            "function=TIME_SERIES_INTRADAY&symbol=IBM&interval=1min&apikey={KEY}"
        )]
    );
}

#[tokio::test]
async fn symbols_of_every_exchange_are_encoded() {
    let server = Server::start(vec![Reply::File(200, "intraday.csv")]).await;
    let symbols = ["^GSPC", "BRK-B", "TSCO.LON", "FX:EURUSD", "ES=F", "M&M.BSE"];
    let (events, errors) = drain(settings(&server, &symbols)).await;
    assert_eq!((events, errors.len()), (600, 0));
    // In whatever order: those whose market is open when the test runs go first.
    let sent: BTreeSet<_> = server
        .asked()
        .iter()
        .filter_map(|query| Some(query.split('&').nth(1)?.to_owned()))
        .collect();
    let wanted = [
        "symbol=%5EGSPC",
        "symbol=BRK-B",
        "symbol=TSCO.LON",
        "symbol=FX%3AEURUSD",
        "symbol=ES%3DF",
        "symbol=M%26M.BSE",
    ];
    assert_eq!(sent, wanted.map(str::to_owned).into());
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
        (100, vec![], 2),
        "those of both bodies come once"
    );
    let (events, errors, asked) =
        against(vec![Reply::CutOff, Reply::File(200, "intraday.csv")]).await;
    assert!(events == 100 && errors.is_empty() && asked == 2, "{events}");
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
            .contains(&format!("http://{}/query,", other.address))
            && errors[0].to_string().contains("AlphaVantage.BaseUrl"),
        "{}",
        errors[0]
    );
    assert_eq!(errors[0].class(), ErrorClass::Configuration);
    assert_eq!(server.asked().len(), 1, "it is not tried again");
    // After an answer it is a passing one: this poll is over, and nothing else.
    let server = Server::start(vec![
        Reply::File(200, "intraday.csv"),
        Reply::Redirect("/elsewhere".to_owned()),
    ])
    .await;
    let (events, errors) = drain(settings(&server, &["IBM", "MSFT"])).await;
    assert_eq!((events, server.asked().len()), (100, 2));
    assert!(
        matches!(errors.as_slice(), [first, SourceError::Incomplete { given_up: 1 }] if first.class() == ErrorClass::Retriable),
        "{errors:?}"
    );
}

#[tokio::test]
async fn what_stays_cut_off_is_handed_out_once_and_told_at_the_end() {
    let server = Server::start(vec![Reply::File(200, "truncated.json")]).await;
    let (events, errors) = drain(settings(&server, &["IBM"])).await;
    assert_eq!((events, server.asked().len()), (49, 3));
    assert!(
        matches!(
            errors.as_slice(),
            [
                SourceError::AlphaVantage {
                    fault: Fault::Broken(_),
                    ..
                },
                SourceError::Incomplete { given_up: 1 }
            ]
        ),
        "{errors:?}"
    );
    assert!(
        errors[1].to_string().contains("the same command again"),
        "{}",
        errors[1]
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
