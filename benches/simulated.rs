//! How fast the simulated market makes events, alone and on one core: `scripts/bench simulated` builds it as what ships
//! is built, and runs it. Prints one JSON object. The argument is how many events (3,000,000).
#![allow(clippy::print_stdout)] // Its figures are its result.

use std::time::{Duration, Instant};

use stockflow::source::Source;
use stockflow::source::simulated::{Seed, Settings, Simulated, tickers};

/// Symbols of the market: as many as a watch list has.
const SYMBOLS: usize = 50;

fn main() {
    let given = std::env::args().find_map(|argument| argument.parse().ok());
    let count: u64 = given.unwrap_or(3_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let alone = runtime.block_on(make(count, false));
    let json = runtime.block_on(make(count, true));
    let rate = |time: Duration| (count as f64 / time.as_secs_f64()).round() as u64;
    println!(
        "{{\"events\":{count},\"events_a_second\":{},\"as_json_a_second\":{}}}",
        rate(alone),
        rate(json)
    );
}

/// Takes so many events out of a market, each of them as JSON, too, when that is wanted.
async fn make(count: u64, json: bool) -> Duration {
    let settings = Settings {
        symbols: tickers(SYMBOLS),
        rate: None,
        seed: Seed::Given(1),
    };
    let mut source = Simulated::new(settings).expect("good settings");
    let (mut value, mut left) = (Vec::with_capacity(256), count);
    let began = Instant::now();
    while left > 0 {
        let batch = source.poll().await.expect("no error").expect("no end");
        left = left.saturating_sub(batch.events.len() as u64);
        for event in std::hint::black_box(&batch.events) {
            if json {
                value.clear();
                event.write_json(&mut value);
                std::hint::black_box(&value);
            }
        }
    }
    began.elapsed()
}
