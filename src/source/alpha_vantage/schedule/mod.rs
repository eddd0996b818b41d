//! When to ask for what: a cadence for each symbol, months that are filled back, waits, and what a key has left.

mod backfill;
mod cadence;
mod outlook;
pub(super) mod plan;
pub(super) mod targets;
mod wait;

pub use backfill::{Month, Months, NotAMonth};
pub(super) use cadence::{Cadence, Share};
pub use outlook::{Outlook, Probe, Window};
pub(super) use plan::{Next, Plan, backoff};
pub(super) use targets::{Target, doubts_refusal, of, plan, say_why_none};
pub(super) use wait::{Waits, too_long};
