//! A service on loopback that behaves as Alpha Vantage does: its data follow a simulated clock, it keeps the limits of a
//! plan and says so with status 200, and it fails in every way that there is.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{Response, StatusCode, header};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::America::New_York;
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;

use super::market;

/// What a key may.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlanOfKey {
    pub(super) minute: usize,
    pub(super) day: usize,
    pub(super) intraday: bool,
}

/// What was asked of it.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// When, of all that it counts.
    pub(super) times: Vec<DateTime<Utc>>,
    /// Requests beyond the plan.
    pub(super) over: Vec<String>,
    /// How often it failed, by the way in which it did.
    pub(super) faults: BTreeMap<&'static str, usize>,
    /// Requests for data that it had not got yet, by the function: nothing new since the symbol was asked for last.
    pub(super) in_vain: usize,
    /// When each symbol was asked for.
    pub(super) asked: BTreeMap<String, Vec<DateTime<Utc>>>,
    /// When the latest closed bar was that a symbol was told.
    told: BTreeMap<String, DateTime<Utc>>,
}

pub(super) struct Service {
    pub(super) url: String,
    pub(super) log: Arc<Mutex<Log>>,
}

impl Service {
    /// `faulty` is whether it fails now and then.
    pub(super) async fn start(
        now: Arc<Mutex<DateTime<Utc>>>,
        plan: PlanOfKey,
        faulty: bool,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let log = Arc::new(Mutex::new(Log::default()));
        let seen = Arc::clone(&log);
        let handler = move |RawQuery(query): RawQuery| {
            let (now, seen) = (*now.lock(), Arc::clone(&seen));
            async move { answer(&query.unwrap_or_default(), now, plan, &seen, faulty).await }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await });
        Self { url, log }
    }
}

fn fixture(name: &str) -> Response<Body> {
    let path = format!(
        "{}/tests/fixtures/alphavantage/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    Response::new(Body::from(std::fs::read(path).expect("a fixture")))
}

async fn answer(
    query: &str,
    now: DateTime<Utc>,
    plan: PlanOfKey,
    log: &Mutex<Log>,
    faulty: bool,
) -> Response<Body> {
    let fields: BTreeMap<&str, &str> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let symbol = fields.get("symbol").copied().unwrap_or_default().to_owned();
    let number: usize = symbol.trim_start_matches('S').parse().unwrap_or(0);
    let place = {
        let mut log = log.lock();
        log.times.push(now);
        log.asked.entry(symbol.clone()).or_default().push(now);
        let within = |span: TimeDelta| {
            log.times
                .iter()
                .rev()
                .take_while(|time| now - **time < span)
                .count()
        };
        let today = |time: &&DateTime<Utc>| day_of(**time) == day_of(now);
        let refusal = if within(TimeDelta::seconds(1)) > 1 {
            Some("information_burst.json")
        } else if within(TimeDelta::minutes(1)) > plan.minute {
            Some("note_rate_minute.json")
        } else if log.times.iter().rev().take_while(today).count() > plan.day {
            Some("information_daily_limit.json")
        } else {
            None
        };
        if let Some(name) = refusal {
            log.over.push(format!("{now} {query}: {name}"));
            return fixture(name);
        }
        log.times.len()
    };
    if faulty && let Some(response) = fail(place, now, log).await {
        return response;
    }
    let function = fields.get("function").copied().unwrap_or_default();
    if symbol == "NOPE" {
        return fixture("error_invalid_symbol.json");
    }
    if function == "TIME_SERIES_INTRADAY" && !plan.intraday {
        return fixture("information_premium.json");
    }
    let interval = fields.get("interval").copied().unwrap_or("1min").to_owned();
    let body = if function == "TIME_SERIES_DAILY" {
        daily(&symbol, number, now)
    } else {
        let minutes: i64 = interval
            .trim_end_matches("min")
            .parse()
            .expect("an interval");
        let bars = market::intraday(number, now, minutes, 100);
        let closed = bars
            .iter()
            .map(|bar| bar.start)
            .find(|start| *start + TimeDelta::minutes(minutes) <= now);
        let mut log = log.lock();
        if let Some(closed) = closed
            && log.told.insert(symbol.clone(), closed) == Some(closed)
        {
            log.in_vain += 1;
        }
        intraday(&symbol, &bars, &interval)
    };
    if faulty && place % 23 == 7 {
        // The bars before the cut are good ones.
        *log.lock().faults.entry("cut off").or_default() += 1;
        let half = body.as_bytes()[..body.len() / 2].to_vec();
        let cut = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Err(std::io::Error::other("cut"))
        };
        return Response::new(Body::from_stream(
            stream::once(async { Ok(half) }).chain(stream::once(cut)),
        ));
    }
    Response::new(Body::from(body))
}

pub(super) fn day_of(time: DateTime<Utc>) -> NaiveDate {
    time.with_timezone(&New_York).date_naive()
}

/// Every fault in its turn, and an outage now and then that is long enough for a breaker.
async fn fail(place: usize, now: DateTime<Utc>, log: &Mutex<Log>) -> Option<Response<Body>> {
    let with = |status: u16| Response::builder().status(status);
    let outage =
        day_of(now + TimeDelta::minutes(17)) == day_of(now) && now.timestamp() / 60 % 211 < 7;
    let (name, response) = match place % 97 {
        _ if outage => ("outage", with(503).body(Body::from("<html>busy</html>"))),
        3 => ("500", with(500).body(Body::from("{}"))),
        13 => (
            "503",
            with(503)
                .header(header::RETRY_AFTER, "30")
                .body(Body::from("busy")),
        ),
        19 => (
            "429",
            with(429)
                .header(header::RETRY_AFTER, "5")
                .body(Body::empty()),
        ),
        29 => ("HTML", Ok(fixture("html_error.html"))),
        37 => ("CSV notice", Ok(fixture("notice_as_csv_row.csv"))),
        41 => (
            "redirect",
            with(302)
                .header(header::LOCATION, "https://127.0.0.1:1/?apikey=x")
                .body(Body::empty()),
        ),
        47 => (
            "garbage",
            Ok(Response::new(Body::from("\u{0}\u{1}garbage"))),
        ),
        53 => ("empty", Ok(Response::new(Body::empty()))),
        59 => ("endless", {
            let parts = stream::repeat_with(|| Ok::<_, Infallible>(vec![b' '; 65_536]));
            Ok(Response::new(Body::from_stream(parts)))
        }),
        61 => ("huge", Ok(Response::new(Body::from(vec![b'['; 4 << 20])))),
        67 => ("slow", {
            // Counted before: whoever asked does not wait for the end of this.
            *log.lock().faults.entry("slow").or_default() += 1;
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(Response::new(Body::empty()))
        }),
        71 => (
            "not known",
            with(StatusCode::IM_A_TEAPOT.as_u16() + 182).body(Body::empty()),
        ),
        _ => return None,
    };
    *log.lock().faults.entry(name).or_default() += 1;
    Some(response.expect("a response"))
}

fn price(hundredths: u64) -> String {
    format!("{}.{:02}00", hundredths / 100, hundredths % 100)
}

fn bar(bar: &market::Bar) -> String {
    let (open, close) = (price(bar.open), price(bar.close));
    format!(
        r#"{{"1. open":"{open}","2. high":"0","3. low":"0","4. close":"{close}","5. volume":"{}"}}"#,
        bar.volume
    )
}

fn intraday(symbol: &str, bars: &[market::Bar], interval: &str) -> String {
    let local = |bar: &market::Bar| {
        bar.start
            .with_timezone(&New_York)
            .format("%Y-%m-%d %H:%M:%S")
            .to_string()
    };
    let refreshed = bars.first().map(local).unwrap_or_default();
    let mut text = format!(
        r#"{{"Meta Data":{{"1. Information":"x","2. Symbol":"{symbol}","3. Last Refreshed":"{refreshed}","4. Interval":"{interval}","5. Output Size":"Compact","6. Time Zone":"US/Eastern"}},"Time Series ({interval})":{{"#
    );
    for (place, each) in bars.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(text, "{comma}\"{}\":{}", local(each), bar(each));
    }
    text + "}}"
}

fn daily(symbol: &str, number: usize, now: DateTime<Utc>) -> String {
    let days = market::daily(number, now, 100);
    let refreshed = days
        .first()
        .map(|(day, _)| day.to_string())
        .unwrap_or_default();
    let mut text = format!(
        r#"{{"Meta Data":{{"1. Information":"x","2. Symbol":"{symbol}","3. Last Refreshed":"{refreshed}","4. Output Size":"Compact","5. Time Zone":"US/Eastern"}},"Time Series (Daily)":{{"#
    );
    for (place, (day, each)) in days.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(text, "{comma}\"{day}\":{}", bar(each));
    }
    text + "}}"
}
