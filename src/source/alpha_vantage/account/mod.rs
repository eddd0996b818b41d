//! What an API key may do and has used up: limits, the budget, the breaker of a failing service, and the file that keeps it.

mod breaker;
mod budget;
mod file;
mod key_state;
mod limits;

pub(super) use breaker::{Breaker, Change};
pub(super) use budget::{Cause, Hold, next_day};
pub(super) use file::AccountFile;
pub(super) use key_state::KeyState;
pub use limits::Limit;
pub(super) use limits::{FREE_DAY, FREE_MINUTE, Limits};
