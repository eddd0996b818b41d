//! What an error of a source means for whoever polls it.

/// What to do about a [`SourceError`](super::SourceError).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// It may pass: log it and poll on.
    Retriable,
    /// One symbol is out for good: log it and poll on for the others.
    Symbol,
    /// No event will ever come: stop, exit code 1.
    Stop,
    /// The service refuses the API key: stop, exit code 78.
    WrongKey,
    /// The configuration cannot work: stop, exit code 78.
    Configuration,
}
