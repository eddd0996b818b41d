//! From a directory as it was left, and what Kafka says was committed, to one that rows can be written to.
//!
//! ```text
//!  peek ─ open ─ inspect      lock, checkpoint, binding; is every file as it was left?
//!  plan                       which rows stay, and where each partition goes on (pure)
//!  apply, rewrite, split,     carries the plan out, so that being stopped half-way does no harm
//!  staged_file, rollback
//!  resume, supersede          where an assigned partition is read from; rows that are read again
//! ```

mod apply;
mod going_back;
mod inspect;
pub(crate) mod open;
pub(super) mod peek;
pub(crate) mod plan;
mod resume;
pub(crate) mod rewrite;
mod rollback;
mod split;
mod staged_file;
mod supersede;

pub use apply::Recovery;
pub use peek::peek;
pub use plan::{Start, Verdict};
pub use supersede::Superseded;
