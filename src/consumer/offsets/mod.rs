//! Committed offsets, which live in Kafka itself, so that every tool of Kafka sees the group and its lag; and where
//! partitions begin and end.
//!
//! A commit says for each partition what became of it, because one request can count for one and fail for the next. It
//! always names the member and its generation: a commit without (-1) would be taken from anybody while the group is
//! empty, and is never sent.

mod commit;
mod fetch;
mod list;

pub use commit::{CommitOutcome, Committer, Offset};
pub(super) use fetch::fetch;
pub use fetch::{Committed, committed, committed_everywhere};
pub(super) use list::extents;
pub use list::{Bound, glance, limits, list_offsets};
