//! Where settings come from: files, environment, `--set`, flags; later wins.

pub(super) mod file;
mod foreign;
pub(super) mod layer;
mod origin;
mod setting;

pub(super) use file::read;
pub use layer::{Given, Override};
pub(super) use layer::{Layers, environment, flags, sets};
pub use origin::Origin;
pub(super) use setting::Write;
