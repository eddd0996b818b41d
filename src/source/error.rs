//! What can go wrong in a source, and what it means for whoever polls it.

use compact_str::CompactString;

use super::alpha_vantage::Fault;
use super::error_class::ErrorClass;
use super::replay::ReplayFault;

/// An error of a source. It never holds the API key.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Alpha Vantage, asked for one symbol.
    #[error("Alpha Vantage, symbol {symbol}: {fault}")]
    AlphaVantage {
        /// The symbol that was asked for.
        symbol: CompactString,
        /// What happened.
        fault: Fault,
        /// What it means here.
        class: ErrorClass,
    },
    /// Every symbol was refused for good.
    #[error("no symbol is left to poll: the service refused each one; see AlphaVantage.Symbols")]
    NoSymbolLeft,
    /// Some of what was asked for once could not be had.
    #[error(
        "{given_up} requests brought nothing or not everything, for the reasons above; run the same command again to ask for what is missing"
    )]
    Incomplete {
        /// How many.
        given_up: usize,
    },
    /// A file to be replayed.
    #[error("cannot replay {path}: {fault}")]
    Replay {
        /// The file as it was named, `-` is stdin.
        path: String,
        /// What happened.
        fault: ReplayFault,
    },
    /// Of several files to be replayed, some could not be.
    #[error(
        "{lost} of {of} files were not replayed, or only in part, for the reasons above{}",
        if lost < of { "; the others were" } else { "" }
    )]
    NotReplayed {
        /// How many.
        lost: usize,
        /// Of how many.
        of: usize,
    },
    /// A setting that cannot work, found when the source was made.
    #[error("{setting}: {problem}")]
    Setting {
        /// The configuration's key.
        setting: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl SourceError {
    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::AlphaVantage { class, .. } => *class,
            Self::NoSymbolLeft
            | Self::Incomplete { .. }
            | Self::Replay { .. }
            | Self::NotReplayed { .. } => ErrorClass::Stop,
            Self::Setting { .. } => ErrorClass::Configuration,
        }
    }
}
