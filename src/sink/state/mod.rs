//! What the directory says of itself, on disk: the format that `recovery` goes by and that `verify` reads.
//!
//! ```text
//!  checkpoint        what is certain, and the batch whose commit is not known yet
//!  index             which bytes of which file are which records, a line a batch
//!  closed_list       files that do not change any more
//!  commit_metadata   what a commit to Kafka carries beside its offset
//!  redo              a recovery that is being carried out
//! ```

pub(crate) mod checkpoint;
pub(crate) mod closed_list;
pub(crate) mod commit_metadata;
mod committed;
pub(crate) mod index;
pub(crate) mod redo;

pub use checkpoint::FormerMember;
pub use committed::Committed;
pub(in crate::sink) use committed::Holder;

pub(crate) use checkpoint::{Checkpoint, FileState, Left, Moved, Pending, Position, State};
pub(crate) use closed_list::Closed;
pub use commit_metadata::shortened;
pub(crate) use commit_metadata::{Before, CommitAuthor, OwnershipHistory};
pub(crate) use index::{Batch, Extent, Gap, OffsetRange, Passed, Reason, Replayed, Skip, Why};
pub(crate) use redo::{Redo, Step};
