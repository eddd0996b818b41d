//! The way to the service: one GET, a bounded answer, and what to do about what can go wrong with it.

pub(in crate::source) mod fault;
mod http;

pub use fault::Fault;
pub(super) use fault::{Reaction, reaction};
pub(super) use http::{Answer, Client};
