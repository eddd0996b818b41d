//! Bodies of every kind: the fixtures.

mod damage;

use super::super::alpha_vantage::client::fault::{Fault, Reaction, reaction};
use super::*;
use crate::source::ErrorClass;

const ASK: Ask<'_> = Ask {
    symbols: &[],
    bars: Untold::Asked(Interval::Min1),
    adjusted: false,
    now: None,
    delayed: false,
    key: None,
};

const IBM: &[CompactString] = &[CompactString::const_new("IBM")];

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!(
        "{}/tests/fixtures/alphavantage/{name}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .expect("a fixture")
}

fn parse(body: &[u8], ask: &Ask<'_>) -> Result<Bars, Refusal> {
    super::parse(&mut body.to_vec(), ask)
}

fn bars(name: &str) -> Bars {
    parse(&fixture(name), &ASK).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"))
}

#[test]
fn bodies_of_bars() {
    for (name, origin, events, bad, broken) in [
        ("intraday_ibm_1min.json", "intraday/1min", 100, 0, false),
        (
            "intraday_msft_5min_extended.json",
            "intraday/5min",
            100,
            0,
            false,
        ),
        ("intraday_dst_fall.json", "intraday/5min", 100, 0, false),
        ("intraday_dst_spring.json", "intraday/5min", 88, 12, false),
        ("intraday_full_day.json", "intraday/1min", 960, 0, false),
        ("intraday_empty.json", "intraday/1min", 0, 0, false),
        ("bars_with_bad_values.json", "intraday/1min", 16, 4, false),
        ("truncated.json", "intraday/1min", 49, 0, true),
        ("daily.json", "daily", 5, 0, false),
    ] {
        let bars = bars(name);
        assert_eq!(
            (
                bars.series.origin().as_str(),
                bars.events.len(),
                bars.bad.len(),
                bars.broken.is_some()
            ),
            (origin, events, bad, broken),
            "{name}"
        );
        assert!(
            bars.events
                .is_sorted_by_key(|event| event.timestamp.instant),
            "{name}"
        );
    }
}

#[test]
fn a_bar_is_taken_digit_for_digit() {
    let bars = bars("intraday_ibm_1min.json");
    let last = bars.events.last().expect("a bar");
    let mut json = Vec::new();
    last.write_json(&mut json);
    let json = String::from_utf8(json).expect("UTF-8");
    let rest = r#""Symbol":"IBM","Side":"Sell","Quantity":32306,"Price":314.0901,"Timestamp":"2025-11-06T20:59:00Z"}"#;
    assert!(json.ends_with(rest), "{json}");
}

#[test]
fn csv_gives_the_same_events_as_json() {
    let csv = parse(
        &fixture("intraday.csv"),
        &Ask {
            symbols: IBM,
            ..ASK
        },
    )
    .expect("bars");
    assert_eq!(csv, bars("intraday_ibm_1min.json"));
    assert_eq!(
        parse(&fixture("intraday.csv"), &ASK),
        Err(Refusal::SymbolMissing)
    );
    let daily = parse(b"timestamp,open,high,low,close,volume\n2025-11-06,308.1206,308.5173,304.8595,305.0496,4812652\n", &Ask { symbols: IBM, ..ASK });
    assert_eq!(
        daily.expect("bars").events.last(),
        bars("daily.json").events.last()
    );
}

#[test]
fn a_symbol_in_any_case_is_the_same_and_adjusted_bars_are_others() {
    let lower = [CompactString::from("ibm")];
    let csv = |symbols, adjusted| {
        let ask = Ask {
            symbols,
            adjusted,
            ..ASK
        };
        parse(&fixture("intraday.csv"), &ask).expect("bars")
    };
    let as_traded = csv(IBM, false);
    assert_eq!(csv(&lower, false), as_traded);
    let body = String::from_utf8(fixture("intraday_ibm_1min.json")).expect("UTF-8");
    let body = body.replace("\"IBM\"", "\"ibm\"");
    assert_eq!(parse(body.as_bytes(), &ASK).expect("bars"), as_traded);
    let ids = |bars: &Bars| -> Vec<_> {
        let events = bars.events.iter();
        events.map(|event| event.trade_id.to_string()).collect()
    };
    let (traded, adjusted) = (ids(&as_traded), ids(&csv(IBM, true)));
    assert!(traded.iter().all(|id| !adjusted.contains(id)));
    // Days are as traded in any case.
    let daily = |adjusted| parse(&fixture("daily.json"), &Ask { adjusted, ..ASK });
    assert_eq!(daily(true), daily(false));
}

#[test]
fn bad_bars_have_their_reasons_and_large_volumes_are_good() {
    let bars = bars("bars_with_bad_values.json");
    let reasons: Vec<_> = bars
        .bad
        .iter()
        .map(|bar| (bar.start.as_str(), bar.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            ("2025-11-06 15:56:00", BadReason::MissingField),
            ("2025-11-06 15:53:00", BadReason::Price),
            ("2025-11-06 15:50:00", BadReason::Volume),
            ("2025-11-06 25:61:00", BadReason::Time),
        ]
    );
    assert!(
        bars.events
            .iter()
            .any(|event| event.quantity == 4_294_967_299)
    );
}

#[test]
fn daylight_saving_time() {
    let fall = bars("intraday_dst_fall.json");
    let has = |text: &str| fall.events.iter().any(|event| event.timestamp.text == text);
    assert!(
        has("2025-11-02T05:00:00Z") && has("2025-11-02T05:55:00Z") && has("2025-11-02T07:00:00Z")
    );
    assert!(!has("2025-11-02T06:00:00Z"));
    let spring = bars("intraday_dst_spring.json");
    assert!(
        spring
            .bad
            .iter()
            .all(|bar| bar.reason == BadReason::Time && bar.start.starts_with("2026-03-08 02:"))
    );
}

#[test]
fn a_bar_still_forming_waits() {
    let now = "2025-11-06T21:00:02Z".parse().expect("a time");
    let bars = parse(
        &fixture("intraday_ibm_1min.json"),
        &Ask {
            now: Some(now),
            ..ASK
        },
    )
    .expect("bars");
    assert_eq!((bars.events.len(), bars.forming), (99, 1));
}

#[test]
fn the_symbol_is_the_one_asked_for() {
    let bars = parse(
        &fixture("intraday_ibm_1min.json"),
        &Ask {
            symbols: &["ibm".into()],
            ..ASK
        },
    )
    .expect("bars");
    assert!(bars.events.iter().all(|event| event.symbol == "IBM"));
}

#[test]
fn every_notice_is_told_apart_and_has_its_handling() {
    let after = |seconds| Reaction::KeepStill(std::time::Duration::from_secs(seconds));
    let premium = NoticeKind::PremiumParameter {
        name: "outputsize".to_owned(),
    };
    for (name, kind, handling) in [
        (
            "error_invalid_symbol.json",
            NoticeKind::InvalidSymbol,
            Reaction::DropSymbol,
        ),
        (
            "error_invalid_apikey.json",
            NoticeKind::InvalidKey,
            Reaction::Stop(ErrorClass::WrongKey),
        ),
        ("note_rate_minute.json", NoticeKind::MinuteLimit, after(60)),
        ("information_burst.json", NoticeKind::Burst, after(2)),
        (
            "information_daily_limit.json",
            NoticeKind::DailyLimit,
            Reaction::NextDay,
        ),
        (
            "information_premium.json",
            NoticeKind::Premium,
            Reaction::Stop(ErrorClass::Stop),
        ),
        (
            "information_premium_outputsize.json",
            premium,
            Reaction::Lower("outputsize".to_owned()),
        ),
        (
            "information_demo_key.json",
            NoticeKind::DemoKey,
            Reaction::Stop(ErrorClass::WrongKey),
        ),
        ("empty_object.json", NoticeKind::NoData, Reaction::NoData),
        (
            "detail_not_acceptable.json",
            NoticeKind::NotAcceptable,
            Reaction::Stop(ErrorClass::Stop),
        ),
        (
            "notice_as_csv_row.csv",
            NoticeKind::CsvRow,
            Reaction::Backoff,
        ),
        ("html_error.html", NoticeKind::Html, Reaction::Backoff),
        (
            "bulk_quotes_sample_notice.json",
            NoticeKind::SampleData,
            Reaction::Stop(ErrorClass::Stop),
        ),
        (
            "global_quote_empty.json",
            NoticeKind::NoData,
            Reaction::NoData,
        ),
    ] {
        match parse(
            &fixture(name),
            &Ask {
                key: Some("EXAMPLEKEY000001"),
                ..ASK
            },
        ) {
            Err(Refusal::Notice(notice)) => {
                assert_eq!(notice.kind, kind, "{name}");
                assert!(!notice.text.contains("EXAMPLEKEY"), "{name}");
                assert_eq!(reaction(&Fault::Notice(notice)), handling, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn quotes_are_events_of_their_trading_day() {
    let quote = bars("global_quote.json");
    let [event] = quote.events.as_slice() else {
        panic!("{quote:?}")
    };
    let mut json = Vec::new();
    event.write_json(&mut json);
    let json = String::from_utf8(json).expect("UTF-8");
    let rest = r#""Symbol":"IBM","Side":"Buy","Quantity":3817264,"Price":312.74,"Timestamp":"2025-11-06T05:00:00Z"}"#;
    assert!(json.ends_with(rest), "{json}");
    assert_eq!(
        (quote.series.origin().as_str(), quote.delayed),
        ("quote", false)
    );
    let delayed = bars("global_quote_delayed.json");
    assert!(delayed.delayed && delayed.events[0].trade_id != event.trade_id);
    let falling = String::from_utf8(fixture("global_quote.json"))
        .expect("UTF-8")
        .replace("\"2.6900\"", "\"-0.01\"");
    let falling = parse(falling.as_bytes(), &ASK).expect("a quote");
    assert_eq!(falling.events[0].side, crate::event::Side::Sell);

    let bulk = bars("bulk_quotes.json");
    let times: Vec<_> = bulk
        .events
        .iter()
        .map(|event| {
            (
                event.symbol.as_str(),
                event.timestamp.text.as_str(),
                event.price.as_str(),
            )
        })
        .collect();
    assert_eq!(
        times,
        [
            ("MSFT", "2025-11-07T00:59:51.204Z", "499.02"),
            ("IBM", "2025-11-07T00:55:08.617Z", "312.74"),
            ("BRK-B", "2025-11-07T00:41:30.090Z", "490.11"),
        ]
    );
    let asked = parse(
        &fixture("bulk_quotes.json"),
        &Ask {
            symbols: &["BRK.B".into(), "IBM".into()],
            ..ASK
        },
    )
    .expect("quotes");
    assert_eq!(
        asked
            .events
            .iter()
            .map(|event| event.symbol.as_str())
            .collect::<Vec<_>>(),
        ["IBM", "BRK.B"]
    );
    assert_eq!(asked.bad.len(), 1, "a symbol that was not asked for");
}

#[test]
fn no_part_of_a_body_shows_the_key() {
    let key = "examplekey";
    let symbols = ["IBM".into(), "MSFT".into()];
    let ask = Ask {
        symbols: &symbols,
        key: Some(key),
        ..ASK
    };
    let meta =
        r#""Meta Data":{"2. Symbol":"IBM","4. Interval":"1min","6. Time Zone":"US/Eastern"}"#;
    let unknown = format!("{:_>195}{key}", "x");
    for body in [
        format!(r#"{{{meta},"Time Series (1min)":{{"x {key} y":{{}}}}}}"#),
        format!("timestamp,open,high,low,close,volume\n{key},1,1,1,1,1"),
        format!(
            r#"{{"data":[{{"symbol":"{key}","timestamp":"2025-11-06 19:59:51","close":"1","volume":"1","change":"1"}}]}}"#
        ),
        unknown,
        format!(r#"{{"Information":"the {key}=x parameter value is a premium feature"}}"#),
        r#"{"Information":{"key":"\u0065xamplekey"}}"#.to_owned(),
    ] {
        let shown = format!("{:?}", parse(body.as_bytes(), &ask));
        assert!(shown.contains("[API"), "{body} {shown}");
        assert!(!shown.contains("xampl"), "{body} {shown}");
    }
}
