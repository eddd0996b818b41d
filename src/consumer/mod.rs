//! Group membership, fetching and offsets.
