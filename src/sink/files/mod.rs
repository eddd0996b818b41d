//! The files that rows and dead letters are written to: their names, the open ones, and how they are closed.
//!
//! ```text
//!  naming                     names, and what stands under them
//!  data_file, open_files      a file that takes lines; all of them, with a bounded number open
//!  rolling, end               when a file takes no more lines, and what is done then
//!  close, compress            publishing and compressing what has ended
//!  compression                the bytes of a file, compressed or not
//!  tail_checksum              a checksum of a file's end that grows with it
//! ```

mod close;
pub(super) mod compress;
pub(crate) mod compression;
mod data_file;
mod end;
pub(super) mod naming;
pub(super) mod open_files;
mod rolling;
mod tail_checksum;

pub use close::Tended;
pub(super) use compress::STAGED;
pub use compress::{Packed, Packing};
pub(super) use data_file::Output;
pub(super) use naming::Kind;
pub(crate) use naming::{Purpose, is_letters};
pub(super) use open_files::{Due, Limits, OpenFiles};
pub(super) use tail_checksum::TailChecksum;
