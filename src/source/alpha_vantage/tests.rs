//! The poller against a server on loopback that answers from a script.

mod answers;
mod day;
mod functions;
mod limits;
mod market;
mod months;
mod server;
mod service;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use self::server::{Reply, Server};
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
