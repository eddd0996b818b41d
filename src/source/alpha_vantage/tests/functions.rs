//! What is asked for: intraday bars or daily ones, quotes, months; and what a key may.

use super::server::{Reply, Server};
use super::*;

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
    assert!(error.to_string().contains("not mixed with them"), "{error}");
    assert_eq!(error.class(), ErrorClass::Stop);
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
            from: "2025-11".parse().expect("a month"),
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
                source.settled().await;
            }
        }
        events
    };
    assert_eq!(fill("a", false).await, 960);
    let asked = server.asked();
    assert!(
        asked[0].contains("month=2025-11&outputsize=full"),
        "{asked:?}"
    );
    assert_eq!(
        fill("a", true).await,
        960,
        "what was not acknowledged is asked for again"
    );
    assert_eq!(fill("a", true).await, 0);
    assert_eq!(server.asked().len(), 2);
    assert_eq!(fill("b", true).await, 960, "another topic");
}

#[tokio::test]
async fn one_request_tells_what_a_key_may() {
    let server = Server::start(vec![Reply::File(200, "information_premium.json")]).await;
    let probe = AlphaVantage::probe(settings(&server, &["IBM", "MSFT"]))
        .await
        .expect("a usable key");
    let finding = probe.finding.expect("a usable key");
    assert!(finding.contains("no intraday data"), "{finding}");
    let server = Server::start(vec![Reply::File(200, "intraday.csv")]).await;
    let probe = AlphaVantage::probe(settings(&server, &["IBM"]))
        .await
        .expect("a usable key");
    let finding = probe.finding.expect("a usable key");
    assert!(
        finding.contains("100 events of intraday/1min") && probe.outlook.paid,
        "{finding}"
    );
    let server = Server::start(vec![Reply::File(200, "error_invalid_apikey.json")]).await;
    let probe = AlphaVantage::probe(settings(&server, &["IBM"]))
        .await
        .expect("good settings");
    let error = probe.finding.expect_err("a refused key");
    assert_eq!(
        (error.class(), server.asked().len()),
        (ErrorClass::WrongKey, 1)
    );
    let server = Server::start(vec![Reply::File(503, "html_error.html")]).await;
    let probe = AlphaVantage::probe(settings(&server, &["IBM"]))
        .await
        .expect("good settings");
    assert!(probe.finding.is_err() && probe.sent);
    assert_eq!((server.asked().len(), probe.outlook.day.used), (1, 1));
}

#[tokio::test]
async fn a_quote_without_an_entitlement_is_asked_for_once_a_day() {
    let server = Server::start(vec![Reply::File(200, "global_quote.json")]).await;
    let quote = |entitlement: Option<&str>| {
        let settings = Settings {
            function: Function::Quote,
            entitlement: entitlement.map(str::to_owned),
            once: false,
            ..settings(&server, &["IBM"])
        };
        AlphaVantage::with_clock(settings, clock("2025-11-06T15:00:00Z")).expect("good settings")
    };
    for (entitlement, again) in [
        // The next trading day's data are final a quarter of an hour after its last session.
        (None, "2025-11-07T01:15:00Z"),
        (Some("realtime"), "2025-11-06T15:01:05Z"),
    ] {
        let mut source = quote(entitlement);
        let batch = source.poll().await.expect("no error").expect("a batch");
        assert_eq!(batch.events.len(), 1);
        let due = source.plan.due(0);
        let again: DateTime<Utc> = again.parse().expect("a time");
        assert_eq!(due, again, "{entitlement:?}");
    }
}
