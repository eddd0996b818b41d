//! CSV files that hold every record of a topic exactly once, also when the process is killed at any instant.
//!
//! The order that makes it so: append rows → fsync → index → checkpoint with the batch pending → commit to Kafka (done
//! by the caller, with the metadata that [`DurableBatch`] names) → note that the commit counted. On start, and whenever a
//! commit's outcome is in doubt, [`Sink::recover`] asks what Kafka has and takes out exactly the rows whose commit did
//! not count.
//!
//! ```text
//! DIR/consumed_trades_YYYY-MM-DD.csv      rows                        (rows, files)
//! DIR/consumed_trades_YYYY-MM-DD.csv.gz   a closed file of them       (files)
//! DIR/dead_letters_YYYY-MM-DD.ndjson      records that are no trades  (rows, files)
//! DIR/.stockflow/lock                     one process a directory
//! DIR/.stockflow/checkpoint               what is certain, the pending batch (state)
//! DIR/.stockflow/index                    which bytes are which records (state)
//! DIR/.stockflow/closed                   files that do not change any more (state)
//! DIR/.stockflow/open/                    files that nobody is to see before they are closed (files)
//! DIR/.stockflow/staged/                  files that are being compressed or rewritten (files, recovery)
//! DIR/.stockflow/redo                     a recovery that is being carried out (state)
//! DIR/.stockflow/superseded/              rows that are read again after a deliberate reset backwards (recovery)
//! DIR/.stockflow/undecided/               rows of which nobody can tell whether they counted (recovery)
//! ```
//!
//! Synchronous and blocking: it belongs on a thread of its own. What decides is pure;
//! every file operation goes through [`Fs`](crate::durable), and the tests stop the world at each of them.

mod error;
pub(crate) mod files;
mod flush;
mod model;
pub(crate) mod recovery;
mod rows;
mod settings;
#[expect(
    clippy::module_inception,
    reason = "the room is named after what it makes"
)]
mod sink;
pub(crate) mod state;
#[cfg(test)]
mod tests;

// The format on disk, which `verify` reads too.
pub(crate) use files::{Purpose, is_letters};
pub(crate) use model::{Form, STATE_DIRECTORY};
pub(crate) use state::{Batch, Checkpoint, Extent, FileState, Gap, Reason, Replayed, Why};

pub use error::SinkError;
pub use files::{Packed, Packing, Tended};
pub use flush::{DurableBatch, DurableOffset};
pub use recovery::{Recovery, Start, Superseded, Verdict, peek};
pub use rows::{
    Appended, DeadLetter, DeadLetters, InputRecord, LetterError, RawHeaders, Replay, ReplayOutcome,
    TooLarge,
};
pub use settings::{
    BadRecords, Binding, Column, Compression, FileDate, Publish, Roll, Settings, UnknownColumn,
};
pub use sink::Sink;
use sink::{FormerOwners, Progress};
pub use state::{Committed, FormerMember, shortened};
