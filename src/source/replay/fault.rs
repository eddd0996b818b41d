//! What can go wrong with a file that is to be replayed.

use std::io;

use super::inputs;
use crate::source::bars::Notice;

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayFault {
    /// It cannot be opened or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is a directory without anything to replay.
    #[error("there is nothing to replay in the directory: no {} files, plain, .gz, .zst or .lz4", inputs::EXTENSIONS.join(", "))]
    NothingInIt,
    /// It is in a directory, and neither a file nor a directory.
    #[error(
        "it is not a regular file, and a replayed directory's pipes and devices are not read; give its name to --input to read it"
    )]
    NotRegular,
    /// It is something else.
    #[error("{0}")]
    Foreign(&'static str),
    /// It is CSV, and its header has this column twice.
    #[error(
        "its header has the column {0} twice, so it is not known which one counts; rename one of them"
    )]
    ColumnTwice(&'static str),
    /// A part of it is no event.
    #[error(
        "{bad} parts of it are not TradeEvents, the first on line {line} ({why}); its {events} good events are replayed"
    )]
    NotAllEvents {
        /// How many parts.
        bad: u64,
        /// Where the first is.
        line: u64,
        /// What is wrong with it.
        why: String,
        /// The good ones.
        events: u64,
    },
    /// A list in it does not end.
    #[error(
        "its list does not end, so the file was cut off; the {events} events before the cut are replayed"
    )]
    Open {
        /// The events before.
        events: u64,
    },
    /// It has the head of a body and no bars.
    #[error("it has \"Meta Data\" but no bars")]
    NoBars,
    /// More bars of it are bad than good.
    #[error(
        "only {good} of its {} bars are replayed, because the others are bad; the first bad one is {start:?}: {reason}", bad + good
    )]
    MostlyBad {
        /// How many are good.
        good: usize,
        /// How many are bad.
        bad: usize,
        /// The start of the first bad one.
        start: String,
        /// What is wrong with that.
        reason: &'static str,
    },
    /// The standard input is named twice.
    #[error("the standard input can be read only once")]
    Twice,
    /// It is a notice that was saved in place of data.
    #[error("it holds a notice instead of bars: {0}")]
    Notice(Notice),
    /// It is nothing that can be replayed.
    #[error("it cannot be read as an Alpha Vantage body, nor as TradeEvents: {0}")]
    Unusable(String),
    /// It breaks off, or something stands behind it.
    #[error("the body is broken ({why}); the {bars} bars before the break are replayed")]
    Broken {
        /// What stands at the break.
        why: String,
        /// The bars before it.
        bars: usize,
    },
    /// It is CSV, and it is not known what its bars are.
    #[error("{0}")]
    SeriesUnknown(String),
    /// It is CSV, and no symbol is given.
    #[error("CSV does not name its symbol; name it with --symbol")]
    SymbolMissing,
    /// It is CSV, and several symbols are given.
    #[error(
        "CSV does not name its symbol, and {0} are given; name one with --symbol, and replay each symbol's files separately"
    )]
    SymbolAmbiguous(usize),
    /// It is larger than a body can be.
    #[error("it is larger than an Alpha Vantage body can be")]
    TooLarge,
}
