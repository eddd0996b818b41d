//! Records into lines: a good one becomes a row, another a dead letter.

mod append;
mod bad_record;
mod complaints;
mod counts;
mod dead_letter;
pub(super) mod replay;
pub(super) mod row;

pub(super) use complaints::Complaints;
pub use counts::Appended;
pub use dead_letter::{DeadLetter, DeadLetters, LetterError};
pub use replay::{Replay, ReplayOutcome};
pub use row::{InputRecord, RawHeaders, TooLarge};
