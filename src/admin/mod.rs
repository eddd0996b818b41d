//! Consumer groups seen from outside: which there are, how far they are, and moving their offsets.
//!
//! Works for classic groups and for those of KIP-848 alike. A group's offsets are moved only while it has no member: that
//! is looked at here for the sake of a clear answer, and held by the broker, which takes a commit without a member from
//! nobody else.

mod error;
mod groups;
mod lag;
mod reset;

pub use error::AdminError;
pub use groups::{Described, Kind, Listed, Member, delete, describe, list};
pub use lag::{Lag, lag};
pub use reset::{Change, Target, plan, reset};
