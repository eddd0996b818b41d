//! What becomes of bodies that are cut, changed, nested wrongly or without end.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_nothing_known_is_unusable() {
    for text in [
        "",
        "  ",
        "[1]",
        "hello",
        "{\"a\":1}",
        "{\"Meta Data\":{}}",
        "{\"Meta Data\":{\"6. Time Zone\":\"Mars\"}}",
        "timestamp,open\n",
    ] {
        assert!(
            matches!(parse(text.as_bytes(), &ASK), Err(Refusal::Unusable(_))),
            "{text}"
        );
    }
    let deep = format!("{{\"Meta Data\":{}", "[".repeat(100_000));
    assert!(parse(deep.as_bytes(), &ASK).is_err());
}

#[test]
fn bytes_that_are_no_text_are_not_shown() {
    for bytes in [
        &b"\x00\x01\x02garbage"[..],
        b"\xff\xfe\xfd",
        b"\x1b[31mred",
        &[0x93; 4000],
    ] {
        let Err(Refusal::Unusable(why)) = parse(bytes, &ASK) else {
            panic!("{bytes:?}")
        };
        assert!(why.ends_with("binary data"), "{why}");
    }
    let long = format!("{}é is cut", "x".repeat(199));
    let Err(Refusal::Unusable(why)) = parse(long.as_bytes(), &ASK) else {
        panic!("it is no body")
    };
    assert!(why.contains("xxx") && !why.contains("binary"), "{why}");
}

#[test]
fn broken_text_costs_only_its_own_bar() {
    let mut body = fixture("intraday_ibm_1min.json");
    let at = memchr::memmem::find(&body, b"313.8713").expect("a price");
    body[at] = 0xff;
    let bars = parse(&body, &ASK).expect("bars");
    assert_eq!((bars.events.len(), bars.bad.len()), (99, 1));
}

#[test]
fn bodies_in_another_order_and_wrongly_nested_ones() {
    let whole: serde_json::Value =
        serde_json::from_slice(&fixture("intraday_ibm_1min.json")).expect("JSON");
    let (meta, series) = (&whole["Meta Data"], &whole["Time Series (1min)"]);
    let expected = bars("intraday_ibm_1min.json");
    for text in [
        format!("{{\"Time Series (1min)\":{series},\"Meta Data\":{meta}}}"),
        format!("{{\"Time Series (1min)\":{series},\"New\":[{{}}],\"Meta Data\":{meta}}}"),
    ] {
        assert_eq!(
            parse(text.as_bytes(), &ASK).expect("bars").events,
            expected.events
        );
    }
    for text in [
        format!("{{\"Meta Data\":{meta},\"Time Series (1min)\":[{series}]}}"),
        format!("{{\"Meta Data\":{{\"Time Series (1min)\":{series}}}}}"),
        format!("{{\"Meta Data\":[{meta}],\"Time Series (1min)\":{series}}}"),
        format!("{{\"Time Series (1min)\":{{\"Meta Data\":{meta}}}}}"),
        format!("[{whole}]"),
    ] {
        if let Ok(bars) = parse(text.as_bytes(), &ASK) {
            assert!(bars.events.is_empty(), "{}", &text[..60]);
        }
    }
    let nested = format!(
        "{{\"Meta Data\":{meta},\"Time Series (1min)\":{{\"2025-11-06 15:59:00\":{{\"1. open\":{{\"a\":1}},\"4. close\":[1],\"5. volume\":null}},\"2025-11-06 15:58:00\":7}}}}"
    );
    let reasons: Vec<_> = parse(nested.as_bytes(), &ASK)
        .expect("bars")
        .bad
        .iter()
        .map(|bar| bar.reason)
        .collect();
    assert_eq!(reasons, [BadReason::Price, BadReason::Malformed]);
}

#[test]
fn a_body_of_bars_without_end_is_cut_off() {
    let meta =
        r#""Meta Data":{"2. Symbol":"IBM","4. Interval":"1min","6. Time Zone":"US/Eastern"}"#;
    let many = "\"a\":0,".repeat(1_000_000);
    let bars = parse(
        format!("{{{meta},\"Time Series (1min)\":{{{many}").as_bytes(),
        &ASK,
    )
    .expect("bars");
    assert!(bars.bad.len() <= 250_000 && bars.broken.is_some_and(|why| why.contains("more bars")));
    let rows = "2025-11-06,1,1,1,1,1\n".repeat(300_000);
    let bars = parse(
        format!("timestamp,open,high,low,close,volume\n{rows}").as_bytes(),
        &Ask {
            symbols: IBM,
            ..ASK
        },
    )
    .expect("bars");
    assert!(bars.events.len() <= 250_000);
    assert!(bars.broken.is_some_and(|why| why.contains("more bars")));
}

/// Of each kind, and of bars some.
#[test]
fn bodies_that_are_cut_at_any_byte_keep_their_good_bars() {
    for name in [
        "daily.json",
        "intraday.csv",
        "bulk_quotes.json",
        "global_quote.json",
        "global_quote_delayed.json",
        "information_daily_limit.json",
        "note_rate_minute.json",
        "bars_with_bad_values.json",
    ] {
        let body = fixture(name);
        let ask = Ask {
            symbols: IBM,
            key: Some("EXAMPLEKEY000001"),
            ..ASK
        };
        let whole = parse(&body, &ask).map(|bars| bars.events);
        let mut most = 0;
        for cut in 0..=body.len() {
            let part = match parse(&body[..cut], &ask) {
                Ok(bars) => bars.events,
                Err(refusal) => {
                    assert!(
                        !format!("{refusal:?}").contains("EXAMPLEKEY000001"),
                        "{name} {cut}"
                    );
                    Vec::new()
                }
            };
            // A number of CSV that is cut is another number: the last row may be a wrong one.
            let csv = usize::from(name.ends_with(".csv"));
            let wrong = match &whole {
                Ok(whole) => part.iter().filter(|event| !whole.contains(event)).count(),
                Err(_) => part.len(),
            };
            assert!(wrong <= csv, "{name} {cut}: {part:?}");
            assert!(part.len() + csv >= most, "{name} {cut}: bars were lost");
            most = most.max(part.len());
        }
    }
}

proptest! {
    #[test]
    fn a_cut_body_keeps_the_bars_before_the_cut(cut in 0_usize..22_029) {
        let whole = bars("intraday_ibm_1min.json");
        let body = &fixture("intraday_ibm_1min.json")[..cut];
        let complete = memchr::memmem::find_iter(body, b"5. volume").count();
        if let Ok(part) = parse(body, &ASK) {
            prop_assert!(part.events.len() + 1 >= complete);
            prop_assert!(part.broken.is_some() || part.events.len() == 100);
            prop_assert!(whole.events.ends_with(&part.events));
            prop_assert!(part.bad.is_empty());
        } else {
            prop_assert_eq!(complete, 0);
        }
    }

    #[test]
    fn a_changed_byte_never_panics_and_spares_the_bars_before_it(at in 0_usize..22_029, byte: u8) {
        let whole = bars("intraday_ibm_1min.json");
        let mut body = fixture("intraday_ibm_1min.json");
        body[at] = byte;
        let before = memchr::memmem::find_iter(&body[..at], b"5. volume").count().saturating_sub(1);
        if let Ok(part) = parse(&body, &ASK) {
            let newest = &whole.events[100 - before..];
            prop_assert!(before == 0 || newest.iter().all(|event| part.events.contains(event)));
        } else {
            prop_assert_eq!(before, 0);
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300), head in prop::sample::select(vec!["", "{", "<", "timestamp,open,close,volume\n", "{\"Meta Data\":", "{\"Time Series (1min)\":{"])) {
        let body = [head.as_bytes(), &bytes].concat();
        let _ = parse(&body, &Ask { symbols: IBM, ..ASK });
    }

    #[test]
    fn csv_rows_that_change_never_panic(at in 0_usize..6_333, byte: u8, cut in 0_usize..6_334) {
        let mut body = fixture("intraday.csv");
        body[at] = byte;
        body.truncate(cut);
        let _ = parse(&body, &Ask { symbols: IBM, ..ASK });
    }
}

/// Bodies that were mutated at random, for as long as `STOCKFLOW_FUZZ_SECONDS` says: `scripts/fuzz-bodies` runs it.
#[test]
fn mutated_bodies_are_answered() {
    use rand_pcg::rand_core::{Rng as _, SeedableRng as _};

    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seconds = number("STOCKFLOW_FUZZ_SECONDS").unwrap_or(1);
    let seed = number("STOCKFLOW_FUZZ_SEED").unwrap_or(1);
    let directory = format!("{}/tests/fixtures/alphavantage", env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .expect("fixtures")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    names.sort();
    let bodies: Vec<Vec<u8>> = names
        .iter()
        .map(|name| std::fs::read(name).expect("a fixture"))
        .collect();
    let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(seed);
    let mut below = move |bound: usize| {
        usize::try_from(random.next_u64() % bound.max(1) as u64).expect("small")
    };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    let (mut tried, mut events) = (0_u64, 0_u64);
    while std::time::Instant::now() < end {
        let mut body = bodies[below(bodies.len())].clone();
        for _ in 0..=below(6) {
            let (at, other) = (below(body.len()), below(body.len()));
            match below(6) {
                0 => body.truncate(at),
                1 => body
                    .splice(at..at, [b"{}[]\":,\\\n0-.eN"[below(14)]])
                    .for_each(drop),
                2 if at < body.len() => body[at] = u8::try_from(below(256)).expect("a byte"),
                3 => drop(body.drain(at.min(other)..at.max(other))),
                4 => {
                    let part = body[at.min(other)..at.max(other).min(at.min(other) + 500)].to_vec();
                    body.splice(at..at, part).for_each(drop);
                }
                _ => {
                    let donor = &bodies[below(bodies.len())];
                    let from = below(donor.len());
                    body.truncate(at);
                    body.extend_from_slice(&donor[from..]);
                }
            }
        }
        let ask = Ask {
            symbols: if below(2) == 0 { IBM } else { &[] },
            now: (below(2) == 0).then(|| "2025-11-06T21:00:02Z".parse().expect("a time")),
            delayed: below(4) == 0,
            key: Some("EXAMPLEKEY000001"),
            ..ASK
        };
        match parse(&body, &ask) {
            Ok(bars) => events += bars.events.len() as u64,
            Err(refusal) => assert!(
                !format!("{refusal:?}").contains("EXAMPLEKEY000001"),
                "seed {seed}, number {tried}"
            ),
        }
        tried += 1;
    }
    println!("{tried} bodies, {events} events, seed {seed}");
}
