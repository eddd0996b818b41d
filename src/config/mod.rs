//! The typed, validated configuration, and where each value came from.
