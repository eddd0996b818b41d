//! The TradeEvent: what it is, its JSON, its identity, and what makes a record a good one.
//!
//! Pure: no socket, file, clock or random source, and nothing of ours is imported.
//! The writing side builds [`TradeEvent`]s and calls [`TradeEvent::write_json`]; the reading side takes the bytes of
//! any record and gets a borrowed, validated view of it, or the reason why it is not a trade.

pub mod identity;
pub mod price;
pub mod symbol;
pub mod timestamp;

mod json;
mod reasons;

use chrono::{DateTime, Utc};
use compact_str::CompactString;
use uuid::Uuid;

pub use json::{
    BadRecord, MAX_TRADE_ID_BYTES, NotATrade, Texts, Trade, USUAL_JSON_BYTES, read_trade,
};
pub use reasons::ReasonCounts;

/// Which side of the market a trade was on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The buyer moved the price: the bar closed at or above its open.
    Buy,
    /// The seller moved the price.
    Sell,
}

impl Side {
    /// The side as it stands in JSON and CSV.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "Buy",
            Self::Sell => "Sell",
        }
    }
}

/// What makes an event that event: the same bar is always the same event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TradeId {
    /// A UUID in its canonical form: ours are version 5 of what the event says.
    Uuid(Uuid),
    /// Any other identity that another program gave (at most 64 bytes, no control characters).
    Text(CompactString),
}

impl std::fmt::Display for TradeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// When the trade was, as it stands in JSON and CSV, kept to the letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// The text on the topic: RFC 3339 with `Z` where we wrote it.
    pub text: CompactString,
    /// The instant in UTC; a text without a zone is taken as UTC.
    pub instant: DateTime<Utc>,
}

/// One trade, owned, as a source makes it and the producer publishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TradeEvent {
    /// The event's identity.
    pub trade_id: TradeId,
    /// Ticker symbol, `[A-Za-z0-9^][A-Za-z0-9.^:_=&-]{0,31}`.
    pub symbol: CompactString,
    /// Derived side: bars have none.
    pub side: Side,
    /// Shares, 0 or more.
    pub quantity: u64,
    /// A decimal number as its digits; it never was a float.
    pub price: CompactString,
    /// When the trade was.
    pub timestamp: Timestamp,
}
