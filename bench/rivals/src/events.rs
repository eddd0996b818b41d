//! The events that every rival publishes: the JSON of a trade, about 160 bytes, of one of eight symbols.

use std::io::Write;

use clap::Parser;

pub const SYMBOLS: [&str; 8] = ["AAPL", "AMZN", "GOOGL", "IBM", "META", "MSFT", "NVDA", "TSLA"];

/// What every rival is told.
#[derive(Parser)]
pub struct Arguments {
    /// Bootstrap addresses, with commas between them
    #[arg(long)]
    pub brokers: String,
    #[arg(long)]
    pub topic: String,
    /// How many events
    #[arg(long)]
    pub count: u64,
    /// Events a second; without it as fast as possible
    #[arg(long)]
    pub rate: Option<u64>,
    /// How long a batch waits for more
    #[arg(long, default_value_t = 5)]
    pub linger_ms: u64,
    /// none or lz4
    #[arg(long, default_value = "lz4")]
    pub compression: String,
}

/// Writes event `number` into `value`, and says its symbol.
pub fn event(number: u64, value: &mut Vec<u8>) -> &'static str {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let symbol = SYMBOLS[(mixed >> 61) as usize];
    value.clear();
    let (high, low) = (mixed.rotate_left(17), mixed);
    write!(
        value,
        "{{\"TradeId\":\"{:08x}-{:04x}-8{:03x}-9{:03x}-{:012x}\",\"Symbol\":\"{symbol}\",\"Side\":\"Buy\",\"Quantity\":{},\"Price\":{}.{:02},\"Timestamp\":\"2026-07-01T{:02}:{:02}:{:02}.{:03}Z\"}}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff,
        mixed % 1_100,
        mixed % 900,
        mixed >> 8 & 63,
        number / 3_600_000 % 24,
        number / 60_000 % 60,
        number / 1_000 % 60,
        number % 1_000,
    )
    .expect("writing into memory");
    symbol
}
