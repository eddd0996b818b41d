//! Dead letters that go somewhere else than into a file: whoever takes them keeps them durably.
//!
//! The order that loses none: [`DeadLetters::put`] as they come, [`DeadLetters::settle`] before the batch that answers for
//! their offsets is made durable, and so before anything is committed.

use std::error::Error;

use super::row::InputRecord;
use crate::event::BadRecord;

/// Why dead letters cannot be kept.
pub type LetterError = Box<dyn Error + Send + Sync>;

/// A record that is no trade.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// The partition that it came from.
    pub partition: i32,
    /// The record.
    pub record: InputRecord<'a>,
    /// Why it is no trade.
    pub reason: BadRecord,
}

/// Keeps dead letters. Its calls may block, as the disk does.
pub trait DeadLetters: Send {
    /// A partition is read from this offset on: what comes next of it may have been kept before, by a process that was
    /// killed before it could commit.
    fn begin(&mut self, partition: i32, offset: i64);

    /// Takes one in, waiting for room when there is none.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn put(&mut self, letter: &DeadLetter<'_>) -> Result<(), LetterError>;

    /// Returns when all that were taken in are durable.
    ///
    /// # Errors
    /// When one of them is not.
    fn settle(&mut self) -> Result<(), LetterError>;
}
