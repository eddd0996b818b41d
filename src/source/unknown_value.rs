//! A name that a setting does not know.

/// A text that names no value of a setting; holds the values that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has to be one of {0}")]
pub struct UnknownValue(pub(crate) &'static str);
