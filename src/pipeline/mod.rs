//! Wires a produce, consume or run pipeline, and stops it.

pub mod options;
