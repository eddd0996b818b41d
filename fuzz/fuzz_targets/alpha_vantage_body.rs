//! An answer of Alpha Vantage, as a service that means harm, or a proxy, would send it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stockflow::source::alpha_vantage::Interval;
use stockflow::source::bars::{Ask, Said, Untold, parse};

fuzz_target!(|input: &[u8]| {
    let asked = Untold::Asked(Interval::Min1);
    for (symbols, bars) in [(&[][..], asked), (&["IBM".into()][..], Untold::Saved(Said::default()))] {
        let ask = Ask {
            symbols,
            bars,
            adjusted: false,
            now: None,
            delayed: false,
            key: Some("EXAMPLEKEY000001"),
        };
        if let Err(refusal) = parse(&mut input.to_vec(), &ask) {
            assert!(!format!("{refusal:?}").contains("EXAMPLEKEY000001"));
        }
    }
});
