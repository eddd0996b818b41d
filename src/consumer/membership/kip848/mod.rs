//! The protocol `consumer`, in which the broker shares the partitions out (KIP-848): a pure machine and its driver.

mod driver;
pub(super) mod machine;

pub(super) use driver::NotHere;
pub(super) use machine::Machine;
