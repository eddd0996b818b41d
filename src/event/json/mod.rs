//! A TradeEvent as JSON: read from any record, written as it stands on the topic.

mod date;
mod owned;
mod read;
mod write;

pub use owned::{MAX_TRADE_ID_BYTES, NotATrade, Texts};
pub use read::{BadRecord, Trade, read_trade};
pub use write::USUAL_JSON_BYTES;
