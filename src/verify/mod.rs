//! Proves, from the offset index alone, that directories hold every record once, and that nobody changed a row.
//!
//! The index says of every offset which row of which file it is, or why it has none; and of every run of rows its
//! checksum. So: the offsets that the batches answer for, of all directories together, must cover the partition without
//! a gap and without an overlap ([`ledger`]); and each run must still be in its file, byte for byte ([`files`]).
//! What cannot be told without the brokers is named, for the caller to ask.

mod balance;
mod directory;
mod examination;
mod examine;
mod file_checks;
mod files;
mod finding;
mod known;
mod ledger;
mod listing;
mod packed;
pub(crate) mod report;

pub use balance::{Imbalance, ImbalanceKind};
pub use examination::{Examination, PendingBatch};
pub use examine::examine;
#[cfg(test)]
pub(crate) use examine::examine_on;
pub use finding::{Finding, FindingKind};
pub use ledger::{Account, Counts, Ledger, Ruling, TopicKey};
pub use report::{Report, Verdict as Outcome};
