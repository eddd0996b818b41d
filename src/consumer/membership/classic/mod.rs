//! The classic protocol (KIP-62, KIP-345, KIP-394, KIP-429): a pure machine, its driver, and the heartbeat beside it.

mod driver;
mod heartbeat;
mod machine;
mod protocol;

pub(super) use machine::{Event, Identity, Machine};
pub(super) use protocol::decode_assignment;
