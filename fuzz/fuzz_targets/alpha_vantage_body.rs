//! An answer of Alpha Vantage, as a service that means harm, or a proxy, would send it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stockflow::source::alpha_vantage::Interval;
use stockflow::source::alpha_vantage::body::{Ask, parse};

fuzz_target!(|input: &[u8]| {
    for symbols in [&[][..], &["IBM".into()][..]] {
        let ask = Ask {
            symbols,
            interval: Interval::Min1,
            now: None,
            delayed: false,
            key: Some("EXAMPLEKEY000001"),
        };
        if let Err(refusal) = parse(&mut input.to_vec(), &ask) {
            assert!(!format!("{refusal:?}").contains("EXAMPLEKEY000001"));
        }
    }
});
