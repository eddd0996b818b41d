//! One setting as it was written, whatever it was written in.

use super::super::values::Raw;
use super::origin::Origin;

/// One setting as it was written.
#[derive(Clone, Debug)]
pub(in crate::config) struct Write {
    pub(in crate::config) path: Vec<String>,
    pub(in crate::config) raw: Raw,
    pub(in crate::config) origin: Origin,
}
