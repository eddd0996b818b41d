//! How many requests an API key has.

/// A limit of requests, as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestLimit {
    /// What the key has, as far as it is known.
    Auto,
    /// No limit.
    Unlimited,
    /// So many.
    Of(u32),
}
